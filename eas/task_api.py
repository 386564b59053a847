"""The interface for authors of task types: ``from eas.task_api import Task, TaskContext, ...``.

These names keep their meaning within a major release; other modules of EAS may change in any release.

The task type
    `Task` is the class to derive from, `TaskContext` what its methods receive, `Check` a result of QC.
    A task returns `Metadata`: names to `Scalar` (numbers, strings, booleans, None). `InputProduct` is an
    input: its file and the metadata of the task that made it.
Errors
    `TaskFailure` is a failure with a known reason: EAS records its message and hint, without a traceback.
    `LightCurveError` is raised for light curves and files of light curves that cannot be used.
Settings
    `Number` reads a number within a range, `dictionary` a dictionary such as ``search_settings``;
    `warn_unknown` logs settings that nothing reads. A list of `Number`, `Switch`, `Choice`, `Text` and
    `Group` (a dictionary of them), each a `Setting`, declares the settings of a task type. Chains
    are checked against it before they run where the type's entry in the registry names it, as
    ``"settings": "module:name"``.
Output metadata
    A list of `MetadataKey` declares the metadata that a task returns, where the registry names it as
    ``"metadata": "module:name"``; ``metadata_from`` names the inputs whose metadata it returns besides.
Light curves
    `LightCurve`: n samples with times [days], relative fluxes, flags (0 good, 1 bad) and uncertainties,
    each of shape (n,). Files have times in seconds: `read_input` reads an input of a task,
    `read_lightcurve` and `write_lightcurve` any file. `constants` is a module of physical constants.
QC
    `exists` checks a file, `check_lightcurve` a light curve, `check_metadata` that metadata are finite
    numbers; `finite` turns NaN and infinity into None. None of them raises.
Transit searches
    `prepare_search` reads and cleans the light curve and reads the range of periods, as a `Search`.
    Where `Search.nothing_to_find` is not empty, `nothing_found` gives the result; otherwise
    `search_result` adds the outcome to what was found. `check_search` is the QC of all searches, and
    `write_debugging` writes the optional output ``debugging``.

``docs/example_task_package`` is a package that uses this module.
"""

from __future__ import annotations

from eas.errors import TaskFailure
from eas.lightcurves import constants
from eas.lightcurves.files import read as read_lightcurve
from eas.lightcurves.files import write as write_lightcurve
from eas.lightcurves.lightcurve import LightCurve, LightCurveError
from eas.model import Check, InputProduct, Metadata, Scalar
from eas.tasks.base import Task, TaskContext, exists
from eas.tasks.lightcurves import check_lightcurve, check_metadata, finite, read_input
from eas.tasks.output_metadata import MetadataKey
from eas.tasks.search import Search, nothing_found, write_debugging
from eas.tasks.search import prepare as prepare_search
from eas.tasks.search import result as search_result
from eas.tasks.search_qc import check_search
from eas.tasks.settings import Choice, Group, Number, Setting, Switch, Text, dictionary, warn_unknown

__all__ = [
    "Check",
    "Choice",
    "Group",
    "InputProduct",
    "LightCurve",
    "LightCurveError",
    "Metadata",
    "MetadataKey",
    "Number",
    "Scalar",
    "Search",
    "Setting",
    "Switch",
    "Task",
    "TaskContext",
    "TaskFailure",
    "Text",
    "check_lightcurve",
    "check_metadata",
    "check_search",
    "constants",
    "dictionary",
    "exists",
    "finite",
    "nothing_found",
    "prepare_search",
    "read_input",
    "read_lightcurve",
    "search_result",
    "warn_unknown",
    "write_debugging",
    "write_lightcurve",
]
