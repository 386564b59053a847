"""``eas validate``, ``eas plan`` and ``eas submit``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from eas.app import App
from eas.chains.grammar import Chain, load_chain
from eas.chains.plan import Bounds, Plan
from eas.cli.options import chain_argument, json_option, options_of, print_json, submit_options
from eas.control import submit as submission


@click.command()
@chain_argument
def validate(file: Path) -> None:
    """Check a task chain without running or storing anything.

    Exits with 2 where it cannot run, naming each place and the cure.
    """
    with App.load() as app:
        chain, planned = _checked(app, file)
    least, most = planned.total
    tasks = f"{least}" if least == most else f"{least} to {'any number of' if most is None else most}"
    click.echo(f"{chain.source}: valid, {tasks} tasks")


@click.command()
@chain_argument
@json_option
def plan(file: Path, as_json: bool) -> None:
    """Show what a task chain would run, without running it."""
    with App.load() as app:
        chain = load_chain(file, app.registry)
        planned = submission.plan_chain(chain, app.registry)
    if as_json:
        print_json(planned.to_json())
    else:
        _show(planned)


@click.command()
@chain_argument
@submit_options
@json_option
def submit(file: Path, as_json: bool, **values: Any) -> None:
    """Write a task chain into the task database and print the job's id.

    Nothing runs yet: `eas run --resume JOB` or the supervisor takes it up.
    """
    with App.load() as app:
        options = options_of(values, app.settings.max_stalls)
        job_id = submission.submit(app.database, app.registry, load_chain(file, app.registry), options)
    if as_json:
        print_json({"job_id": job_id})
    else:
        click.echo(job_id)


def _checked(app: App, file: Path) -> tuple[Chain, Plan]:
    """Return a chain that could be submitted, and its plan; the database is read where there is one."""
    chain = load_chain(file, app.registry)
    planned = submission.plan_chain(chain, app.registry)
    with app.database.read() if app.has_database() else nullcontext() as connection:
        submission.check_inputs(connection, chain, planned, app.registry)
    return chain, planned


def _show(planned: Plan) -> None:
    table = Table(title="Tasks")
    table.add_column("task type")
    for name in ("at least", "at most"):
        table.add_column(name, justify="right")
    for name, bounds in sorted(planned.tasks.items()):
        table.add_row(name, *_texts(bounds))
    table.add_section()
    table.add_row("total", *_texts(planned.total))
    console = Console()
    console.print(table)
    least, most = _texts(planned.product_count)
    console.print(f"file products: {least if least == most else f'{least} to {most}'}")
    console.print(f"levels of nesting: {planned.depth}; longest path of dependent tasks: {planned.longest_path}")
    console.print(f"worker types: {', '.join(planned.worker_types) or 'none'}")
    for each in planned.external[:20]:
        console.print(f"reads from another job: {each.working_directory}/{each.file_name} ({each.path})")


def _texts(bounds: Bounds) -> tuple[str, str]:
    return str(bounds[0]), "unbounded" if bounds[1] is None else str(bounds[1])
