"""Tasks of chains, and the states of those of a job."""

from __future__ import annotations

from typing import Any

from tests.integration.harness import System

NULL: dict[str, Any] = {"task": "null", "duration": 0}


def synthesis(file: str, **extra: Any) -> dict[str, Any]:
    specs = {"duration": 2, "orbital_period": 1, "sampling_cadence": 600, "planet_radius": 0.5} | extra
    return {"task": "synthesis_batman", "outputs": {"lightcurve": file}, "specs": specs}


def verify(file: str, **extra: Any) -> dict[str, Any]:
    return {"task": "verify", "inputs": {"lightcurve": file}} | extra


def loop(parameter: str, values: list[Any], *body: dict[str, Any]) -> dict[str, Any]:
    return {"task": "execution_for_loop", "parameter": parameter, "values": values, "task_list": list(body)}


def states(system: System, job: int) -> dict[str, dict[str, int]]:
    return system.summary(job).counts
