"""Claims of file products: at most one job at a time may make a product.

A task claims its outputs when it is registered, and again when it is queued (it may have been
rescheduled after another job took over). ``products.maker_task_id`` names the task. The claim holds
while that task and its job are unfinished; then the next task takes it over. Within a job, the
dependency graph decides between two makers, so the job's first unfinished task keeps the claim.

The rows of products are locked in the order of their ids, and before anything refers to them, so
two jobs that register the same products wait for each other instead of deadlocking.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, case, select, update

from eas.states import FINAL_JOB_STATES, FINAL_TASK_STATES
from eas.taskdb import products, tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow
from eas.taskdb.products import Product

PRODUCTS, TASKS, JOBS, LINKS = tables.products, tables.tasks, tables.jobs, tables.task_products


class Registered(NamedTuple):
    """Products of new tasks: ids by product, and refused claims with their reasons by task id."""

    ids: dict[Product, int]
    refused: dict[int, str]


def register(
    connection: Connection, job_id: int, wanted: Iterable[Product], makers: Mapping[Product, int]
) -> Registered:
    """Add those of ``wanted`` that are new, and claim products for the tasks of a job that make them."""
    ids, added = products.ensure(connection, wanted, makers)
    # Products added by this transaction are inserted with their claim: only the others need an update.
    known = {ids[product]: task_id for product, task_id in makers.items() if product not in added}
    return Registered(ids, claim(connection, job_id, known))


def claim(connection: Connection, job_id: int, wanted: Mapping[int, int]) -> dict[int, str]:
    """Claim products (by id) for tasks of a job; return the reasons of refused claims by task id."""
    refused: dict[int, str] = {}
    for part in chunks(sorted(wanted)):
        query = select(PRODUCTS.c.id, PRODUCTS.c.name, PRODUCTS.c.working_directory, PRODUCTS.c.maker_task_id)
        rows = connection.execute(query.where(PRODUCTS.c.id.in_(part)).order_by(PRODUCTS.c.id).with_for_update()).all()
        holders = _unfinished(connection, {row.maker_task_id for row in rows} - {None})
        taken: dict[int, int] = {}
        for row in rows:
            holder = holders.get(row.maker_task_id)
            if holder is None:
                taken[row.id] = wanted[row.id]
            elif holder.job_id != job_id:
                refused[wanted[row.id]] = _reason(row, holder)
        if taken:
            value = case(taken, value=PRODUCTS.c.id)
            connection.execute(update(PRODUCTS).where(PRODUCTS.c.id.in_(taken)).values(maker_task_id=value))
    return refused


def reclaim_outputs(connection: Connection, job_id: int, task_ids: Iterable[int]) -> dict[int, str]:
    """Claim again the outputs of tasks about to be queued that no longer hold their claims."""
    wanted: dict[int, int] = {}
    for part in chunks(task_ids):
        query = (
            select(LINKS.c.product_id, LINKS.c.task_id)
            .join(PRODUCTS, PRODUCTS.c.id == LINKS.c.product_id)
            .where(LINKS.c.task_id.in_(part), LINKS.c.direction == "out")
            .where(PRODUCTS.c.maker_task_id.is_distinct_from(LINKS.c.task_id))
        )
        wanted.update((row.product_id, row.task_id) for row in connection.execute(query))
    return claim(connection, job_id, wanted)


def _unfinished(connection: Connection, task_ids: Iterable[int]) -> dict[int, AnyRow]:
    """Return those of the tasks that may still make something, by id."""
    found: dict[int, AnyRow] = {}
    for part in chunks(task_ids):
        query = (
            select(TASKS.c.id, TASKS.c.job_id, TASKS.c.state, JOBS.c.name.label("job"))
            .join(JOBS, JOBS.c.id == TASKS.c.job_id)
            .where(TASKS.c.id.in_(part), TASKS.c.state.not_in(FINAL_TASK_STATES), JOBS.c.state.not_in(FINAL_JOB_STATES))
        )
        found.update({row.id: row for row in connection.execute(query)})
    return found


def _reason(product: AnyRow, holder: AnyRow) -> str:
    return (
        f"{product.working_directory}/{product.name} is being made by job {holder.job_id} ({holder.job}), "
        f"task {holder.id}, which is {holder.state}; wait for that job, then submit this chain with "
        "--if-exists reuse or replace, or use another working_directory"
    )
