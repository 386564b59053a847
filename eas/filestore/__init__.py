"""The file store: versions of file products, written once, checksummed, never changed.

A working directory of the store looks like this:

    <working directory>/<file name>                  the newest version that passed QC
    <working directory>/.versions/<attempt>/<file name>    every version, by the attempt that made it

SQL says which versions exist and which one counts; the published name is there for users. A version
is in its place before SQL learns of it, so what SQL knows is always there; what a killed worker
leaves behind is a version that SQL does not know: it takes space, and does no harm.
"""

from eas.filestore.base import FileStore
from eas.filestore.local import LocalFileStore
from eas.filestore.opening import open_store

__all__ = ["FileStore", "LocalFileStore", "open_store"]
