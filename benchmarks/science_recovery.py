"""Recovery of injected planets by the searches in several conditions, and false-alarm rates on flat light curves.

    python benchmarks/science_recovery.py [--write] [--quick] [--processes N]

Prints three tables; ``--write`` also inserts them into docs/explanation/science.md. Each search is the task type,
which reads files as in a worker, and its QC. A planet counts as recovered if ``outcome`` is PASS (period within 3%)
and the significance exceeds the threshold, which also defines a false alarm on flat light curves.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eas import registry
from eas.lightcurves import files
from eas.lightcurves.constants import PLATO_NOISE, SUN_RADIUS_IN_JUPITER_RADII
from eas.lightcurves.lightcurve import LightCurve
from eas.model import InputProduct, Scalar
from eas.tasks.base import TaskContext
from eas.tasks.synthesis_batman import read_specs, synthesise
from eas.worker.child_runner import load_class

DOCUMENT = Path(__file__).parents[1] / "docs" / "explanation" / "science.md"
BEGIN, END = "<!-- recovery table: begin -->", "<!-- recovery table: end -->"
PERIODS = (2.0, 6.5, 20.0, 60.0)
DEPTHS = (3e-4, 1e-3, 1e-2)
CONDITION_PERIODS = (2.0, 6.5, 20.0)
CONDITION_DEPTHS = (3e-4, 1e-3)
CADENCE = 1800.0
FLAT_CURVES = 252
ALLOWED_FALSE_ALARMS = 0.02
FIRST_FLAT_SEED = 2000
"""Seeds 1000 to 1249 served to choose the thresholds and are not used for the rates."""


class Method(NamedTuple):
    """A search: its task type, its significance as a function of the output metadata, and the detection threshold."""

    task_type: str
    significance: Callable[[Mapping[str, Any]], float]
    threshold: float
    named: str


METHODS = {
    each.task_type: each
    for each in (
        Method("transit_search_tls", lambda found: found["sde"], 9.0, "`sde`"),
        Method("transit_search_bls_reference", lambda found: math.sqrt(2 * found["power"]), 7.0, "sqrt(2 `power`)"),
        Method("transit_search_bls_kovacs", lambda found: found["snr"], 7.0, "`snr`"),
        Method("transit_search_qats", lambda found: found["power"], 7.0, "`power`"),
    )
}


def with_gaps(lightcurve: LightCurve, seed: int) -> LightCurve:
    """Remove the last three days of each 90-day quarter, and 5% of the samples in short gaps; flag 1% as bad."""
    rng = np.random.default_rng(seed)
    gone = lightcurve.times % 90 > 87
    for start in rng.uniform(0, lightcurve.times[-1], int(lightcurve.times[-1] / 5)):
        gone |= np.abs(lightcurve.times - start) < 0.125
    bad = (rng.random(len(lightcurve)) < 0.01).astype(np.int8)
    fluxes = np.where(bad, lightcurve.fluxes + 0.01, lightcurve.fluxes)
    return lightcurve.evolve(fluxes=fluxes, flags=bad).select(~gone)


def without_uncertainties(lightcurve: LightCurve, seed: int) -> LightCurve:
    """Set all uncertainties to 0, which means unknown."""
    return lightcurve.evolve(uncertainties=np.zeros(len(lightcurve)))


def with_zeros(lightcurve: LightCurve, seed: int) -> LightCurve:
    """Set 18 samples at the beginning and 1% of the others to 0, all flagged good."""
    zero = np.random.default_rng(seed).random(len(lightcurve)) < 0.01
    zero[:18] = True
    return lightcurve.evolve(fluxes=np.where(zero, 0.0, lightcurve.fluxes))


def with_outliers(lightcurve: LightCurve, seed: int) -> LightCurve:
    """Shift single samples, 1% of them up and 1% down, by 0.5 to 5% of the flux, all flagged good."""
    rng = np.random.default_rng(seed)
    hit = rng.random(len(lightcurve)) < 0.02
    hit[1:] &= ~hit[:-1]
    shifts = rng.choice([-1, 1], len(lightcurve)) * rng.uniform(0.005, 0.05, len(lightcurve))
    return lightcurve.evolve(fluxes=lightcurve.fluxes + np.where(hit, shifts, 0.0))


def with_offsets(lightcurve: LightCurve, seed: int) -> LightCurve:
    """Cut the first day of the second and of the last third, and scale the thirds by up to 1%; fluxes in electrons."""
    rng = np.random.default_rng(seed)
    phase = (lightcurve.times - lightcurve.times[0]) / (lightcurve.times[-1] - lightcurve.times[0]) * 3
    part = np.minimum(phase.astype(int), 2)
    kept = (part == 0) | (lightcurve.times - lightcurve.times[np.searchsorted(part, part)] > 1)
    scales = 1e5 * (1 + rng.uniform(-0.01, 0.01, 3))[part]
    fluxes, uncertainties = lightcurve.fluxes * scales, lightcurve.uncertainties * scales
    return lightcurve.evolve(fluxes=fluxes, uncertainties=uncertainties).select(kept)


def with_all(lightcurve: LightCurve, seed: int) -> LightCurve:
    """Apply all conditions at once."""
    for condition in (with_outliers, with_zeros, with_offsets, without_uncertainties):
        lightcurve = condition(lightcurve, seed)
    return lightcurve


CONDITIONS: dict[str, Callable[[LightCurve, int], LightCurve]] = {
    "gaps, with uncertainties": lambda lightcurve, seed: lightcurve,
    "without uncertainties": without_uncertainties,
    "fluxes of 0, flagged good": with_zeros,
    "outliers up and down, flagged good": with_outliers,
    "offsets of up to 1%, in electrons": with_offsets,
    "all of these": with_all,
}


def planet(period: float, depth: float, seed: int) -> LightCurve:
    """Return a light curve of a Sun-like star with at least three transits of a planet and PLATO's noise."""
    specs = {
        "duration": max(60.0, 3.2 * period),
        "orbital_period": period,
        "semi_major_axis": (period / 365.25) ** (2 / 3),
        "planet_radius": math.sqrt(depth) * SUN_RADIUS_IN_JUPITER_RADII,
        "t0": 0.4 * period,
        "impact_parameter": 0.3,
        "noise": PLATO_NOISE,
        "sampling_cadence": CADENCE,
    }
    return with_gaps(synthesise(read_specs({"specs": specs}), seed), seed)


