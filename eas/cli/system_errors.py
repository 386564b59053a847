"""Converts errors of the operating system (no space, no descriptors, no permission) into EASError with a hint."""

from __future__ import annotations

import errno

from eas.errors import EASError

_FOLDERS = "check that EAS_HOME, EAS_DATA_DIR and TMPDIR are folders that this user may write to"
HINTS = {
    errno.EMFILE: "allow more open files (`ulimit -n`), or start fewer workers",
    errno.ENFILE: "the machine has too many open files: end other programs",
    errno.EAGAIN: "allow more processes (`ulimit -u`), or start fewer workers",
    errno.ENOMEM: "free memory, or start fewer workers",
    errno.EFBIG: "allow larger files (`ulimit -f`)",
    errno.ENOSPC: "free space where EAS_HOME, EAS_DATA_DIR and TMPDIR are, and try again",
    errno.EDQUOT: "free space within your quota, and try again",
    errno.EROFS: _FOLDERS,
    errno.EACCES: _FOLDERS,
    errno.EPERM: _FOLDERS,
    errno.ENOENT: _FOLDERS,
    errno.ENOTDIR: _FOLDERS,
}


_NO_THREAD = "can't start new thread"
"""Python's message if the system refuses a thread; it does not include the errno."""


def to_eas_error(error: OSError | RuntimeError | MemoryError) -> EASError | None:
    """Return the error to show, or None if a user cannot correct its cause."""
    if isinstance(error, MemoryError):
        return EASError("there is not enough memory", hint=HINTS[errno.ENOMEM])
    if isinstance(error, RuntimeError):
        return EASError("no thread can be started", hint=HINTS[errno.EAGAIN]) if str(error) == _NO_THREAD else None
    hint = HINTS.get(error.errno or 0)
    if hint is None:
        return None
    where = f": {error.filename}" if error.filename else ""
    return EASError(f"{error.strerror}{where}", hint=hint)
