"""Inputs of a job that none of its tasks makes: other jobs make them, or they are unavailable."""

from __future__ import annotations

import json
import time
from collections.abc import Collection

from eas.orchestration.dependency_graph import DependencyGraph
from eas.states import TaskState
from eas.taskdb import products
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import product_status, unfinished_jobs

QUERY_INTERVAL = 1.0
"""Minimum time [s] between two queries for products of other jobs."""


class ExternalInputs:
    """Resolves inputs of one job that none of its own tasks makes, from the products of other jobs.

    Parameters
    ----------
    dynamic_output_types:
        Task types whose products are known only once they have run.
    """

    def __init__(
        self, database: TaskDatabase, graph: DependencyGraph, job_id: int, dynamic_output_types: Collection[str]
    ) -> None:
        self.database = database
        self.graph = graph
        self.job_id = job_id
        self._open_types = dynamic_output_types
        self._looked = 0.0
        self._known: set[int] = set()

    def reset(self) -> None:
        """Reset the state after the graph was loaded again."""
        self._known.clear()

    def resolve(self, *, idle: bool) -> bool:
        """If a query is due, resolve inputs or mark them as unavailable; return whether any was settled.

        ``idle``: no task of the job is in flight or ready, so that none of them can make the inputs.
        """
        due = time.monotonic() - self._looked >= QUERY_INTERVAL
        if not due and self._known >= self.graph.unresolved_inputs.keys():
            return False
        self._looked = time.monotonic()
        self._known = set(self.graph.unresolved_inputs)
        certain = self.graph.unexpanded == 0 or idle
        return certain and self._query()

    def _query(self) -> bool:
        before = len(self.graph.unresolved_inputs)
        # Evaluated before the query, so that tasks of this job which end in between are in its result.
        opening = any(node.task_type in self._open_types for node in self.graph.nodes.values() if not node.state.final)
        known, growing, names = self.database.fetch(
            lambda c: (
                product_status.status_by_id(c, self.graph.unresolved_inputs, except_job=self.job_id),
                unfinished_jobs.other_jobs_may_add_products(c, self.job_id, self._open_types),
                product_status.names(c, self.graph.unresolved_inputs),
            )
        )
        for product_id in list(self.graph.unresolved_inputs):
            status = known[product_id]
            alive = status.maker_state is not None and not TaskState(status.maker_state).final
            if status.current_version_id is not None:
                self.graph.input_available(product_id)
            elif not alive and not growing and not opening:
                self.graph.input_unavailable(product_id, _unavailable_because(names[product_id], status))
        return len(self.graph.unresolved_inputs) < before


def _unavailable_because(product: products.Product, status: product_status.ProductStatus) -> str:
    name = json.dumps(product[1])
    if status.maker_task_id is None:
        return f"nothing makes its input {name} in working directory {json.dumps(product[0])}"
    return (
        f"blocked by task {status.maker_task_id} of job {status.maker_job_id} ({status.maker_job}), "
        f"which makes {name} and is {status.maker_state}"
    )
