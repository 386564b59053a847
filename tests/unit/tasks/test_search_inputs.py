"""Light curves as they are: every search and its QC use the same samples, and say what they did."""

import gzip
import logging
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("batman", reason="batman is not installed: pip install batman-package")

from test_searches import ALL, SETTINGS, failed, planet, search

from eas.errors import TaskFailure
from eas.lightcurves import files
from eas.lightcurves.flags import REPEATED
from eas.lightcurves.lightcurve import LightCurve
from eas.model import InputProduct
from eas.tasks.binning import Binning
from eas.tasks.transit_search_bls_kovacs import TransitSearchBLSKovacs
from eas.tasks.transit_search_bls_reference import TransitSearchBLSReference
from eas.tasks.transit_search_qats import TransitSearchQATS
from eas.tasks.transit_search_tls import TransitSearchTLS
from eas.tasks.verify import Verify

DATA = Path(__file__).parents[1] / "lightcurves" / "data"
every_search = pytest.mark.parametrize("kind", ALL)
SIGNIFICANCE = {
    TransitSearchTLS: "sde",
    TransitSearchBLSReference: "power",
    TransitSearchBLSKovacs: "snr",
    TransitSearchQATS: "power",
}


def run(bench, kind, path, settings):
    context = bench.context(settings, inputs={"lightcurve": InputProduct(path.name, path)})
    metadata = kind().run(context)
    return metadata, kind().check(context, metadata)


@every_search
def test_fluxes_of_zero_are_no_measurements(bench, kind, caplog):
    metadata, checks = run(bench, kind, DATA / "zero_flux_samples.gz", {"search_settings": {"period_min": 1.5}})
    assert not failed(checks)
    assert metadata["outcome"] == "PASS" and metadata["period"] == pytest.approx(3, rel=0.01)
    assert metadata["depth"] < 2e-3
    assert (metadata["samples_dropped"], metadata["samples_dropped_why"]) == (18, "flux not above 0: 18")
    assert "18 of 720 samples are dropped: flux not above 0" in caplog.text


@pytest.mark.parametrize("name", ["all_errors", "no_errors", "one_error_zero"])
def test_the_power_of_bls_has_one_meaning(bench, name, caplog):
    metadata, checks = run(
        bench, TransitSearchBLSReference, DATA / f"{name}.gz", {"search_settings": {"period_min": 1.5}}
    )
    assert not failed(checks)
    assert metadata["power"] == pytest.approx(425, rel=0.1)
    assumed = {"all_errors": "", "no_errors": "has no uncertainties", "one_error_zero": "1 missing uncertainties"}[name]
    assert assumed in caplog.text


@every_search
@pytest.mark.parametrize("share", [0.0, 0.01, 0.9])
def test_statistics_do_not_depend_on_whether_uncertainties_are_given(bench, kind, share):
    lightcurve = planet()
    whole, _ = search(bench, kind, lightcurve)
    missing = np.random.default_rng(2).random(len(lightcurve)) >= share
    partly, checks = search(
        bench, kind, lightcurve.evolve(uncertainties=np.where(missing, 0, lightcurve.uncertainties))
    )
    assert not failed(checks)
    for name in ("period", "depth", "duration", "transit_count", SIGNIFICANCE[kind]):
        assert partly[name] == pytest.approx(whole[name], rel=0.15), name


@every_search
def test_outliers_zeros_and_a_change_of_level_do_not_hide_the_planet(bench, kind):
    lightcurve = planet(duration=60)
    rng = np.random.default_rng(4)
    fluxes = lightcurve.fluxes.copy()
    hit = rng.choice(len(fluxes), 60, replace=False)
    fluxes[hit] += np.where(np.arange(60) % 2, 0.05, -0.05)
    fluxes[rng.choice(len(fluxes), 20, replace=False)] = 0
    fluxes[lightcurve.times > 31] *= 1.01
    kept = (lightcurve.times < 30) | (lightcurve.times > 31)
    metadata, checks = search(bench, kind, lightcurve.evolve(fluxes=fluxes).select(kept))
    assert not failed(checks)
    assert metadata["outcome"] == "PASS" and metadata["depth"] < 2e-3
    assert metadata["samples_dropped"] >= 60


