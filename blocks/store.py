"""The block ``EASFileStore``: where file products, external input and reports are."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from prefect.blocks.core import Block
from pydantic import Field, field_validator

from blocks.urls import DOCUMENTATION, LOGOS
from eas.filestore import FileStore

LOCAL = ("", "file", "local")


class EASFileStore(Block):
    """The folder of file products, external input and reports, on a disk that all workers see.

    Examples:
        Find out where file products are:
        ```python
        from blocks import EASFileStore

        store = EASFileStore.load("BLOCK_NAME")
        print(store.get_store().root)
        ```
    """

    _block_type_name = "EAS File Store"
    _block_type_slug = "eas-file-store"
    _documentation_url = DOCUMENTATION  # type: ignore[assignment]
    _logo_url = f"{LOGOS}/filesystem.png"  # type: ignore[assignment]

    url: str = Field(
        description="Absolute path of the data folder, or the same as a file:// URL; other kinds of URL are refused."
    )

    @field_validator("url")
    @classmethod
    def _local_only(cls, value: str) -> str:
        # Versions are made to appear by one atomic rename, and task codes open them by path:
        # an object store has neither.
        scheme = urlsplit(value).scheme if "://" in value else ""
        if scheme not in LOCAL:
            raise ValueError(f"a store of kind {scheme}:// is not supported: mount it, and give the path")
        if not _path(value).is_absolute():
            raise ValueError("give an absolute path: workers run in other folders")
        return value

    def get_directory(self) -> Path:
        """Return the data folder."""
        return _path(self.url)

    def get_store(self) -> FileStore:
        """Return the file store."""
        return FileStore(self.get_directory() / "store")

    def get_filesystem(self) -> Any:
        """Return an fsspec file system rooted in the data folder, to browse it."""
        from fsspec.implementations.dirfs import DirFileSystem  # type: ignore[import-untyped]
        from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

        return DirFileSystem(str(self.get_directory()), LocalFileSystem())


def _path(url: str) -> Path:
    return Path(unquote(url.split("://", 1)[1].removeprefix("localhost"))) if "://" in url else Path(url)
