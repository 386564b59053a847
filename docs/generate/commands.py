"""Generate the page of commands from their declarations."""

from __future__ import annotations

from collections.abc import Iterator

import click

from docs.generate.markdown import NOTE, cell
from eas.cli import COMMANDS, cli

INTRODUCTION = """\
Exit codes: [States and exit codes](states.md#exit-codes). `eas COMMAND --help` prints the same on a terminal. A shell
completes commands and options after `eval "$(_EAS_COMPLETE=bash_source eas)"` (or `zsh_source`, `fish_source`)."""


def page() -> str:
    """Return the page with all commands and their options."""
    lines = [
        "# Commands",
        "",
        NOTE,
        "",
        INTRODUCTION,
    ]
    root = click.Context(cli, info_name="eas")
    for name in COMMANDS:
        command = cli.get_command(root, name)
        assert command is not None
        lines += _command(click.Context(command, info_name=name, parent=root), level=2)
    return "\n".join(lines) + "\n"


def _command(context: click.Context, level: int) -> Iterator[str]:
    command = context.command
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield from ("", f"{'#' * level} {context.command_path}", "", f"    {' '.join(usage.split())}", "")
    yield from (line.strip() for line in (command.help or "").replace("\b", "").strip().splitlines())
    given = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    records = [each.get_help_record(context) for each in given]
    options = [each for each in records if each is not None and "--help" not in each[0]]
    if options:
        yield from ("", "| option | meaning |", "|---|---|")
        yield from (f"| `{cell(names.replace(' RANGE', ''))}` | {cell(meaning)} |" for names, meaning in options)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _command(click.Context(found, info_name=name, parent=context), level + 1)
