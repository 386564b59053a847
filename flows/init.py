"""The flow ``init``: everything that must be there before the first job."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, get_run_logger

from eas.app import App
from eas.queues.rabbitmq import RabbitMQQueue
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise
from flows.parameters import Blocks, described, open_app, told


@flow(name="init", persist_result=False)
@told
def init(
    blocks: Blocks = None,
    save_blocks: Annotated[bool, described("Write the settings into the blocks called `eas`, too.")] = True,
) -> Any:
    """Create or migrate the task database, fill in the registry, declare the queues; twice changes nothing.

    Returns what was done to the task database: *created*, *migrated* or *unchanged*.
    """
    log = get_run_logger()
    with open_app(blocks) as app:
        done = _database(app)
        log.info("task database %s: %s", TaskDatabase(app.settings.database()).safe_url, done)
        if isinstance(app.queue, RabbitMQQueue):
            names = [each.name for each in app.registry.task_types.values() if not each.control]
            app.queue.declare(names)
            log.info("%d queues declared", len(names))
        if save_blocks and not blocks:
            from blocks import save_blocks as save

            log.info("saved %s", ", ".join(save(app.settings)))
    return done


def _database(app: App) -> str:
    database = TaskDatabase(app.settings.database())
    try:
        database.create()
        return initialise(database, app.registry)
    finally:
        database.close()
