"""Shares numba's cache of compiled code between all clones and environments of a user.

numba identifies cached code by the path of its source file. This locator uses the content of the source instead,
so that equal files share the cache. Import this module before the one that compiles.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import UserWideCacheLocator

LOCATOR = "NUMBA_CACHE_LOCATOR_CLASSES"


def folder() -> Path:
    """Return the folder of the compiled code: ``NUMBA_CACHE_DIR``, else ``eas/numba`` in the user's cache folder."""
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eas" / "numba"


class ContentLocator(UserWideCacheLocator):
    """Finds compiled code by module name, the source's SHA-256 and numba's version."""

    def __init__(self, function: Any, source: str) -> None:
        super().__init__(function, source)  # type: ignore[no-untyped-call]
        digest = hashlib.sha256(Path(source).read_bytes()).hexdigest()[:20]
        self._cache_path = str(folder() / f"numba-{numba.__version__}" / f"{Path(source).stem}-{digest}")


def use() -> None:
    """Make numba find compiled code by content; fall back to numba's own locators if the folder is not writable."""
    names = (f"{__name__}.{ContentLocator.__name__}", "InTreeCacheLocator", "UserWideCacheLocator")
    # Set the variable, because numba reloads its settings whenever its environment variables change.
    os.environ.setdefault(LOCATOR, ",".join(names))
    numba.config.reload_config()  # type: ignore[no-untyped-call]


use()
