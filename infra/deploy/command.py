"""Logging and error handling of the commands that run in pods."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from eas.errors import EASError


def run(work: Callable[[], None]) -> int:
    """Do the work, logging to standard output; return the exit code.

    An EASError is logged as its message, without a traceback, and sets the exit code.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        work()
    except EASError as error:
        sys.stdout.write(f"error: {error}\n")
        return error.exit_code
    return 0
