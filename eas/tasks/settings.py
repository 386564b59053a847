"""Declarations of the settings of task types, and functions that read them.

A declaration is a tuple of `Setting`, named in the registry's entry of the task type. Chains are
checked against it before anything runs; documentation and JSON Schema are made from it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from eas.errors import TaskFailure
from eas.names import closest_names

Fault: TypeAlias = tuple[str, str]
"""Message and hint about an invalid value."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A declared setting: a `Number`, `Switch`, `Choice` or `Text`, or a `Group` of these.

    Attributes
    ----------
    name:
        Its key in the descriptor, or in a dictionary of it.
    needed:
        Whether a task cannot run without it.
    meaning:
        Description, for documentation; for a setting without default, also what is used instead.

    Examples
    --------
    >>> path = Text("input_path", needed=True, meaning="files to read")
    >>> isinstance(path, Setting), path.name, path.needed
    (True, 'input_path', True)
    """

    name: str
    needed: bool = field(default=False, kw_only=True)
    meaning: str = field(default="", kw_only=True)

    def fault(self, value: Any) -> Fault | None:
        """Return message and hint if a value is invalid, else None.

        Parameters
        ----------
        value:
            What a chain gives; not null.

        Examples
        --------
        >>> Number("cadence", unit="s", low=0).fault("soon")
        ("is 'soon'", 'give a number of at least 0 [s]')
        >>> Choice("mode", ("main_sequence", "red_giant"), default="main_sequence").fault("dwarf")
        ("is 'dwarf'", 'give one of main_sequence, red_giant')
        >>> Text("input_path").fault(3), Text("input_path").fault("stars/*.csv")
        (('is 3', 'give a text'), None)
        >>> Group("specs", ()).fault([1, 2]), Group("specs", ()).fault({"noise": 0})
        (('is [1, 2]', 'give specs as a dictionary of settings'), None)
        """
        hint = self._hint_if_invalid(value)
        return None if hint is None else (f"is {_shown(value)}", hint)

    def _hint_if_invalid(self, value: Any) -> str | None:
        """Return the hint if a value is invalid, else None."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Number(Setting):
    """A `Setting` that is a number.

    Attributes
    ----------
    default:
        Value if the setting is missing or null; None for no default.
    unit:
        For messages, such as ``days``.
    low, high:
        The range.
    above, below:
        Whether ``low`` itself is excluded, and ``high`` itself.
    whole:
        Whether it must be a whole number.

    Examples
    --------
    >>> threshold = Number("threshold", default=5, unit="standard deviations", low=0, above=True)
    >>> threshold.read({}), threshold.read({"threshold": 3.5})
    (5, 3.5)
    """

    default: float | None = None
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False

    def read(self, given: Mapping[str, Any], where: str = "") -> float | None:
        """Return the number that was given, or the default.

        Integers stay integers; booleans count as 0 and 1, and text that holds a number as that
        number (an expression may format one).

        Parameters
        ----------
        given:
            Settings of a task, or one of its dictionaries.
        where:
            The dictionary's name, for messages.

        Raises
        ------
        TaskFailure
            It is no number, or outside the range.

        Examples
        --------
        >>> Number("cadence", unit="s", low=0, above=True).read({"cadence": -1})
        Traceback (most recent call last):
        eas.errors.TaskFailure: cadence is -1
          -> give a number above 0 [s]
        """
        value = given.get(self.name)
        if value is None:
            return self.default
        number = _number(value)
        if number is None or not self._contains(number):
            path = f"{where}.{self.name}" if where else self.name
            raise TaskFailure(f"{path} is {value!r}", hint=self.hint())
        return number

    def required(self, given: Mapping[str, Any], where: str = "") -> float:
        """Return the number that was given, or the default; raise TaskFailure if there is neither.

        Parameters
        ----------
        given:
            Settings of a task, or one of its dictionaries.
        where:
            The dictionary's name, for messages.

        Raises
        ------
        TaskFailure
            There is neither; or as `read`.

        Examples
        --------
        >>> Number("cadence", unit="s").required({"cadence": 600})
        600
        """
        number = self.read(given, where)
        if number is None:
            path = f"{where}.{self.name}" if where else self.name
            raise TaskFailure(f"the setting {path} is missing", hint=self.hint())
        return number

    def hint(self) -> str:
        """Return the hint: which numbers are allowed.

        Examples
        --------
        >>> Number("duration_count", low=1, whole=True).hint()
        'give a whole number of at least 1'
        """
        return f"give a {'whole ' if self.whole else ''}number {self.range()}".rstrip()

    def range(self) -> str:
        """Return the range in words, with the unit.

        Examples
        --------
        >>> Number("eccentricity", low=0, high=1, below=True).range()
        'of at least 0 and below 1'
        """
        words = []
        if math.isfinite(self.low):
            words.append(f"{'above' if self.above else 'of at least'} {self.low:g}")
        if math.isfinite(self.high):
            words.append(f"{'below' if self.below else 'of at most'} {self.high:g}")
        return " ".join([" and ".join(words), f"[{self.unit}]" if self.unit else ""]).strip()

    def _hint_if_invalid(self, value: Any) -> str | None:
        number = _number(value)
        return None if number is not None and self._contains(number) else self.hint()

    def _contains(self, number: float) -> bool:
        above = number > self.low if self.above else number >= self.low
        below = number < self.high if self.below else number <= self.high
        return math.isfinite(number) and above and below and not (self.whole and number != int(number))


