"""``eas report`` and the files of a job, on a generated database."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.database_generator import generate
from eas.cli import main
from reports.job_reports import write_job_reports


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    generate(folder / "eas.sqlite", attempts=400, jobs=2).close()
    return folder


@pytest.fixture
def eas(home, monkeypatch, capsys):
    monkeypatch.setenv("EAS_HOME", str(home))
    for name in ("EAS_DATABASE_URL", "EAS_DATA_DIR", "EAS_QUEUE_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as left:
            main(["report", *arguments])
        printed = capsys.readouterr()
        assert left.value.code == code, printed.err
        return printed.out if code == 0 else printed.err

    return run


def test_progress(eas):
    assert eas("progress").splitlines()[0].split()[:4] == ["job_id", "job_name", "task_type", "waiting"]
    rows = json.loads(eas("progress", "--json", "--job_name", "sweep_2"))
    assert {row["job_id"] for row in rows} == {2}
    assert sum(row["waiting"] for row in rows) == 20
    assert sum(row["total"] for row in rows if not row["task_type"].startswith("execution")) == 200 + 20 - failed(
        eas, 2
    )


def failed(eas, job_id):
    return sum(row["state"] == "failed" for row in json.loads(eas("timings", "--json", "--job", str(job_id))))


def test_timings(eas, tmp_path):
    eas("timings", "--csv", str(tmp_path / "t.csv"))
    frame = pd.read_csv(tmp_path / "t.csv")
    assert len(frame) == 400
    assert {"size", "orbital_period [days]", "noise", "realisation", "wall_clock [s]", "host"} <= set(frame.columns)
    assert pd.to_datetime(frame["queued [UTC]"]).notna().all()
    out = list(csv.DictReader(io.StringIO(eas("timings", "--csv", "-", "--task-type", "verify"))))
    assert {row["task_type"] for row in out} == {"verify"}
    assert "wall_clock_median [s]" in eas("timings")


def test_pass_fail_and_its_pictures(eas, tmp_path):
    eas("pass-fail", "--csv", str(tmp_path / "p.csv"), "--pictures", str(tmp_path))
    frame = pd.read_csv(tmp_path / "p.csv")
    assert set(frame["passed"]) <= {0, 1}
    assert (tmp_path / "job_1_outcome_by_size.png").exists()
    assert (tmp_path / "job_1_detection_rate_by_size_and_orbital_period.png").exists()


def test_errors(eas):
    count = sum(row["count"] for row in json.loads(eas("errors", "--grouped", "--json")))
    assert count == len(json.loads(eas("errors", "--json")))
    assert ("ValueError" in eas("errors")) == (count > 0)


def test_tree(eas):
    text = eas("tree", "--max-depth", "1")
    assert text.splitlines()[0].startswith("job 1 sweep_1 (done): ")
    assert json.loads(eas("tree", "--json", "--job", "2"))[0]["counts"]["waiting"] == 20
    assert eas("tree", "--job", "sweep_2") == eas("tree", "--job", "2")
    assert eas("tree", "--running-only") == "no jobs to show\n"


def test_queue_workers_and_timeline(eas, tmp_path):
    assert eas("queue") == "all queues are empty\n"
    assert "verify" in eas("queue", "--all")
    assert len(json.loads(eas("workers", "--json"))) == 8
    assert "worker-3" in eas("workers")
    eas("timeline", "--picture", str(tmp_path / "t.png"))
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    assert len(json.loads(eas("timeline", "--json", "--since", "2026-01-01"))) == 400


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["progress", "--job-name", "nope"], "sweep_2"),
        (["timings", "--task-type", "nul"], "the task types are"),
        (["errors", "--since", "soon"], "12h"),
        (["tree", "--job", "77"], "no job 77"),
        (["tree", "--max-depth", "-1"], "max-depth"),
    ],
)
def test_wrong_requests_say_what_is_right(eas, arguments, said):
    assert said in eas(*arguments, code=2)


def test_the_files_of_a_job(home, tmp_path):
    from eas.taskdb.engine import TaskDatabase

    database = TaskDatabase(f"sqlite:///{home / 'eas.sqlite'}")
    paths = write_job_reports(database, 1, tmp_path)
    database.close()
    names = {path.name for path in paths}
    assert {"progress.csv", "timings.csv", "pass_fail.csv", "outcome_by_size.png"} <= names
    assert all(path.stat().st_size for path in paths)
    assert len(pd.read_csv(tmp_path / "timings.csv")) == 200
