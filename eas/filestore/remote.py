"""A file store behind any file system that fsspec knows: S3, Google Cloud, Azure, SFTP, ...

Task codes open files by path, so inputs are copied to a local folder and outputs from there. The
published names are copies, made by the store itself where it can.
"""

from __future__ import annotations

import contextlib
import ftplib
import hashlib
import logging
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.dirfs import DirFileSystem
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from eas.errors import EASError, ServiceError, SettingsError, StoreError
from eas.filestore.base import FileStore, join, measure, missing, published_path, verify
from eas.model import NewVersion, StoredVersion

LOG = logging.getLogger("eas.filestore")
T = TypeVar("T")

MAX_TRIES = 5
"""Maximum number of tries of a request that fails in transit, with waits of 0.5, 1, 2 and 4 s in between."""
PERMANENT_ERRORS = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    ValueError,
    ftplib.error_perm,
)
"""Errors that a reachable store returns: retrying does not help."""
OBJECT_STORES = frozenset(["s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "ossfs", "tos", "obs"])
"""Object stores: they have no folders (creating one may create a bucket), and writes are atomic."""


class RemoteFileStore(FileStore):
    """A file store on an fsspec file system.

    Parameters
    ----------
    files:
        The file system, rooted in the store.
    name:
        URL of the store for messages.
    scratch:
        Local folder for staging and copies.
    flat:
        Whether it has no folders and what is written appears as a whole.
    secrets:
        Texts that must not show in messages.
    """

    def __init__(
        self, files: DirFileSystem, name: str, scratch: Path, *, flat: bool, secrets: tuple[str, ...] = ()
    ) -> None:
        self.files = files
        self._scratch = scratch
        self._name = name
        self._flat = flat
        self._secrets = secrets

    @property
    def scratch(self) -> Path:
        """The staging folders' folder."""
        return self._scratch

    @property
    def name(self) -> str:
        """The store's URL."""
        return self._name

    def check(self) -> None:
        """Write a file and remove it again. Raises StoreError or ServiceError."""
        probe = f".probe-{uuid.uuid4().hex[:12]}"
        with self.staging() as folder:
            (folder / "probe").write_bytes(b"EAS")
            self._request("be written", lambda: self._put(folder / "probe", probe))
        self._request("remove a file", lambda: self.files.rm_file(probe))

    def _store(self, source: Path, store_path: str) -> None:
        self._request(f"take {store_path}", lambda: self._put(source, store_path))
        source.unlink()

    def _put(self, source: Path, store_path: str) -> None:
        self._make_folder(store_path)
        self.files.put_file(str(source), store_path)
        self.files.invalidate_cache()
        size = self.files.info(store_path)["size"]
        if size != source.stat().st_size:
            raise OSError(f"{size} bytes of {source.stat().st_size} arrived")

    def local_copy(self, version: StoredVersion, folder: Path) -> Path:
        """Return a verified copy of the version in ``folder``; reuse a copy that exists already."""
        key = hashlib.sha256(version.store_path.encode()).hexdigest()[:16]
        target = folder / key / Path(version.file_name).name
        if target.exists() and measure(target) == (version.size, version.sha256):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{key}")
        try:
            self._request(f"give {version.store_path}", lambda: self.files.get_file(version.store_path, str(temporary)))
        except StoreError:
            if self._exists(version.store_path):
                raise
            raise missing(version) from None
        verify(temporary, version)
        temporary.chmod(0o444)
        temporary.replace(target)
        return target

    def set_published_name(self, working_directory: str, file_name: str, store_path: str) -> None:
        """Make the published name a copy of the version at ``store_path``."""
        target = published_path(working_directory, file_name)
        self._request(f"show {target}", lambda: self._publish(store_path, target))

    def _publish(self, store_path: str, target: str) -> None:
        if self._flat:
            self.files.cp_file(store_path, target)
            return
        self._make_folder(target)
        folder, _, _ = target.rpartition("/")
        temporary = join(folder, f".{uuid.uuid4().hex[:12]}.copy")
        try:
            self._copy(store_path, temporary)
            try:
                self.files.mv(temporary, target)
            except OSError:  # some do not rename onto another file
                self.files.rm_file(target)
                self.files.mv(temporary, target)
        except BaseException:
            with contextlib.suppress(Exception):
                self.files.rm_file(temporary)
            raise

    def _copy(self, store_path: str, target: str) -> None:
        try:
            self.files.cp_file(store_path, target)
        except NotImplementedError:  # SFTP and FTP have no such command
            with self.files.open(store_path, "rb") as source, self.files.open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)

    def remove_published_name(self, working_directory: str, file_name: str) -> None:
        """Remove the copy that is the published name."""
        target = published_path(working_directory, file_name)
        if self._exists(target):
            self._request(f"remove {target}", lambda: self.files.rm_file(target))

    def discard(self, version: NewVersion) -> None:
        """Remove a version that was not recorded; a failure is only logged, as the version merely takes space."""
        try:
            self._request(f"remove {version.store_path}", lambda: self.files.rm_file(version.store_path))
        except EASError as error:
            if self._exists(version.store_path):
                LOG.warning("%s", error)
        if not self._flat:
            with contextlib.suppress(Exception):
                self.files.rmdir(version.store_path.rpartition("/")[0])

    def _exists(self, store_path: str) -> bool:
        with contextlib.suppress(ServiceError):
            return bool(self._request(f"look for {store_path}", lambda: self.files.exists(store_path)))
        return True  # assume that it exists if the store cannot be reached

    def _make_folder(self, path: str) -> None:
        if not self._flat:
            self.files.makedirs(path.rpartition("/")[0], exist_ok=True)

    def _request(self, what: str, request: Callable[[], T]) -> T:
        """Make a request, again where it may have failed in transit."""
        tries = Retrying(
            stop=stop_after_attempt(MAX_TRIES),
            wait=wait_exponential(multiplier=0.5, max=8) + wait_random(0, 0.5),
            retry=retry_if_exception(
                lambda error: isinstance(error, Exception) and not isinstance(error, PERMANENT_ERRORS)
            ),
            before_sleep=self._log_retry,
            reraise=True,
        )
        try:
            return tries(request)
        except PERMANENT_ERRORS as error:
            raise StoreError(
                f"the file store {self.name} cannot {what}: {self._masked_error(error)}",
                hint="check that its bucket or folder exists and what its credentials permit (EAS_STORE_OPTIONS)",
            ) from error
        except Exception as error:
            # Not chained: the client's own traceback may contain secrets that the message masks.
            raise ServiceError(
                f"the file store {self.name} cannot {what}: {self._masked_error(error)}",
                hint="check that its server runs; tasks whose outputs could not be stored run again",
            ) from None

    def _log_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        LOG.warning("the file store %s: %s; retrying", self.name, self._masked_error(error))

    def _masked_error(self, error: BaseException | None) -> str:
        return _masked(error, self._secrets)


def open_remote(url: str, options: dict[str, Any], scratch: Path) -> RemoteFileStore:
    """Return the store at an fsspec URL. Raises what ``open_files`` raises."""
    protocol = url.split("://", 1)[0].rsplit("::", maxsplit=1)[-1]
    files = open_files(url, options)
    return RemoteFileStore(files, url, scratch, flat=protocol in OBJECT_STORES, secrets=tuple(_texts(options)))


def open_files(url: str, options: dict[str, Any]) -> DirFileSystem:
    """Return the file system at a path or an fsspec URL, rooted there.

    Raises SettingsError where fsspec knows none of that kind, ServiceError where it cannot be reached.
    """
    try:
        files, path = fsspec.url_to_fs(url, **options)
    except (ImportError, ValueError, TypeError) as error:
        raise SettingsError(
            f"the file store {url} cannot be used: {_masked(error, _texts(options))}",
            hint="check the URL; some kinds of store need an extra package such as s3fs, gcsfs or adlfs",
        ) from None
    except Exception as error:  # some connect at once: SFTP, FTP
        raise ServiceError(
            f"the file store {url} cannot be reached: {_masked(error, _texts(options))}",
            hint="check that its server runs, and the credentials (EAS_STORE_OPTIONS)",
        ) from None
    return DirFileSystem(path, files)


def _masked(error: BaseException | None, secrets: Sequence[str]) -> str:
    """Return the message of a client's error with all values of the options masked."""
    text = f"{type(error).__name__}: {error}"
    for secret in secrets:
        text = text.replace(secret, "***")
    return text if len(text) <= 300 else text[:297] + "..."


def _texts(value: Any) -> list[str]:
    """Return all strings in nested options: any of them may be a secret."""
    if isinstance(value, str):
        return [value] if len(value) > 3 else []
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    return [text for each in value for text in _texts(each)] if isinstance(value, list) else []
