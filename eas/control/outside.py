"""Inputs of a job that none of its tasks makes: other jobs bring them, or nobody ever will."""

from __future__ import annotations

import json
import time
from collections.abc import Collection

from eas.control import reuse
from eas.control.graph import Graph
from eas.states import TaskState
from eas.taskdb import products
from eas.taskdb.engine import TaskDatabase

INTERVAL = 1.0
"""How often the products of other jobs are looked for [s]."""


class Outside:
    """Looks for the orphans of one job's graph among what other jobs made or may still make.

    Parameters
    ----------
    open_types:
        Task types that may make products which nobody can foresee.
    """

    def __init__(self, database: TaskDatabase, graph: Graph, job_id: int, open_types: Collection[str]) -> None:
        self.database = database
        self.graph = graph
        self.job_id = job_id
        self._open_types = open_types
        self._looked = 0.0
        self._known: set[int] = set()

    def forget(self) -> None:
        """Forget which orphans were looked for: the graph is loaded anew."""
        self._known.clear()

    def look(self, *, idle: bool) -> bool:
        """Supply or give up orphans, where it is time to; return whether there are fewer then.

        ``idle``: nothing of the job moves, so that none of its own tasks can come to make them.
        """
        due = time.monotonic() - self._looked >= INTERVAL
        if not due and self._known >= self.graph.orphans.keys():
            return False
        self._looked = time.monotonic()
        self._known = set(self.graph.orphans)
        certain = self.graph.unexpanded == 0 or idle
        return certain and self._ask()

    def _ask(self) -> bool:
        before = len(self.graph.orphans)
        # Before the look at SQL: what ends in between has then been seen by it.
        opening = any(node.task_type in self._open_types for node in self.graph.nodes.values() if not node.state.final)
        known, growing, names = self.database.fetch(
            lambda c: (
                products.status_by_id(c, self.graph.orphans, except_job=self.job_id),
                reuse.other_jobs_may_grow(c, self.job_id, self._open_types),
                products.names(c, self.graph.orphans),
            )
        )
        for product_id in list(self.graph.orphans):
            status = known[product_id]
            alive = status.maker_state is not None and not TaskState(status.maker_state).final
            if status.current_version_id is not None:
                self.graph.supplied(product_id)
            elif not alive and not growing and not opening:
                self.graph.lacking(product_id, _nobody_makes(names[product_id], status))
        return len(self.graph.orphans) < before


def _nobody_makes(product: products.Product, status: products.ProductStatus) -> str:
    name = json.dumps(product[1])
    if status.maker_task_id is None:
        return f"nothing makes its input {name} in working directory {json.dumps(product[0])}"
    return (
        f"blocked by task {status.maker_task_id} of job {status.maker_job_id} ({status.maker_job}), "
        f"which was to make {name} and is {status.maker_state}"
    )
