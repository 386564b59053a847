"""The chains in demo_jobs use only what this release can run, and name their files consistently.

Whole runs through the queue are acceptance tests; here the demo's two ends are run directly.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("batman", reason="batman is not installed: pip install batman-package")

from eas import registry
from eas.lightcurves.constants import EARTH_RADIUS_IN_JUPITER_RADII, PLATO_NOISE
from eas.model import InputProduct
from eas.tasks import psls_data
from eas.tasks.synthesis_batman import SPECS, SynthesisBatman
from eas.tasks.synthesis_psls import NAMES
from eas.tasks.transit_search_bls_reference import TransitSearchBLSReference

DEMO_JOBS = Path(__file__).parents[3] / "demo_jobs"
KNOWN_SPECS = {"synthesis_batman": {each.name for each in SPECS}, "synthesis_psls": set(NAMES)}
FILES = sorted(DEMO_JOBS.rglob("*.json"))


def tasks(descriptors):
    for each in descriptors:
        yield each
        yield from tasks(each.get("task_list", []))
        yield from tasks(each.get("else_task_list", []))


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_task_types_can_run_and_have_what_they_need(path):
    for task in tasks(load(path)["task_list"]):
        kind = registry.load().task_type(task["task"])
        assert kind.control or kind.implementation
        assert set(kind.inputs) == set(task.get("inputs", {}))
        assert set(kind.outputs) <= set(task.get("outputs", {})) <= {*kind.outputs, *kind.optional_outputs}
        assert set(task.get("specs", {})) <= KNOWN_SPECS.get(task["task"], set())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_input_is_made(path):
    chain = load(path)
    everything = list(tasks(chain["task_list"]))
    if path.stem == "cross_job_dependency":
        maker = load(path.with_name("cross_job_dependency_maker.json"))
        assert maker["working_directory"] == chain["working_directory"]
        everything += tasks(maker["task_list"])
    if any(task["task"] == "ingest_external_lcs" for task in everything):
        pytest.skip("what is ingested is known only when it runs")
    made = [name for task in everything for name in task.get("outputs", {}).values()]
    assert len(made) == len(set(made))
    assert {name for task in everything for name in task.get("inputs", {}).values()} <= set(made)


def test_each_file_is_listed_and_has_its_own_job_and_directory():
    readme = (DEMO_JOBS / "README.md").read_text(encoding="utf-8")
    assert all(path.relative_to(DEMO_JOBS).as_posix() in readme for path in FILES)
    assert {load(path)["job_name"] for path in FILES} == {path.stem for path in FILES}


def test_the_full_demo_makes_and_searches_with_all_that_there_is():
    chain = load(DEMO_JOBS / "demo.json")
    known = registry.load().task_types.values()
    science = {
        each.name for each in known if each.name.startswith(("synthesis_", "transit_search_")) and not each.reserved
    }
    assert science == {each["task"] for each in tasks(chain["task_list"])} & science
    lightcurves = [name for each in tasks(chain["task_list"]) for name in each.get("outputs", {}).values()]
    for lightcurve in lightcurves:
        readers = {e["task"] for e in tasks(chain["task_list"]) if e.get("inputs", {}).get("lightcurve") == lightcurve}
        assert {name for name in science if name.startswith("transit_search_")} < readers


@pytest.fixture
def choose():
    found = importlib.util.spec_from_file_location("choose", DEMO_JOBS / "choose.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_full_demo_is_chosen_where_all_is_installed(choose, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("EAS_PSLS_DATA", str(tmp_path))
    for name in psls_data.MEMBERS:
        (tmp_path / name).write_bytes(b"")
    choose.main()
    assert capsys.readouterr() == (f"{DEMO_JOBS / 'demo.json'}\n", "")


def test_the_small_demo_is_chosen_with_a_reason(choose, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("EAS_PSLS_DATA", str(tmp_path))
    choose.main()
    printed = capsys.readouterr()
    assert printed.out == f"{DEMO_JOBS / 'detection_limit.json'}\n"
    assert psls_data.COMMAND in printed.err

    def missing(self):
        return ["transitleastsquares"] if self.name == "transit_search_tls" else []

    monkeypatch.setattr(registry.TaskType, "missing_modules", missing)
    choose.main()
    printed = capsys.readouterr()
    assert printed.out == f"{DEMO_JOBS / 'detection_limit.json'}\n"
    assert "transitleastsquares" in printed.err
    assert "pip install 'eas-prefect[tls]'" in printed.err


@pytest.mark.parametrize("size, outcome", [(0.25, "FAIL"), (2, "PASS")])
def test_the_demo_has_a_detection_limit_within_its_range(bench, size, outcome):
    loop = load(DEMO_JOBS / "detection_limit.json")["task_list"][0]
    synthesis, _, search = loop["task_list"]
    evaluated = {
        "planet_radius": size * EARTH_RADIUS_IN_JUPITER_RADII,
        "semi_major_axis": (10 / 365.25) ** (2 / 3),
        "noise": PLATO_NOISE,
    }
    context = bench.context({"specs": {**synthesis["specs"], **evaluated}}, outputs=["lightcurve"], seed=1)
    known = SynthesisBatman().run(context)
    assert all(each.passed for each in SynthesisBatman().check(context, known))

    product = {"lightcurve": InputProduct("lightcurve.gz", context.outputs["lightcurve"], known)}
    context = bench.context({"search_settings": search["search_settings"], "lc_duration": 60}, inputs=product)
    found = TransitSearchBLSReference().run(context)
    assert found["outcome"] == outcome
    assert np.isclose(found["mes"], known["mes"])
    assert all(each.passed for each in TransitSearchBLSReference().check(context, found))
