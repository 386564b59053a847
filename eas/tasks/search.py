"""Functions shared by all transit searches: inputs and settings, outcome, debugging output."""

from __future__ import annotations

import gzip
import io
import json
import math
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from eas.errors import TaskFailure
from eas.lightcurves.cleaning import Cleaned, clean
from eas.lightcurves.lightcurve import LightCurve, LightCurveError
from eas.model import Metadata, Scalar
from eas.names import closest_names
from eas.tasks import metadata_declarations
from eas.tasks.base import TaskContext
from eas.tasks.declarations import LC_DURATION, period_range
from eas.tasks.lightcurves import is_finite, read_input
from eas.tasks.settings import Number, dictionary, warn_text_numbers, warn_unknown

Outcome: TypeAlias = Literal["PASS", "FAIL", "UNDEFINED"]

PERIOD_TOLERANCE: Final = 0.03
"""Largest deviation from the true period that counts as a detection, as a fraction of it."""
TARGET: Final = metadata_declarations.TARGET.name
COPIED_METADATA: Final = tuple(each.name for each in metadata_declarations.CARRIED)
"""Metadata of the light curve that a search includes in its own."""


@dataclass(frozen=True)
class Search:
    """Input of a search: cleaned light curve, range of periods, and target.

    Attributes
    ----------
    cleaned:
        The first ``lc_duration`` days of the light curve, cleaned.
    period_min, period_max:
        The range of periods [days]; empty where ``period_min`` is not below ``period_max``.
    carried:
        Metadata of the light curve that the result repeats.
    target:
        The light curve's own period [days]; None where it has none.
    no_target:
        Why there is no ``target``.

    Examples
    --------
    >>> search = prepare_search(context, period_min=1.0)
    >>> search.target, len(search.lightcurve), search.carried
    (3.0, 2880, {'mes': None, 'integrated_transit_power': None, 'pixels_in_transit': None})
    """

    cleaned: Cleaned
    period_min: float
    period_max: float
    carried: Metadata = field(default_factory=dict)
    target: float | None = None
    no_target: str = ""

    @property
    def lightcurve(self) -> LightCurve:
        """The samples that are searched.

        Examples
        --------
        >>> prepare_search(context, period_min=1.0).lightcurve.times.shape
        (2880,)
        """
        return self.cleaned.lightcurve

    @property
    def span(self) -> float:
        """Time from the first to the last sample [days].

        Examples
        --------
        >>> round(prepare_search(context, period_min=1.0).span)
        20
        """
        return span(self.lightcurve)

    @property
    def nothing_to_find(self) -> str:
        """Reason for not searching; empty if there is something to search.

        Examples
        --------
        >>> prepare_search(context, period_min=15.0).nothing_to_find
        'no period to search: period_min is 15 days, period_max 9.99653 days, in 19.9931 days of data'
        """
        if self.period_min >= self.period_max:
            return (
                f"no period to search: period_min is {self.period_min:g} days, period_max "
                f"{self.period_max:g} days, in {self.span:g} days of data"
            )
        return "" if self.cleaned.scatter else "the fluxes do not vary"

    def settings(self) -> dict[str, Scalar]:
        """Return the settings in use, from which the search can be repeated, as metadata; times in days.

        Examples
        --------
        >>> prepare_search(context, period_min=1.0).settings()["period_min"]
        1.0
        """
        return {
            "lc_duration": self.span,
            "period_min": self.period_min,
            "period_max": self.period_max,
            **self.cleaned.metadata(),
        }


def prepare(
    context: TaskContext,
    *,
    period_min: float,
    longest_duration: float = 0.0,
    further: Sequence[Number] = (),
    fewest_transits: float = 2,
) -> Search:
    """Read the input and the settings that all searches share; log dropped samples and assumptions.

    Parameters
    ----------
    context:
        Where ``lightcurve``, ``lc_duration`` and ``search_settings`` come from.
    period_min:
        Default of the shortest period [days].
    longest_duration:
        Longest transit that is tried [days]: periods must be longer.
    further:
        Settings in ``search_settings`` that this search reads besides the range of periods.
    fewest_transits:
        The number of times that the default of the longest period fits into the span searched.

    Raises
    ------
    TaskFailure
        Settings that cannot be used, or a light curve that cannot be searched.

    Examples
    --------
    >>> search = prepare_search(context, period_min=1.0)
    >>> search.period_min, round(search.period_max), search.target
    (1.0, 10, 3.0)
    """
    given = dictionary(context.settings, "search_settings")
    low, high = period_range(period_min, longest_duration)
    numbers = (low, high, *further)
    warn_unknown(given, [each.name for each in numbers], "search_settings", context.log)
    warn_text_numbers(given, numbers, "search_settings", context.log)
    warn_text_numbers(context.settings, [LC_DURATION], "", context.log)
    cleaned = cleaned_input(context)
    for assumption in cleaned.assumptions:
        context.log.warning("%s", assumption)
    limit = span(cleaned.lightcurve)
    shortest, longest = low.required(given, "search_settings"), high.read(given, "search_settings")
    if longest is not None and shortest >= longest:
        raise TaskFailure(
            f"no period to search: period_min is {shortest:g} days, period_max {longest:g} days",
            hint="give search_settings.period_min below period_max",
        )
    if longest is not None and longest > limit:
        context.log.warning("period_max %g days is cut to the %g days that are searched", longest, limit)
    carried = {name: _number(context, cleaned, name)[0] for name in COPIED_METADATA}
    target, no_target = _number(context, cleaned, TARGET)
    if target is not None and target <= 0:
        target, no_target = None, f"the light curve's {TARGET} is {target:g} days"
    if no_target:
        context.log.info("the outcome will be UNDEFINED: %s", no_target)
    longest = limit / fewest_transits if longest is None else min(longest, limit)
    return Search(cleaned, shortest, longest, carried, target, no_target)


