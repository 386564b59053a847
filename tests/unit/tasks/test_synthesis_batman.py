"""Synthesis with batman: the right depth, period, transits, noise; refusals with a hint."""

import numpy as np
import pytest

pytest.importorskip("batman", reason="batman is not installed: pip install batman-package")

from eas.errors import TaskFailure
from eas.lightcurves import files
from eas.lightcurves.constants import AU_IN_JUPITER_RADII, EARTH_RADIUS_IN_JUPITER_RADII, SUN_RADIUS_IN_JUPITER_RADII
from eas.tasks.synthesis_batman import SynthesisBatman, read_specs, synthesise
from eas.tasks.transit_model import Transit

HOT_JUPITER = {
    "duration": 12,
    "orbital_period": 4,
    "semi_major_axis": (4 / 365.25) ** (2 / 3),
    "t0": 1,
    "sampling_cadence": 120,
}


def make(seed=0, **specs):
    return synthesise(read_specs({"specs": {**HOT_JUPITER, **specs}}), seed)


def passed(checks):
    return all(each.passed for each in checks)


def test_defaults_are_those_of_the_language():
    assert read_specs({}) == {
        "duration": 730,
        "t0": 1,
        "eccentricity": 0,
        "star_radius": pytest.approx(9.72836),
        "planet_radius": 1,
        "orbital_period": 365,
        "semi_major_axis": 1,
        "orbital_angle": 0,
        "impact_parameter": None,
        "noise": 0,
        "mes_assume_noise": None,
        "sampling_cadence": 25,
    }


def test_depth_of_a_central_transit():
    ratio = 1 / SUN_RADIUS_IN_JUPITER_RADII
    # Limb darkening makes the centre brighter than the mean by 1 / (1 - u1/3 - u2/6).
    assert 1 - make().fluxes.min() == pytest.approx(ratio**2 / (1 - 0.1 / 3 - 0.3 / 6), rel=0.01)


def test_depth_scales_with_area():
    earth = make(planet_radius=EARTH_RADIUS_IN_JUPITER_RADII)
    twice = make(planet_radius=2 * EARTH_RADIUS_IN_JUPITER_RADII)
    assert (1 - twice.fluxes.min()) / (1 - earth.fluxes.min()) == pytest.approx(4, rel=0.01)


def test_transits_are_at_t0_and_every_period_after():
    lightcurve = make(t0=1.3)
    inside = lightcurve.fluxes < 1
    middles = [
        part.mean()
        for part in np.split(lightcurve.times[inside], 1 + np.flatnonzero(np.diff(lightcurve.times[inside]) > 1))
    ]
    assert middles == pytest.approx([1.3, 5.3, 9.3], abs=120 / 86400)


@pytest.mark.parametrize("cadence", [25, 120, 600, 1800])
def test_statistics_describe_the_curve_at_any_cadence(cadence):
    lightcurve = make(sampling_cadence=cadence)
    ratio, axis = 1 / SUN_RADIUS_IN_JUPITER_RADII, HOT_JUPITER["semi_major_axis"] * AU_IN_JUPITER_RADII
    length = 4 / np.pi * np.arcsin((1 + ratio) * SUN_RADIUS_IN_JUPITER_RADII / axis)  # Winn 2010, equation 14
    known = lightcurve.metadata
    # A transit touches at least as many exposures as fit in it, and at most one more at either end.
    fit = 3 * length * 86400 / cadence
    assert fit - 3 <= known["pixels_in_transit"] <= fit + 3 * 2
    assert known["pixels_in_transit"] + known["pixels_out_of_transit"] == len(lightcurve) == 12 * 86400 / cadence
    assert known["integrated_transit_power"] * cadence == pytest.approx(
        make(sampling_cadence=25).metadata["integrated_transit_power"] * 25, rel=0.002
    )
    assert all(type(value) in (int, float, type(None)) for value in known.values())


def test_mes():
    noisy = make(noise=3e-4, seed=1).metadata
    expected = noisy["integrated_transit_power"] / (3e-4 * np.sqrt(25 / 120)) / np.sqrt(noisy["pixels_in_transit"])
    assert noisy["mes"] == pytest.approx(expected)
    assert make(mes_assume_noise=3e-4).metadata["mes"] == pytest.approx(expected)
    assert make(noise=1e-3, mes_assume_noise=3e-4).metadata["mes"] == pytest.approx(expected)
    assert make().metadata["mes"] == 1e8
    assert make(planet_radius=0, noise=1e-4).metadata["mes"] == 0


