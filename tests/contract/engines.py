"""What suites share that every engine of the task database inherits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase


class EngineContract:
    """A suite whose tests get a clean task database; subclasses name the engine: sqlite or mariadb."""

    engine = ""

    @pytest.fixture
    def database(self, database_url: Callable[[str], str]) -> Iterator[TaskDatabase]:
        database = TaskDatabase(database_url(self.engine))
        yield database
        database.close()

    @pytest.fixture
    def store(self, database: TaskDatabase) -> AttemptClaims:
        return AttemptClaims(database)
