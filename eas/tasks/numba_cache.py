"""Where numba keeps compiled code: once for each user of a machine, not once for each clone or environment.

numba files compiled code by the path of its source. Here the source's content counts instead, so that
equal files share it wherever they lie. Import this module before the one that compiles.
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
    """Let numba find compiled code by content; where that folder cannot be written, numba's own places follow."""
    names = (f"{__name__}.{ContentLocator.__name__}", "InTreeCacheLocator", "UserWideCacheLocator")
    # numba reads its settings again whenever its environment variables change: the variable is what lasts.
    os.environ.setdefault(LOCATOR, ",".join(names))
    numba.config.reload_config()  # type: ignore[no-untyped-call]


use()
