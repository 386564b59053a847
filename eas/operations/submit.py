"""Submit a task chain: run all checks that are possible beforehand, then write the job in one transaction.

Submission queues no attempts: the orchestrator (of ``eas run``, a flow or the supervisor) does.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from eas import wakeups
from eas.chains.expansion import Expander
from eas.chains.grammar import Chain
from eas.chains.plan import Plan
from eas.errors import ChainError, ProductsExistError
from eas.maintenance import process_identity
from eas.operations.job_options import SubmitOptions
from eas.operations.plan import (
    check_inputs,
    names_of,
    plan_chain,
    plan_of,
    require_implementations,
    require_no_warnings,
    will_be_made,
)
from eas.orchestration.reuse import FAIL, REUSE
from eas.registry import Registry
from eas.taskdb import jobs, products, tasks
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import product_status, unfinished_jobs

logger = logging.getLogger(__name__)


def choose_seed(connection: Connection, chain: Chain, registry: Registry, options: SubmitOptions) -> str:
    """Choose the seed of a job before its submission.

    The seed in ``options``, if given. With *reuse*, the seed of the job that made most of this job's file
    products: products that depend on random numbers could not be reused with another seed. Otherwise a new seed,
    so that different jobs have different noise.
    """
    if options.seed is not None:
        return options.seed
    if options.if_exists == REUSE:
        makers: Counter[int] = Counter()
        planned = plan_chain(chain, registry, options)
        for part in chunks(((each[0], each[1]) for each in planned.each_product()), 5_000):
            found = product_status.status(connection, part).values()
            makers.update(each.maker_job_id for each in found if each.current_version_id and each.maker_job_id)
        if makers:
            # Of jobs with equally many products, the newest.
            job_id = max(makers, key=lambda job: (makers[job], job))
            return str(jobs.get(connection, job_id).seed)
    # Few digits, so that users can type them.
    return str(secrets.randbelow(10**9))


def submit(
    database: TaskDatabase,
    registry: Registry,
    chain: Chain,
    options: SubmitOptions,
    *,
    to_drive: bool = False,
) -> int:
    """Check a chain against the registry and the task database, and write the job; return its id.

    With ``to_drive`` this process holds the job's lease from the start, because it will drive the job itself;
    otherwise a supervisor would adopt it.
    Raises ChainError for a chain that cannot run, ProductsExistError where it would make what
    exists already, RequestError for task types that nothing can run; then nothing was changed.
    """
    with database.read() as connection:
        options = replace(options, seed=choose_seed(connection, chain, registry, options))
        planned = plan_chain(chain, registry, options)
        if options.strict:
            require_no_warnings(chain, planned)
        require_implementations(planned, registry)
        check_inputs(connection, chain, planned, registry)
        _check_products(connection, planned, options)
        _check_planned_products(connection, planned, names_of(chain, registry, options)[1], registry)
    for warning in planned.warnings:
        logger.warning("%s: %s", chain.source, warning)
    driver = process_identity.reservation() if to_drive else None
    now = database.now()
    job_id = database.transact(lambda connection: _write(connection, chain, registry, options, driver, now))
    if not to_drive:
        database.wakeups.notify(wakeups.JOBS)
    return job_id


def _write(
    connection: Connection, chain: Chain, registry: Registry, options: SubmitOptions, driver: str | None, now: float
) -> int:
    job_name, working_directory = names_of(chain, registry, options)
    job_id = jobs.add(
        connection,
        now=now,
        name=job_name,
        working_directory=working_directory,
        chain=chain.text,
        source=chain.source[-500:],
        seed=options.planning_seed,
        if_exists=options.if_exists,
        retries=options.retries,
        backoff=options.backoff,
        max_stalls=options.max_stalls,
        priority=-options.priority,
        driver=driver,
        driver_seen_at=now if driver else None,
    )
    root = Expander(chain, registry, options.planning_seed).root(job_name, working_directory)
    task_id = tasks.reserve(connection, 1)
    new = {task_id: tasks.NewTask(None, root)}
    tasks.add(connection, job_id, new, retries=options.retries, max_stalls=options.max_stalls, now=now)
    return job_id


def _check_products(connection: Connection, planned: Plan, options: SubmitOptions) -> None:
    """Raise ProductsExistError for products that exist, or that another unfinished job makes."""
    found: list[tuple[str, str, str]] = []
    for part in chunks(((each[0], each[1]) for each in planned.each_product()), 5_000):
        for product, status in product_status.status(connection, part).items():
            if will_be_made(status.maker_state):
                _refuse_second_maker(product, status)
            if status.current_version_id is not None and options.if_exists == FAIL:
                found.append((*product, f"job {status.maker_job_id} ({status.maker_job}), task {status.maker_task_id}"))
    if found:
        shown = "\n".join(f"  {directory}/{name}: made by {maker}" for directory, name, maker in found[:10])
        more = f"\n  and {len(found) - 10} more" if len(found) > 10 else ""
        raise ProductsExistError(
            f"{_count(found)} that this job would make exist already:\n{shown}{more}",
            found,
            hint="choose --if-exists reuse (keep what was made the same way, run the rest) or "
            "--if-exists replace (make new versions), or another working_directory",
        )


def _check_planned_products(connection: Connection, planned: Plan, working_directory: str, registry: Registry) -> None:
    """Raise ProductsExistError for products that an unfinished job will make once it has expanded.

    Only jobs of the same working directory are planned again; a product that a task makes in
    another one is refused when that task is registered (``eas.taskdb.product_claims``).
    """
    others = unfinished_jobs.not_expanded(connection, working_directory)
    mine = {(directory, name) for directory, name, _ in planned.each_product()} if others else set()
    for job in others:
        try:
            theirs = plan_of(job, registry)
        except ChainError:
            continue  # its own run reports the error
        for directory, name, _ in theirs.each_product():
            if (directory, name) in mine:
                what = f"{directory}/{name} will be made by job {job.id} ({job.name}), which is {job.state}"
                raise _second_maker((directory, name), job.id, what)


def _refuse_second_maker(product: products.Product, status: product_status.ProductStatus) -> None:
    what = (
        f"{product[0]}/{product[1]} is being made by job {status.maker_job_id} ({status.maker_job}), "
        f"task {status.maker_task_id}, which is {status.maker_state}"
    )
    raise _second_maker(product, status.maker_job_id, what)


def _second_maker(product: products.Product, job_id: int | None, what: str) -> ProductsExistError:
    return ProductsExistError(
        what,
        [(*product, f"job {job_id}")],
        hint=f"wait for job {job_id} (`eas run --resume {job_id}`) and then choose --if-exists reuse or replace, "
        "or use another working_directory",
    )


def _count(found: Sequence[object]) -> str:
    return "1 file product" if len(found) == 1 else f"{len(found)} file products"
