"""Chains that the tests of flows submit, and what they look at."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State

from eas.app import App
from eas.chains.grammar import parse_chain
from eas.operations.job_options import SubmitOptions
from eas.operations.submit import submit
from eas.states import TaskState
from flows.run_chain import run_chain


def chain(*tasks: dict[str, Any], name: str = "chain") -> str:
    return json.dumps({"job_name": name, "working_directory": name, "task_list": list(tasks)})


def submitted(app: App, *tasks: dict[str, Any], name: str = "chain") -> int:
    return submit(app.database, app.registry, parse_chain(chain(*tasks, name=name), "test"), SubmitOptions())


def queued(app: App, job: int) -> None:
    """Let an orchestrator put a job's tasks on the queue, and leave it."""
    orchestrator = app.orchestrator(job)
    orchestrator.open()
    orchestrator.step()
    orchestrator.close()


def count(app: App, state: TaskState) -> int:
    with app.database.read() as connection:
        text = "SELECT count(*) FROM tasks WHERE task_type IN ('null', 'error') AND state = ?"
        return int(connection.exec_driver_sql(text, (str(state),)).scalar_one())


def driven(**parameters: Any) -> State[Any]:
    return asyncio.run(run_chain(**parameters, return_state=True))


def artifacts() -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        return {each.key: each for each in client.read_latest_artifacts(limit=200)}
