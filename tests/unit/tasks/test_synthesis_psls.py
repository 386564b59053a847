"""Synthesis with psls: transits where and as the specs say, reproducible noise, refusals with a hint."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("batman", reason="batman is not installed: pip install batman-package")

from eas.errors import TaskFailure
from eas.lightcurves import files
from eas.tasks import psls_data
from eas.tasks.psls_config import configuration, noise_of_sample
from eas.tasks.synthesis_psls import SynthesisPSLS, read_specs, synthesise

# A transit of a hundredth stands out above a star that varies by a ten thousandth.
HOT_JUPITER = {
    "duration": 4,
    "orbital_period": 1.5,
    "semi_major_axis": 0.026,
    "sampling_cadence": 600,
    "enable_random_noise": False,
    "number_camera_groups": 1,
    "number_cameras_per_group": 1,
    "master_seed": 1,
}


@pytest.fixture(scope="module", autouse=True)
def tables():
    """The data tables, fetched where that was not done at installation."""
    psls_data.fetch()


def make(folder, **specs):
    return synthesise(read_specs({"specs": {**HOT_JUPITER, **specs}}), folder)


def passed(checks):
    return all(each.passed for each in checks)


@pytest.mark.slow
@pytest.mark.parametrize(
    "t0, period, mode", [(0.3, 1.5, "main_sequence"), (1.1, 1.2, "red_giant"), (-0.4, 2, "main_sequence")]
)
def test_the_first_transit_is_at_t0(tmp_path, t0, period, mode):
    lightcurve = make(tmp_path, t0=t0, orbital_period=period, mode=mode)
    expected = t0 + period * np.arange(np.ceil(-t0 / period), (4 - t0) / period)
    inside = np.flatnonzero(lightcurve.fluxes < 0.996)
    middles = [lightcurve.times[part].mean() for part in np.split(inside, 1 + np.flatnonzero(np.diff(inside) > 1))]
    assert middles == pytest.approx(expected, abs=600 / 86400)


@pytest.mark.slow
def test_size_and_place_of_the_planet_are_honoured(tmp_path):
    depth = 1 - make(tmp_path).fluxes.min()
    assert depth == pytest.approx((1 / 9.7284) ** 2 * 1.1, rel=0.05)
    large_star = make(tmp_path, star_radius=2 * 9.7284)
    assert 1 - large_star.fluxes.min() == pytest.approx(depth / 4, rel=0.1)
    grazing = make(tmp_path, impact_parameter=1.0)
    assert 0.2 * depth < 1 - grazing.fluxes.min() < 0.6 * depth
    assert grazing.metadata["pixels_in_transit"] < make(tmp_path).metadata["pixels_in_transit"]
    none = make(tmp_path, enable_transits=False)
    assert none.metadata["pixels_in_transit"] == 0 and none.metadata["orbital_period"] is None
    assert none.fluxes.min() > 0.999


@pytest.mark.slow
def test_the_master_seed_decides_everything_random(tmp_path):
    noisy = {"enable_random_noise": True, "enable_systematics": True, "number_cameras_per_group": 2}
    one, again, other = (make(tmp_path, **noisy, master_seed=seed) for seed in (1, 1, 2))
    assert one.fluxes.tolist() == again.fluxes.tolist() != other.fluxes.tolist()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_noise_systematics_and_mask_updates(tmp_path):
    quiet = make(tmp_path, duration=60, enable_transits=False)
    noisy = make(tmp_path, duration=60, enable_transits=False, enable_random_noise=True)
    sigma = noise_of_sample(73, 600, 1)
    assert (noisy.fluxes - quiet.fluxes).std() == pytest.approx(sigma, rel=0.05)
    assert (noisy.uncertainties == sigma).all() and noisy.metadata["mes"] == 0
    drifting = [make(tmp_path, duration=60, enable_systematics=True, mask_updates=each) for each in (False, True)]
    assert drifting[0].fluxes.tolist() != drifting[1].fluxes.tolist()
    assert all(each.fluxes.std() > quiet.fluxes.std() for each in drifting)


@pytest.mark.slow
def test_the_task_writes_what_it_promises(bench, caplog):
    specs = {**HOT_JUPITER, "duration": 2.01, "mask_updates": True, "nsr": 50, "noise": 3e-4}
    context = bench.context({"specs": specs}, outputs=["lightcurve"], seed=5)
    metadata = SynthesisPSLS().run(context)
    assert passed(SynthesisPSLS().check(context, metadata))
    assert "mask_updates changes nothing" in caplog.text and "specs.noise is ignored" in caplog.text
    written = files.read(context.outputs["lightcurve"])
    assert len(written) == 290 and written.cadence == pytest.approx(600)
    assert metadata["mode"] == "main_sequence" and metadata["enable_transits"] is True
    assert metadata["mes"] == 1e8 and metadata["pixels_in_transit"] > 0
    assert not passed(SynthesisPSLS().check(context, None))


@pytest.mark.slow
def test_a_failure_of_psls_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("eas.tasks.synthesis_psls.PROGRAM", "raise SystemExit('no such star')")
    with pytest.raises(TaskFailure, match="exit code 1: no such star"):
        make(tmp_path)


def test_defaults_are_those_of_the_language():
    specs = read_specs({}, 2**40 + 7)
    assert specs["master_seed"] == 7
    assert (specs["mode"], specs["nsr"], specs["duration"]) == ("main_sequence", 73, 730)
    assert (specs["number_camera_groups"], specs["number_cameras_per_group"]) == (4, 6)
    assert [specs[name] for name in ("enable_transits", "enable_random_noise")] == [True, True]
    assert [specs[name] for name in ("mask_updates", "enable_systematics")] == [False, False]
    assert "noise" not in specs and "mes_assume_noise" not in specs


@pytest.mark.parametrize(
    "specs, message",
    [
        ({"mode": "white_dwarf"}, "specs.mode is 'white_dwarf'"),
        ({"sampling_cadence": 30}, "30 s, but psls"),
        ({"number_camera_groups": 5}, "specs.number_camera_groups is 5"),
        ({"number_cameras_per_group": 1.5}, "specs.number_cameras_per_group is 1.5"),
        ({"master_seed": -1}, "specs.master_seed is -1"),
        ({"nsr": -1}, "specs.nsr is -1"),
        ({"enable_systematics": "maybe"}, "specs.enable_systematics is 'maybe'"),
        ({"semi_major_axis": 0.001}, "the planet touches the star"),
        ({"impact_parameter": 2}, "specs.impact_parameter is 2"),
    ],
)
def test_impossible_specs_are_refused_with_a_hint(bench, specs, message):
    context = bench.context({"specs": {**HOT_JUPITER, **specs}}, outputs=["lightcurve"])
    with pytest.raises(TaskFailure, match=message) as caught:
        SynthesisPSLS().run(context)
    assert caught.value.hint
    assert not passed(SynthesisPSLS().check(context, None))


def test_quarters_add_up_to_the_duration():
    options = {"cadence": 600, "master_seed": 1, "nsr": 73, "systematics": None, "groups": 2, "cameras": 3}
    content = configuration("red_giant", duration=200, **options)
    assert content["Observation"]["QuarterDuration"] == [90, 90, 20]
    assert content["Instrument"]["GroupID"] == [1, 2]
    assert configuration("red_giant", duration=90, **options)["Observation"]["QuarterDuration"] == [90]


def test_the_noise_is_that_of_the_mean_of_all_cameras():
    assert noise_of_sample(73, 3600, 1) == pytest.approx(73e-6)
    assert noise_of_sample(73, 25, 24) == pytest.approx(73e-6 * 12 / np.sqrt(24))


def test_missing_tables_are_reported_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("EAS_PSLS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(TaskFailure, match=r"is not in .*nowhere") as caught:
        psls_data.table(psls_data.MASK_UPDATES)
    assert psls_data.COMMAND in caught.value.hint
    done = subprocess.run([sys.executable, "-m", "eas.tasks.psls_data", "where"], capture_output=True, env=os.environ)
    assert done.returncode == 1 and b"nowhere" in done.stdout


def test_fetching_again_changes_nothing(monkeypatch):
    monkeypatch.setattr(psls_data, "_download", None)
    assert psls_data.fetch() == psls_data.directory()