@every_search
def test_files_of_the_prototype_with_fluxes_for_flags_are_searched_whole(bench, kind, caplog):
    lightcurve = planet()
    rows = zip(lightcurve.times * 86400, lightcurve.fluxes, lightcurve.fluxes, strict=True)
    text = "".join(f"{time:.2f} {flux:.10f} {flag:.10f} 0.0\n" for time, flux, flag in rows)
    bench.path("a.gz").write_bytes(gzip.compress(text.encode()))
    product = InputProduct("a.gz", bench.path("a.gz"), {"orbital_period": 5})
    context = bench.context(SETTINGS, inputs={"lightcurve": product})
    metadata = kind().run(context)
    assert not failed(kind().check(context, metadata)) and metadata["outcome"] == "PASS"
    assert metadata["samples_searched"] == len(lightcurve)
    assert caplog.messages.count(f"a.gz: {REPEATED}") == 1


@every_search
def test_fluxes_without_the_star_are_refused(bench, kind):
    lightcurve = planet()
    with pytest.raises(TaskFailure, match="the star's own flux is not in the data") as caught:
        search(bench, kind, lightcurve.evolve(fluxes=lightcurve.fluxes - np.median(lightcurve.fluxes)))
    assert "without their mean or median subtracted" in caught.value.hint


@every_search
def test_qc_refuses_a_depth_that_cannot_be(bench, kind):
    inputs = {"lightcurve": bench.store("a.gz", planet(), **planet().metadata)}
    context = bench.context(SETTINGS, inputs=inputs)
    good = kind().run(context)
    for depth in (0.0, 1.0, -0.1, 28.0):
        assert "depth is physical" in {each.name for each in failed(kind().check(context, {**good, "depth": depth}))}


@every_search
@pytest.mark.parametrize("settings", [{"period_min": 21}, {"period_min": 50}, {"period_min": 41, "period_max": 60}])
@pytest.mark.parametrize("known", [{"orbital_period": 5}, {}])
def test_a_shortest_period_that_the_data_do_not_allow_is_a_result(bench, kind, settings, known, caplog):
    lightcurve = planet().evolve(metadata=known)
    metadata, checks = search(bench, kind, lightcurve, {"search_settings": settings}, outputs=["debugging"])
    assert not failed(checks)
    assert (metadata["outcome"], metadata["period"], metadata["depth"]) == ("FAIL", None, None)
    assert "no period to search: period_min is" in metadata["outcome_reason"]
    assert "nothing is searched: no period to search" in caplog.text


@every_search
def test_bounds_that_contradict_each_other_are_refused(bench, kind):
    with pytest.raises(TaskFailure, match="period_min is 8 days, period_max 7 days") as caught:
        search(bench, kind, planet(), {"search_settings": {"period_min": 8, "period_max": 7}})
    assert caught.value.hint


@pytest.mark.parametrize(
    "known, verdict, target, reason",
    [
        ({"orbital_period": 5}, "PASS", 5, r"the period found deviates by 0\.\d+% from the light curve's, 5 days"),
        ({"orbital_period": 7}, "FAIL", 7, r"the period found deviates by 28\.\d+% from the light curve's, 7 days"),
        ({"orbital_period": "5"}, "PASS", 5, "deviates"),
        ({}, "UNDEFINED", None, "the light curve has no orbital_period$"),
        ({"orbit_period": 5}, "UNDEFINED", None, "has no orbital_period; it has 'orbit_period'"),
        ({"orbital_period": "5 d"}, "UNDEFINED", None, "orbital_period is '5 d', not a number"),
        ({"orbital_period": True}, "UNDEFINED", None, "orbital_period is True, not a number"),
        ({"orbital_period": -5}, "UNDEFINED", None, "orbital_period is -5 days"),
        ({"orbital_period": 0}, "UNDEFINED", None, "orbital_period is 0 days"),
    ],
)
def test_the_outcome_has_a_reason(bench, caplog, known, verdict, target, reason):
    caplog.set_level(logging.INFO)
    metadata, checks = search(bench, TransitSearchBLSReference, planet().evolve(metadata=known))
    assert ("the outcome will be UNDEFINED" in caplog.text) == (verdict == "UNDEFINED")
    assert not failed(checks)
    assert (metadata["outcome"], metadata["target_period"]) == (verdict, target)
    assert re.search(reason, metadata["outcome_reason"])


def test_metadata_of_the_wrong_type_are_reported(bench, caplog):
    known = {"orbital_period": "5 d", "mes": "7.5", "pixels_in_transit": "many"}
    metadata, _ = search(bench, TransitSearchBLSReference, planet().evolve(metadata=known))
    assert "orbital_period is ignored: '5 d' is not a number" in caplog.text
    assert "mes is the text '7.5' and is read as a number" in caplog.text and metadata["mes"] == 7.5
    assert metadata["pixels_in_transit"] is None