def flat(seed: int) -> LightCurve:
    """Return sixty days of noise with gaps; the seed selects the condition."""
    specs = {"duration": 60, "planet_radius": 0, "noise": PLATO_NOISE, "sampling_cadence": CADENCE}
    lightcurve = with_gaps(synthesise(read_specs({"specs": specs}), seed), seed)
    return list(CONDITIONS.values())[seed % len(CONDITIONS)](lightcurve, seed)


def search(method: Method, lightcurve: LightCurve, settings: Mapping[str, float]) -> Mapping[str, Scalar]:
    """Run the task type and its QC; raise AssertionError if QC fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files.write(folder / "lightcurve.gz", lightcurve)
        product = InputProduct("lightcurve.gz", folder / "lightcurve.gz", lightcurve.metadata)
        context = TaskContext(
            task_type=method.task_type,
            settings={"search_settings": dict(settings)},
            metadata={},
            inputs={"lightcurve": product},
            outputs={},
            scratch=folder,
            input_directory=folder,
        )
        task = load_class(registry.load().task_type(method.task_type).implementation)()
        found = task.run(context)
        if failed := [check for check in task.check(context, found) if not check.passed]:
            raise AssertionError(f"{method.task_type}: QC failed: {failed}")
    return found


class Finding(NamedTuple):
    """Result of a search; without a detection the period is None and the significance 0."""

    passed: bool
    significance: float
    period: float | None


class Case(NamedTuple):
    """One search: of a planet in a condition, or of a flat light curve if ``period`` is 0."""

    task_type: str
    seed: int
    period: float = 0.0
    depth: float = 0.0
    condition: str = next(iter(CONDITIONS))

    def run(self) -> Finding:
        """Run the search; the range for a planet is 0.4 to 2.4 times its period, which includes half and double."""
        logging.disable(logging.WARNING)
        method = METHODS[self.task_type]
        if self.period:
            lightcurve = CONDITIONS[self.condition](planet(self.period, self.depth, self.seed), self.seed)
            span = lightcurve.times[-1] - lightcurve.times[0]
            settings = {"period_min": 0.4 * self.period, "period_max": min(2.4 * self.period, span / 2)}
        else:
            lightcurve, settings = flat(self.seed), {"period_min": 3.0}
        found = search(method, lightcurve, settings)
        level = 0.0 if found["period"] is None else float(method.significance(found))
        return Finding(found["outcome"] == "PASS" and level >= method.threshold, level, found["period"])  # type: ignore[arg-type]


Run = Callable[[Sequence[Case]], Sequence[Finding]]


def recovery_table(run: Run, periods: Sequence[float], depths: Sequence[float]) -> Iterator[str]:
    """Yield a table row per period and depth with the result of each search."""
    yield "| period [days] | depth [ppm] | " + " | ".join(METHODS) + " |"
    yield "|" + "---:|" * (2 + len(METHODS))
    recovered = dict.fromkeys(METHODS, 0)
    for number, (period, depth) in enumerate(itertools.product(periods, depths)):
        cells = []
        for task_type, found in zip(METHODS, run([Case(each, number, period, depth) for each in METHODS]), strict=True):
            recovered[task_type] += found.passed
            shown = "nothing" if found.period is None else f"{found.period:.4f}"
            cells.append(f"{'found' if found.passed else 'MISSED'} {shown} ({found.significance:.1f})")
        yield f"| {period:g} | {depth * 1e6:.0f} | {' | '.join(cells)} |"
    total = len(periods) * len(depths)
    yield "| recovered | | " + " | ".join(f"{count} of {total}" for count in recovered.values()) + " |"


def condition_table(run: Run, periods: Sequence[float], depths: Sequence[float]) -> Iterator[str]:
    """Yield a table row per condition with the number of planets that each search recovers."""
    yield "| condition | " + " | ".join(METHODS) + " |"
    yield "|---|" + "---:|" * len(METHODS)
    for condition in CONDITIONS:
        cells = []
        for task_type in METHODS:
            planets = enumerate(itertools.product(periods, depths))
            found = run([Case(task_type, 100 + number, *each, condition) for number, each in planets])
            passed = sum(each.passed for each in found)
            missed = "" if passed == len(found) else "MISSED some: "
            cells.append(f"{missed}{passed} of {len(found)} ({min(each.significance for each in found):.1f} or more)")
        yield f"| {condition} | {' | '.join(cells)} |"


def false_alarm_table(run: Run, count: int) -> Iterator[str]:
    """Yield a table row per search: number of false alarms, and distribution of the significance."""
    yield "| search | significance | threshold | false alarms | rate | 98% of the curves are below | largest |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for task_type, method in METHODS.items():
        levels = np.array(
            [each.significance for each in run([Case(task_type, FIRST_FLAT_SEED + seed) for seed in range(count)])]
        )
        alarms = int(np.count_nonzero(levels >= method.threshold))
        rate = f"{alarms / count:.1%}" + ("" if alarms <= ALLOWED_FALSE_ALARMS * count else " TOO MANY")
        yield (
            f"| {task_type} | {method.named} | {method.threshold:g} | {alarms} of {count} | {rate} | "
            f"{np.quantile(levels, 0.98):.1f} | {levels.max():.1f} |"
        )


def tables(run: Run, *, quick: bool) -> Iterator[str]:
    """Yield the lines of all tables, each as soon as its searches have ended."""
    yield from recovery_table(run, *((6.5,), (3e-4, 1e-3)) if quick else (PERIODS, DEPTHS))
    yield ""
    yield from condition_table(run, *((6.5,), (1e-3,)) if quick else (CONDITION_PERIODS, CONDITION_DEPTHS))
    yield ""
    yield from false_alarm_table(run, 4 if quick else FLAT_CURVES)


def main() -> int:
    """Print the tables; with ``--write``, insert them into the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {DOCUMENT}")
    parser.add_argument("--quick", action="store_true", help="a few cases and four flat curves only")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    began = time.monotonic()
    lines = []
    with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool:
        for line in tables(lambda cases: list(pool.map(Case.run, cases)), quick=options.quick):
            print(line, flush=True)
            lines.append(line)
    print(f"{time.monotonic() - began:.0f} s")
    if options.write:
        text = DOCUMENT.read_text(encoding="utf-8")
        head, tail = text.partition(BEGIN)[0], text.partition(END)[2]
        DOCUMENT.write_text(f"{head}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{tail}", encoding="utf-8")
    return int(any("MISSED" in line or "TOO MANY" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