@dataclass(frozen=True, slots=True)
class Switch(Number):
    """A `Setting` that is true or false; 1 and 0 count as these. Its attributes are those of `Number`.

    Examples
    --------
    >>> noise = Switch("enable_random_noise", default=True)
    >>> noise.read({}), noise.read({"enable_random_noise": 0}), noise.fault("no")
    (True, 0, ("is 'no'", 'give a number of at least 0 and of at most 1 [true or false]'))
    """

    unit: str = "true or false"
    low: float = 0
    high: float = 1


@dataclass(frozen=True, slots=True)
class Choice(Setting):
    """A `Setting` with a fixed set of allowed words.

    Attributes
    ----------
    choices, default:
        The words, and which of them is used where the setting is missing.

    Examples
    --------
    >>> Choice("mode", ("main_sequence", "red_giant"), default="main_sequence").default
    'main_sequence'
    """

    choices: tuple[str, ...]
    default: str

    def _hint_if_invalid(self, value: Any) -> str | None:
        known = isinstance(value, str) and value in self.choices
        return None if known else f"give one of {', '.join(self.choices)}"


@dataclass(frozen=True, slots=True)
class Text(Setting):
    """A `Setting` that is a text which is not empty.

    Examples
    --------
    >>> Text("input_path", needed=True).needed
    True
    """

    def _hint_if_invalid(self, value: Any) -> str | None:
        return None if isinstance(value, str) and value.strip() else "give a text"


@dataclass(frozen=True, slots=True)
class Group(Setting):
    """A `Setting` that is a dictionary of settings, such as ``specs``.

    Attributes
    ----------
    settings:
        What it may hold; each is checked by its own declaration.

    Examples
    --------
    >>> specs = Group("specs", (Number("noise", default=0, low=0), Text("star")))
    >>> [each.name for each in specs.settings]
    ['noise', 'star']
    """

    settings: tuple[Setting, ...]

    def _hint_if_invalid(self, value: Any) -> str | None:
        return None if isinstance(value, Mapping) else f"give {self.name} as a dictionary of settings"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value if abs(value) < 1e300 else math.inf
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def is_text_number(value: Any) -> bool:
    """Return whether ``value`` is text that `Number.read` reads as a number."""
    return isinstance(value, str) and _number(value) is not None


def warn_text_numbers(given: Mapping[str, Any], numbers: Iterable[Number], where: str, log: logging.Logger) -> None:
    """Log a warning for each of ``numbers`` that is given as text, which `Number.read` accepts."""
    for number in numbers:
        value = given.get(number.name)
        if is_text_number(value):
            path = f"{where}.{number.name}" if where else number.name
            log.warning("%s is the text %r and is read as a number: give it without quotes", path, value)


def dictionary(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a dictionary of settings, empty where it is missing or null.

    Parameters
    ----------
    settings:
        All settings of a task.
    name:
        Which of them is a dictionary.

    Raises
    ------
    TaskFailure
        It is something else.

    Examples
    --------
    >>> dictionary({"search_settings": {"period_min": 2}}, "search_settings")
    {'period_min': 2}
    """
    found = settings.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise TaskFailure(f"{name} is {found!r}", hint=f"give {name} as a dictionary of settings")
    return found


def warn_unknown(given: Mapping[str, Any], known: Iterable[str], where: str, log: logging.Logger) -> None:
    """Log a warning for each unknown setting, with the nearest known one.

    Parameters
    ----------
    given:
        Settings of a task, or one of its dictionaries.
    known:
        Names of the settings that the task type reads.
    where:
        Name of the dictionary, for messages.
    log:
        Where the warnings go.

    Examples
    --------
    >>> warn_unknown({"period_mni": 2}, ["period_min", "period_max"], "search_settings", context.log)
    """
    names = sorted(known)
    for name in given:
        if name in names:
            continue
        near = closest_names(name, names, 1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(names)}"
        log.warning("%s.%s is ignored: no such setting; %s", where, name, hint)
