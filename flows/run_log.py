"""The log of EAS as the log of a flow run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger


class _Forward(logging.Handler):
    """Hands records to a flow run's logger, whichever thread they come from."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.target = get_run_logger()
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.target.log(record.levelno, "%s", self.format(record))


@contextmanager
def eas_log_shown() -> Iterator[None]:
    """Let the UI show, as this flow run's, what EAS itself logs in this process."""
    logger, handler = logging.getLogger("eas"), _Forward()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
