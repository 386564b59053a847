"""Chains of the Python interface: validate, plan and submit them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from eas.api import session
from eas.api.job import Job
from eas.chains.grammar import Chain, load_chain, parse_chain
from eas.chains.plan import Plan
from eas.errors import RequestError
from eas.operations import plan as planning
from eas.operations import submit as submission
from eas.operations.estimate import Estimate, estimate_chain
from eas.operations.job_options import SubmitOptions
from eas.registry import Registry

AnyChain: TypeAlias = Mapping[str, Any] | str | Path
"""A chain as plain data, or the path of a chain file."""


def validate(chain: AnyChain, *, strict: bool = False) -> list[str]:
    """Check a task chain without running or storing anything, as ``eas validate`` does.

    Parameters
    ----------
    chain:
        A chain as plain data, or the path of a chain file.
    strict:
        Whether warnings are errors.

    Returns
    -------
    list of str
        Warnings; empty where there are none.

    Raises
    ------
    ChainError
        The chain cannot run; ``problems`` has each place with a hint.

    Examples
    --------
    >>> validate({"task_list": [{"task": "null", "duration": 0}]})
    []
    >>> validate({"task_list": [{"task": "nul"}]})
    Traceback (most recent call last):
    eas.errors.ChainError: job.json: 1 problem in this task chain:
      task_list[0].task: unknown task type 'nul'
        -> nearest names: null
    """
    system = session.app()
    database = system.database if system.has_database() else None
    parsed = _read(chain, system.registry)
    planned = planning.check_chain(parsed, system.registry, database)
    if strict:
        planning.require_no_warnings(parsed, planned)
    return [str(each) for each in planned.warnings]


def plan(chain: AnyChain) -> Plan:
    """Return the plan of a task chain, as ``eas plan`` shows it. Nothing is run or stored.

    Parameters
    ----------
    chain:
        A chain as plain data, or the path of a chain file.

    Raises
    ------
    ChainError
        The chain cannot run.

    Examples
    --------
    >>> planned = plan(for_loop_chain)
    >>> planned.leaves, planned.depth
    ((4, 4), 4)
    """
    system = session.app()
    return planning.plan_chain(_read(chain, system.registry), system.registry)


def estimate(chain: AnyChain, *, workers: int | None = None) -> Estimate:
    """Estimate the time and resources of a task chain, like ``eas plan --estimate``. Nothing is run or stored.

    Parameters
    ----------
    chain:
        A chain as plain data, or the path of a chain file.
    workers:
        Number of workers, each of which runs tasks of all types; None: one for each CPU of this machine.

    Returns
    -------
    Estimate
        ``wall`` [s], and for each worker type CPU time [s], memory [MB] and disk [B], each with ``low``,
        ``median`` and ``high``; ``attempts`` on which it is based; ``guesses``, in words.

    Raises
    ------
    ChainError
        The chain cannot run.
    RequestError
        No attempt of any of its task types is recorded, or there is no worker.

    Examples
    --------
    >>> found = estimate(for_loop_chain, workers=2)
    >>> [(each.worker_type, each.tasks) for each in found.worker_types]
    [('eas-base', 2), ('eas-worker-synthesis-psls-batman', 2)]
    >>> found.wall.low <= found.wall.median <= found.wall.high
    True
    """
    number = (os.cpu_count() or 1) if workers is None else workers
    if number < 1:
        raise RequestError(f"the number of workers is {number}", hint="give at least 1")
    system = session.app()
    database = system.database if system.has_database() else None
    return estimate_chain(database, system.registry, _read(chain, system.registry), number)[1]


def submit(
    chain: AnyChain,
    *,
    if_exists: str = "fail",
    retries: int = 0,
    backoff: float = 1.0,
    seed: str | int | None = None,
    priority: int = 0,
    job_name: str | None = None,
    max_stalls: int | None = None,
    strict: bool = False,
) -> Job:
    """Write a task chain into the task database and return the job, as ``eas submit`` does.

    Nothing runs yet: `Job.run` runs the job with local workers, or the supervisor does (``eas schedule``).

    Parameters
    ----------
    chain:
        A chain as plain data, or the path of a chain file.
    if_exists:
        File products that exist: ``"fail"``, ``"reuse"`` what was made the same way, or ``"replace"`` them.
    retries:
        Further attempts of a task that failed.
    backoff:
        Wait before the first retry [s]; doubled for each further one.
    seed:
        Seed of all random numbers of the job; None: a new one.
    priority:
        Jobs of higher priority are served first.
    job_name:
        Overrides the chain's.
    max_stalls:
        Further attempts of a task whose worker vanished; None: ``EAS_MAX_STALLS``.
    strict:
        Whether warnings, such as unknown settings, are errors.

    Raises
    ------
    ChainError
        The chain cannot run; nothing was changed.
    ProductsExistError
        It would make file products that exist; nothing was changed.
    ServiceError
        The task database cannot be reached.

    Examples
    --------
    >>> job = submit({"job_name": "nothing", "task_list": [{"task": "null", "duration": 0}]}, seed=1)
    >>> job.state
    'submitted'
    """
    system = session.app()
    options = SubmitOptions(
        if_exists=if_exists,
        retries=retries,
        backoff=backoff,
        seed=None if seed is None else str(seed),
        priority=priority,
        job_name=job_name,
        max_stalls=system.settings.max_stalls if max_stalls is None else max_stalls,
        strict=strict,
    )
    job_id = submission.submit(system.database, system.registry, _read(chain, system.registry), options)
    return Job(job_id)


def _read(chain: AnyChain, registry: Registry) -> Chain:
    """Return the parsed chain. Raises ChainError, or RequestError if ``chain`` cannot be converted to JSON."""
    if isinstance(chain, str | Path):
        return load_chain(Path(chain), registry)
    try:
        text = json.dumps(chain, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RequestError(
            f"the chain is not JSON data: {error}", hint="use dictionaries, lists, strings, numbers, booleans and None"
        ) from None
    return parse_chain(text, "job.json", registry)
