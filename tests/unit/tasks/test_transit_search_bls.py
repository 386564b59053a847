"""The reference BLS search, and what all searches share."""

import json
import tarfile

import numpy as np
import pytest

pytest.importorskip("batman", reason="batman is not installed: pip install batman-package")

from eas.errors import TaskFailure
from eas.lightcurves.lightcurve import LightCurve
from eas.tasks import transit_search_bls_reference
from eas.tasks.search import outcome, write_debugging
from eas.tasks.synthesis_batman import read_specs, synthesise
from eas.tasks.transit_search_bls_reference import TransitSearchBLSReference

SPECS = {
    "duration": 30,
    "orbital_period": 5,
    "semi_major_axis": (5 / 365.25) ** (2 / 3),
    "planet_radius": 0.25,
    "noise": 3e-4,
    "sampling_cadence": 1800,
}
SETTINGS = {"search_settings": {"period_min": 3}}


def planet(**specs):
    return synthesise(read_specs({"specs": {**SPECS, **specs}}), 1)


def flat(n=1000, **metadata):
    return LightCurve(np.arange(n) / 48, np.ones(n), metadata=metadata)


def search(bench, lightcurve, settings=SETTINGS, outputs=()):
    inputs = {"lightcurve": bench.store("a.gz", lightcurve, **lightcurve.metadata)}
    context = bench.context(settings, inputs=inputs, outputs=outputs)
    metadata = TransitSearchBLSReference().run(context)
    return metadata, TransitSearchBLSReference().check(context, metadata)


def passed(checks):
    return all(each.passed for each in checks)


def test_finds_the_planet(bench):
    lightcurve = planet()
    metadata, checks = search(bench, lightcurve)
    assert passed(checks), checks
    assert metadata["period"] == pytest.approx(5, rel=0.005)
    assert metadata["depth"] == pytest.approx(1 - planet(noise=0).fluxes.min(), rel=0.2)
    assert metadata["first_transit"] == pytest.approx(1, abs=0.05)
    assert metadata["duration"] == pytest.approx(0.15, abs=0.06)
    assert metadata["transit_count"] == 6
    assert metadata["power"] > 100
    assert (metadata["outcome"], metadata["target_period"]) == ("PASS", 5)
    for name in ("mes", "integrated_transit_power", "pixels_in_transit"):
        assert metadata[name] == lightcurve.metadata[name]
    assert (metadata["period_min"], metadata["lc_duration"]) == (3, pytest.approx(30, abs=0.03))
    assert metadata["period_max"] == pytest.approx(15, abs=0.02)
    assert all(type(value) in (int, float, str) for value in metadata.values())


def test_bad_samples_are_not_searched(bench):
    lightcurve = planet()
    spoilt = (np.arange(len(lightcurve)) % 96 < 4).astype(np.int8)
    fluxes = np.where(spoilt, 0.9, lightcurve.fluxes)
    fluxes[np.flatnonzero(spoilt)[0]] = np.nan
    metadata, checks = search(bench, lightcurve.evolve(fluxes=fluxes, flags=spoilt))
    assert passed(checks) and metadata["outcome"] == "PASS"


def test_only_the_first_days_are_searched(bench):
    metadata, checks = search(bench, planet(), {**SETTINGS, "lc_duration": 12})
    assert passed(checks)
    assert metadata["lc_duration"] == pytest.approx(12, abs=0.05) and metadata["samples_searched"] == 576
    assert metadata["transit_count"] <= 4


def test_without_uncertainties_or_a_known_period(bench):
    lightcurve = planet().evolve(uncertainties=np.zeros(1440), metadata={})
    metadata, checks = search(bench, lightcurve)
    assert passed(checks)
    assert metadata["period"] == pytest.approx(5, rel=0.005)
    assert (metadata["outcome"], metadata["target_period"], metadata["mes"]) == ("UNDEFINED", None, None)


@pytest.mark.parametrize("known, verdict", [({}, "UNDEFINED"), ({"orbital_period": 4}, "FAIL")])
def test_a_flat_curve_has_no_period(bench, known, verdict):
    metadata, checks = search(bench, flat(**known))
    assert passed(checks), checks
    assert metadata["outcome"] == verdict
    assert [metadata[name] for name in ("period", "power", "depth", "duration")] == [None] * 4


def test_the_default_range(bench):
    metadata, _ = search(bench, planet(duration=6, orbital_period=1.5, semi_major_axis=0.03), {})
    assert metadata["period_min"] == 0.5
    assert metadata["period_max"] == pytest.approx(3, abs=0.02)
    assert metadata["outcome"] == "PASS"


