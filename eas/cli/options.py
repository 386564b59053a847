"""Options that several commands share."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from eas.operations.job_options import SubmitOptions

F = TypeVar("F", bound=Callable[..., Any])


class NumberRange(click.FloatRange):
    """A number within bounds. Rejects ``nan``, which click accepts within any bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or fail with a usage error."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
strict_option = click.option("--strict", is_flag=True, help="Treat warnings, such as unknown settings, as errors.")


def chain_argument(command: F) -> F:
    """Add the argument FILE, a task chain; the prototype's ``--tasks FILE`` works too."""

    def chain_file(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path:
        tasks = ctx.params.pop("tasks", None)
        if (value is None) == (tasks is None):
            raise click.UsageError("give one FILE, a task chain", ctx)
        return Path(value or tasks)

    path = click.Path(path_type=Path)
    file = click.argument("file", metavar="FILE", type=path, required=False, callback=chain_file)
    tasks = click.option("--tasks", type=path, is_eager=True, hidden=True)
    return tasks(file(command))


def submit_options(command: F) -> F:
    """Add the options of a job."""
    # Imported here, so that commands that only read start without the modules of submission.
    from eas.operations.job_options import BOUNDS
    from eas.orchestration.reuse import CHOICES, FAIL

    options = [
        click.option("--if-exists", type=click.Choice(CHOICES), default=FAIL, show_default=True,
                     help="If file products exist: fail, reuse those made in the same way, or replace them."),
        click.option("--retries", type=click.IntRange(*BOUNDS["retries"]), default=0, show_default=True,
                     help="Maximum number of retries of a failed task."),
        click.option("--backoff", type=NumberRange(*BOUNDS["backoff"]), default=1.0, show_default=True,
                     help="Delay before the first retry [s]; doubled for each further one."),
        click.option("--max-stalls", type=click.IntRange(*BOUNDS["max_stalls"]),
                     help="Maximum number of retries of a task whose worker was lost; default: EAS_MAX_STALLS, or 5."),
        click.option("--seed", help="Seed of all random numbers; default: a new one, which is shown, or with"
                     " --if-exists reuse that of the job whose products are reused."),
        click.option("--priority", type=click.IntRange(*BOUNDS["priority"]), default=0, show_default=True,
                     help="Jobs of higher priority are served first."),
        click.option("--job-name", help="Override the chain's job_name."),
        strict_option,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def options_of(values: dict[str, Any], max_stalls: int) -> SubmitOptions:
    """Return the submit options among a command's values; ``max_stalls`` is the default of that option."""
    from eas.operations.job_options import SubmitOptions

    names = ("if_exists", "retries", "backoff", "seed", "priority", "job_name", "strict")
    if values["max_stalls"] is not None:
        max_stalls = values["max_stalls"]
    return SubmitOptions(**{name: values[name] for name in names}, max_stalls=max_stalls)


def print_json(data: Any) -> None:
    """Print plain data as JSON."""
    # If the locale is not UTF-8, use JSON's own escapes for other characters.
    json.dump(data, sys.stdout, indent=2, ensure_ascii=sys.stdout.encoding.lower() != "utf-8")
    sys.stdout.write("\n")
