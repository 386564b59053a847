"""EAS, the Exoplanet Analysis System of PLATO: task chains, job queues, workers, reports.

The names below are the Python interface; each is imported when it is first used. ``eas.task_api`` is what
authors of task types need. The domain core imports neither Prefect nor pandas: the packages ``flows``,
``blocks`` and ``reports`` stand on top of it.
"""

import importlib

__version__ = "0.1.0"

_NAMES = {
    "chain": "eas.api.builders",
    "connect": "eas.api.session",
    "estimate": "eas.api.submission",
    "expr": "eas.api.builders",
    "for_loop": "eas.api.builders",
    "job": "eas.api.job",
    "Job": "eas.api.job",
    "plan": "eas.api.submission",
    "Product": "eas.api.task",
    "repeat": "eas.api.builders",
    "submit": "eas.api.submission",
    "task": "eas.api.builders",
    "Task": "eas.api.task",
    "validate": "eas.api.submission",
    "when": "eas.api.builders",
}
"""Public names and the modules that define them."""

__all__ = ["__version__", *_NAMES]  # noqa: PLE0604 - __init__.pyi has them one by one


def __getattr__(name: str) -> object:
    if name not in _NAMES:
        raise AttributeError(f"module 'eas' has no attribute {name!r}")
    found = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