@pytest.mark.parametrize("cadence", [25, 100, 600])
def test_noise_scales_with_the_root_of_the_exposure(cadence):
    lightcurve = make(planet_radius=0, noise=3e-4, sampling_cadence=cadence)
    expected = 3e-4 * np.sqrt(25 / cadence)
    assert lightcurve.fluxes.std() == pytest.approx(expected, rel=5 / np.sqrt(len(lightcurve)))
    assert (lightcurve.uncertainties == expected).all()
    assert abs(lightcurve.fluxes.mean() - 1) < 5 * expected / np.sqrt(len(lightcurve))


def test_the_seed_decides_the_noise():
    one, again, other = make(3, noise=1e-4), make(3, noise=1e-4), make(4, noise=1e-4)
    assert one.fluxes.tolist() == again.fluxes.tolist() != other.fluxes.tolist()


def test_impact_parameter_wins_over_the_angle():
    both = make(impact_parameter=0.5, orbital_angle=80).metadata
    assert both["impact_parameter"] == 0.5
    as_angle = make(orbital_angle=both["orbital_angle"]).metadata
    assert as_angle["impact_parameter"] == pytest.approx(0.5)
    assert as_angle["pixels_in_transit"] == both["pixels_in_transit"]
    assert make(orbital_angle=30).metadata["pixels_in_transit"] == 0
    assert both["pixels_in_transit"] < make().metadata["pixels_in_transit"]


def test_impact_parameter_is_the_one_at_transit_of_an_eccentric_orbit():
    transit = Transit(0, 0.4, 10, 1, 30, 0.2, impact_parameter=0.9)
    ends = np.array([-0.5, 0.5])
    fluxes = transit.flux(np.linspace(-0.2, 0.2, 401), 25)
    assert fluxes.min() < 1 and (transit.flux(ends, 25) == 1).all()
    grazing = Transit(0, 0.4, 10, 1, 30, 0.2, impact_parameter=1.0).flux(np.zeros(1), 25)[0]
    assert 1 - grazing == pytest.approx(0.5 * (1 - fluxes.min()), rel=0.4)


def test_supersampling_smears_the_ingress():
    sharp = make(sampling_cadence=60).fluxes.reshape(-1, 30).mean(axis=1)
    times = make(sampling_cadence=60).times.reshape(-1, 30).mean(axis=1)
    smeared = Transit(
        **{name: value for name, value in make().metadata.items() if name in Transit.__dataclass_fields__}
    ).flux(times, 1800)
    assert np.abs(sharp - smeared).max() < 2e-5


@pytest.mark.parametrize(
    "specs, message",
    [
        ({"eccentricity": 1.5}, "specs.eccentricity is 1.5"),
        ({"eccentricity": 1}, "specs.eccentricity"),
        ({"planet_radius": -1}, "specs.planet_radius"),
        ({"star_radius": 0}, "specs.star_radius"),
        ({"orbital_period": "soon"}, "specs.orbital_period is 'soon'"),
        ({"impact_parameter": 2}, "specs.impact_parameter"),
        ({"sampling_cadence": 0}, "specs.sampling_cadence"),
        ({"semi_major_axis": 0.001}, "the planet touches the star"),
        ({"duration": 1e-4}, "makes 1 samples"),
        ({"duration": 1e9}, "makes .* samples"),
    ],
)
def test_impossible_specs_are_refused_with_a_hint(bench, specs, message):
    context = bench.context({"specs": {**HOT_JUPITER, **specs}}, outputs=["lightcurve"])
    with pytest.raises(TaskFailure, match=message) as caught:
        SynthesisBatman().run(context)
    assert caught.value.hint
    assert not passed(SynthesisBatman().check(context, None))


def test_the_task_writes_what_it_promises(bench, caplog):
    specs = {**HOT_JUPITER, "noise": 3e-4, "planet_raduis": 3}
    context = bench.context({"specs": specs}, outputs=["lightcurve"], seed=5)
    metadata = SynthesisBatman().run(context)
    assert "did you mean 'planet_radius'?" in caplog.text
    assert metadata["planet_radius"] == 1 and metadata["orbital_period"] == 4
    assert passed(SynthesisBatman().check(context, metadata))
    written = context.outputs["lightcurve"].read_bytes()
    SynthesisBatman().run(context)
    assert context.outputs["lightcurve"].read_bytes() == written


def test_qc_compares_with_the_specs(bench):
    context = bench.context({"specs": HOT_JUPITER}, outputs=["lightcurve"])
    task = SynthesisBatman()
    metadata = task.run(context)
    assert passed(task.check(context, metadata))
    assert not passed(task.check(context, None))
    assert not passed(task.check(context, {**metadata, "mes": float("inf")}))
    assert not passed(task.check(context, {**metadata, "pixels_in_transit": 1}))
    assert not passed(task.check(context, {**metadata, "integrated_transit_power": None}))
    files.write(context.outputs["lightcurve"], make(sampling_cadence=130))
    assert not passed(task.check(context, metadata))
    context.outputs["lightcurve"].unlink()
    assert not passed(task.check(context, metadata))
