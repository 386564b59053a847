"""The flow ``init``: creates task database, queues and blocks."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, get_run_logger

from eas.operations.init import init_database, init_queue
from eas.settings import safe_url
from flows.parameters import RETRIES, RETRY_DELAY, Blocks, described, fail_on_eas_error, open_app


@flow(name="init", persist_result=False, retries=RETRIES, retry_delay_seconds=RETRY_DELAY)
@fail_on_eas_error
def init(
    blocks: Blocks = None,
    save_blocks: Annotated[bool, described("Also save the settings as blocks called `eas`.")] = True,
) -> Any:
    """Create or migrate the task database, fill in the registry, declare the queues. Idempotent.

    Returns what was done to the task database: *created*, *migrated* or *unchanged*.
    """
    log = get_run_logger()
    with open_app(blocks) as app:
        settings = app.settings
        done = init_database(settings.database(), app.registry)
        log.info("task database %s: %s", safe_url(settings.database()), done)
        declared = init_queue(settings.queue_url.get_secret_value(), settings.database(), app.registry)
        log.info("%d queues declared", declared)
        if save_blocks and not blocks:
            from blocks import save_blocks as save

            log.info("saved %s", ", ".join(save(settings)))
    return done