def test_numbers_in_quotes_are_numbers_with_a_warning(bench, caplog):
    settings = {"search_settings": {"period_min": "3"}, "lc_duration": "30"}
    metadata, checks = search(bench, TransitSearchBLSReference, planet(), settings)
    assert not failed(checks) and metadata["period_min"] == 3 and metadata["lc_duration"] < 30
    assert "search_settings.period_min is the text '3' and is read as a number" in caplog.text
    assert "lc_duration is the text '30' and is read as a number" in caplog.text


def test_binning_names_the_sample_out_of_order_first(bench):
    path = DATA / "unsorted.gz"
    context = bench.context(
        {"cadence": 3600}, inputs={"lightcurve": InputProduct(path.name, path)}, outputs=["lightcurve"]
    )
    with pytest.raises(TaskFailure, match="times must increase, but sample 360 ") as caught:
        Binning().run(context)
    assert caught.value.hint == "sort the light curve by time, without repeated times"


def test_verify_says_what_a_search_would_use(bench, caplog):
    context = bench.context(inputs={"lightcurve": InputProduct("a.gz", DATA / "zero_flux_samples.gz")})
    metadata = Verify().run(context)
    assert not failed(Verify().check(context, metadata))
    assert (metadata["samples_searched"], metadata["samples_dropped"]) == (702, 18)
    assert "18 of 720 samples are dropped: flux not above 0" in caplog.text


def test_verify_passes_what_a_search_would_refuse_and_says_so(bench, caplog):
    caplog.set_level(logging.WARNING)
    files.write(bench.path("a.gz"), LightCurve(np.arange(50.0), np.sin(np.arange(50.0))))
    context = bench.context(inputs={"lightcurve": InputProduct("a.gz", bench.path("a.gz"))})
    metadata = Verify().run(context)
    assert not failed(Verify().check(context, metadata))
    assert metadata["samples_searched"] == 0
    assert "a search would refuse this light curve" in caplog.text


@pytest.mark.parametrize("fill", [0.0, -1.0, np.nan])
def test_binning_leaves_out_what_is_no_measurement(bench, caplog, fill):
    lightcurve = planet(sampling_cadence=600)
    hit = np.arange(len(lightcurve)) % 50 == 3
    spoilt = lightcurve.evolve(fluxes=np.where(hit, fill, lightcurve.fluxes))
    context = bench.context(
        {"cadence": 1800}, inputs={"lightcurve": bench.store("a.gz", spoilt)}, outputs=["lightcurve"]
    )
    Binning().run(context)
    binned = files.read(context.outputs["lightcurve"])
    assert binned.good.all() and binned.fluxes.min() > 0.999
    assert f"{np.count_nonzero(hit)} of {len(lightcurve)} samples are left out" in caplog.text


def test_binning_keeps_fluxes_about_0_of_a_light_curve_without_its_star(bench, caplog):
    lightcurve = LightCurve(np.arange(240) / 144, np.sin(np.arange(240.0)))
    context = bench.context(
        {"cadence": 1200}, inputs={"lightcurve": bench.store("a.gz", lightcurve)}, outputs=["lightcurve"]
    )
    Binning().run(context)
    pairs = lightcurve.fluxes.reshape(120, 2).mean(axis=1)
    assert files.read(context.outputs["lightcurve"]).fluxes == pytest.approx(pairs, abs=1e-12)
    assert not caplog.messages


@every_search
@pytest.mark.parametrize("seed", range(6))
def test_a_search_and_its_qc_agree_whatever_is_in_the_light_curve(bench, kind, seed):
    rng = np.random.default_rng(seed)
    lightcurve = planet(planet_radius=float(rng.choice([0.25, 0.5, 1.0])), noise=float(rng.choice([1e-4, 3e-4, 1e-3])))
    fluxes = lightcurve.fluxes.copy()
    for value in (0.0, -3.0, np.nan, np.inf, 40.0, 0.3):
        places = rng.choice(len(fluxes), 8, replace=False)
        fluxes[places[: rng.integers(0, 9)]] = value
    uncertainties = np.where(rng.random(len(fluxes)) < rng.random(), 0, lightcurve.uncertainties)
    level = 10 ** rng.uniform(-3, 6)
    spoilt = lightcurve.evolve(fluxes=fluxes * level, uncertainties=uncertainties * level)
    kept = rng.random(len(fluxes)) < 0.9
    metadata, checks = search(bench, kind, spoilt.select(kept), {"search_settings": {"period_min": 4, "period_max": 7}})
    assert not failed(checks)
    assert metadata["outcome"] == "PASS" and 0 < metadata["depth"] < 0.02
    assert metadata["samples_searched"] + metadata["samples_dropped"] == np.count_nonzero(kept)
