"""Submit a task chain: everything that can be known beforehand is checked, then one transaction.

Nothing is queued yet: an orchestrator (``eas run``, the flow, the supervisor) takes the job up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from sqlalchemy import Connection

from eas.chains.expansion import Expander
from eas.chains.grammar import Chain, parse_chain
from eas.chains.paths import check_relative_path
from eas.chains.plan import Plan, plan
from eas.control import machine
from eas.control.reuse import CHOICES, FAIL
from eas.errors import ChainError, Problem, ProductsExistError, RequestError, StorePathError
from eas.registry import Registry
from eas.states import TaskState
from eas.taskdb import attempts, jobs, products, tasks
from eas.taskdb.engine import AnyRow, TaskDatabase

DEFAULT_SEED = "0"


@dataclass(frozen=True)
class SubmitOptions:
    """How a job shall run.

    Attributes
    ----------
    if_exists:
        *fail*, *reuse* or *replace* file products that exist already.
    retries:
        Further attempts of a task that failed.
    backoff:
        Wait before the first retry [s]; doubled for each further one.
    seed:
        All random numbers of the job follow from it.
    priority:
        Jobs of higher priority are served first.
    job_name:
        Overrides the chain's.
    """

    if_exists: str = FAIL
    retries: int = 0
    backoff: float = 1.0
    seed: str = DEFAULT_SEED
    priority: int = 0
    job_name: str | None = None
    max_stalls: int = 5


def names_of(chain: Chain, job_name: str | None = None) -> tuple[str, str]:
    """Return job name and working directory: the chain's, or made of the file's name."""
    name = job_name or chain.job_name or PurePath(chain.source).stem or "job"
    if chain.working_directory is not None:
        return name, chain.working_directory
    try:
        check_relative_path(name)
    except StorePathError:
        return name, "default"
    return name, name


def plan_chain(chain: Chain, registry: Registry, options: SubmitOptions | None = None) -> Plan:
    """Return what a chain would run. Raises ChainError with all that is wrong with it as a whole."""
    options = options or SubmitOptions()
    job_name, working_directory = names_of(chain, options.job_name)
    return plan(chain, registry, options.seed, job_name=job_name, working_directory=working_directory)


def submit(
    database: TaskDatabase, registry: Registry, chain: Chain, options: SubmitOptions, *, to_drive: bool = False
) -> int:
    """Check a chain against the registry and the task database, and write down the job; return its id.

    With ``to_drive`` this process holds the job's lease from the first moment, as it is about to
    drive the job itself: a supervisor would adopt it otherwise.
    Raises ChainError for a chain that cannot run, ProductsExistError where it would make what
    exists already, RequestError for task types that nothing can run; then nothing was changed.
    """
    if options.if_exists not in CHOICES:
        raise RequestError(f"unknown choice {options.if_exists!r}", cure=f"choose one of {', '.join(CHOICES)}")
    planned = plan_chain(chain, registry, options)
    require_implementations(planned, registry)
    with database.read() as connection:
        check_inputs(connection, chain, planned, registry)
        _check_products(connection, planned, options)
    driver = machine.reservation() if to_drive else None
    return database.transact(lambda connection: _write(connection, chain, registry, options, driver))


def _write(connection: Connection, chain: Chain, registry: Registry, options: SubmitOptions, driver: str | None) -> int:
    now = attempts.now()
    job_name, working_directory = names_of(chain, options.job_name)
    job_id = jobs.add(
        connection,
        now=now,
        name=job_name,
        working_directory=working_directory,
        chain=chain.text,
        source=chain.source[-500:],
        seed=options.seed,
        if_exists=options.if_exists,
        retries=options.retries,
        backoff=options.backoff,
        priority=-options.priority,
        driver=driver,
        driver_seen_at=now if driver else None,
    )
    root = Expander(chain, registry, options.seed).root(job_name, working_directory)
    task_id = tasks.reserve(connection, 1)
    new = {task_id: tasks.NewTask(None, root)}
    tasks.add(connection, job_id, new, retries=options.retries, max_stalls=options.max_stalls, now=now)
    return job_id


def require_implementations(planned: Plan, registry: Registry) -> None:
    """Raise RequestError if a task type of the plan has no code in this release."""
    known = [registry.task_types[name] for name in planned.tasks if name in registry.task_types]
    lacking = [each.name for each in known if not each.control and not each.implementation]
    if lacking:
        raise RequestError(
            f"this release cannot run the task types {', '.join(lacking)} yet",
            cure="leave them out, or install a package that provides them",
        )


def require_installed(planned: Plan, registry: Registry) -> None:
    """Raise RequestError if a task type of the plan cannot run on this machine, with the cure."""
    for name in planned.tasks:
        task_type = registry.task_types.get(name)
        if task_type and (missing := task_type.missing_modules()):
            extra = registry.worker_types[task_type.worker_type].extra
            raise RequestError(
                f"task type {name} needs {', '.join(missing)}, which is not installed here",
                cure=f"pip install 'eas-prefect[{extra}]'" if extra else f"install {', '.join(missing)}",
            )


def check_inputs(connection: Connection | None, chain: Chain, planned: Plan, registry: Registry) -> None:
    """Raise ChainError for inputs that no task makes: not of this chain, nor of another job.

    ``connection`` is None where there is no task database yet.
    """
    if planned.open_products:
        return  # some task's product names depend on data: only running will tell
    wanted = {(each.working_directory, each.file_name): each.path for each in planned.external if each.certain}
    if connection is not None and wanted:
        known = products.status(connection, wanted)
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
    """Forget inputs that another unfinished job will make, though it is not expanded so far yet."""
    for job in jobs.unfinished(connection):
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
    for part in products.chunks(((each[0], each[1]) for each in planned.each_product()), 5_000):
        for product, status in products.status(connection, part).items():
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
            cure="choose --if-exists reuse (keep what was made the same way, run the rest) or "
            "--if-exists replace (make new versions), or another working_directory",
        )


def _refuse_second_maker(product: products.Product, status: products.ProductStatus) -> None:
    raise ProductsExistError(
        f"{product[0]}/{product[1]} is being made by job {status.maker_job_id} ({status.maker_job}), "
        f"task {status.maker_task_id}, which is {status.maker_state}",
        [(*product, f"job {status.maker_job_id}")],
        cure=f"wait for job {status.maker_job_id} (`eas run --resume {status.maker_job_id}`), "
        "or use another working_directory",
    )


def _count(found: Sequence[object]) -> str:
    return "1 file product" if len(found) == 1 else f"{len(found)} file products"
