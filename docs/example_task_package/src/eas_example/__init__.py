"""What EAS learns of this package by its entry point: keep it light, it is read by every command."""

from typing import Any


def task_types() -> dict[str, Any]:
    """Return the worker types and task types, shaped like EAS' own ``registry.yaml``."""
    return {
        "worker_types": {"example-clipper": {"cpu": 1, "gpu": 0, "memory": 2}},
        "task_types": {
            "sigma_clip": {
                "worker_type": "example-clipper",
                "implementation": "eas_example.sigma_clip:SigmaClip",
                "requires": ["numpy"],
                "inputs": ["lightcurve"],
                "outputs": ["lightcurve"],
                "settings": "eas_example.settings:SETTINGS",
                "time_limit": 600,
            }
        },
    }
