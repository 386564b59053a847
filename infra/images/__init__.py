"""Container images: one for each kind of worker, built by ``python -m infra.images`` (``make images``)."""

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
"""The targets of the Containerfile, and the extras of pyproject.toml that each of them installs."""
CORE_EXTRAS: Final = ("s3", "fits")
"""What all of them install."""


def target_of(worker_type: WorkerType) -> str | None:
    """Return the image that runs a worker type; None where none of ours does."""
    if worker_type.name == BASE_WORKER_TYPE:
        return "base"
    return next((name for name, extras in TARGETS.items() if worker_type.extra and worker_type.extra in extras), None)
