"""Totals of every report are SQL's own counts, whatever is in the database."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eas.taskdb.queries import progress
from eas.taskdb.queries.reports import Filters, snapshot
from reports import assemble, tables
from reports.files import csv_text, write_csv
from reports.progress import STATES, under_way
from reports.progress_picture import progress_picture
from reports.tree import STATE_ORDER, tree_lines
from tests.integration.reports.random_databases import JOBS, make

CONTROL = "('execution_chain', 'execution_for_loop', 'execution_do_while_loop')"
ENDED = "('done', 'failed', 'stalled', 'cancelled')"


def sql(connection, text):
    return [tuple(row) for row in connection.exec_driver_sql(text)]


def one(connection, text):
    return connection.exec_driver_sql(text).scalar_one()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(JOBS, st.sampled_from([Filters(), Filters(job_name="sweep"), Filters(task_type="verify"), Filters(job_id=1)]))
def test_totals_are_those_of_sql(tmp_path_factory, jobs, filters):
    folder = tmp_path_factory.mktemp("reports")
    database = make(jobs, folder)
    with snapshot(database) as connection:
        check_progress(connection, filters)
        check_timings(connection, filters, folder)
        check_pass_fail(connection, filters)
        check_errors(connection, filters, folder)
        check_tree(connection, filters)
        check_activity(connection, filters)
    database.close()


def where(filters, task="t"):
    parts = ["1 = 1"]
    if filters.job_name:
        parts.append(f"{task}.job_name = '{filters.job_name}'")
    if filters.task_type:
        parts.append(f"{task}.task_type = '{filters.task_type}'")
    if filters.job_id:
        parts.append(f"{task}.job_id = {filters.job_id}")
    return " AND ".join(parts)


def check_progress(connection, filters):
    frame = assemble.progress(connection, filters, 2_000_000.0)
    for state in STATES:
        text = f"SELECT count(*) FROM tasks t WHERE state = '{state}' AND {where(filters)}"
        assert frame[state].sum() == one(connection, text)
    assert frame["total"].sum() == one(connection, f"SELECT count(*) FROM tasks t WHERE {where(filters)}")
    assert not frame.duplicated(["job_id", "task_type"]).any()
    assert (frame["time_left [s]"].dropna() >= 0).all()
    check_first_starts(connection, filters)
    list(tables.plain_lines(frame))


def check_first_starts(connection, filters):
    wanted = under_way(progress.task_counts(connection, filters))
    earliest = {
        (job, kind): first
        for job, kind, first in sql(
            connection,
            "SELECT a.job_id, a.task_type, min(a.claimed_at) FROM attempts a JOIN jobs j ON j.id = a.job_id "
            "WHERE j.state IN ('submitted', 'running') AND a.claimed_at IS NOT NULL GROUP BY 1, 2",
        )
    }
    assert progress.first_starts(connection, wanted) == {key: earliest[key] for key in wanted if key in earliest}


def check_timings(connection, filters, folder: Path):
    summary = assemble.write_timings(connection, filters, folder / "timings.csv")
    wanted = f"FROM attempts a JOIN tasks t ON t.id = a.task_id WHERE a.state IN {ENDED} AND {where(filters)}"
    with (folder / "timings.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["attempt_id"]) for row in rows] == [
        row[0] for row in sql(connection, f"SELECT a.id {wanted} ORDER BY 1")
    ]
    states = sql(connection, f"SELECT a.task_type, a.state, count(*) {wanted} GROUP BY 1, 2 ORDER BY 1, 2")
    assert list(summary[["task_type", "state", "attempts"]].itertuples(index=False, name=None)) == states
    total = one(
        connection,
        f"SELECT coalesce(sum(r.wall), 0) FROM attempt_results r WHERE r.attempt_id IN (SELECT a.id {wanted})",
    )
    assert math.isclose(summary["wall_clock_total [s]"].sum(), total, abs_tol=1e-3)
    assert not any(None in row or row.get(None) for row in rows)
    streamed = pd.concat(assemble.timings_frames(connection, filters), ignore_index=True)
    assert len(streamed) == len(rows)


def check_pass_fail(connection, filters):
    frame = pd.concat(assemble.pass_fail(connection, filters), ignore_index=True)
    joined = "tasks t JOIN attempt_results r ON r.attempt_id = t.accepted_attempt_id"
    accepted = f"SELECT r.output_metadata FROM {joined} WHERE {where(filters)}"
    found = [json.loads(row[0]) for row in sql(connection, accepted)]
    found = [each for each in found if "outcome" in each]
    assert len(frame) == len(found)
    for outcome, passed in (("PASS", 1), ("FAIL", 0)):
        count = sum(each["outcome"] == outcome for each in found)
        assert (frame["outcome"] == outcome).sum() == count
        assert sum(value == passed for value in frame["passed"] if value is not None) == count
    assert len({name.casefold() for name in frame.columns}) == len(frame.columns)
    csv_text(frame)


def check_errors(connection, filters, folder: Path):
    grouped = assemble.write_errors(connection, filters, folder / "errors.csv")
    is_error = "(e.level >= 40 OR e.traceback IS NOT NULL)"
    of_attempt = f"JOIN tasks t ON t.id = a.task_id WHERE {where(filters)}"
    logged = f"SELECT count(*) FROM log_entries e JOIN attempts a ON a.id = e.attempt_id {of_attempt} AND {is_error}"
    silent = (
        f"SELECT count(*) FROM attempts a {of_attempt} AND a.state IN ('failed', 'stalled') "
        f"AND a.id NOT IN (SELECT e.attempt_id FROM log_entries e WHERE {is_error})"
    )
    untried = (
        f"SELECT count(*) FROM tasks t WHERE {where(filters)} AND t.state = 'failed' AND t.reason IS NOT NULL "
        "AND t.id NOT IN (SELECT task_id FROM attempts)"
    )
    total = one(connection, logged) + one(connection, silent) + one(connection, untried)
    assert grouped["count"].sum() == total
    with (folder / "errors.csv").open(encoding="utf-8-sig", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == total
    newest, again = assemble.newest_errors(connection, filters, 2)
    assert len(newest) == min(2, total)
    assert again["count"].tolist() == grouped["count"].tolist()


def check_tree(connection, filters):
    for depth in (0, 2, 9):
        roots = assemble.job_tree(connection, filters, depth)
        for state in STATE_ORDER:
            text = (
                f"SELECT count(*) FROM tasks t WHERE state = '{state}' AND {where(filters)} "
                f"AND (task_type IS NULL OR task_type NOT IN {CONTROL})"
            )
            assert sum(root.counts.get(state, 0) for root in roots) == one(connection, text)
        for node in walk(roots):
            if node.children:
                for state in STATE_ORDER:
                    assert node.counts.get(state, 0) == sum(child.counts.get(state, 0) for child in node.children)
        assert all("\n" not in line for line in tree_lines(roots))
        json.dumps([root.to_json() for root in roots])


def walk(nodes):
    for node in nodes:
        yield node
        yield from walk(node.children)


def check_activity(connection, filters):
    queues = assemble.queues(connection, filters, 2_000_000.0, 300.0)
    kinds = f" AND a.task_type = '{filters.task_type}'" if filters.task_type else ""
    names = f" AND t.job_name = '{filters.job_name}'" if filters.job_name else ""
    if filters.job_id:
        names += f" AND t.job_id = {filters.job_id}"
    for state in ("queued", "running"):
        text = (
            f"SELECT count(*) FROM attempts a JOIN tasks t ON t.id = a.task_id WHERE a.state = '{state}'{kinds}{names}"
        )
        assert queues[state].sum() == one(connection, text)
    workers = assemble.workers(connection, filters, 2_000_000.0)
    for state in ("done", "failed", "stalled"):
        text = f"SELECT count(*) FROM attempts WHERE state = '{state}' AND worker_id IS NOT NULL"
        assert workers[state].sum() == one(connection, text)
    timeline = pd.concat(assemble.timeline(connection, filters, 2_000_000.0), ignore_index=True)
    joined = "attempts a JOIN tasks t ON t.id = a.task_id"
    text = f"SELECT count(*) FROM {joined} WHERE a.worker_id IS NOT NULL AND {where(filters)}"
    assert len(timeline) == one(connection, text)


def test_an_empty_database_gives_tables_with_headers(tmp_path):
    database = make([], tmp_path)
    with snapshot(database) as connection:
        for filters in (Filters(), Filters(since=5.0)):
            frames = [
                assemble.progress(connection, filters, 1.0),
                pd.concat(assemble.pass_fail(connection, filters)),
                pd.concat(assemble.error_frames(connection, filters)),
                pd.concat(assemble.timings_frames(connection, filters)),
                pd.concat(assemble.timeline(connection, filters, 1.0)),
                assemble.write_errors(connection, filters, None),
            ]
            for number, frame in enumerate(frames):
                assert frame.empty
                path = write_csv(frame, tmp_path / f"{number}.csv")
                assert list(pd.read_csv(path).columns) == list(frame.columns)
            assert assemble.job_tree(connection, filters, 5) == []
            assert progress_picture(frames[0])
    database.close()


@pytest.mark.parametrize("since", [None, 0.0, 1e12])
def test_since_is_a_limit(since, tmp_path):
    leaf = {"type": "verify", "state": "done", "open": None, "reason": None,
            "attempts": [{"state": "done", "started": True, "wall": 1.0, "output": {"outcome": "PASS"},
                          "log": [(40, "x", None)]}]}  # fmt: skip
    loop = {"parameter": "size", "while": False, "iterations": [(0.5, [leaf])]}
    database = make([{"name": "sweep", "state": "running", "loops": [loop]}], tmp_path)
    expected = 0 if since == 1e12 else 1
    with snapshot(database) as connection:
        filters = Filters(since=since)
        assert sum(map(len, assemble.timings_frames(connection, filters))) == expected
        assert sum(map(len, assemble.pass_fail(connection, filters))) == expected
        assert sum(map(len, assemble.error_frames(connection, filters))) == expected
        assert sum(map(len, assemble.timeline(connection, filters, 2e6))) == expected
        assert len(assemble.job_tree(connection, filters, 5)) == 1
    database.close()


def test_first_starts_read_a_few_entries_of_an_index(tmp_path):
    database = make([], tmp_path)
    with snapshot(database) as connection:
        compiled = progress._first_tasks().compile(connection, compile_kwargs={"render_postcompile": True})
        values = compiled.construct_params({"job": 1, "kind": "verify"})
        arguments = tuple(values[name] for name in compiled.positiontup)
        seen = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", arguments)]
    database.close()
    assert any("COVERING INDEX ix_tasks_progress (job_id=? AND task_type=? AND state=?)" in each for each in seen)
    assert not any("TEMP B-TREE" in each or each.startswith("SCAN tasks") for each in seen), seen