def cleaned_input(context: TaskContext, *, quiet: bool = False) -> Cleaned:
    """Return the samples that a search uses, and that its QC measures again; raise TaskFailure if there are none."""
    lightcurve = read_input(context, "lightcurve", quiet=quiet)
    duration = LC_DURATION.read(context.settings)
    try:
        return clean(lightcurve if duration is None else lightcurve.first(duration))
    except LightCurveError as error:
        raise TaskFailure(f"the light curve cannot be searched: {error.what}", hint=error.hint) from error


def span(lightcurve: LightCurve) -> float:
    """Return the time from the first to the last sample [days]."""
    return float(lightcurve.times[-1] - lightcurve.times[0])


def outcome(period: Scalar, target: Scalar, *, searched: bool = True) -> Outcome:
    """Compare the period found with the light curve's own, both [days]: PASS if it is correct to within 3%.

    FAIL if no period was ``searched``, with or without a target.
    """
    if not searched:
        return "FAIL"
    if not is_finite(target):
        return "UNDEFINED"
    if not is_finite(period):
        return "FAIL"
    assert isinstance(period, int | float) and isinstance(target, int | float)
    return "PASS" if abs(period - target) <= PERIOD_TOLERANCE * abs(target) else "FAIL"


def result(search: Search, found: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return a search's output metadata: what was found, the outcome and the settings used.

    Parameters
    ----------
    search:
        What was searched.
    found:
        What the search found; ``period`` [days] decides the outcome, and is None where nothing was detected.

    Examples
    --------
    >>> search_result(prepare_search(context, period_min=1.0), {"period": 3.01, "depth": 0.01})["outcome"]
    'PASS'
    """
    period = found.get("period")
    has_range = search.period_min < search.period_max
    return {
        **found,
        "outcome": outcome(period, search.target, searched=has_range),
        "outcome_reason": _reason(search, period),
        "target_period": search.target,
        **search.carried,
        **search.settings(),
    }


def nothing_found(
    context: TaskContext, search: Search, statistics: Sequence[str], settings: Mapping[str, Scalar]
) -> dict[str, Scalar]:
    """Return the result if there is nothing to search, and log a warning; write ``debugging`` if requested.

    Parameters
    ----------
    context:
        Where the warning is logged, and where outputs go.
    search:
        What would be searched; ``nothing_to_find`` says why it is not.
    statistics:
        Names of metadata that are None in the result.
    settings:
        Settings of this search, which the result repeats.

    Examples
    --------
    >>> from dataclasses import replace
    >>> search = replace(prepare_search(context, period_min=1.0), period_max=0.5)
    >>> nothing_found(context, search, ["power"], {})["outcome"]
    'FAIL'
    """
    context.log.warning("nothing is searched: %s", search.nothing_to_find)
    metadata = result(search, dict.fromkeys(("period", *statistics))) | dict(settings)
    if "debugging" in context.outputs:
        write_debugging(context.outputs["debugging"], {"settings.json": to_json({"result": metadata})})
    return metadata


def _reason(search: Search, period: Scalar) -> str:
    """Return the reason of the outcome."""
    if search.period_min >= search.period_max:
        return search.nothing_to_find
    if search.target is None:
        return search.no_target
    if not isinstance(period, int | float):
        return search.nothing_to_find or "no dip was found"
    deviation = abs(period - search.target) / search.target
    return f"the period found deviates by {deviation:.2%} from the light curve's, {search.target:g} days"


def _number(context: TaskContext, cleaned: Cleaned, name: str) -> tuple[float | None, str]:
    """Return the light curve's metadata ``name`` as a number, or None and the reason."""
    known = cleaned.lightcurve.metadata
    value = known.get(name)
    if value is None:
        near = closest_names(name, (each for each in known if each != name), 1)
        other = f"; it has {near[0]!r}" if near else ""
        return None, f"the light curve has no {name}{other}"
    if isinstance(value, str) and math.isfinite(number := _to_number(value)):
        context.log.warning("the light curve's %s is the text %r and is read as a number", name, value)
        return number, ""
    if is_finite(value):
        assert isinstance(value, int | float)
        return value, ""
    context.log.warning("the light curve's %s is ignored: %r is not a number", name, value)
    return None, f"the light curve's {name} is {value!r}, not a number"


def _to_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def to_json(value: Mapping[str, object]) -> bytes:
    """Return the JSON text of a member of the debugging output."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def write_debugging(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a tar.gz file whose bytes depend on its members alone.

    Parameters
    ----------
    path:
        The file to write.
    members:
        Name to content.

    Examples
    --------
    >>> write_debugging(folder / "debugging.tar.gz", {"settings.json": b"{}"})
    """
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
