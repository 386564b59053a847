"""``eas doctor``: checks the installation and prints hints."""

from __future__ import annotations

import click

from eas import registry, settings
from eas.cli.options import NumberRange, json_option, print_json
from eas.cli.output import echo
from eas.cli.text import heading
from eas.errors import EASError, SettingsError
from eas.findings import Check, Finding, Level, run_checks
from eas.operations import diagnose
from eas.plain_text import one_line

STYLES = {Level.OK: "green", Level.NOTE: "yellow", Level.PROBLEM: "red"}


@click.command()
@click.option(
    "--timeout",
    type=NumberRange(0.1, 600),
    default=10.0,
    show_default=True,
    help="Time to wait for the answer of a service [s].",
)
@json_option
def doctor(timeout: float, as_json: bool) -> int:
    """Check settings, database, queue, file store, Prefect, workers, disks and versions; give hints.

    Changes nothing, and shows no passwords. Exits with 1 if there is a problem.
    """
    known, checks, findings = _prepare()
    findings += run_checks(checks, timeout)
    healthy = all(each.level is not Level.PROBLEM for each in findings)
    if as_json:
        print_json(
            {
                "healthy": healthy,
                "settings": [each._asdict() for each in known],
                "findings": [each.to_json() for each in findings],
            }
        )
    else:
        _show(known, findings)
    return 0 if healthy else 1


def _prepare() -> tuple[list[settings.SettingValue], dict[str, Check], list[Finding]]:
    """Return the settings, the checks that are possible with them, and the problems of loading them."""
    from flows.prefect_checks import check_prefect

    findings: list[Finding] = []
    known: list[settings.SettingValue] = []
    checks: dict[str, Check] = {"versions": diagnose.check_versions}
    try:
        loaded = settings.load()
        known = settings.effective_settings(loaded)
        checks = diagnose.checks(loaded, registry.load())
    except EASError as error:
        check = "settings" if isinstance(error, SettingsError) else "registry"
        findings.append(Finding(check, Level.PROBLEM, error.what, error.hint))
    return known, checks | {"prefect": check_prefect}, findings


def _show(known: list[settings.SettingValue], findings: list[Finding]) -> None:
    echo("settings", bold=True)
    for _, variable, value, source in known:
        echo(f"{variable:<18}  {source:<11}  {one_line(value) or '(empty)'}")
    heading("findings")
    width = max(len(each.check) for each in findings)
    for each in findings:
        echo(f"{each.level:<7}  {each.check:<{width}}  {one_line(each.message)}", fg=STYLES[each.level])
        if each.hint:
            echo(f"{'':7}  {'':{width}}  -> {each.hint}")
