"""``eas queue``: choose, show, empty and pause the job queue."""

from __future__ import annotations

import click

from eas import settings
from eas.app import App
from eas.cli import normalise
from eas.cli.options import json_option, print_json
from eas.cli.output import echo
from eas.cli.services import make_url, password_of, reject_url_with_parts
from eas.operations import pause as pausing
from eas.operations.empty_queue import empty_queue
from eas.operations.init import init_queue, leaf_types
from eas.queues.opening import SQL, queue_kind
from eas.settings import safe_url
from eas.taskdb.queries import live
from eas.taskdb.queries.reports import Filters


@click.group(context_settings={"token_normalize_func": normalise})
def queue() -> None:
    """Choose, show, empty and pause the job queue."""


@queue.command()
@click.option("--url", help="sql: or amqp://user:password@host:5672/%2F; default: the settings.")
@click.option(
    "--queue-implementation",
    type=click.Choice(["sql", "amqp"]),
    help="Task database alone, or RabbitMQ; default: amqp if --mq-host, --mq-port or --mq-user is given.",
)
@click.option("--mq-host", help="RabbitMQ: host; default: localhost.")
@click.option("--mq-port", type=click.IntRange(1, 65535), help="RabbitMQ: port; default: 5672.")
@click.option("--mq-user", help="RabbitMQ: user; default: guest.")
@click.option("--mq-passwd", help="RabbitMQ: password; prefer EAS_MQ_PASSWD or the prompt.")
def init(
    url: str | None,
    queue_implementation: str | None,
    mq_host: str | None,
    mq_port: int | None,
    mq_user: str | None,
    mq_passwd: str | None,
) -> None:
    """Declare the queues, check that they work, and save the settings for later commands."""
    reject_url_with_parts(
        url, queue_implementation=queue_implementation, mq_host=mq_host, mq_port=mq_port, mq_user=mq_user
    )
    if queue_implementation == "sql":
        url = "sql:"
    elif queue_implementation == "amqp" or any((mq_host, mq_port, mq_user)):
        password = password_of(mq_passwd, mq_user, "EAS_MQ_PASSWD", "RabbitMQ")
        url = make_url(
            "amqp",
            username=mq_user or "guest",
            password=password if mq_user else "guest",
            host=mq_host or "localhost",
            port=mq_port or 5672,
            database="%2F",
        ).replace("/%252F", "/%2F")
    with App.load(queue_url=url) as app:
        given = app.settings
        declared = init_queue(given.queue_url.get_secret_value(), given.database(), app.registry)
        path = settings.save(given)
        shown = _shown(app)
    what = f"{declared} queues declared" if declared else "it needs only the task database"
    echo(f"job queue {shown.rstrip(':')}: {what}; settings saved in {path}")


def _shown(app: App) -> str:
    url = app.settings.queue_url.get_secret_value()
    return "sql:" if queue_kind(url) == SQL else safe_url(url)


@queue.command()
@click.option("--job-name", metavar="NAME", help="Only attempts of jobs with this name.")
@json_option
def empty(job_name: str | None, as_json: bool) -> None:
    """Withdraw all attempts that no worker has claimed from the job queue.

    Their tasks wait until you reschedule them (eas reschedule). Running tasks continue. To prevent further
    tasks from being queued, cancel the jobs or stop the process that drives them.
    """
    with App.load() as app:
        counts = empty_queue(app.database, app.queue, job_name=job_name)
    if as_json:
        print_json({"total": sum(counts.values()), "emptied": counts})
        return
    echo(f"{sum(counts.values())} attempts withdrawn from the queue")
    for name, count in counts.items():
        echo(f"  {name}: {count}")


types_argument = click.argument("task_types", metavar="[TASK_TYPE]...", nargs=-1)


@queue.command()
@types_argument
@json_option
def pause(task_types: tuple[str, ...], as_json: bool) -> None:
    """Stop workers from claiming tasks of these types, or of all types; running tasks continue."""
    with App.load() as app:
        changed = pausing.pause(app.database, task_types or None)
        _print_paused(changed, "paused", list(pausing.paused(app.database)), as_json=as_json)


@queue.command()
@types_argument
@json_option
def resume(task_types: tuple[str, ...], as_json: bool) -> None:
    """Let workers claim tasks of these types, or of all types, again."""
    with App.load() as app:
        changed = pausing.resume(app.database, app.queue, task_types or None)
        _print_paused(changed, "resumed", list(pausing.paused(app.database)), as_json=as_json)


def _print_paused(changed: list[str], done: str, paused: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({done: changed, "now_paused": paused})
        return
    echo(f"{done}: {', '.join(changed) or 'none (no change)'}")
    echo(f"paused now: {', '.join(paused) or 'none'}")


@queue.command()
@json_option
def show(as_json: bool) -> None:
    """Show how many attempts are queued, by task type; with RabbitMQ, its messages too.

    Tasks are held back if no worker may claim them yet: their retry is not due, or they were withdrawn from
    the queue (eas reschedule queues them again).
    """
    with App.load() as app:
        depths = app.queue.depths()
        held_back = _held_back(app)
        paused = pausing.paused(app.database)
        messages = app.queue.message_counts(leaf_types(app.registry))
        shown = _shown(app)
    if as_json:
        known = {"queued": depths, "held_back": held_back, "messages": messages, "paused": sorted(paused)}
        print_json({"queue": shown, **known})
        return
    echo(f"job queue {shown.rstrip(':')}: {sum(depths.values())} attempts queued")
    waiting = {name for name, count in (messages or {}).items() if count}
    for name in sorted(depths.keys() | held_back.keys() | paused.keys() | waiting):
        held = f", {held_back[name]} held back" if name in held_back else ""
        extra = f", {messages.get(name, 0)} messages" if messages is not None else ""
        stopped = ", paused" if name in paused else ""
        echo(f"  {name}: {depths.get(name, 0)}{held}{extra}{stopped}")


def _held_back(app: App) -> dict[str, int]:
    """Return the number of tasks of each type that no worker may claim yet."""
    now = app.database.now()
    rows = app.database.fetch(lambda connection: live.queues(connection, Filters(), now))
    return {row.task_type: int(row.held_back) for row in rows if row.held_back}
