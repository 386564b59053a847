"""The declared settings and metadata are those that the code of the task types reads and returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

pytest.importorskip("batman", reason="batman is not installed: pip install batman-package")

from eas.lightcurves import files
from eas.lightcurves.lightcurve import LightCurve
from eas.registry import builtin, merge_registries
from eas.tasks import declarations, ingest_external_lcs, metadata_declarations, psls_config, psls_data
from eas.tasks.output_metadata import MetadataKey, differences
from eas.tasks.settings import Group
from eas.tasks.synthesis_batman import read_specs, synthesise
from eas.worker.child_runner import load_class
from reports import columns

REGISTRY = merge_registries([("builtin", builtin())])
TYPES = {each.name: each for each in REGISTRY.task_types.values() if each.implementation}
PLANET = {"duration": 12, "orbital_period": 3, "semi_major_axis": 0.04, "sampling_cadence": 1800, "planet_radius": 0.5}
GIVEN: dict[str, dict[str, Any]] = {
    "null": {"duration": 0},
    "binning": {"cadence": 3600},
    "ingest_external_lcs": {"input_path": "*.csv"},
    "synthesis_batman": {"specs": PLANET},
    "synthesis_psls": {"specs": {**PLANET, "number_camera_groups": 1, "number_cameras_per_group": 1}},
    **{name: {"search_settings": {"period_min": 2}} for name in TYPES if name.startswith("transit_search_")},
}


class Recorded(Mapping[str, Any]):
    """Settings that note which of their names are looked up."""

    def __init__(self, content: Mapping[str, Any], seen: set[str], where: str = "") -> None:
        self._content, self._seen, self._where = content, seen, where

    def __getitem__(self, name: str) -> Any:
        self._seen.add(self._where + name)
        value = self._content[name]
        return Recorded(value, self._seen, f"{self._where}{name}.") if isinstance(value, dict) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)


class RecordedMetadata(dict[str, Any]):
    """Metadata of a light curve that note which of their names are looked up."""

    def __init__(self, content: Mapping[str, Any], seen: set[str]) -> None:
        super().__init__(content)
        self._seen = seen

    def __getitem__(self, name: str) -> Any:
        self._seen.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._seen.add(name)
        return super().get(name, default)


def declared(name: str) -> set[str]:
    found = set()
    for each in TYPES[name].declared_settings() or ():
        found.add(each.name)
        if isinstance(each, Group):
            found |= {f"{each.name}.{member.name}" for member in each.settings}
    return found


@pytest.mark.parametrize("name", [name for name in TYPES if name != "error"])
def test_a_task_reads_what_its_type_declares(bench: Any, name: str) -> None:
    pytest.importorskip("psls" if name == "synthesis_psls" else "numpy")
    if missing := TYPES[name].missing_modules():
        pytest.skip(f"{', '.join(missing)} not installed")
    if name == "synthesis_psls":
        psls_data.fetch()
    (bench.path("one.csv")).write_text("# #orbital_period=3\n0,1,0\n1,1,0\n2,1,0\n")
    curve = synthesise(read_specs({"specs": {**PLANET, "noise": 1e-4}}), 1)
    inputs = {each: bench.store(f"{each}.gz", curve, **curve.metadata) for each in TYPES[name].inputs}
    seen: set[str] = set()
    bench.path("new").mkdir()
    context = dataclasses.replace(
        bench.context(Recorded(GIVEN.get(name, {}), seen), inputs=inputs, outputs=TYPES[name].outputs),
        new_directory=bench.path("new"),
    )
    task = load_class(TYPES[name].implementation)()
    metadata = task.run(context)
    assert all(each.passed for each in task.check(context, dict(metadata)))
    assert seen == declared(name)
    passed_on = {key for each in TYPES[name].metadata_from for key in inputs[each].metadata}
    assert differences(TYPES[name].declared_metadata() or (), metadata, passed_on) == []
    assert passed_on <= set(metadata)


def test_differences_from_a_declaration_are_named() -> None:
    declared = [MetadataKey("depth"), MetadataKey("count", kind="whole number"), MetadataKey("why", kind="text")]
    found = differences(declared, {"depth": "deep", "count": True, "other": 1, "mes": 2}, ["mes"])
    assert found == [
        "other is returned, and is not declared",
        "why is declared, and is not returned",
        "depth is 'deep', and is declared as a number",
        "count is True, and is declared as a whole number",
    ]


@pytest.mark.parametrize("name", [name for name in TYPES if TYPES[name].inputs])
def test_a_task_reads_the_metadata_that_its_type_declares(bench: Any, name: str, monkeypatch: Any) -> None:
    if missing := TYPES[name].missing_modules():
        pytest.skip(f"{', '.join(missing)} not installed")
    curve = synthesise(read_specs({"specs": {**PLANET, "noise": 1e-4}}), 1)
    seen: set[str] = set()
    read = files.read
    monkeypatch.setattr(
        files, "read", lambda *given: (found := read(*given)).evolve(metadata=RecordedMetadata(found.metadata, seen))
    )
    inputs = {each: bench.store(f"{each}.gz", curve, **curve.metadata) for each in TYPES[name].inputs}
    load_class(TYPES[name].implementation)().run(
        bench.context(GIVEN.get(name, {}), inputs=inputs, outputs=TYPES[name].outputs)
    )
    assert seen == {each.name for each in TYPES[name].declared_input_metadata()}


def test_a_search_that_finds_nothing_returns_what_its_type_declares(bench: Any) -> None:
    curve = synthesise(read_specs({"specs": {**PLANET, "noise": 1e-4}}), 1)
    for name in (each for each in TYPES if each.startswith("transit_search_") and not TYPES[each].missing_modules()):
        context = bench.context(
            {"search_settings": {"period_min": 11}}, inputs={"lightcurve": bench.store("a.gz", curve)}
        )
        metadata = load_class(TYPES[name].implementation)().run(context)
        assert metadata["outcome"] == "FAIL"
        assert set(metadata) == {each.name for each in TYPES[name].declared_metadata() or ()}, name


def test_columns_of_reports_have_the_declared_units() -> None:
    short = {"degrees from edge-on": "deg", "ppm in one hour, of one camera": "ppm/hr"}
    for task_type in TYPES.values():
        for each in task_type.declared_metadata() or ():
            if each.name in columns.UNITS or each.unit == metadata_declarations.DAYS:
                assert columns.UNITS[each.name] == short.get(each.unit, each.unit), each


def test_names_of_metadata_are_declared_once() -> None:
    for task_type in TYPES.values():
        names = [each.name for each in task_type.declared_metadata() or ()]
        assert len(names) == len(set(names)), task_type.name


OTHER = {
    "duration": 11, "t0": 1.4, "eccentricity": 0.2, "star_radius": 8, "planet_radius": 0.6, "orbital_period": 2.5,
    "semi_major_axis": 0.05, "orbital_angle": 3, "impact_parameter": 0.4, "noise": 1e-4, "mes_assume_noise": 3e-4,
    "sampling_cadence": 600,
}  # fmt: skip


@pytest.mark.parametrize("name", [each.name for each in declarations.BATMAN_SPECS])
def test_each_setting_of_batman_changes_the_result(name: str) -> None:
    def made(**specs: Any) -> LightCurve:
        return synthesise(read_specs({"specs": {**PLANET, **specs}}), 1)

    before, after = made(), made(**{name: OTHER[name]})
    same = len(before) == len(after) and np.array_equal(before.fluxes, after.fluxes)
    assert not same or before.metadata["mes"] != after.metadata["mes"]


def test_the_words_of_a_choice_are_those_that_the_code_knows() -> None:
    assert set(declarations.LC_TYPE.choices) == set(ingest_external_lcs.READERS)
    assert set(declarations.MODE.choices) == set(psls_config.STARS)


def test_defaults_are_allowed_values() -> None:
    for task_type in TYPES.values():
        for each in task_type.declared_settings() or ():
            for setting in each.settings if isinstance(each, Group) else [each]:
                default = getattr(setting, "default", None)
                assert default is None or setting.fault(default) is None, setting
