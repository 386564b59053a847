"""The EAS installation that the functions of ``eas`` use: that of the settings, or the one given to ``connect``."""

from __future__ import annotations

import atexit
import threading
from pathlib import Path
from typing import Any

from eas import settings
from eas.app import App

_LOCK = threading.Lock()
_overrides: dict[str, Any] = {}
_current: App | None = None


def connect(
    *,
    home: str | Path | None = None,
    database_url: str | None = None,
    queue_url: str | None = None,
    data_dir: str | Path | None = None,
    store_url: str | None = None,
) -> None:
    """Choose the installation that later calls use. By default they use the settings, like the commands.

    Parameters
    ----------
    home:
        Folder of the saved settings and of the embedded task database.
    database_url:
        SQLAlchemy URL of the task database, sqlite or MySQL.
    queue_url:
        ``sql:`` or ``amqp://...``.
    data_dir:
        Folder of file store, input and reports.
    store_url:
        The file store: an absolute path or a URL of fsspec.

    Raises
    ------
    SettingsError
        A value cannot be used.

    Examples
    --------
    >>> connect(home=folder)
    """
    given = {
        "home": Path(home).absolute() if home is not None else None,
        "database_url": database_url,
        "queue_url": queue_url,
        "data_dir": Path(data_dir).absolute() if data_dir is not None else None,
        "store_url": store_url,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    settings.load(**chosen)
    _overrides.clear()
    _overrides.update(chosen)


def app() -> App:
    """Return the `App` of the chosen installation; connections are kept until the settings change."""
    global _current  # noqa: PLW0603 - one system at a time, as with the commands
    with _LOCK:
        loaded = settings.load(**_overrides)
        if _current is None or _current.settings != loaded:
            if _current is not None:
                _current.close()
            _current = App(loaded)
        return _current


@atexit.register
def close() -> None:
    """Close the connections; a later call opens them again."""
    global _current  # noqa: PLW0603
    with _LOCK:
        if _current is not None:
            _current.close()
        _current = None
