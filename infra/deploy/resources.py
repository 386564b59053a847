"""Resources of worker types: the registry's requests, optionally limited to a fraction of a node. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from eas.errors import RequestError
from eas.registry import WorkerType

OVERHEAD = 0.5
"""Memory of a worker pod in addition to its task's, for the flow run and the worker processes [GB]."""
LEAST_CPU, LEAST_MEMORY = 0.1, 0.25
FACTORS = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
BINARY = {f"{letter}i": 1024.0 ** (power + 1) for power, letter in enumerate("KMGTP")}


@dataclass(frozen=True)
class Capacity:
    """Allocatable resources of a node: ``cpu`` cores, ``gpu`` devices, ``memory`` [GB]."""

    cpu: float
    gpu: int
    memory: float


@dataclass(frozen=True)
class PodResources:
    """Resources of a worker for its tasks: ``cpu`` cores, ``gpu`` devices, ``memory`` [GB]."""

    cpu: float
    gpu: int
    memory: float

    def job_variables(self) -> dict[str, Any]:
        """Return it as variables of the work pool's job template; the pod needs memory for itself, too."""
        variables: dict[str, Any] = {
            "cpu": f"{round(self.cpu * 1000)}m",
            "memory": f"{math.ceil((self.memory + OVERHEAD) * 1000)}M",
        }
        return variables | ({"gpu": self.gpu} if self.gpu > 0 else {})

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def quantity(text: str | float) -> float:
    """Return a Kubernetes quantity (``500m``, ``16Gi``, ``8127492Ki``, ``2``) as a number."""
    text = str(text)
    for suffix, factor in (BINARY | FACTORS).items():
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor
    return float(text)


def capacity(node: dict[str, Any]) -> Capacity:
    """Return the allocatable resources of a node, from its API object."""
    offered = node.get("status", {}).get("allocatable", {})
    return Capacity(
        cpu=quantity(offered.get("cpu", 0)),
        gpu=int(quantity(offered.get("nvidia.com/gpu", 0))),
        memory=quantity(offered.get("memory", 0)) / 1e9,
    )


def largest_node(nodes: Iterable[dict[str, Any]]) -> Capacity | None:
    """Return the capacity of the schedulable node with most memory, or None."""
    offers = [capacity(node) for node in nodes if not node.get("spec", {}).get("unschedulable")]
    return max(offers, key=lambda each: (each.memory, each.cpu), default=None)


def assign(worker_type: WorkerType, node: Capacity | None, fraction: float | None) -> PodResources:
    """Return the resources of a worker type.

    Raises RequestError if the fraction of the node is too small for a worker.
    """
    if fraction is None or node is None:
        return PodResources(worker_type.cpu, worker_type.gpu, worker_type.memory)
    cpu = math.floor(min(worker_type.cpu, fraction * node.cpu) * 100) / 100
    memory = math.floor(min(worker_type.memory, fraction * node.memory - OVERHEAD) * 100) / 100
    if cpu < LEAST_CPU or memory < LEAST_MEMORY:
        raise RequestError(
            f"{fraction:g} of {node.cpu:g} cores and {node.memory:.1f} GB is too little for {worker_type.name}",
            hint="give a larger --limit-to-system-fraction, or a larger node",
        )
    return PodResources(cpu, min(worker_type.gpu, node.gpu), memory)


def does_not_fit_reason(name: str, assigned: PodResources, node: Capacity | None) -> str:
    """Return why no node can hold a worker; empty if one can, or if the nodes are unknown."""
    if node is None:
        return ""
    lacks = []
    if assigned.cpu > node.cpu:
        lacks.append(f"{assigned.cpu:g} cores (the largest node has {node.cpu:g})")
    if assigned.memory + OVERHEAD > node.memory:
        lacks.append(f"{assigned.memory + OVERHEAD:g} GB of memory (the largest node has {node.memory:.1f})")
    if assigned.gpu > node.gpu:
        lacks.append(f"{assigned.gpu} GPUs (the largest node has {node.gpu})")
    return f"no node can hold {name}: it asks for {', '.join(lacks)}" if lacks else ""
