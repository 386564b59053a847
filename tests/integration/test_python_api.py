"""``import eas``: every example of its documentation, types of its tables, and what it imports."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from astropy.timeseries import TimeSeries

import eas
from eas.api import job, session
from eas.errors import EASError, RequestError, UnknownJobError, UnknownTaskError
from tests import documentation
from tests.integration.harness import System
from tests.processes import MAX_TIMEOUT, ROOT, clean_environment

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)
SPECS = {"duration": 20, "orbital_period": 3, "sampling_cadence": 600, "planet_radius": 0.5, "noise": 1e-5, "t0": 1}
CURVE = eas.expr("'curve_{size_index}.lc'.format(**metadata)")
SYNTHESIS = eas.task("synthesis_batman", specs=SPECS | {"planet_radius": eas.expr("metadata['size']")},
                     outputs={"lightcurve": CURVE})  # fmt: skip
SWEEP = eas.for_loop(
    "size", [SYNTHESIS, eas.task("verify", name="check", inputs={"lightcurve": CURVE})], values=[0.1, 0.2]
)
SEARCH = eas.for_loop(
    "size",
    [SYNTHESIS, eas.task("transit_search_bls_reference", inputs={"lightcurve": CURVE},
                         search_settings={"period_min": 2.5, "period_max": 3.5})],
    values=[0.1, 1.0],
)  # fmt: skip
EXTRA = eas.task("null", duration=0)
CHAIN = eas.chain([SWEEP, EXTRA, EXTRA, eas.task("error", name="broken")], job_name="sweep", working_directory="wd")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a system whose job 1 is over: a sweep, and a task that fails."""
    home = tmp_path_factory.mktemp("api")
    system = System(home)
    try:
        system.run(CHAIN)
        system.run(eas.chain([SEARCH], job_name="search", working_directory="search"))
    finally:
        system.app.close()
    yield home
    session.close()


