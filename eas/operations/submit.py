"""Submit a task chain: check everything that can be known beforehand, then write one transaction.

Nothing is queued yet: an orchestrator (``eas run``, the flow, the supervisor) does that.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import PurePath

from sqlalchemy import Connection

from eas import column_sizes, wakeups
from eas.chains.bounds import check_option
from eas.chains.expansion import Expander
from eas.chains.folded_plan import Folded, folded
from eas.chains.grammar import Chain, parse_chain
from eas.chains.paths import check_relative_path
from eas.chains.plan import Plan, plan
from eas.errors import ChainError, Problem, ProductsExistError, RequestError, StorePathError
from eas.maintenance import process_identity
from eas.orchestration.reuse import CHOICES, FAIL, REUSE
from eas.registry import Registry
from eas.states import TaskState
from eas.taskdb import jobs, products, tasks
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow, TaskDatabase
from eas.taskdb.queries import product_status, unfinished_jobs

logger = logging.getLogger(__name__)
PLANNING_SEED = "0"
"""Seed of plans that are made before the job has a seed."""


@dataclass(frozen=True)
class SubmitOptions:
    """How a job runs.

    Attributes
    ----------
    if_exists:
        *fail*, *reuse* or *replace* file products that exist already.
    retries:
        Further attempts of a task that failed.
    backoff:
        Wait before the first retry [s]; doubled for each further one.
    seed:
        All random numbers of the job follow from it. None: a new one; with *reuse*, that of the job
        whose products are found.
    priority:
        Jobs of higher priority are served first.
    job_name:
        Overrides the chain's.
    max_stalls:
        Further attempts of a task whose worker vanished.
    strict:
        Refuse a chain with warnings, such as settings that nothing reads.
    """

    if_exists: str = FAIL
    retries: int = 0
    backoff: float = 1.0
    seed: str | None = None
    priority: int = 0
    job_name: str | None = None
    max_stalls: int = 5
    strict: bool = False

    @property
    def known_seed(self) -> str:
        """The seed, or that of plans while there is none."""
        return PLANNING_SEED if self.seed is None else self.seed


def names_of(chain: Chain, registry: Registry, options: SubmitOptions) -> tuple[str, str]:
    """Return job name and working directory: the chain's, or derived from the file's name.

    Raises ChainError if the chain gives an expression that cannot be evaluated, RequestError for an option
    that the job cannot hold.
    """
    check_option(options.known_seed, "seed", "--seed")
    given, directory = Expander(chain, registry, options.known_seed).names()
    if options.job_name is not None:
        given = check_option(options.job_name, "job_name", "--job-name")
    name = given or PurePath(chain.source).stem.strip()[: column_sizes.NAME] or "job"
    if directory is not None:
        return name, directory
    try:
        check_relative_path(name)
    except StorePathError:
        return name, "default"
    return name, name


def plan_chain(chain: Chain, registry: Registry, options: SubmitOptions | None = None) -> Plan:
    """Return what a chain would run. Raises ChainError with all that is wrong with it as a whole."""
    options = options or SubmitOptions()
    job_name, working_directory = names_of(chain, registry, options)
    return plan(chain, registry, options.known_seed, job_name=job_name, working_directory=working_directory)


def fold_chain(chain: Chain, registry: Registry) -> Folded:
    """Return what a chain would run as a picture shows it. Raises ChainError as `plan_chain` does."""
    options = SubmitOptions()
    job_name, working_directory = names_of(chain, registry, options)
    return folded(chain, registry, options.known_seed, job_name=job_name, working_directory=working_directory)


def require_no_warnings(chain: Chain, planned: Plan) -> None:
    """Raise ChainError with the warnings of a chain, where there are any."""
    if planned.warnings:
        raise ChainError(chain.source, planned.warnings)


def check_chain(chain: Chain, registry: Registry, database: TaskDatabase | None) -> Plan:
    """Check a chain as a whole, also against the task database where there is one, and return its plan.

    Raises ChainError with all that is wrong.
    """
    planned = plan_chain(chain, registry)
    with database.read() if database is not None else nullcontext() as connection:
        check_inputs(connection, chain, planned, registry)
    return planned


def choose_seed(connection: Connection, chain: Chain, registry: Registry, options: SubmitOptions) -> str:
    """Return the seed of a job that is about to be submitted.

    That of ``options`` if they give one. With *reuse*, that of the job that made most of the file
    products that this job would make too: with another seed, nothing drawn at random would be found
    again. Otherwise a new one, so that noise does not repeat across jobs.
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
    database: TaskDatabase, registry: Registry, chain: Chain, options: SubmitOptions, *, to_drive: bool = False
) -> int:
    """Check a chain against the registry and the task database, and write the job; return its id.

    With ``to_drive`` this process holds the job's lease from the first moment, as it is about to
    drive the job itself: a supervisor would adopt it otherwise.
    Raises ChainError for a chain that cannot run, ProductsExistError where it would make what
    exists already, RequestError for task types that nothing can run; then nothing was changed.
    """
    if options.if_exists not in CHOICES:
        raise RequestError(f"unknown choice {options.if_exists!r}", hint=f"choose one of {', '.join(CHOICES)}")
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
        seed=options.known_seed,
        if_exists=options.if_exists,
        retries=options.retries,
        backoff=options.backoff,
        max_stalls=options.max_stalls,
        priority=-options.priority,
        driver=driver,
        driver_seen_at=now if driver else None,
    )
    root = Expander(chain, registry, options.known_seed).root(job_name, working_directory)
    task_id = tasks.reserve(connection, 1)
    new = {task_id: tasks.NewTask(None, root)}
    tasks.add(connection, job_id, new, retries=options.retries, max_stalls=options.max_stalls, now=now)
    return job_id


