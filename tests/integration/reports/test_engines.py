"""Reports say the same whatever engine holds the task database."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.database_generator import Generator
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries.reports import Filters, check, snapshot
from reports import assemble
from reports.tree import tree_lines
from tests.services import database_url, shared_mariadb  # noqa: F401

NOW = 1_800_000_000.0
FILTERS = (
    Filters(),
    Filters(job_name="sweep_2", since=1.0),
    Filters(task_type="verify"),
    Filters(job_id=1, task_type="verify", since=1e12),
)


def everything(url: str, folder) -> list[str]:
    database = TaskDatabase(url)
    Generator(database, 300, 2).run()
    said = []
    with snapshot(database) as connection:
        for filters in FILTERS:
            check(connection, filters)
            frames = [
                assemble.progress(connection, filters, NOW),
                assemble.write_timings(connection, filters, folder / "timings.csv"),
                pd.concat(assemble.timings_frames(connection, filters)),
                pd.concat(assemble.pass_fail(connection, filters)),
                pd.concat(assemble.error_frames(connection, filters)),
                assemble.queues(connection, filters, NOW, 300.0),
                assemble.workers(connection, filters, NOW),
                pd.concat(assemble.timeline(connection, filters, NOW)),
            ]
            said += [frame.to_csv() for frame in frames]
            said += [(folder / "timings.csv").read_text()]
            said += tree_lines(assemble.job_tree(connection, filters, 5))
    database.close()
    return said


@pytest.mark.filterwarnings("error")
def test_mariadb_says_what_sqlite_says(database_url, tmp_path):  # noqa: F811
    assert everything(database_url("mariadb"), tmp_path) == everything(database_url("sqlite"), tmp_path)
