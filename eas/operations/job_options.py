"""Options of a job's submission, and their bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eas.errors import RequestError
from eas.orchestration.reuse import CHOICES, FAIL

BOUNDS: Final = {"retries": (0, 1000), "backoff": (0, 3600), "max_stalls": (0, 1000), "priority": (-1000, 1000)}
"""Smallest and largest value of each option that is a number."""

PLANNING_SEED = "0"
"""Seed of plans that are made before the job has a seed."""


@dataclass(frozen=True)
class SubmitOptions:
    """Options of a job.

    Attributes
    ----------
    if_exists:
        *fail*, *reuse* or *replace* file products that exist already.
    retries:
        Further attempts of a task that failed.
    backoff:
        Wait before the first retry [s]; doubled for each further one, up to ten minutes.
    seed:
        Seed of all random numbers of the job. None for a new seed; with *reuse*, for that of the job whose
        products are reused.
    priority:
        Jobs of higher priority are served first.
    job_name:
        Overrides the chain's.
    max_stalls:
        Further attempts of a task whose worker vanished.
    strict:
        Reject a chain that has warnings, such as unknown settings.
    """

    if_exists: str = FAIL
    retries: int = 0
    backoff: float = 1.0
    seed: str | None = None
    priority: int = 0
    job_name: str | None = None
    max_stalls: int = 5
    strict: bool = False

    def __post_init__(self) -> None:
        if self.if_exists not in CHOICES:
            raise RequestError(f"the job's if_exists is {self.if_exists!r}", hint=f"give one of {', '.join(CHOICES)}")
        for name, (least, most) in BOUNDS.items():
            if not least <= getattr(self, name) <= most:
                what = f"the job's {name} is {getattr(self, name)!r}"
                raise RequestError(what, hint=f"give a number from {least} to {most}")

    @property
    def planning_seed(self) -> str:
        """The seed, or ``PLANNING_SEED`` if none is given."""
        return PLANNING_SEED if self.seed is None else self.seed
