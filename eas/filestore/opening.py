"""Opening a file store by its path or URL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from eas.errors import SettingsError
from eas.filestore.base import FileStore
from eas.filestore.local import LocalFileStore

LOCAL = ("file", "local")


def open_store(url: str, options: str = "", *, scratch: Path) -> FileStore:
    """Return the file store at a local path, a ``file://`` URL, or any URL that fsspec understands.

    Parameters
    ----------
    url:
        Its root, such as ``/data/eas/store`` or ``s3://bucket/eas``.
    options:
        Options for fsspec, a JSON object such as ``{"endpoint_url": ..., "key": ..., "secret": ...}``.
    scratch:
        Local folder for staging and for copies; a local store stages inside itself.

    Raises SettingsError for an invalid URL or options. Does not connect to the store; ``check`` does.
    """
    check_url(url)
    if (path := local_path(url)) is not None:
        return LocalFileStore(path)
    # fsspec and cloud clients import slowly; a local store does not need them.
    from eas.filestore.remote import open_remote

    return open_remote(url, _options(options), scratch)


def local_path(url: str) -> Path | None:
    """Return the local path that ``url`` denotes, or None for a remote URL."""
    if "://" not in url:
        return Path(url)
    if "::" in url or url.split("://", 1)[0] not in LOCAL:
        return None
    return Path(unquote(url.split("://", 1)[1].removeprefix("localhost")))


def check_url(url: str) -> None:
    """Raise SettingsError where ``url`` is a relative path, or holds a password: it shows in messages and in the UI."""
    path = local_path(url)
    if path is not None and not path.is_absolute():
        raise SettingsError(
            f"the file store's path {url!r} is not absolute", hint="give an absolute one: workers run in other folders"
        )
    if path is None and any(urlsplit(part).password for part in url.split("::")):
        raise SettingsError(
            "the file store's URL holds a password",
            hint='set it separately: EAS_STORE_OPTIONS=\'{"password": "..."}\', or in fsspec\'s own configuration',
        )


def _options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text or "{}")
    except ValueError:
        options = None
    if not isinstance(options, dict):
        # The message leaves out the text, because it may hold secrets.
        raise SettingsError(
            "the file store's options are not a JSON object",
            hint='e.g. EAS_STORE_OPTIONS=\'{"endpoint_url": "https://..."}\'',
        )
    return options
