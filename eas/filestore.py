"""The file store: versions of file products, written once, checksummed, never changed.

A working directory of the store looks like this:

    <working directory>/<file name>                  the newest version that passed QC (a hard link)
    <working directory>/.versions/<attempt>/<file name>    every version, by the attempt that made it

SQL says which versions exist and which one counts; the plain name is there for people. A version
is moved into place before SQL learns of it, so what SQL knows is always there; what a killed
worker leaves behind is a version that SQL does not know: it takes space, and does no harm.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eas.chains.paths import check_relative_path
from eas.errors import ChecksumError, StorePathError
from eas.model import NewVersion, StoredVersion

VERSIONS = ".versions"
STAGING = ".staging"


@dataclass(frozen=True)
class FileStore:
    """A file store on a local or shared file system.

    Attributes
    ----------
    root:
        Its top folder. Staging lies inside it, so that a move into place is one atomic rename.
    """

    root: Path

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """Give a fresh folder to write in; it and what is left in it go away afterwards."""
        folder = self.root / STAGING / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(
        self, source: Path, *, semantic: str, working_directory: str, file_name: str, attempt_id: int
    ) -> NewVersion:
        """Move the file ``source``, made by an attempt, into the store as a new version.

        Raises StorePathError where the name leaves the store or ``source`` is not a plain file.
        """
        if source.is_symlink() or not source.is_file():
            raise StorePathError(
                f"{file_name} is not a plain file", cure="write the data itself, not a link or a folder"
            )
        check_relative_path(file_name)
        # A worker that has lost the attempt may still write: its version must not replace the one
        # that SQL knows, so no two calls share a folder.
        version = f"{VERSIONS}/{attempt_id}-{uuid.uuid4().hex[:8]}/{file_name}"
        target = self._inside(working_directory, version)
        size, digest = _measure(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.chmod(0o444)
        _sync(source)
        source.replace(target)
        _sync(target.parent)
        store_path = "/".join(part for part in (working_directory, version) if part)
        return NewVersion(semantic, file_name, store_path, size, digest)

    def path(self, version: StoredVersion) -> Path:
        """Return where to read a version. Raises ChecksumError where it is not as SQL recorded it."""
        path = self.root / version.store_path
        if not path.is_file():
            raise ChecksumError(
                f"the file product {version.file_name} is missing from the store: {version.store_path}",
                cure="restore the store's files, or run its maker again with --if-exists replace",
            )
        size, digest = _measure(path)
        if (size, digest) != (version.size, version.sha256):
            raise ChecksumError(
                f"the file product {version.file_name} was changed in the store: {version.store_path} has {size} bytes "
                f"and SHA-256 {digest[:12]}..., recorded were {version.size} and {version.sha256[:12]}...",
                cure="restore the store's files, or run its maker again with --if-exists replace",
            )
        return path

    def publish(self, working_directory: str, file_name: str, store_path: str) -> None:
        """Let the plain file name show the version at ``store_path``; doing it twice is harmless."""
        target = self._inside(working_directory, file_name)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{uuid.uuid4().hex[:12]}.link")
        try:
            os.link(self.root / store_path, temporary)
        except OSError:
            # Some shared file systems have no hard links.
            shutil.copyfile(self.root / store_path, temporary)
        # A rename onto another link of the same file does nothing and leaves the temporary name.
        temporary.replace(target)
        temporary.unlink(missing_ok=True)

    def discard(self, version: NewVersion) -> None:
        """Remove a version that SQL did not take."""
        path = self.root / version.store_path
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def _inside(self, working_directory: str, name: str) -> Path:
        """Return the path of ``name``, or raise StorePathError where a link leads out of the store."""
        if working_directory:
            check_relative_path(working_directory)
        root = self.root.resolve()
        target = root / working_directory / name
        if not target.parent.resolve().is_relative_to(root):
            raise StorePathError(
                f"{working_directory}/{name} leads out of the file store through a link", cure="remove that link"
            )
        return target


def _measure(path: Path) -> tuple[int, str]:
    """Return a file's size in bytes and its SHA-256 in hex."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return stream.tell(), digest


def _sync(path: Path) -> None:
    """Have the operating system write ``path`` out, so that SQL never knows more than the disk holds."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
