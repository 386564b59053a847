"""Every function, class and method of ``eas.task_api`` describes its parameters and has an example that holds."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eas import task_api
from eas.model import InputProduct
from eas.task_api import LightCurve, TaskContext, write_lightcurve
from tests import documentation

PUBLIC = documentation.public_names(task_api)


@pytest.fixture
def known(tmp_path: Path) -> dict[str, object]:
    """The names that examples use: a light curve with a transit every 3 days, and a task that has it as input."""
    times = np.arange(2880) * 600 / 86400
    noise = np.random.default_rng(1).normal(0, 1e-4, len(times))
    fluxes = 1 + noise - 0.01 * (np.abs((times + 1.5) % 3 - 1.5) < 0.1)
    lightcurve = LightCurve(times, fluxes, metadata={"orbital_period": 3.0})
    write_lightcurve(tmp_path / "input.lc", lightcurve)
    context = TaskContext(
        task_type="example", settings={}, metadata={},
        inputs={"lightcurve": InputProduct("input.lc", tmp_path / "input.lc", lightcurve.metadata)},
        outputs={"debugging": tmp_path / "absent.tar.gz"}, scratch=tmp_path, input_directory=tmp_path,
        log=logging.getLogger("eas.task"),
    )  # fmt: skip
    names = {name: getattr(task_api, name) for name in task_api.__all__}
    return names | {"folder": tmp_path, "lightcurve": lightcurve, "context": context, "replace": replace}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_example_of_the_documentation_holds(name: str, known: dict[str, object]) -> None:
    if name == "nothing_found":
        known["context"].outputs.clear()  # type: ignore[attr-defined]
    documentation.check(name, PUBLIC[name], known)


def test_there_are_names_to_check() -> None:
    assert {"read_input", "LightCurve.evolve", "TaskContext.new_output", "Number", "Number.read"} <= set(PUBLIC)


def documented(first: int, second: int) -> int:
    """Return the sum.

    Parameters
    ----------
    first, second:
        Numbers.

    Examples
    --------
    >>> documented(1, 2)
    3
    """
    return first + second


def without_examples(first: int) -> None:
    """Do nothing.

    Parameters
    ----------
    first:
        A number.
    """


def without_description(first: int) -> None:
    """Do nothing.

    Examples
    --------
    >>> without_description(1)
    """


def with_a_wrong_example() -> int:
    """Return one.

    Examples
    --------
    >>> with_a_wrong_example()
    2
    """
    return 1


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        (documented, None),
        (without_examples, "has no section Examples"),
        (without_description, r"not described: \['first'\]"),
        (with_a_wrong_example, "Expected"),
        (lambda: None, "is not documented"),
    ],
)
def test_the_check_finds_what_is_missing(found: object, complaint: str | None) -> None:
    known = {"documented": documented, "without_description": without_description,
             "with_a_wrong_example": with_a_wrong_example}  # fmt: skip
    if complaint is None:
        documentation.check("name", found, known)
    else:
        with pytest.raises(AssertionError, match=complaint):
            documentation.check("name", found, known)
