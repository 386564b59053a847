"""Builders of task chains: each returns the dictionary that a chain file holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eas.chains.expressions import check
from eas.errors import RequestError
from eas.model import CONDITIONAL, DO_WHILE, FOR_LOOP

Descriptor = dict[str, Any]
"""A task of a chain, as plain data."""

KEYWORDS = {"task", "task_list", "else_task_list", "criterion", "repeat_criterion", "parameter", "iteration_name"}


def chain(
    tasks: Iterable[Descriptor], *, job_name: str | None = None, working_directory: str | None = None
) -> Descriptor:
    """Return a task chain.

    Parameters
    ----------
    tasks:
        Its tasks; their order does not matter.
    job_name:
        Name of the job; None: ``job``.
    working_directory:
        Folder of its file products in the file store; None: the job's name.

    Examples
    --------
    >>> chain([task("null", duration=0)], job_name="first")
    {'job_name': 'first', 'task_list': [{'task': 'null', 'duration': 0}]}
    """
    names = _given(job_name=job_name, working_directory=working_directory)
    return names | {"task_list": list(tasks)}


def task(
    task_type: str,
    *,
    name: str | None = None,
    inputs: Mapping[str, str] | None = None,
    outputs: Mapping[str, str] | None = None,
    requires_metadata_from: Sequence[str] | None = None,
    **settings: Any,
) -> Descriptor:
    """Return one task.

    Parameters
    ----------
    task_type:
        A name of the registry, such as ``"synthesis_batman"``.
    name:
        Name by which other tasks refer to it.
    inputs, outputs:
        Semantic name to file name, such as ``{"lightcurve": "curve.lc"}``.
    requires_metadata_from:
        Names of the tasks whose output metadata its expressions read.
    settings:
        All other keys of the descriptor; units as the task type defines them (periods and durations in days).

    Raises
    ------
    RequestError
        A setting has the name of a key of the chain language.

    Examples
    --------
    >>> task("verify", inputs={"lightcurve": "curve.lc"})
    {'task': 'verify', 'inputs': {'lightcurve': 'curve.lc'}}
    >>> task("null", name="pause", duration=5)
    {'task': 'null', 'name': 'pause', 'duration': 5}
    """
    if reserved := KEYWORDS.intersection(settings):
        raise RequestError(
            f"{min(reserved)!r} is a key of the chain language, not a setting",
            hint="control tasks are built by for_loop, when and repeat",
        )
    parts = _given(name=name, requires_metadata_from=requires_metadata_from, inputs=inputs, outputs=outputs)
    return {"task": task_type} | parts | settings


def for_loop(
    parameter: str,
    tasks: Iterable[Descriptor],
    *,
    values: Sequence[Any] | str | None = None,
    linear_range: Sequence[Any] | None = None,
    log_range: Sequence[Any] | None = None,
    **others: Any,
) -> Descriptor:
    """Return a loop: its tasks run once for each value, which they read as ``metadata['<parameter>']``.

    Parameters
    ----------
    parameter:
        Name of the value; its index is ``<parameter>_index``, from 0.
    tasks:
        The tasks of one iteration.
    values:
        The values one by one, or an expression.
    linear_range, log_range:
        First value, end and number of values, at equal steps of the value or of its logarithm.
    others:
        Other keys of the descriptor, such as ``name``.

    Raises
    ------
    RequestError
        Not exactly one of ``values``, ``linear_range`` and ``log_range`` is given.

    Examples
    --------
    >>> for_loop("size", [task("null", duration=0)], values=[0.1, 0.2])["values"]
    [0.1, 0.2]
    >>> for_loop("size", [], log_range=[0.01, 1, 5])
    {'task': 'execution_for_loop', 'parameter': 'size', 'log_range': [0.01, 1, 5], 'task_list': []}
    """
    given = _given(values=values, linear_range=linear_range, log_range=log_range)
    if len(given) != 1:
        raise RequestError(
            f"the loop over {parameter!r} has {len(given)} of values, linear_range and log_range",
            hint="give exactly one of them",
        )
    return {"task": FOR_LOOP} | others | {"parameter": parameter} | given | {"task_list": list(tasks)}


def when(
    criterion: str | bool, tasks: Iterable[Descriptor], otherwise: Iterable[Descriptor] | None = None, **others: Any
) -> Descriptor:
    """Return a conditional: ``tasks`` run where the criterion is true, else those of ``otherwise``.

    Parameters
    ----------
    criterion:
        An expression; see `expr`.
    tasks, otherwise:
        The tasks of both branches.
    others:
        Other keys of the descriptor, such as ``name`` or ``requires_metadata_from``.

    Examples
    --------
    >>> found = expr("requested_metadata['search']['outcome'] == 'PASS'")
    >>> when(found, [task("null", duration=0)], requires_metadata_from=["search"])["criterion"]
    "(requested_metadata['search']['outcome'] == 'PASS')"
    """
    parts = {"criterion": criterion, "task_list": list(tasks)}
    if otherwise is not None:
        parts["else_task_list"] = list(otherwise)
    return {"task": CONDITIONAL} | others | parts


def repeat(
    tasks: Iterable[Descriptor], *, repeat_criterion: str | bool, iteration_name: str, **others: Any
) -> Descriptor:
    """Return a do-while loop: its tasks run once, and again as long as the criterion is true.

    Parameters
    ----------
    tasks:
        The tasks of one iteration.
    repeat_criterion:
        An expression, evaluated after each iteration; it may read ``metadata['<iteration_name>_index']``.
    iteration_name:
        Name of the iteration's index, from 1.
    others:
        Other keys of the descriptor, such as ``requires_metadata_from_child``.

    Examples
    --------
    >>> loop = repeat([task("null", duration=0)], repeat_criterion=expr("metadata['n_index'] < 3"), iteration_name="n")
    >>> loop["task"], loop["repeat_criterion"]
    ('execution_do_while_loop', "(metadata['n_index'] < 3)")
    """
    parts = {"iteration_name": iteration_name, "repeat_criterion": repeat_criterion, "task_list": list(tasks)}
    return {"task": DO_WHILE} | others | parts


def expr(text: str) -> str:
    """Return an expression of the chain language: ``text`` in parentheses, checked.

    Parameters
    ----------
    text:
        An expression over ``constants``, ``metadata``, ``requested_metadata`` and ``random``.

    Raises
    ------
    ExpressionError
        The text is no expression, or uses what the language does not allow.

    Examples
    --------
    >>> expr("constants.Rearth * 2")
    '(constants.Rearth * 2)'
    >>> expr("'{size_index}.lc'.format(**metadata)")
    "('{size_index}.lc'.format(**metadata))"
    """
    expression = f"({text.strip()})"
    check(expression)
    return expression


def _given(**parts: Any) -> Descriptor:
    """Return the parts that are not None, with sequences as lists and mappings as dictionaries."""
    found: Descriptor = {}
    for key, value in parts.items():
        if isinstance(value, Mapping):
            found[key] = dict(value)
        elif value is not None:
            found[key] = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
    return found
