"""What every transit search does, TLS, both BLS and QATS alike."""

import dataclasses
import json
import tarfile

import numpy as np
import pytest

pytest.importorskip("batman", reason="batman is not installed: pip install batman-package")

from eas.errors import TaskFailure
from eas.lightcurves.lightcurve import LightCurve
from eas.tasks.synthesis_batman import read_specs, synthesise
from eas.tasks.transit_search_bls_kovacs import TransitSearchBLSKovacs
from eas.tasks.transit_search_bls_reference import TransitSearchBLSReference
from eas.tasks.transit_search_qats import TransitSearchQATS
from eas.tasks.transit_search_tls import TransitSearchTLS

ALL = (TransitSearchTLS, TransitSearchBLSReference, TransitSearchBLSKovacs, TransitSearchQATS)
SPECS = {
    "duration": 40,
    "orbital_period": 5,
    "semi_major_axis": (5 / 365.25) ** (2 / 3),
    "planet_radius": 0.25,
    "noise": 3e-4,
    "sampling_cadence": 1800,
}
SETTINGS = {"search_settings": {"period_min": 3}}
STATISTICS = ("period", "depth", "duration", "first_transit", "transit_count")

pytestmark = pytest.mark.parametrize("kind", ALL)


def planet(**specs):
    return synthesise(read_specs({"specs": {**SPECS, **specs}}), 1)


def search(bench, kind, lightcurve, settings=SETTINGS, outputs=(), threads=1):
    inputs = {"lightcurve": bench.store("a.gz", lightcurve, **lightcurve.metadata)}
    context = dataclasses.replace(bench.context(settings, inputs=inputs, outputs=outputs), threads=threads)
    metadata = kind().run(context)
    return metadata, kind().check(context, metadata)


def failed(checks):
    return [each for each in checks if not each.passed]


def test_finds_the_planet(bench, kind):
    metadata, checks = search(bench, kind, planet(), outputs=["debugging"])
    assert not failed(checks)
    assert metadata["period"] == pytest.approx(5, rel=0.005)
    assert (metadata["outcome"], metadata["target_period"]) == ("PASS", 5)
    assert metadata["first_transit"] == pytest.approx(1, abs=0.06)
    assert metadata["transit_count"] == 8
    # Kovacs' shortest box is a twentieth of the period: longer than this transit, so less deep.
    depth = 4e-4 if kind is TransitSearchBLSKovacs else 7e-4
    assert metadata["depth"] == pytest.approx(depth, rel=0.3)
    assert all(type(value) in (int, float, str) for value in metadata.values())
    with tarfile.open(bench.path("out_debugging.gz")) as archive:
        settings = json.load(archive.extractfile("settings.json"))
        assert len(archive.getnames()) >= 2
    assert settings["result"] == metadata


def test_the_same_again_gives_the_same_with_any_number_of_threads(bench, kind):
    first, _ = search(bench, kind, planet())
    again, _ = search(bench, kind, planet(), threads=2)
    assert first == again


def test_the_recorded_settings_repeat_the_search(bench, kind):
    first, _ = search(bench, kind, planet(), {**SETTINGS, "lc_duration": 32})
    settings = {"period_min": first["period_min"], "period_max": first["period_max"]}
    # The span reaches to the last sample, whose exposure lasts another step.
    again, _ = search(bench, kind, planet(), {"search_settings": settings, "lc_duration": first["lc_duration"] + 0.02})
    assert again == first


@pytest.mark.parametrize("known, verdict", [({}, "UNDEFINED"), ({"orbital_period": 4}, "FAIL")])
@pytest.mark.parametrize("level", [1.0, 0.1])
def test_nothing_is_found_where_nothing_varies(bench, kind, known, verdict, level):
    flat = LightCurve(np.arange(1000) / 48, np.full(1000, level), metadata=known)
    metadata, checks = search(bench, kind, flat, outputs=["debugging"])
    assert not failed(checks)
    assert metadata["outcome"] == verdict
    assert [metadata[name] for name in STATISTICS] == [None] * len(STATISTICS)


def test_a_brightening_is_no_dip(bench, kind):
    lightcurve = planet()
    metadata, checks = search(bench, kind, lightcurve.evolve(fluxes=2 - lightcurve.fluxes))
    assert not failed(checks)
    assert metadata["depth"] is None or 0 < metadata["depth"] < 3e-4


def test_gaps_and_bad_samples(bench, kind):
    lightcurve = planet()
    bad = (np.arange(len(lightcurve)) % 480 < 40).astype(np.int8)
    fluxes = np.where(bad, np.nan, lightcurve.fluxes)
    gone = (lightcurve.times > 14.4) & (lightcurve.times < 17.2)
    spoilt = lightcurve.evolve(fluxes=fluxes, flags=bad).select(~gone)
    metadata, checks = search(bench, kind, spoilt)
    assert not failed(checks) and metadata["outcome"] == "PASS"


def test_other_units_of_flux_give_the_same_depth(bench, kind):
    lightcurve = planet()
    scaled = lightcurve.evolve(fluxes=lightcurve.fluxes * 4000, uncertainties=lightcurve.uncertainties * 4000)
    metadata, checks = search(bench, kind, scaled)
    assert not failed(checks)
    assert metadata["depth"] == pytest.approx(search(bench, kind, lightcurve)[0]["depth"], rel=0.02)


def test_few_samples_and_narrow_ranges(bench, kind):
    rng = np.random.default_rng(5)
    tiny = LightCurve(np.arange(12.0), 1 + 1e-3 * rng.normal(size=12))
    metadata, checks = search(bench, kind, tiny, {"search_settings": {"period_min": 4, "period_max": 5}})
    assert {each.name for each in failed(checks)} <= {"depth seen again"}
    metadata, checks = search(bench, kind, planet(), {"search_settings": {"period_min": 4.99, "period_max": 5.01}})
    assert not failed(checks) and metadata["outcome"] == "PASS"


@pytest.mark.parametrize(
    "lightcurve, message",
    [
        (LightCurve(np.arange(20.0)[::-1], np.ones(20)), "times must increase, but sample 1 is at 18"),
        (LightCurve(np.arange(20.0), np.zeros(20)), r"only 0 good samples.*flux not above 0: 20"),
        (LightCurve(np.arange(20.0), np.ones(20), np.ones(20, int)), "only 0 good samples"),
    ],
)
def test_light_curves_that_cannot_be_searched(bench, kind, lightcurve, message):
    with pytest.raises(TaskFailure, match=message) as caught:
        search(bench, kind, lightcurve, {})
    assert caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"period": 2.9},
        {"period": None},
        {"depth": float("nan")},
        {"depth": None},
        {"outcome": "FAIL"},
        {"period_max": None},
        {"period_min": 5.1},
    ],
)
def test_qc_catches_a_bad_one(bench, kind, change):
    inputs = {"lightcurve": bench.store("a.gz", planet(), **planet().metadata)}
    context = bench.context(SETTINGS, inputs=inputs)
    good = kind().run(context)
    assert not failed(kind().check(context, good))
    assert failed(kind().check(context, {**good, **change}))


def test_qc_measures_the_depth_itself(bench, kind):
    inputs = {"lightcurve": bench.store("a.gz", planet(), **planet().metadata)}
    context = bench.context(SETTINGS, inputs=inputs)
    good = kind().run(context)
    wrong = [{"depth": 1 - good["depth"]}, {"first_transit": good["first_transit"] + 2}]
    if kind is TransitSearchQATS:
        wrong = [{"last_transit": good["last_transit"] + 2}, {"transit_count": 2}]
    for change in wrong:
        assert failed(kind().check(context, {**good, **change})), change
