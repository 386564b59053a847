"""Which injected planets the searches find, and how often they see one where there is none.

    python benchmarks/science_recovery.py [--write] [--quick]

Prints a table; ``--write`` also puts it into docs/science.md. Every search is the task type itself,
run on files as a worker runs it. A case counts as recovered where its ``outcome`` is PASS (period
within 3%) and its significance is above the threshold that flat curves are judged by as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
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

DOCUMENT = Path(__file__).parents[1] / "docs" / "science.md"
BEGIN, END = "<!-- recovery table: begin -->", "<!-- recovery table: end -->"
PERIODS = (2.0, 6.5, 20.0, 60.0)
DEPTHS = (3e-4, 1e-3, 1e-2)
CADENCE = 1800.0
FLAT_CURVES = 25


class Method(NamedTuple):
    """A search: its task type, the significance of what it found, and when that counts as a detection."""

    task_type: str
    significance: Callable[[Mapping[str, Any]], float]
    threshold: float
    named: str


METHODS = (
    Method("transit_search_tls", lambda found: found["sde"], 7.0, "`sde`"),
    Method("transit_search_bls_reference", lambda found: math.sqrt(2 * found["power"]), 7.0, "sqrt(2 `power`)"),
    Method("transit_search_bls_kovacs", lambda found: found["snr"], 7.0, "`snr`"),
    Method("transit_search_qats", lambda found: found["power"], 7.0, "`power`"),
)


def with_gaps(lightcurve: LightCurve, seed: int) -> LightCurve:
    """Take out three days at the end of each quarter of 90, and a twentieth of all samples in short gaps."""
    rng = np.random.default_rng(seed)
    gone = lightcurve.times % 90 > 87
    for start in rng.uniform(0, lightcurve.times[-1], int(lightcurve.times[-1] / 5)):
        gone |= np.abs(lightcurve.times - start) < 0.125
    bad = (rng.random(len(lightcurve)) < 0.01).astype(np.int8)
    fluxes = np.where(bad, lightcurve.fluxes + 0.01, lightcurve.fluxes)
    return lightcurve.evolve(fluxes=fluxes, flags=bad).select(~gone)


def planet(period: float, depth: float, seed: int) -> LightCurve:
    """Return a planet of a Sun-like star in PLATO's noise; at least three of its transits."""
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
    """Return sixty days of noise."""
    specs = {"duration": 60, "planet_radius": 0, "noise": PLATO_NOISE, "sampling_cadence": CADENCE}
    return with_gaps(synthesise(read_specs({"specs": specs}), seed), seed)


def search(method: Method, lightcurve: LightCurve, settings: Mapping[str, float]) -> Mapping[str, Scalar]:
    """Run the task type and its QC, which must pass."""
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
        task = registry.load().task_type(method.task_type).load()()
        found = task.run(dataclasses.replace(context, threads=2))
        if failed := [check for check in task.check(context, found) if not check.passed]:
            raise AssertionError(f"{method.task_type}: QC failed: {failed}")
    return found


def significance(method: Method, found: Mapping[str, Scalar]) -> float:
    """Return a finding's significance; 0 where nothing was found."""
    return 0.0 if found["period"] is None else float(method.significance(found))


class Recovered(NamedTuple):
    """One cell of the table."""

    passed: bool
    significance: float
    period: float | None


def recover(method: Method, period: float, depth: float, seed: int) -> Recovered:
    """Inject a planet and search from 0.4 to 2.4 times its period, half and double among them."""
    lightcurve = planet(period, depth, seed)
    span = lightcurve.times[-1] - lightcurve.times[0]
    found = search(method, lightcurve, {"period_min": 0.4 * period, "period_max": min(2.4 * period, span / 2)})
    level = significance(method, found)
    return Recovered(found["outcome"] == "PASS" and level >= method.threshold, level, found["period"])  # type: ignore[arg-type]


def false_alarms(method: Method, count: int) -> tuple[int, float]:
    """Search flat curves; return how many exceed the threshold, and the largest significance."""
    levels = [significance(method, search(method, flat(1000 + seed), {"period_min": 3.0})) for seed in range(count)]
    return sum(level >= method.threshold for level in levels), max(levels)


def table(periods: tuple[float, ...], depths: tuple[float, ...], flats: int) -> Iterator[str]:
    """Yield the table's lines as they become known."""
    yield "| period [days] | depth [ppm] | " + " | ".join(each.task_type for each in METHODS) + " |"
    yield "|" + "---:|" * (2 + len(METHODS))
    tally = dict.fromkeys((each.task_type for each in METHODS), 0)
    for number, (period, depth) in enumerate((period, depth) for period in periods for depth in depths):
        cells = []
        for method in METHODS:
            found = recover(method, period, depth, number)
            tally[method.task_type] += found.passed
            shown = "nothing" if found.period is None else f"{found.period:.4f}"
            cells.append(f"{'found' if found.passed else 'MISSED'} {shown} ({found.significance:.1f})")
        yield f"| {period:g} | {depth * 1e6:.0f} | {' | '.join(cells)} |"
    total = len(periods) * len(depths)
    yield "| recovered | | " + " | ".join(f"{tally[each.task_type]} of {total}" for each in METHODS) + " |"
    rates = [false_alarms(each, flats) for each in METHODS]
    yield "| false alarms | | " + " | ".join(f"{count} of {flats} (largest {most:.1f})" for count, most in rates) + " |"
    yield "| threshold | | " + " | ".join(f"{each.named} {each.threshold:g}" for each in METHODS) + " |"


def main() -> int:
    """Print the table, and write it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCUMENT}")
    parser.add_argument("--quick", action="store_true", help="two cases and two flat curves only")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    began = time.monotonic()
    lines = []
    for line in table((6.5,), (3e-4, 1e-3), 2) if options.quick else table(PERIODS, DEPTHS, FLAT_CURVES):
        print(line, flush=True)
        lines.append(line)
    print(f"{time.monotonic() - began:.0f} s")
    if options.write:
        text = DOCUMENT.read_text(encoding="utf-8")
        head, tail = text.partition(BEGIN)[0], text.partition(END)[2]
        DOCUMENT.write_text(f"{head}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{tail}", encoding="utf-8")
    return int(any("MISSED" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
