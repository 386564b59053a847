"""Target of the entry point. Every command of EAS imports this module: keep its imports small."""

from typing import Any


def task_types() -> dict[str, Any]:
    """Return the worker types and task types in the format of ``registry.yaml`` of EAS."""
    return {
        "worker_types": {"example-clipper": {"cpu": 1, "gpu": 0, "memory": 2}},
        "task_types": {
            "sigma_clip": {
                "meaning": "flags bright outliers of a light curve",
                "worker_type": "example-clipper",
                "implementation": "eas_example.sigma_clip:SigmaClip",
                "requires": ["numpy"],
                "inputs": {"lightcurve": "the light curve that is clipped"},
                "outputs": {"lightcurve": "the light curve with flagged outliers"},
                "settings": "eas_example.settings:SETTINGS",
                "metadata": "eas_example.settings:METADATA",
                "metadata_from": ["lightcurve"],
                "time_limit": 600,
            }
        },
    }
