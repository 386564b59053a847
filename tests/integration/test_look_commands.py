"""``eas jobs``, ``show``, ``logs``, ``files``, ``lineage``, ``get`` and ``plot`` on a job that has run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eas.cli import main
from eas.lightcurves import files as lightcurve_files
from tests import hostile
from tests.integration.harness import System
from tests.observed import home, observed, task_id  # noqa: F401

NAMES = ("EAS_DATABASE_URL", "EAS_DATA_DIR", "EAS_QUEUE_URL", "EAS_STORE_URL", "EAS_WEB_URL")


@pytest.fixture
def eas(monkeypatch, capsys):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object, code: int = 0, at: Path | None = None) -> str:
        if at is not None:
            monkeypatch.setenv("EAS_HOME", str(at))
        with pytest.raises(SystemExit) as left:
            main([str(each) for each in arguments])
        printed = capsys.readouterr()
        assert left.value.code == code, printed.err
        return printed.out if code == 0 else printed.err

    return run


@pytest.fixture
def look(eas, observed: System, monkeypatch):  # noqa: F811
    monkeypatch.setenv("EAS_HOME", str(home(observed)))
    return eas


def test_jobs_have_a_line_each(look):
    lines = look("jobs").splitlines()
    assert lines[0].startswith("job  name      state      done")
    assert lines[1].split()[:3] == ["2", "waits", "submitted"]
    assert lines[1].endswith("none")
    assert lines[2].split()[:4] == ["1", "observed", "failed", "75%"]
    newest, job = json.loads(look("jobs", "--json"))
    assert newest["driver"] == ""
    assert (job["tasks"], job["by_state"], job["driver"]) == (8, {"done": 6, "failed": 1, "blocked": 1}, None)
    assert [each["id"] for each in json.loads(look("jobs", "--json", "--state", "failed", "--limit", 1))] == [1]


def test_a_task_is_shown_whole(look, observed):  # noqa: F811
    task = task_id(observed, "product", 1)
    text = look("show", task)
    assert text.startswith(f'task {task}  multiply "product" [size=0.2]  done\n')
    for said in ("wd/curve_1.lc", "synthesis_batman", "QC passed: lightcurve exists", "orbital_period", "host"):
        assert said in text
    found = json.loads(look("show", task, "--json"))
    assert found["descriptor"]["task"] == "multiply"
    assert found["descriptor"]["outputs"] == {"lightcurve": "'p_{size_index}.lc'.format(**metadata)"}
    assert [each["semantic"] for each in found["inputs"]] == ["lightcurve_1", "lightcurve_2"]
    assert found["inputs"][0]["maker"]["id"] == task_id(observed, "synthesis", 1)
    assert found["outputs"][0]["version"]["passed_qc"] is True
    assert [each["label"] for each in found["above"]] == [
        "execution_chain", 'execution_for_loop "sweep"', "execution_chain [size=0.2]",
    ]  # fmt: skip


def test_why_a_task_does_not_run_is_shown(look, observed):  # noqa: F811
    blocked = look("show", task_id(observed, "never"))
    assert f'blocked by error "broken" (task {task_id(observed, "broken")}), which failed' in blocked
    root = observed.rows(observed_tasks(2))[0].id
    assert "no process drives job 2" in look("show", root)


def observed_tasks(job_id: int):
    from eas.taskdb import tables

    return tables.tasks.select().where(tables.tasks.c.job_id == job_id)


def test_the_page_of_a_task_is_named(look, monkeypatch):
    monkeypatch.setenv("EAS_WEB_URL", "https://eas.example/")
    assert "https://eas.example/tasks/1\n" in look("show", 1)


def test_logs_of_a_task_and_of_a_job(look, observed):  # noqa: F811
    broken = task_id(observed, "broken")
    text = look("logs", broken)
    assert "DeliberateError" in text
    assert "Traceback" in text
    everything = json.loads(look("logs", "--job", "observed", "--json"))
    assert [each["id"] for each in everything] == sorted(each["id"] for each in everything)
    errors = json.loads(look("logs", "--job", 1, "--level", "error", "--json"))
    assert [each["task_id"] for each in errors] == [broken]
    assert len(everything) > len(errors)
    assert look("logs", "--job", "observed", "--follow") == look("logs", "--job", "observed")


def test_following_prints_what_is_written_meanwhile(look, observed, monkeypatch):  # noqa: F811
    from eas.cli import task_logs
    from eas.taskdb import tables

    row = observed.rows(tables.attempts.select().where(tables.attempts.c.task_id == task_id(observed, "check")))[0]
    steps = []

    def pause(_seconds: float) -> None:
        steps.append(1)
        with observed.app.database.write() as connection:
            entry = {"attempt_id": row.id, "job_id": 2, "logged_at": 1e9, "level": 20, "logger": "l"}
            connection.execute(tables.log_entries.insert().values(**entry, message=f"news {len(steps)}"))

    monkeypatch.setattr(task_logs.time, "sleep", pause)
    monkeypatch.setattr(task_logs, "JobState", lambda _state: type("State", (), {"final": len(steps) >= 2}))
    lines = look("logs", "--job", "waits", "--follow").splitlines()
    assert [line.rpartition(" ")[0][-4:] + line[-2:] for line in lines] == ["news 1", "news 2"]


def test_files_and_their_lineage(look, observed):  # noqa: F811
    rows = json.loads(look("files", "observed", "--json"))
    assert sorted(row["file"] for row in rows) == ["wd/curve_0.lc", "wd/curve_1.lc", "wd/p_0.lc", "wd/p_1.lc"]
    assert "wd/p_1.lc" in look("files")
    assert len(look("files", 1, "--limit", 2).splitlines()) == 3
    up = look("lineage", "p_0.lc")
    assert f"made by task {task_id(observed, 'product')} multiply" in up
    assert "wd/curve_0.lc" in up
    down = json.loads(look("lineage", "wd/curve_0.lc", "--down", "--json"))
    readers = {edge["task_id"] for edge in down["edges"] if edge["direction"] == "in"}
    names = ("check", "product", "broken")
    assert {task_id(observed, name) for name in names} <= readers


def test_a_file_is_fetched_and_drawn(look, tmp_path):
    look("get", "curve_0.lc", "-o", tmp_path)
    assert len(lightcurve_files.read(tmp_path / "curve_0.lc")) == 2880
    look("plot", "curve_0.lc", "-o", tmp_path / "span.png")
    look("plot", "curve_0.lc", "--fold", "-o", tmp_path / "folded.png")
    look("plot", "curve_0.lc", "--period", 2.5, "-o", tmp_path / "given.png")
    pictures = [(tmp_path / f"{name}.png").read_bytes() for name in ("span", "folded", "given")]
    assert all(each.startswith(b"\x89PNG") for each in pictures)
    assert len(set(pictures)) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "99999"], "no task 99999"),
        (["show", "x"], "not a valid integer"),
        (["logs"], "--job JOB"),
        (["logs", "1", "--job", "1"], "--job JOB"),
        (["logs", "--job", "nope"], "observed"),
        (["files", "nope"], "observed"),
        (["lineage", "nope.lc"], "no file 'nope.lc'"),
        (["get", "no.lc"], "no version that passed QC"),
        (["get", "curve_0.lc", "--version", "99"], "its versions are"),
        (["get", "curve_0.lc", "-o", "/dev/null/x"], "cannot be written"),
        (["jobs", "--state", "odd"], "the states are"),
    ],
)
def test_wrong_requests_say_what_is_right(look, arguments, said):
    assert said in look(*arguments, code=2)


def test_hostile_texts_do_not_reach_the_terminal(eas, tmp_path):
    hostile.make(tmp_path).close()
    commands = [("jobs",), ("files",), ("files", "1"), ("lineage", "2"), ("lineage", "2", "--down"),
                ("logs", "--job", "1"), *(("show", each) for each in (1, 2, 3, 4)),
                ("logs", 2), ("logs", 3)]  # fmt: skip
    for command in commands:
        text = eas(*command, at=tmp_path)
        assert not set(text) & set(hostile.FORBIDDEN), command
        assert "\\x1b[31mred" in text, command
