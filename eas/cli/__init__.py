"""The command ``eas``: thin commands, each of which calls a function of ``eas.operations``.

Exit codes: 0 success; 1 some tasks failed or are blocked; 2 wrong request, nothing was changed; 3 a service
could not be reached.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
from typing import Any

import click

import eas
from eas.cli import output, system_errors  # imported early: these report errors when no more files can be opened
from eas.errors import EASError, RequestError
from eas.names import closest_names

COMMANDS = {
    "run": ("eas.cli.run:run", "Run a task chain to its end with local workers, as a Prefect flow."),
    "submit": ("eas.cli.chains:submit", "Write a task chain into the task database and print the job's id."),
    "validate": ("eas.cli.chains:validate", "Check a task chain without running or storing anything."),
    "plan": ("eas.cli.chains:plan", "Show which tasks a chain would run, without running it."),
    "schema": ("eas.cli.schema:schema", "Print the JSON Schema of task chains, for editors."),
    "schedule": ("eas.cli.schedule:schedule", "Run every submitted or interrupted job, until SIGTERM or Ctrl-C."),
    "worker": ("eas.cli.worker:worker", "Run tasks from the job queue, until SIGTERM or Ctrl-C."),
    "workers": ("eas.cli.workers:workers", "Show the workers that are alive, and what they run."),
    "server": ("eas.cli.server:server", "Show or stop the Prefect server that `eas run` started."),
    "doctor": (
        "eas.cli.doctor:doctor",
        "Check settings, database, queue, file store, Prefect, workers, disks and versions; give hints.",
    ),
    "web": ("eas.cli.web:web", "Serve every job, task, file and log to browsers, read-only, until Ctrl-C."),
    "jobs": (
        "eas.cli.job_list:jobs",
        "List the newest jobs: state, share done, speed, time left, and which process drives them.",
    ),
    "show": (
        "eas.cli.show:show",
        "Show one task: state, why it waits, settings, metadata, files with their makers, attempts and logs.",
    ),
    "logs": (
        "eas.cli.task_logs:task_logs",
        "Print the logs of all attempts of a task, or of all tasks of a job, in chronological order.",
    ),
    "files": (
        "eas.cli.files:files",
        "List file products with size and maker: of a job (its id, or its name), or the newest of all jobs.",
    ),
    "lineage": (
        "eas.cli.files:lineage_command",
        "Print the tasks and files that a file was made from, or with --down those that depend on it.",
    ),
    "get": (
        "eas.cli.files:get",
        "Copy a file product out of the file store, checked against the recorded checksum.",
    ),
    "plot": ("eas.cli.files:plot", "Draw a light curve as a PNG: its full span, or folded at its period."),
    "cancel": (
        "eas.cli.jobs:cancel",
        "Cancel a job: drop queued attempts, stop running ones, keep the file products made so far.",
    ),
    "reschedule": ("eas.cli.jobs:reschedule", "Retry tasks that failed, stalled or were withdrawn from the queue."),
    "db": ("eas.cli.database:db", "Create, migrate, save, restore and prune the task database."),
    "queue": ("eas.cli.queue:queue", "Choose, show, empty and pause the job queue."),
    "store": ("eas.cli.store:store", "Choose and check the file store."),
    "report": ("eas.cli.report:report", "Progress, timings, outcomes, errors, trees, queues and workers."),
    "try": (
        "eas.cli.try_task:try_task",
        "Run one task of type TASK on local files: its code, then its QC, as a worker would.",
    ),
    "blocks": ("eas.cli.blocks:blocks", "Save the settings as blocks on the Prefect server."),
    "deploy": ("eas.cli.deploy:deploy", "Deploy EAS to a Kubernetes cluster, with the given worker types."),
    "status": ("eas.cli.deploy:status", "Show pods, queues, workers and the last errors."),
    "restart-workers": (
        "eas.cli.deploy:restart_workers",
        "Stop all workers gracefully; new ones use the newest image.",
    ),
    "restart-web-interface": (
        "eas.cli.deploy:restart_web_interface",
        "Restart the Prefect server and `eas web`; running jobs continue.",
    ),
    "stop": (
        "eas.cli.deploy:stop",
        "Stop all pods, workers first; volumes (input, output, databases) and Secrets stay.",
    ),
}
"""``module:object`` and summary of each command, so that listing the commands imports none of them."""


def normalise(name: str) -> str:
    """Accept the prototype's spelling ``--db_port`` for ``--db-port``."""
    return name.replace("_", "-")


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which users need them."""
        return [name for name, (target, _) in COMMANDS.items() if importlib.util.find_spec(target.partition(":")[0])]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the called command; for an unknown one, fail with the nearest names."""
        name = normalise(args[0])
        if name not in COMMANDS and not name.startswith("-"):
            near = " or ".join(repr(each) for each in closest_names(name, self.list_commands(ctx)))
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near}?" if near else ""))
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": normalise,
        "max_content_width": 100,
    },
)
@click.version_option(eas.__version__, prog_name="eas")
def cli() -> None:
    """PLATO's Exoplanet Analysis System: run JSON task chains of light-curve tasks."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; errors are printed without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # Characters that the locale cannot encode are escaped, so that output never fails.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code: Any = cli.main(args=arguments, prog_name="eas", standalone_mode=False)
    except EASError as error:
        _echo(f"error: {error}")
        code = error.exit_code
    except click.UsageError as error:
        error.show()
        code = RequestError.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        _echo("stopped")
        from eas.cli.interrupts import TerminatedError

        # click converts KeyboardInterrupt to its own exception.
        code = 143 if isinstance(error.__cause__, TerminatedError) else 130
        # CPython sets a flag when an interrupt leaves code run by exec(), as in imports, even if it is caught later,
        # and then ends the process with SIGINT regardless of the exit code. The next exec() clears the flag.
        exec("")  # noqa: S102 - a constant
    except BrokenPipeError:
        # The reading process (head, less) has closed the pipe.
        sys.stderr.close()
        code = 0
    except (OSError, RuntimeError, MemoryError) as error:
        shown = system_errors.to_eas_error(error)
        if shown is None:
            raise
        _echo(f"error: {shown}")
        code = shown.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _echo(text: str) -> None:
    output.echo(text, err=True)
