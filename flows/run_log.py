"""Forwards the log of EAS to the log of a flow run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger

from eas.plain_text import RecordFormatter


class _Forward(logging.Handler):
    """Passes records of all threads to the logger of a flow run."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.target = get_run_logger()
        self.setFormatter(RecordFormatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.target.log(record.levelno, "%s", self.format(record))


@contextmanager
def forward_logs_to_flow_run() -> Iterator[None]:
    """Forward the log of EAS in this process to the flow run, so that the UI shows it."""
    logger, handler = logging.getLogger("eas"), _Forward()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
