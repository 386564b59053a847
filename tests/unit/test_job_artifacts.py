"""What the Prefect UI shows of a job: progress and summary, as pure functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from eas.model import CHAIN
from eas.orchestration.job_summary import Failure, JobSummary
from eas.states import TaskState
from flows.artifacts import artifact_key, indented, linked, picture
from flows.job_progress import percent_and_text
from flows.job_summary import MAX_FAILURES, markdown


def summary(failures: list[Failure], **counts: dict[str, int]) -> JobSummary:
    return JobSummary(7, "sweep", "failed", counts, failures, 75.25)


def failure(number: int, state: str, reason: str, task_type: str = "verify") -> Failure:
    return Failure(number, task_type, f"{task_type} [i={number}]", state, reason)


@pytest.mark.parametrize(
    ("name", "key"),
    [("job-Detection limit (2)-summary", "job-detection-limit-2-summary"), ("__x__", "x"), ("Ärger", "rger")],
)
def test_keys_of_artifacts_are_as_prefect_wants_them(name: str, key: str) -> None:
    assert artifact_key(name) == key


def test_progress_counts_leaf_tasks_that_have_settled() -> None:
    counts = {
        ("null", TaskState.DONE): 6,
        ("null", TaskState.FAILED): 1,
        ("verify", TaskState.RUNNING): 2,
        ("verify", TaskState.WAITING): 1,
        (CHAIN, TaskState.RUNNING): 3,
    }
    assert percent_and_text(counts) == (70.0, "6 of 10 tasks done, 1 waiting, 2 running, 1 failed")


def test_progress_tells_what_may_still_grow() -> None:
    assert percent_and_text({(CHAIN, TaskState.WAITING): 2}) == (
        0.0,
        "0 of 0 tasks done, 2 control tasks still to expand",
    )


def test_the_summary_has_a_table_without_empty_columns() -> None:
    text = markdown(summary([], null={"done": 3, "failed": 1}, verify={"done": 2}), [Path("/data/a.csv")], {})
    assert "# sweep (job 7): failed" in text
    assert "in 1 min 15 s" in text
    assert "| task type | done | failed |" in text
    assert "| `verify` | 2 |  |" in text
    assert "blocked" not in text
    assert "- `/data/a.csv`" in text


def test_equal_failures_are_listed_once_and_what_blocks_comes_first() -> None:
    failures = [failure(n, "blocked", "blocked by synthesis (task 1), which failed") for n in range(2, 9)]
    failures.append(failure(1, "failed", "Traceback (most recent call last):\n  ...\nValueError: no flux", "synthesis"))
    text = markdown(summary(failures, verify={"blocked": 7}), [], {})
    assert text.index("**1 synthesis failed**") < text.index("**7 verify blocked**")
    assert "    ValueError: no flux" in text
    assert "Traceback" not in text
    assert "and 4 more" in text
    assert "eas reschedule --job-id 7" in text


def test_a_failure_is_shown_with_its_reason_and_its_hint_whichever_task_it_is() -> None:
    leaf = failure(1, "failed", "the light curve is empty (give one with samples)")
    control = failure(2, "failed", "a.json: 1 problem:\n  values: is empty\n    -> give a value", "execution_for_loop")
    text = markdown(summary([leaf, control], verify={"failed": 1}), [], {})
    assert "    the light curve is empty (give one with samples)" in text
    assert "    a.json: 1 problem: values: is empty -> give a value" in text


def test_many_different_failures_do_not_flood_the_page() -> None:
    failures = [failure(n, "failed", f"reason {n}") for n in range(MAX_FAILURES + 5)]
    text = markdown(summary(failures, verify={"failed": 25}), [], {})
    assert text.count("verify failed**") == MAX_FAILURES
    assert "and 5 failed for other reasons" in text


def test_pictures_are_in_the_text_itself() -> None:
    assert picture("a", b"\x89PNG") == "![a](data:image/png;base64,iVBORw==)"


def test_no_fence_ends_an_indented_block() -> None:
    assert indented("a\n```\nb") == "    a\n    ```\n    b"


HOSTILE = "<b>x</b> [y](http://z) `a` | **b** # c\n# d"


def test_the_summary_links_to_the_pages_of_job_and_task() -> None:
    bad = failure(3, "failed", "no signal")
    text = markdown(summary([bad], verify={"failed": 1}), [], {}, "http://eas.test/")
    assert "# [sweep (job 7)](http://eas.test/jobs/7): failed" in text
    assert "[task 3](http://eas.test/tasks/3)" in text
    assert "http" not in markdown(summary([bad], verify={"failed": 1}), [], {})


def test_markdown_shows_what_a_user_wrote_as_it_is() -> None:
    bad = Failure(3, "verify", f'verify "{HOSTILE}"', "failed", HOSTILE)
    text = markdown(JobSummary(7, HOSTILE, "failed", {}, [bad], 1.0, HOSTILE), [], {})
    outside = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    assert "<b>" not in outside
    assert "](http" not in outside
    assert outside.count("\n# ") == 0
    assert linked("x", "") == "x"