def test_a_period_beyond_the_data_is_cut(bench, caplog):
    metadata, _ = search(bench, planet(), {"search_settings": {"period_min": 9, "period_max": 500}})
    assert metadata["period_max"] == pytest.approx(30, abs=0.03)
    assert "period_max 500 days is cut" in caplog.text


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"search_settings": {"period_min": 0.2}}, "search_settings.period_min is 0.2"),
        ({"search_settings": {"period_min": 8, "period_max": 7}}, "no period to search"),
        ({"search_settings": {"period_max": -7}}, "search_settings.period_max is -7"),
        ({"search_settings": 7}, "search_settings is 7"),
        ({"lc_duration": 0}, "lc_duration is 0"),
        ({"lc_duration": 0.01}, "only 1 good samples"),
    ],
)
def test_settings_that_cannot_be_used(bench, settings, message):
    with pytest.raises(TaskFailure, match=message) as caught:
        search(bench, planet(), settings)
    assert caught.value.hint


def test_misspelt_settings_are_reported(bench, caplog):
    search(bench, flat(100), {"search_settings": {"periodmin": 3, "period_min": 0.9}})
    assert "search_settings.periodmin is ignored: no such setting; did you mean 'period_min'?" in caplog.text


def test_debugging_holds_the_periodogram_and_the_settings(bench):
    metadata, checks = search(bench, planet(), outputs=["debugging"])
    assert passed(checks) and any(each.name == "debugging exists" for each in checks)
    with tarfile.open(bench.path("out_debugging.gz")) as archive:
        settings = json.load(archive.extractfile("settings.json"))
        table = np.genfromtxt(archive.extractfile("periodogram.csv"), delimiter=",", names=True)
    assert settings["result"] == metadata
    assert len(settings["durations"]) == 10 and settings["frequency_factor"] == 2
    best = table["period"][table["power"] == table["power"].max()]
    assert np.isclose(best, metadata["period"]).any()  # several trial periods share the same boxes


def test_debugging_depends_on_its_content_alone(tmp_path, monkeypatch):
    write_debugging(tmp_path / "one.tar.gz", {"a": b"1", "b": b"22"})
    monkeypatch.setattr("time.time", lambda: 1e9)
    write_debugging(tmp_path / "two.tar.gz", {"a": b"1", "b": b"22"})
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


@pytest.mark.parametrize(
    "period, target, verdict",
    [
        (10.29, 10, "PASS"),
        (9.71, 10, "PASS"),
        (10.31, 10, "FAIL"),
        (5, 10, "FAIL"),
        (None, 10, "FAIL"),
        (float("nan"), 10, "FAIL"),
        (10, None, "UNDEFINED"),
        (10, float("nan"), "UNDEFINED"),
        (10, "unknown", "UNDEFINED"),
    ],
)
def test_outcome(period, target, verdict):
    assert outcome(period, target) == verdict


@pytest.mark.parametrize(
    "change",
    [
        {"period": 2.9},
        {"period": 12.1},
        {"period": float("nan")},
        {"period": "five"},
        {"period": None},
        {"power": float("nan")},
        {"depth": None},
        {"outcome": "FAIL"},
        {"outcome": None},
        {"target_period": 7},
        {"period_max": None},
    ],
)
def test_qc_catches_what_does_not_fit(bench, change):
    good = {"period": 5.0, "power": 9.0, "depth": 1e-4, "duration": 0.1, "first_transit": 1.0, "transit_count": 3}
    good |= {"outcome": "PASS", "target_period": 5, "period_min": 3, "period_max": 12}
    check = TransitSearchBLSReference().check
    assert passed(check(bench.context(), good))
    assert not passed(check(bench.context(), {**good, **change}))


def test_qc_after_a_crash(bench):
    checks = TransitSearchBLSReference().check(bench.context(outputs=["debugging"]), None)
    assert {each.name: each.passed for each in checks} == {"metadata": False, "debugging exists": False}


def test_a_long_search_reports_its_progress_and_finds_the_same(bench, monkeypatch, caplog):
    caplog.set_level("INFO")
    lightcurve = planet()
    at_once, _ = search(bench, lightcurve, outputs=["debugging"])
    with tarfile.open(bench.path("out_debugging.gz")) as archive:
        whole = archive.extractfile("periodogram.csv").read()
    assert "takes about" not in caplog.text
    for name in ("MIN_WORK_TO_ESTIMATE", "REPORT_AFTER", "WARN_AFTER"):
        monkeypatch.setattr(transit_search_bls_reference, name, 0)
    in_parts, _ = search(bench, lightcurve, outputs=["debugging"])
    with tarfile.open(bench.path("out_debugging.gz")) as archive:
        assert archive.extractfile("periodogram.csv").read() == whole
    assert in_parts == at_once
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("this search takes about ") for line in said)
    assert "to make it faster: raise search_settings.period_min, lower lc_duration or bin first" in said
    progress = [line for line in said if "% of the periods after" in line]
    assert len(progress) == 20
    assert progress[-1].startswith("100 %")
