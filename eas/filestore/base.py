"""The interface of file stores, and their common implementation."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from eas.chains.paths import check_relative_path
from eas.errors import ChecksumError, EASError, StorePathError
from eas.model import NewVersion, StoredVersion

LOG = logging.getLogger("eas.filestore")

VERSIONS = ".versions"
STAGING = ".staging"
RESTORE_HINT = "restore the store's files, or run its maker again with --if-exists replace"


class FileStore(ABC):
    """Storage for versions of file products."""

    @property
    @abstractmethod
    def scratch(self) -> Path:
        """The local folder in which staging folders are made."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Path or URL of the store for messages, without passwords."""

    @abstractmethod
    def check(self) -> None:
        """Write a file and remove it again.

        Raises StoreError if the store refuses, ServiceError if it cannot be reached.
        """

    @contextlib.contextmanager
    def staging(self, inside: Path | None = None) -> Iterator[Path]:
        """Yield a new local folder; remove it afterwards with its contents.

        ``inside`` is the staging folder in which to create it, so that removing that one removes both.
        """
        folder = (inside or self.scratch) / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(
        self, source: Path, *, semantic: str, working_directory: str, file_name: str, attempt_id: int
    ) -> NewVersion:
        """Move the local file ``source``, made by an attempt, into the store as a new version.

        Raises StorePathError if the name leaves the store or ``source`` is not a plain file, StoreError if the
        store refuses the file, ServiceError if it cannot be reached.
        """
        if source.is_symlink() or not source.is_file():
            raise StorePathError(
                f"{file_name} is not a plain file", hint="write the data itself, not a link or a folder"
            )
        check_relative_path(file_name)
        if working_directory:
            check_relative_path(working_directory)
        # A worker that has lost the attempt may still write. Each call uses a folder of its own, so that this
        # cannot overwrite the recorded version.
        version = f"{VERSIONS}/{attempt_id}-{uuid.uuid4().hex[:8]}/{file_name}"
        store_path = join(working_directory, version)
        size, digest = measure(source)
        self._store(source, store_path)
        return NewVersion(semantic, file_name, store_path, size, digest)

    @abstractmethod
    def _store(self, source: Path, store_path: str) -> None:
        """Move ``source`` to ``store_path``; when this returns it is stored durably."""

    @abstractmethod
    def local_copy(self, version: StoredVersion, folder: Path) -> Path:
        """Return the path to read a version from: in the store itself, or a copy in the local ``folder``.

        ``folder`` need not exist. Raises ChecksumError if the version differs from the recorded checksum, StoreError
        if the store refuses to read it, ServiceError if it cannot be reached.
        """

    @abstractmethod
    def set_published_name(self, working_directory: str, file_name: str, store_path: str) -> None:
        """Make the published name refer to the version at ``store_path``. Idempotent."""

    def publish(self, working_directory: str, file_name: str, store_path: str) -> None:
        """Publish a version under its product's name; a failure is only logged.

        Tasks find versions through the task database; the published name is only for users.
        """
        try:
            self.set_published_name(working_directory, file_name, store_path)
        except (EASError, OSError) as error:
            LOG.warning("the version %s could not be published: %s", store_path, error)

    def unpublish(self, working_directory: str, file_name: str) -> None:
        """Remove a product's published name; a failure is only logged."""
        try:
            self.remove_published_name(working_directory, file_name)
        except (EASError, OSError) as error:
            LOG.warning("the published name %s/%s could not be removed: %s", working_directory, file_name, error)

    @abstractmethod
    def remove_published_name(self, working_directory: str, file_name: str) -> None:
        """Remove a published name, if it exists."""

    @abstractmethod
    def discard(self, version: NewVersion) -> None:
        """Remove a version that was not recorded in the task database."""


def join(*parts: str) -> str:
    """Join the non-empty ``parts`` to a path in the store."""
    return "/".join(part for part in parts if part)


def published_path(working_directory: str, file_name: str) -> str:
    """Return the path of a product's published name. Raises StorePathError where that leaves the store."""
    path = join(working_directory, file_name)
    check_relative_path(path)
    return path


def missing(version: StoredVersion) -> ChecksumError:
    """Return the error for a recorded version that is missing from the store."""
    return ChecksumError(
        f"the file product {version.file_name} is missing from the store: {version.store_path}", hint=RESTORE_HINT
    )


def verify(path: Path, version: StoredVersion) -> None:
    """Raise ChecksumError if size or checksum of the file at ``path`` differ from the recorded ones."""
    size, digest = measure(path)
    if (size, digest) != (version.size, version.sha256):
        raise ChecksumError(
            f"the file product {version.file_name} was changed in the store: {version.store_path} has {size} bytes "
            f"and SHA-256 {digest[:12]}..., recorded were {version.size} and {version.sha256[:12]}...",
            hint=RESTORE_HINT,
        )


def measure(path: Path) -> tuple[int, str]:
    """Return a file's size in bytes and its SHA-256 in hex."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return stream.tell(), digest
