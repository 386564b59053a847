"""The file store: versions of file products, which are written once, checksummed and never changed.

A working directory of the store looks like this:

    <working directory>/<file name>                  the newest version that passed QC
    <working directory>/.versions/<attempt>/<file name>    every version, by the attempt that made it

The task database records which versions exist and which one is current; the published name is for users. A
version is stored before it is recorded, so that every recorded version exists. A killed worker may leave a
version that is not recorded: it takes space and has no other effect.
"""

from eas.filestore.base import FileStore
from eas.filestore.local import LocalFileStore
from eas.filestore.opening import open_store

__all__ = ["FileStore", "LocalFileStore", "open_store"]
