"""Options that several commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from eas.control.reuse import CHOICES, FAIL
from eas.control.submit import DEFAULT_SEED, SubmitOptions

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print data for programs.")


def chain_argument(command: F) -> F:
    """Add the argument FILE, a task chain; ``--tasks FILE`` does as well, as with the prototype."""

    def given(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path:
        tasks = ctx.params.pop("tasks", None)
        if (value is None) == (tasks is None):
            raise click.UsageError("give one FILE, a task chain", ctx)
        return Path(value or tasks)

    path = click.Path(path_type=Path)
    file = click.argument("file", metavar="FILE", type=path, required=False, callback=given)
    tasks = click.option("--tasks", type=path, is_eager=True, hidden=True)
    return tasks(file(command))


def submit_options(command: F) -> F:
    """Add the options that say how a job shall run."""
    options = [
        click.option("--if-exists", type=click.Choice(CHOICES), default=FAIL, show_default=True,
                     help="File products that exist: fail, reuse what was made the same way, or replace them."),
        click.option("--retries", type=click.IntRange(0, 100), default=0, show_default=True,
                     help="Further attempts of a task that failed."),
        click.option("--backoff", type=click.FloatRange(0, 3600), default=1.0, show_default=True,
                     help="Wait before the first retry [s]; doubled for each further one."),
        click.option("--seed", default=DEFAULT_SEED, show_default=True, help="All random numbers follow from it."),
        click.option("--priority", type=click.IntRange(-1000, 1000), default=0, show_default=True,
                     help="Jobs of higher priority are served first."),
        click.option("--job-name", help="Overrides the chain's job_name."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def options_of(values: dict[str, Any], max_stalls: int) -> SubmitOptions:
    """Return the submit options among a command's values."""
    names = ("if_exists", "retries", "backoff", "seed", "priority", "job_name")
    return SubmitOptions(**{name: values[name] for name in names}, max_stalls=max_stalls)


def print_json(data: Any) -> None:
    """Print plain data as JSON."""
    json.dump(data, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
