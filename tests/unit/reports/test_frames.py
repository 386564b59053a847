import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest

from eas.errors import RequestError
from eas.plain_text import last_line
from reports import errors, live_tables, outcomes, timings
from reports.filters import parse_since
from reports.progress import COLUMNS, progress_frame


def outcome_row(metadata, output, task_id=1):
    return SimpleNamespace(
        job_id=1,
        job_name="job",
        task_type="transit_search_bls_reference",
        id=task_id,
        accepted_attempt_id=task_id,
        metadata=json.dumps(metadata),
        output_metadata=json.dumps(output),
    )


def pass_fail(rows):
    return pd.concat(outcomes.pass_fail_frames([rows], outcomes.layout([rows])), ignore_index=True)


def test_progress_has_a_row_for_each_job_and_type_control_tasks_last():
    rows = [(1, "j", "execution_chain", "done", 2), (1, "j", "verify", "done", 3), (1, "j", "verify", "waiting", 1),
            (1, "j", None, "waiting", 1), (2, "k", "verify", "failed", 1)]  # fmt: skip
    frame = progress_frame(rows, {(1, "verify"): 100.0}, now=130.0)
    assert list(frame.columns) == list(COLUMNS)
    assert frame["task_type"].tolist() == ["?", "verify", "execution_chain", "verify"]
    assert frame["total"].tolist() == [1, 4, 2, 1]
    assert frame["percent_done [%]"].tolist() == [0, 75, 100, 0]
    left = frame["time_left [s]"].tolist()
    assert math.isnan(left[0])
    assert left[1:] == [10, 0, 0]


def test_there_is_no_time_left_without_a_basis():
    row = [(1, "j", "verify", "running", 5)]
    assert progress_frame(row, {(1, "verify"): 100.0}, 130.0)["time_left [s]"].isna().all()
    assert progress_frame([*row, (1, "j", "verify", "done", 5)], {}, 130.0)["time_left [s]"].isna().all()


def test_an_empty_progress_table_has_its_header():
    frame = progress_frame([])
    assert list(frame.columns) == list(COLUMNS)
    assert frame.empty


def test_clashing_parameters_and_results_have_columns_of_their_own():
    metadata = {"period": 3, "period_index": 0, "outcome": "x", "outcome_index": 1, "task_id": 9, "task_id_index": 0}
    output = {"outcome": "PASS", "period": 3.01, "job_name": 7, "text": "no", "flag": True, "passed": 0.5}
    row = pass_fail([outcome_row(metadata, output)]).iloc[0].to_dict()
    assert row["job_name"] == "job"
    assert row["task_id"] == 1
    assert row["outcome"] == "PASS"
    assert row["passed"] == 1
    assert row["period [days]"] == 3
    assert row["parameter_outcome"] == "x"
    assert row["parameter_task_id"] == 9
    assert row["result_period [days]"] == 3.01
    assert row["result_job_name"] == 7
    assert row["result_passed"] == 0.5
    assert not {"text", "flag"} & set(row)


def test_outcomes_that_are_neither_are_empty_and_rows_without_one_are_left_out():
    rows = [
        outcome_row({}, {"outcome": "UNDEFINED", "power": math.nan}),
        outcome_row({}, {"outcome": "FAIL", "power": None}, 2),
        outcome_row({}, {"text": 'has "outcome" in it'}, 3),
        outcome_row({}, {"outcome": None}, 4),
    ]
    frame = pass_fail(rows)
    assert frame["task_id"].tolist() == [1, 2, 4]
    assert frame["passed"].tolist() == [None, 0, None]
    assert frame["power"].isna().all()


def test_detection_rates_count_pass_among_pass_and_fail():
    sweep = [(a, b, o) for a in (1, 2) for b in (0.1, 0.2) for o in ("PASS", "FAIL", "FAIL", "UNDEFINED")]
    rows = [
        outcome_row({"a": a, "a_index": 0, "b": b, "b_index": 0}, {"outcome": o}, n)
        for n, (a, b, o) in enumerate(sweep)
    ]
    frame = pass_fail(rows)
    assert outcomes.varied_parameters(frame) == ["a", "b"]
    rates = outcomes.detection_rates(frame, "a", "b")
    assert len(rates) == 4
    assert rates["detection_rate"].tolist() == [1 / 3] * 4
    assert rates[["passed", "failed", "undefined"]].sum().tolist() == [4, 8, 4]


def timing_row(**changes):
    row = {"job_id": 1, "job_name": "j", "task_type": "verify", "task_id": 2, "id": 3, "number": 1, "state": "done",
           "worker_id": "w", "queued_at": 10.0, "started_at": 11.5, "ended_at": 14.0, "wall": 2.5, "cpu": 1.0,
           "cpu_children": 2.0, "peak_memory": 30.0, "qc_passed": True,
           "metadata": '{"host": 5, "host_index": 0}'}  # fmt: skip
    return tuple((row | changes).values())


