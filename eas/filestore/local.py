"""A file store on a local or shared file system; the published names are hard links."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from eas.errors import StoreError, StorePathError
from eas.filestore.base import STAGING, FileStore, missing, published_path, verify
from eas.model import NewVersion, StoredVersion


@dataclass(frozen=True)
class LocalFileStore(FileStore):
    """A file store on a file system that all workers see.

    Attributes
    ----------
    root:
        Its top folder. Staging lies inside it, so that a move into place is one atomic rename.
    """

    root: Path

    @property
    def scratch(self) -> Path:
        """The staging folders' folder."""
        return self.root / STAGING

    @property
    def name(self) -> str:
        """The top folder's path."""
        return str(self.root)

    def check(self) -> None:
        """Write a file and remove it again. Raises StoreError where that is not possible."""
        try:
            with self.staging() as folder:
                (folder / "probe").write_bytes(b"EAS")
        except OSError as error:
            raise StoreError(
                f"the file store {self.name} cannot be written: {error.strerror}",
                hint="check the owner of that folder and the free disk space, or set EAS_STORE_URL or EAS_DATA_DIR",
            ) from None

    def _store(self, source: Path, store_path: str) -> None:
        target = self._inside(store_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.chmod(0o444)
        _sync(source)
        source.replace(target)
        _sync(target.parent)

    def local_copy(self, version: StoredVersion, folder: Path) -> Path:
        """Return the version's path in the store. Raises ChecksumError where it is not as SQL recorded it."""
        path = self.root / version.store_path
        if not path.is_file():
            raise missing(version)
        verify(path, version)
        return path

    def set_published_name(self, working_directory: str, file_name: str, store_path: str) -> None:
        """Make the published name a hard link to the version at ``store_path``."""
        target = self._inside(published_path(working_directory, file_name))
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

    def remove_published_name(self, working_directory: str, file_name: str) -> None:
        """Remove the link that is the published name."""
        self._inside(published_path(working_directory, file_name)).unlink(missing_ok=True)

    def discard(self, version: NewVersion) -> None:
        """Remove a version that was not recorded in the task database."""
        path = self.root / version.store_path
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def _inside(self, store_path: str) -> Path:
        """Return the absolute path of ``store_path``; raise StorePathError if a link leads out of the store."""
        root = self.root.resolve()
        target = root / store_path
        if not target.parent.resolve().is_relative_to(root):
            raise StorePathError(f"{store_path} leads out of the file store through a link", hint="remove that link")
        return target


def _sync(path: Path) -> None:
    """Flush ``path`` to the disk, so that the task database never records a version that a crash can lose."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