def require_implementations(planned: Plan, registry: Registry) -> None:
    """Raise RequestError if a task type of the plan has no code in this release."""
    known = [registry.task_types[name] for name in planned.tasks if name in registry.task_types]
    missing = [each.name for each in known if not each.control and not each.implementation]
    if missing:
        raise RequestError(
            f"this release cannot run the task types {', '.join(missing)} yet",
            hint="leave them out, or install a package that provides them",
        )


def require_installed(planned: Plan, registry: Registry) -> None:
    """Raise RequestError if a task type of the plan cannot run on this machine, with the hint."""
    for name in planned.tasks:
        task_type = registry.task_types.get(name)
        if task_type and (missing := task_type.missing_modules()):
            extra = registry.worker_types[task_type.worker_type].extra
            raise RequestError(
                f"task type {name} needs {', '.join(missing)}, which is not installed here",
                hint=f"pip install 'eas-prefect[{extra}]'" if extra else f"install {', '.join(missing)}",
            )


def check_inputs(connection: Connection | None, chain: Chain, planned: Plan, registry: Registry) -> None:
    """Raise ChainError for inputs that no task makes: not of this chain, nor of another job.

    ``connection`` is None where there is no task database yet.
    """
    if planned.open_products:
        return  # some task's product names depend on data: only running will tell
    wanted = {(each.working_directory, each.file_name): each.path for each in planned.external if each.certain}
    if connection is not None and wanted:
        known = product_status.status(connection, wanted)
        for product, status in known.items():
            if status.current_version_id is not None or _alive(status.maker_state):
                del wanted[product]
        if wanted:
            _drop_what_others_plan(connection, wanted, registry)
    if wanted:
        raise ChainError(chain.source, [_missing_maker(product, path) for product, path in wanted.items()][:50])


def _alive(state: str | None) -> bool:
    return state is not None and not TaskState(state).final


def _drop_what_others_plan(connection: Connection, wanted: dict[products.Product, str], registry: Registry) -> None:
    """Remove inputs that another unfinished job will make, even if it has not expanded so far yet."""
    for job in unfinished_jobs.unfinished(connection):
        try:
            theirs = _plan_of(job, registry)
        except ChainError:
            continue  # it will fail by itself
        if theirs.open_products:
            wanted.clear()
        for directory, name, _ in theirs.each_product():
            wanted.pop((directory, name), None)
        if not wanted:
            return


def _plan_of(job: AnyRow, registry: Registry) -> Plan:
    chain = parse_chain(job.chain, job.source, registry)
    return plan(chain, registry, job.seed, job_name=job.name, working_directory=job.working_directory)


def _missing_maker(product: products.Product, path: str) -> Problem:
    return Problem(
        path,
        f"nothing makes its input {product[1]!r} in working directory {product[0]!r}",
        "correct the name, add the task that makes it, or submit the job that makes it first",
    )


def _check_products(connection: Connection, planned: Plan, options: SubmitOptions) -> None:
    """Raise ProductsExistError for products that exist, or that another unfinished job makes."""
    found: list[tuple[str, str, str]] = []
    for part in chunks(((each[0], each[1]) for each in planned.each_product()), 5_000):
        for product, status in product_status.status(connection, part).items():
            if _alive(status.maker_state):
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
            theirs = _plan_of(job, registry)
        except ChainError:
            continue  # it fails when it runs
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
