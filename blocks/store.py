"""The block ``EASFileStore``: locations of file products, external input and reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefect.blocks.core import Block
from prefect.blocks.fields import SecretDict
from pydantic import Field, field_validator

from blocks.urls import DOCUMENTATION, LOGOS
from eas.errors import SettingsError
from eas.filestore import FileStore, open_store
from eas.filestore.opening import check_url, local_path


class EASFileStore(Block):
    """Store of the file products: a folder that all workers share, or any store that fsspec supports.

    Examples:
        Browse the file products:
        ```python
        from blocks import EASFileStore

        store = EASFileStore.load("BLOCK_NAME")
        print(store.get_filesystem().ls("detection_limit"))
        ```
    """

    _block_type_name = "EAS File Store"
    _block_type_slug = "eas-file-store"
    _documentation_url = DOCUMENTATION  # type: ignore[assignment]
    _logo_url = f"{LOGOS}/filesystem.png"  # type: ignore[assignment]

    url: str = Field(
        description="Root of the file products: an absolute path, a file:// URL, or any URL that fsspec understands, "
        "such as s3://bucket/eas."
    )
    options: SecretDict = Field(
        default_factory=lambda: SecretDict({}),
        description="Options for fsspec as JSON: endpoint, keys, ... Kept secret.",
    )
    data_directory: str | None = Field(
        default=None,
        description="Folder of external input, reports, logs and scratch files, where flows and workers run; "
        "default: from the settings of that machine.",
    )

    @field_validator("data_directory")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_absolute():
            raise ValueError("give an absolute path: workers run in other folders")
        return value

    @field_validator("url")
    @classmethod
    def _usable(cls, value: str) -> str:
        try:
            check_url(value)
        except SettingsError as error:
            raise ValueError(f"{error.what}; {error.hint}") from None
        return value

    def get_directory(self) -> Path | None:
        """Return the data folder, if this block names one."""
        return Path(self.data_directory) if self.data_directory else None

    def get_options(self) -> str:
        """Return the options as JSON, including secrets."""
        return json.dumps(self.options.get_secret_value())

    def get_store(self) -> FileStore:
        """Return the file store. Raises SettingsError if the package for its URL is not installed."""
        scratch = (self.get_directory() or Path.cwd() / "eas-data") / "scratch"
        return open_store(self.url, self.get_options(), scratch=scratch)

    def get_filesystem(self) -> Any:
        """Return an fsspec file system rooted in the file store, to browse it."""
        from eas.filestore.remote import open_files  # imports fsspec, which is slow

        return open_files(str(local_path(self.url) or self.url), self.options.get_secret_value())
