"""Commands, options and deployments that the documentation names exist."""

import re

import click
import pytest
import yaml

from eas.cli import COMMANDS, cli
from tests.processes import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
COMMAND = re.compile(r"(?:^|[`/ ])eas ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?", re.MULTILINE)
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
WITH_OPTIONS = re.compile(r"(?:^|[`/$(] ?| )eas ((?:[a-z-]+ )+(?:[^`|;&#>\n]|\\\n)*)", re.MULTILINE)
OPTION = re.compile(r"(?<=\s)(--[a-z][a-z_-]*)")


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


def documented_options(text):
    """Give each command that a page writes with options, as words, and these options."""
    for found in WITH_OPTIONS.finditer(text):
        if options := OPTION.findall(f" {found[1]}"):
            yield found[1].split(), options


def unknown_options(text):
    """Return options that the commands of a page do not have."""
    context, unknown = click.Context(cli), []
    for words, options in documented_options(text):
        command = cli.get_command(context, words[0])
        if isinstance(command, click.Group) and len(words) > 1:
            command = command.commands.get(words[1], command)
        if command is not None:
            known = {name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)}
            unknown += [f"{' '.join(words[:2])} {name}" for name in options if name.replace("_", "-") not in known]
    return unknown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_documented_option_exists(page):
    assert unknown_options(page.read_text(encoding="utf-8")) == []


def test_an_option_that_does_not_exist_is_noticed():
    text = "`eas db save --output a`, `eas run --wrkers 2`\n    eas db restore --froce\n$ eas jobs --json | cat --x\n"
    assert unknown_options(text) == ["run --wrkers --wrkers", "db restore --froce"]
    assert sum(len(list(documented_options(page.read_text(encoding="utf-8")))) for page in PAGES) > 70


def test_every_deployment_of_the_prototype_page_exists():
    text = (ROOT / "docs" / "how_to" / "coming_from_the_prototype.md").read_text(encoding="utf-8")
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    entrypoints = {each["entrypoint"].rpartition(":")[2].replace("_", "-") for each in content["deployments"]}
    named = set(re.findall(r"`([a-z-]+)/eas`", text))
    assert named
    assert named <= entrypoints | {"init"}
