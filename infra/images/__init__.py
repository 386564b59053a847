"""Container images of workers and services, built by ``python -m infra.images`` (``make images``)."""

from __future__ import annotations

from typing import Final

from eas.registry import BASE_WORKER_TYPE, WorkerType

TARGETS: Final[dict[str, tuple[str, ...]]] = {
    "base": (),
    "psls-batman": ("psls-batman",),
    "tls": ("tls",),
    "qats": ("qats",),
    "bls": ("bls-reference", "bls-kovacs"),
    "web": (),
}
"""Targets of the Containerfile, and the extras of pyproject.toml in each."""
CORE_EXTRAS: Final = ("s3", "fits")
"""Extras of pyproject.toml in all targets."""


def target_of(worker_type: WorkerType) -> str | None:
    """Return the image that runs a worker type; None if EAS has none for it."""
    if worker_type.name == BASE_WORKER_TYPE:
        return "base"
    return next((name for name, extras in TARGETS.items() if worker_type.extra and worker_type.extra in extras), None)
