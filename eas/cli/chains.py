"""``eas validate``, ``eas plan`` and ``eas submit``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from eas.app import App
from eas.chains.grammar import Chain, load_chain
from eas.chains.plan import Bounds, Plan
from eas.cli import text
from eas.cli.options import chain_argument, json_option, options_of, print_json, strict_option, submit_options
from eas.cli.output import echo
from eas.errors import RequestError
from eas.operations import plan as planning
from eas.operations import submit as submission
from eas.orchestration.job_summary import summarise
from eas.registry import Registry

MERMAID = "mermaid"


@click.command()
@chain_argument
@strict_option
def validate(file: Path, strict: bool) -> None:
    """Check a task chain without running or storing anything.

    Exits with 2 if the chain is invalid; lists every problem with its location and a hint.
    """
    with App.load() as app:
        chain, planned = _checked(app, file)
    _warn(chain, planned, strict=strict)
    least, most = planned.total
    tasks = f"{least}" if least == most else f"{least} to {'any number of' if most is None else most}"
    echo(f"{chain.source}: valid, {tasks} tasks")


@click.command()
@chain_argument
@strict_option
@click.option(
    "--graph",
    type=click.Path(path_type=Path),
    metavar="PICTURE",
    help="Draw the plan to a file .svg, .html or .mmd (Mermaid), or to the output with `--graph mermaid`.",
)
@click.option(
    "--estimate",
    "estimated",
    is_flag=True,
    help="Estimate wall time, CPU time, memory and disk, from recorded attempts.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 10_000),
    help="Number of workers to assume for --estimate; default: one for each CPU of this machine.",
)
@json_option
def plan(file: Path, strict: bool, graph: Path | None, estimated: bool, workers: int | None, as_json: bool) -> None:
    """Show which tasks a chain would run, without running it.

    A picture has a box for each task of the file: loops are folded, with counts, and arrows carry file
    products and metadata; a do-while loop is a cycle.

    An estimate simulates the schedule of the tasks. Each task takes the median time of the newest attempts of its
    type, preferably of jobs with the same name; ranges exclude the fastest and the slowest tenth.
    """
    if workers is not None and not estimated:
        raise click.UsageError("--workers requires --estimate")
    if estimated and graph is not None:
        raise click.UsageError("--graph and --estimate exclude each other")
    if estimated:
        _estimate(file, workers or os.cpu_count() or 1, strict=strict, as_json=as_json)
        return
    with App.load() as app:
        chain = load_chain(file, app.registry)
        planned = planning.plan_chain(chain, app.registry)
    _warn(chain, planned, strict=strict)
    if graph is not None:
        _draw(chain, app.registry, graph)
    elif as_json:
        print_json(planned.to_json())
    else:
        _show(planned)


@click.command()
@chain_argument
@submit_options
@click.option(
    "--through-prefect",
    is_flag=True,
    help="Send the chain to the deployment run-chain/eas at PREFECT_API_URL; needs no task database here.",
)
@json_option
def submit(file: Path, as_json: bool, through_prefect: bool, **values: Any) -> None:
    """Write a task chain into the task database and print the job's id, and its seed to stderr.

    Nothing runs yet: the supervisor (`eas schedule`) or `eas run --resume JOB` runs the job.
    """
    if through_prefect:
        from eas.cli.prefect_submit import submit_through_prefect

        run = submit_through_prefect(file, values)
        if as_json:
            print_json(run)
        else:
            echo(f"flow run {run['name']} ({run['flow_run_id']}): {run['url']}")
        return
    with App.load() as app:
        options = options_of(values, app.settings.max_stalls)
        job_id = submission.submit(app.database, app.registry, load_chain(file, app.registry), options)
        seed = summarise(app.database, job_id).seed
    if as_json:
        print_json({"job_id": job_id, "seed": seed})
    else:
        echo(job_id)
        echo(f"seed {seed} (--seed {seed} reproduces its random numbers)", err=True)


def _estimate(file: Path, workers: int, *, strict: bool, as_json: bool) -> None:
    from eas.operations.estimate import COLUMN_PRECEDENCE, HEADER, estimate_chain, headline, worker_type_rows

    with App.load() as app:
        chain = load_chain(file, app.registry)
        database = app.database if app.has_database() else None
        planned, estimate = estimate_chain(database, app.registry, chain, workers)
    _warn(chain, planned, strict=strict)
    if as_json:
        print_json(estimate.to_json())
        return
    echo(headline(estimate))
    text.table(HEADER, worker_type_rows(estimate), "no tasks", important=COLUMN_PRECEDENCE)
    for guess in estimate.guesses:
        echo(f"assumed: {guess}")


def _warn(chain: Chain, planned: Plan, *, strict: bool) -> None:
    if strict:
        planning.require_no_warnings(chain, planned)
    for warning in planned.warnings:
        echo(f"warning: {warning}", err=True)


def _checked(app: App, file: Path) -> tuple[Chain, Plan]:
    """Return a valid chain and its plan; inputs are checked against the task database if it exists."""
    chain = load_chain(file, app.registry)
    planned = planning.check_chain(chain, app.registry, app.database if app.has_database() else None)
    return chain, planned


def _draw(chain: Chain, registry: Registry, target: Path) -> None:
    from eas.chains import drawing

    forms = {".svg": drawing.svg, ".html": drawing.html, ".mmd": drawing.mermaid, ".mermaid": drawing.mermaid}
    if str(target) == MERMAID:
        echo(drawing.mermaid(planning.fold_chain(chain, registry)).rstrip())
        return
    if target.suffix not in forms:
        raise RequestError(
            f"--graph {target}: unsupported file format", hint=f"give a file {', '.join(forms)}, or `{MERMAID}`"
        )
    try:
        target.write_text(forms[target.suffix](planning.fold_chain(chain, registry)), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{target} cannot be written: {error.strerror}", hint="choose another --graph") from None
    echo(f"wrote {target}")


def _show(planned: Plan) -> None:
    rows = [(name, *_texts(bounds)) for name, bounds in sorted(planned.tasks.items())]
    text.table(("task type", "at least", "at most"), [*rows, ("total", *_texts(planned.total))], "", numbers=2)
    least, most = _texts(planned.product_count)
    echo(f"file products: {least if least == most else f'{least} to {most}'}")
    echo(f"levels of nesting: {planned.depth}; longest path of dependent tasks: {planned.longest_path}")
    echo(f"worker types: {', '.join(planned.worker_types) or 'none'}")
    for each in planned.external[:20]:
        echo(f"reads from another job: {each.working_directory}/{each.file_name} ({each.path})")


def _texts(bounds: Bounds) -> tuple[str, str]:
    return str(bounds[0]), "unbounded" if bounds[1] is None else str(bounds[1])
