"""Plan a task chain: its names, its tasks, and all checks that are possible before submission."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import PurePath

from sqlalchemy import Connection

from eas import column_sizes
from eas.chains.expansion import Expander
from eas.chains.folded_plan import FoldedPlan, fold
from eas.chains.grammar import Chain, parse_chain
from eas.chains.paths import check_relative_path
from eas.chains.plan import Plan, plan
from eas.chains.text_limits import check_option
from eas.errors import ChainError, Problem, RequestError, StorePathError
from eas.operations.job_options import SubmitOptions
from eas.registry import Registry
from eas.states import TaskState
from eas.taskdb import products
from eas.taskdb.engine import AnyRow, TaskDatabase
from eas.taskdb.queries import product_status, unfinished_jobs


def names_of(chain: Chain, registry: Registry, options: SubmitOptions) -> tuple[str, str]:
    """Return job name and working directory: the chain's, or derived from the file's name.

    Raises ChainError if the chain gives an expression that cannot be evaluated, RequestError for an option
    that the job cannot hold.
    """
    check_option(options.planning_seed, "seed", "--seed")
    given, directory = Expander(chain, registry, options.planning_seed).names()
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
    """Return the plan of a chain. Raises ChainError with all problems of the chain as a whole."""
    options = options or SubmitOptions()
    job_name, working_directory = names_of(chain, registry, options)
    return plan(chain, registry, options.planning_seed, job_name=job_name, working_directory=working_directory)


def fold_chain(chain: Chain, registry: Registry) -> FoldedPlan:
    """Return the folded plan of a chain, for its diagram. Raises ChainError as `plan_chain` does."""
    options = SubmitOptions()
    job_name, working_directory = names_of(chain, registry, options)
    return fold(chain, registry, options.planning_seed, job_name=job_name, working_directory=working_directory)


def require_no_warnings(chain: Chain, planned: Plan) -> None:
    """Raise ChainError with the warnings of a chain, where there are any."""
    if planned.warnings:
        raise ChainError(chain.source, planned.warnings)


def check_chain(chain: Chain, registry: Registry, database: TaskDatabase | None) -> Plan:
    """Check a chain as a whole, also against the task database where there is one, and return its plan.

    Raises ChainError with all problems found.
    """
    planned = plan_chain(chain, registry)
    with database.read() if database is not None else nullcontext() as connection:
        check_inputs(connection, chain, planned, registry)
    return planned


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
    """Raise ChainError for inputs that no task of this chain or of another job makes.

    ``connection`` is None where there is no task database yet.
    """
    if planned.open_products:
        return  # the names of some products depend on data and are known only at run time
    wanted = {(each.working_directory, each.file_name): each.path for each in planned.external if each.certain}
    if connection is not None and wanted:
        known = product_status.status(connection, wanted)
        for product, status in known.items():
            if status.current_version_id is not None or will_be_made(status.maker_state):
                del wanted[product]
        if wanted:
            _drop_planned_by_others(connection, wanted, registry)
    if wanted:
        raise ChainError(chain.source, [_missing_maker(product, path) for product, path in wanted.items()][:50])


def will_be_made(state: str | None) -> bool:
    """Return whether a product's maker in this state, None for no maker, has not ended."""
    return state is not None and not TaskState(state).final


def _drop_planned_by_others(connection: Connection, wanted: dict[products.Product, str], registry: Registry) -> None:
    """Remove inputs that another unfinished job will make, even if it has not expanded so far yet."""
    for job in unfinished_jobs.unfinished(connection):
        try:
            theirs = plan_of(job, registry)
        except ChainError:
            continue  # an invalid chain makes no products; its own job reports the error
        if theirs.open_products:
            wanted.clear()
        for directory, name, _ in theirs.each_product():
            wanted.pop((directory, name), None)
        if not wanted:
            return


def plan_of(job: AnyRow, registry: Registry) -> Plan:
    """Return the plan of a submitted job. Raises ChainError."""
    chain = parse_chain(job.chain, job.source, registry)
    return plan(chain, registry, job.seed, job_name=job.name, working_directory=job.working_directory)


def _missing_maker(product: products.Product, path: str) -> Problem:
    return Problem(
        path,
        f"nothing makes its input {product[1]!r} in working directory {product[0]!r}",
        "correct the name, add the task that makes it, or submit the job that makes it first",
    )