def test_timings_keep_their_columns_when_a_parameter_has_the_name_of_one():
    columns = timings.parameter_columns(["host"])
    frame = timings.timings_frame([timing_row()], columns, {"w": "node"})
    assert frame.iloc[0].to_dict() == {
        "job_id": 1, "job_name": "j", "task_type": "verify", "task_id": 2, "attempt_id": 3, "attempt_number": 1,
        "state": "done", "parameter_host": 5, "host": "node", "worker": "w",
        "queued [UTC]": "1970-01-01T00:00:10.000Z", "started [UTC]": "1970-01-01T00:00:11.500Z",
        "ended [UTC]": "1970-01-01T00:00:14.000Z", "wait [s]": 1.5, "wall_clock [s]": 2.5, "cpu [s]": 1.0,
        "cpu_with_children [s]": 2.0, "peak_memory [MB]": 30.0, "qc": "passed",
    }  # fmt: skip


def test_what_never_ran_has_empty_timings():
    never = {"worker_id": None, "started_at": None, "wall": None, "cpu": None, "cpu_children": None,
             "peak_memory": None, "qc_passed": None, "state": "cancelled", "metadata": "{}"}  # fmt: skip
    frame = timings.timings_frame([timing_row(**never)], {}, {})
    assert frame[["host", "worker", "started [UTC]", "qc"]].iloc[0].tolist() == ["", "", "", ""]
    assert frame[list(timings.MEASURE_COLUMNS)].isna().all(axis=None)


def test_the_summary_counts_and_sums_by_type_and_state():
    summary = timings.TimingsSummary()
    rows = [timing_row(wall=float(n)) for n in range(1, 101)] + [timing_row(state="failed", wall=None)]
    list(summary.watch(timings.timings_frames([rows[:50], rows[50:]], {"host": "h"}, {})))
    done, failed = (row for _, row in summary.frame().iterrows())
    assert (done["attempts"], done["wall_clock_total [s]"], done["wall_clock_median [s]"]) == (100, 5050, 50.5)
    assert (done["wall_clock_p95 [s]"], done["wall_clock_max [s]"], done["cpu_total [s]"]) == (95.05, 100, 100)
    assert failed["attempts"] == 1
    assert math.isnan(failed["wall_clock_mean [s]"])
    assert timings.TimingsSummary().frame().empty


def test_errors_with_the_same_last_line_are_counted_once():
    def row(time, message, trace):
        return (time, 1, "j", "verify", 1, 7, 1, "w", 40, "log", message, trace)

    groups = errors.ErrorGroups()
    rows = [
        row(5.0, "oh", "Traceback\nValueError: x"),
        row(1.0, "no", "other\nValueError: x\n"),
        row(3.0, "only this", None),
    ]
    frame = pd.concat(groups.watch(errors.error_frames([rows], {"w": "node"})))
    assert frame["host"].tolist() == ["node"] * 3
    assert frame["level"].tolist() == ["ERROR"] * 3
    grouped = groups.frame()
    assert grouped["count"].tolist() == [2, 1]
    assert grouped["last_line"].tolist() == ["ValueError: x", "only this"]
    assert grouped["first [UTC]"].iloc[0] < grouped["last [UTC]"].iloc[0]
    assert last_line(None, None) == last_line("", " \n") == ""


def test_a_queue_tells_who_serves_it():
    rows = [("verify", "eas-base", 2, 1, 4, 1, 40.0, None), ("tls", "eas-worker-tls", 0, 0, 0, 0, None, 5.0)]
    frame = live_tables.queue_frame(rows, {"eas-worker-tls": 1, "eas-base": 2}, now=100.0)
    assert frame["workers_alive"].tolist() == [2, 1]
    assert frame[["queued", "due", "held_back", "running"]].to_numpy().tolist() == [[2, 1, 4, 1], [0, 0, 0, 0]]
    assert frame["oldest_age [s]"].tolist()[0] == 60
    assert frame["paused [UTC]"].tolist() == ["", "1970-01-01T00:00:05.000Z"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-02", 86400.0), ("1970-01-01T01:00", 3600.0), ("1970-01-01T01:00+01:00", 0.0), ("90min", 4600.0),
     ("2d", 10000.0 - 172800), (" 1.5 h ", 4600.0), (None, None), ("", None)],
)  # fmt: skip
def test_since(text, seconds):
    assert parse_since(text, 10_000.0) == seconds


def test_a_since_that_is_no_time_is_refused():
    with pytest.raises(RequestError, match="yesterday"):
        parse_since("yesterday", 0.0)
