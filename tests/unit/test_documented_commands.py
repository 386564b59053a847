"""Commands and deployments that the documentation names exist."""

import re

import click
import pytest
import yaml

from eas.cli import COMMANDS, cli
from tests.processes import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
COMMAND = re.compile(r"(?:^|[`/ ])eas ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?", re.MULTILINE)
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def named_commands(page):
    for code in CODE.findall(page.read_text(encoding="utf-8")):
        yield from COMMAND.findall(code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_documented_command_exists(page):
    context = click.Context(cli)
    for name, sub in named_commands(page):
        assert name in COMMANDS, f"eas {name}"
        command = cli.get_command(context, name)
        if sub and isinstance(command, click.Group):
            assert sub in command.commands, f"eas {name} {sub}"


def test_every_deployment_of_the_prototype_page_exists():
    text = (ROOT / "docs" / "how_to" / "coming_from_the_prototype.md").read_text(encoding="utf-8")
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    entrypoints = {each["entrypoint"].rpartition(":")[2].replace("_", "-") for each in content["deployments"]}
    named = set(re.findall(r"`([a-z-]+)/eas`", text))
    assert named
    assert named <= entrypoints | {"init"}
