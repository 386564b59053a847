"""The task types verify, binning and multiply."""

import numpy as np
import pytest

from eas.errors import TaskFailure
from eas.lightcurves import files
from eas.lightcurves.lightcurve import LightCurve
from eas.tasks.binning import Binning
from eas.tasks.multiply import Multiply
from eas.tasks.verify import Verify


def curve(n=240, cadence=25.0, start=0.0, seed=1):
    fluxes = 1 + 1e-3 * np.random.default_rng(seed).standard_normal(n)
    return LightCurve(start + np.arange(n) * cadence / 86400, fluxes, uncertainties=np.full(n, 1e-3))


def passed(checks):
    return all(each.passed for each in checks)


def test_verify(bench):
    lightcurve = curve()
    context = bench.context(inputs={"lightcurve": bench.store("a.gz", lightcurve)})
    metadata = Verify().run(context)
    assert metadata == {
        "verification_time_min": 0,
        "verification_time_max": lightcurve.times[-1],
        "verification_flux_min": lightcurve.fluxes.min(),
        "verification_flux_max": lightcurve.fluxes.max(),
        "verification": True,
        "samples_searched": 240,
        "samples_dropped": 0,
        "samples_dropped_why": "none",
    }
    assert all(type(value) in (int, float, bool, str) for value in metadata.values())
    assert passed(Verify().check(context, metadata))


def test_verify_sees_a_gap_and_nan(bench):
    lightcurve = curve()
    keep = np.arange(240) != 100
    context = bench.context(inputs={"lightcurve": bench.store("a.gz", lightcurve.select(keep))})
    metadata = Verify().run(context)
    assert metadata["verification"] is False and passed(Verify().check(context, metadata))

    fluxes = np.where(keep, lightcurve.fluxes, np.nan)
    for flag, fine in ((1, True), (0, False)):
        spoilt = lightcurve.evolve(fluxes=fluxes, flags=(flag * ~keep).astype(np.int8))
        context = bench.context(inputs={"lightcurve": bench.store("b.gz", spoilt)})
        metadata = Verify().run(context)
        assert passed(Verify().check(context, metadata)) is fine
        assert (metadata["verification_flux_min"] is None) is not fine


@pytest.mark.parametrize(
    "change",
    [
        {"verification_time_min": None},
        {"verification_time_min": 9.0},
        {"verification_flux_max": float("inf")},
        {"verification": None},
        {"verification": "yes"},
    ],
)
def test_qc_of_verify(bench, change):
    good = {f"verification_{name}": 1.0 for name in ("time_min", "time_max", "flux_min", "flux_max")}
    assert passed(Verify().check(bench.context(), {**good, "verification": True}))
    assert not passed(Verify().check(bench.context(), {**good, "verification": True, **change}))
    assert not passed(Verify().check(bench.context(), None))


@pytest.mark.parametrize("task", [Verify(), Binning(), Multiply()])
def test_without_an_input_the_chain_is_blamed(bench, task):
    context = bench.context({"cadence": 600}, outputs=["lightcurve"])
    with pytest.raises(TaskFailure, match="needs the input 'lightcurve"):
        task.run(context)
    assert not passed(task.check(context, None))


def test_an_input_that_cannot_be_read_is_named(bench):
    product = bench.store("a.gz", curve())
    product.path.write_bytes(b"garbage")
    with pytest.raises(TaskFailure, match=r"the input 'lightcurve' \(a.gz\): .*not a gzip file"):
        Verify().run(bench.context(inputs={"lightcurve": product}))


def test_binning(bench):
    lightcurve = curve()
    inputs = {"lightcurve": bench.store("a.gz", lightcurve, mes=7.5, orbital_period=3)}
    context = bench.context({"cadence": 600}, inputs=inputs, outputs=["lightcurve"])
    metadata = Binning().run(context)
    assert metadata == {"mes": 7.5, "orbital_period": 3}
    checks = Binning().check(context, metadata)
    assert passed(checks) and any(each.name == "lightcurve cadence" for each in checks)
    binned = files.read(context.outputs["lightcurve"])
    assert len(binned) == 10
    assert binned.fluxes == pytest.approx(lightcurve.fluxes.reshape(10, 24).mean(axis=1), abs=1e-12)


@pytest.mark.parametrize("settings", [{}, {"cadence": 0}, {"cadence": "coarse"}, {"cadence": 5}])
def test_binning_refuses_other_cadences(bench, settings):
    context = bench.context(settings, inputs={"lightcurve": bench.store("a.gz", curve())}, outputs=["lightcurve"])
    with pytest.raises(TaskFailure, match="cadence") as caught:
        Binning().run(context)
    assert caught.value.hint
    assert not passed(Binning().check(context, None))


def test_qc_of_binning_asks_for_the_cadence(bench):
    context = bench.context({"cadence": 600}, outputs=["lightcurve"])
    files.write(context.outputs["lightcurve"], curve(cadence=500))
    assert not passed(Binning().check(context, {}))


def test_multiply(bench):
    first, second = curve(seed=1), curve(n=60, cadence=100, start=37.5 / 86400, seed=2)
    inputs = {
        "lightcurve_1": bench.store("a.gz", first, orbital_period=3, noise=1e-3),
        "lightcurve_2": bench.store("b.gz", second, orbital_period=5, mes=9.0),
    }
    context = bench.context(inputs=inputs, outputs=["lightcurve"])
    metadata = Multiply().run(context)
    assert metadata == {"orbital_period": 5, "noise": 1e-3, "mes": 9.0}
    assert passed(Multiply().check(context, metadata))
    product = files.read(context.outputs["lightcurve"])
    assert product.times.tolist() == first.times.tolist()
    assert product.fluxes == pytest.approx(first.fluxes * np.repeat(second.fluxes, 4), abs=1e-9)
    assert not product.flags.any()


def test_multiply_flags_what_the_second_does_not_cover(bench, caplog):
    inputs = {"lightcurve_1": bench.store("a.gz", curve()), "lightcurve_2": bench.store("b.gz", curve(n=140))}
    context = bench.context(inputs=inputs, outputs=["lightcurve"])
    Multiply().run(context)
    assert files.read(context.outputs["lightcurve"]).flags.sum() == 100
    assert "100 of 240 samples are flagged bad" in caplog.text


def test_qc_of_multiply_counts_samples(bench):
    inputs = {"lightcurve_1": bench.store("a.gz", curve()), "lightcurve_2": bench.store("b.gz", curve())}
    context = bench.context(inputs=inputs, outputs=["lightcurve"])
    files.write(context.outputs["lightcurve"], curve(n=239))
    assert not passed(Multiply().check(context, {}))
    inputs["lightcurve_1"].path.unlink()
    assert not passed(Multiply().check(context, {}))
