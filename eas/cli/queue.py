"""``eas queue``: choose and look at the job queue."""

from __future__ import annotations

import click

from eas import settings
from eas.app import App
from eas.cli import normalise
from eas.cli.options import json_option, print_json
from eas.cli.services import make_url, password_of, refuse_both
from eas.errors import SettingsError
from eas.queues.rabbitmq import RabbitMQQueue
from eas.settings import safe_url
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.store import SQLAttemptStore


@click.group(context_settings={"token_normalize_func": normalise})
def queue() -> None:
    """Choose and look at the job queue."""


@queue.command()
@click.option("--url", help="sql: or amqp://user:password@host:5672/%2F; default: what the settings say.")
@click.option("--queue-implementation", type=click.Choice(["sql", "amqp"]), help="SQL alone, or RabbitMQ.")
@click.option("--mq-host", help="RabbitMQ: host; default: localhost.")
@click.option("--mq-port", type=click.IntRange(1, 65535), help="RabbitMQ: port; default: 5672.")
@click.option("--mq-user", help="RabbitMQ: user; default: guest.")
@click.option("--mq-passwd", help="RabbitMQ: password; better in EAS_MQ_PASSWD, or asked for.")
def init(
    url: str | None,
    queue_implementation: str | None,
    mq_host: str | None,
    mq_port: int | None,
    mq_user: str | None,
    mq_passwd: str | None,
) -> None:
    """Declare the queues, check that they can be used, and save the settings for all later calls."""
    refuse_both(url, queue_implementation=queue_implementation, mq_host=mq_host, mq_port=mq_port, mq_user=mq_user)
    if queue_implementation == "sql":
        url = "sql:"
    elif queue_implementation == "amqp":
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
        names = _declare(app)
        path = settings.save(app.settings)
        shown = _shown(app)
    click.echo(f"job queue {shown}: {names}; settings saved in {path}")


def _declare(app: App) -> str:
    url = app.settings.queue_url.get_secret_value()
    kind = url.partition(":")[0]
    if kind == "sql":
        return "the task database is all it needs"
    if kind not in ("amqp", "amqps"):
        raise SettingsError(
            f"unknown kind of job queue {kind!r}", cure="choose sql: or amqp://user:password@host:5672/%2F"
        )
    # The task database need not be there yet: declaring does not look into it.
    database = TaskDatabase(app.settings.database())
    rabbitmq = RabbitMQQueue(url, SQLAttemptStore(database))
    try:
        task_types = [each.name for each in app.registry.task_types.values() if not each.control]
        rabbitmq.declare(task_types)
    finally:
        rabbitmq.close()
        database.close()
    return f"{len(task_types)} queues declared"


def _shown(app: App) -> str:
    url = app.settings.queue_url.get_secret_value()
    return "sql:" if url.startswith("sql:") else safe_url(url)


@queue.command()
@json_option
def show(as_json: bool) -> None:
    """Show how many attempts are queued, by task type; with RabbitMQ, its messages too."""
    with App.load() as app:
        depths = app.queue.depths()
        messages = None
        if isinstance(app.queue, RabbitMQQueue):
            task_types = [each.name for each in app.registry.task_types.values() if not each.control]
            messages = app.queue.held(task_types)
        shown = _shown(app)
    names = sorted(depths.keys() | {name for name, count in (messages or {}).items() if count})
    if as_json:
        print_json({"queue": shown, "queued": depths, "messages": messages})
        return
    click.echo(f"job queue {shown}: {sum(depths.values())} attempts queued")
    for name in names:
        extra = f", {messages.get(name, 0)} messages" if messages is not None else ""
        click.echo(f"  {name}: {depths.get(name, 0)}{extra}")
