"""The command ``eas``: thin commands, each calling one verb of ``eas.control``.

Exit codes: 0 done; 1 ran, but some tasks failed or are blocked; 2 the request was wrong and nothing
was changed; 3 a service could not be reached.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

import click

import eas
from eas.errors import EASError, RequestError

COMMANDS = {
    "run": "eas.cli.run:run",
    "submit": "eas.cli.chains:submit",
    "validate": "eas.cli.chains:validate",
    "plan": "eas.cli.chains:plan",
    "schedule": "eas.cli.schedule:schedule",
    "worker": "eas.cli.worker:worker",
    "workers": "eas.cli.workers:workers",
    "cancel": "eas.cli.jobs:cancel",
    "reschedule": "eas.cli.jobs:reschedule",
    "db": "eas.cli.database:db",
    "queue": "eas.cli.queue:queue",
    "store": "eas.cli.store:store",
    "report": "eas.cli.report:report",
    "try": "eas.cli.try_task:try_task",
    "blocks": "eas.cli.blocks:blocks",
    "deploy": "eas.cli.deploy:deploy",
    "status": "eas.cli.deploy:status",
    "restart-workers": "eas.cli.deploy:restart_workers",
    "restart-web-interface": "eas.cli.deploy:restart_web_interface",
    "stop": "eas.cli.deploy:stop",
}
"""Command to ``module:object``: imported only when it is called, so that each starts fast."""


def normalise(name: str) -> str:
    """Let ``--db_port`` stand for ``--db-port``: users of the prototype have it in their notes."""
    return name.replace("_", "-")


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which people need them."""
        return [name for name, target in COMMANDS.items() if importlib.util.find_spec(target.partition(":")[0])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
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
    """Run the command line and exit with its code; errors are told without a traceback."""
    try:
        code: Any = cli.main(args=arguments, prog_name="eas", standalone_mode=False)
    except EASError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    except click.UsageError as error:
        error.show()
        code = RequestError.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        code = 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        sys.stderr.close()
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
