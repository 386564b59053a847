"""How the package is found by Python."""

import subprocess
import sys

import click

from eas.cli import COMMANDS, cli
from tests.processes import clean_environment


def test_a_clone_in_a_folder_called_eas_does_not_hide_the_package(tmp_path):
    (tmp_path / "eas" / "eas").mkdir(parents=True)  # without __init__.py in the outer one, as in a clone
    (tmp_path / "eas" / "eas" / "__init__.py").write_text("raise ImportError\n")
    code = "import eas, eas.errors; print(eas.__version__)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 0, done.stderr


def test_the_list_of_commands_says_what_each_command_itself_says() -> None:
    for name, (_, summary) in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None and command.help is not None, name
        assert " ".join(command.help.split()).startswith(summary.removesuffix(".")), name


def test_the_list_of_commands_imports_no_command() -> None:
    script = "\n".join(
        [
            "import sys, eas.cli",
            "try: eas.cli.main(['--help'])",
            "finally: print([name for name in sys.modules if name.startswith(('sqlalchemy', 'eas.cli.'))"
            " and name not in ('eas.cli.output', 'eas.cli.system_errors')])",  # errors are shown by these
        ]
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