@pytest.fixture(autouse=True)
def connected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("EAS_HOME", "EAS_DATABASE_URL", "EAS_DATA_DIR", "EAS_QUEUE_URL", "EAS_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    eas.connect(home=folder)
    yield
    session.close()


PUBLIC = documentation.public_names(eas)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_example_of_the_documentation_holds(name: str, folder: Path) -> None:
    known = {each: getattr(eas, each) for each in eas.__all__}
    tasks = eas.Job(1).tasks(task_type="synthesis_batman")
    known |= {"folder": folder, "for_loop_chain": eas.chain([SWEEP]), "curve": tasks["task_id"][0]}
    documentation.check(name, PUBLIC[name], known)


@pytest.mark.parametrize("file", sorted(ROOT.glob("demo_jobs/**/*.json")), ids=lambda path: path.stem)
def test_builders_give_the_same_json_as_the_files(file: Path) -> None:
    document = json.loads(file.read_text())
    assert eas.chain([rebuilt(each) for each in document["task_list"]],
                     **{key: value for key, value in document.items() if key != "task_list"}) == document  # fmt: skip


def rebuilt(descriptor: dict[str, Any]) -> dict[str, Any]:
    """Return a descriptor made by the builders."""
    parts = dict(descriptor)
    kind = parts.pop("task")
    for key in ("task_list", "else_task_list"):
        if key in parts:
            parts[key] = [rebuilt(each) for each in parts[key]]
    if kind == "execution_for_loop":
        return eas.for_loop(parts.pop("parameter"), parts.pop("task_list"), **parts)
    if kind == "execution_conditional":
        return eas.when(parts.pop("criterion"), parts.pop("task_list"), parts.pop("else_task_list", None), **parts)
    if kind == "execution_do_while_loop":
        return eas.repeat(parts.pop("task_list"), **parts)
    return eas.task(kind, **parts)


@pytest.mark.parametrize("name", [name for name in eas.__all__ if name != "__version__"])
def test_the_stub_and_the_module_have_the_same_names(name: str) -> None:
    assert f" as {name}\n" in (ROOT / "eas" / "__init__.pyi").read_text()
    assert name in dir(eas)


def test_importing_it_imports_no_large_package() -> None:
    code = (
        "import sys, eas; eas.task('null'); "
        "found = {'pandas', 'prefect', 'sqlalchemy', 'numpy', 'click', 'yaml', 'pydantic'} & set(sys.modules); "
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, env=clean_environment(), timeout=60)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        eas.nothing_of_the_kind  # noqa: B018


def test_tables_have_real_types_and_units() -> None:
    timings = eas.job("sweep").timings()
    assert str(timings["started"].dtype).startswith("datetime64[") and timings["started"].dt.tz is not None
    assert isinstance(timings["task_type"].dtype, pd.CategoricalDtype)
    assert timings["wall_clock"].dtype == "float64"
    assert timings["task_id"].dtype == "int64"
    assert timings["size"].dtype == "float64"
    assert timings.attrs["units"]["wall_clock"] == "s"
    assert timings.attrs["units"]["size"] == "Jupiter radii", "the unit of the setting that the loop gives"
    assert not any("[" in column for column in timings.columns)


def test_outcomes_of_a_search_are_one_row_for_each_value() -> None:
    table = eas.job("search").pass_fail()
    assert table["size"].tolist() == [0.1, 1.0]
    assert isinstance(table["outcome"].dtype, pd.CategoricalDtype)
    assert (table["passed"] == (table["outcome"] == "PASS")).all()
    assert table.attrs["units"]["period"] == "days"
    first = table["outcome"].iloc[0]
    tasks = eas.job("search").tasks(outcome=first)
    assert tasks["task_type"].unique().tolist() == ["transit_search_bls_reference"]
    assert tasks["outcome"].unique().tolist() == [first]
    assert eas.Task(tasks["task_id"].iloc[-1]).inputs["lightcurve"].metadata["mes"] > 0


def test_notebooks_show_tables_in_which_nothing_is_taken_for_html() -> None:
    name = "<script>alert(1)</script>"
    found = eas.submit(eas.chain([eas.task("null", name=name, duration=0)], job_name=name, working_directory="html"))
    root = found.tasks()["task_id"][0]
    for shown in (found._repr_html_(), found.summary()._repr_html_(), eas.Task(root)._repr_html_()):
        assert "<table" in shown
        assert "<script>" not in shown
    found.cancel()


def test_notebooks_show_a_job_with_its_outcomes_and_failures() -> None:
    shown = eas.job("search")._repr_html_()
    assert "<th>PASS</th><th>FAIL</th>" in shown and "<th>failed</th>" not in shown
    assert "execution_chain" not in shown
    failed = eas.job("sweep")._repr_html_()
    assert "<li>failed: task " in failed and "always fails</li>" in failed and "<th>PASS</th>" not in failed


def test_notebooks_show_a_task_in_sections() -> None:
    tasks = eas.job("sweep").tasks(task_type="synthesis_batman")
    task = eas.Task(tasks["task_id"][0])
    shown = task._repr_html_()
    assert '<th colspan="2">settings</th></tr><tr><td>specs.duration</td><td>20</td></tr>' in shown
    assert "<td>lightcurve</td><td>wd/curve_0.lc</td>" in shown
    assert "always fails" in eas.job("sweep").task("broken")._repr_html_()
    assert '<th colspan="2">metadata</th>' in task.outputs["lightcurve"]._repr_html_()


def test_notebooks_show_the_plan_of_a_chain() -> None:
    shown = eas.plan(eas.chain([SWEEP]))._repr_html_()
    assert "<tr><td>verify</td><td>2</td><td>2</td></tr>" in shown
    data_dependent = eas.plan(ROOT / "demo_jobs" / "feature_tests" / "while_loop.json")
    assert "<td>unbounded</td>" in data_dependent._repr_html_()


def test_a_job_that_no_process_runs_is_not_waited_for_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "DRIVER_WARNING_DELAY", 0.0)
    found = eas.submit(eas.chain([eas.task("null", duration=0)], job_name="waits"))
    with pytest.warns(UserWarning, match="no process drives"), pytest.raises(EASError, match="has not ended after"):
        found.wait(timeout=1.0)
    found.cancel()


def test_errors_are_those_of_the_commands() -> None:
    with pytest.raises(UnknownJobError):
        eas.job(999)
    with pytest.raises(UnknownJobError):
        eas.Job(999).summary()
    with pytest.raises(UnknownTaskError):
        eas.job(1).task("nothing")
    with pytest.raises(RequestError, match="several tasks"):
        eas.job(1).task("check")
    with pytest.raises(RequestError, match="not JSON data"):
        eas.validate({"task_list": [{"task": "null", "duration": {1, 2}}]})
    with pytest.raises(RequestError, match="key of the chain language"):
        eas.task("null", task_list=[])
    with pytest.raises(RequestError, match="has 0 of"):
        eas.for_loop("x", [])
    with pytest.raises(RequestError):
        eas.expr("__import__('os')")


def test_the_types_are_those_of_the_modules() -> None:
    assert importlib.import_module("eas.api.job").Job is eas.Job


def test_the_page_about_python_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run its code as a reader would, in one session and in a home of its own."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "how_to" / "python.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) >= 4
    eas.connect(home=tmp_path)
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/how_to/python.md", "exec"), known)
    assert known["summary"].succeeded, known["summary"].failures
    assert len(known["table"]) == 3
    assert len(known["series"]) == len(known["lightcurve"])
    written = TimeSeries.read(tmp_path / "curve.ecsv", time_column="time")
    assert (written["flux"] == known["series"]["flux"]).all()
