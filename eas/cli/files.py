"""``eas files``, ``eas lineage``, ``eas get`` and ``eas plot``: file products and light curves."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection

from eas.app import App
from eas.cli import text
from eas.cli.options import NumberRange, json_option, print_json
from eas.cli.output import echo
from eas.errors import RequestError
from eas.plain_text import size_text, time_text, visible
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import file_list, folding, job_list, lineage, task_details

file_argument = click.argument("file", metavar="FILE")


@click.command()
@click.argument("job", metavar="[JOB]", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Maximum number of versions."
)
@json_option
def files(job: str | None, limit: int, as_json: bool) -> None:
    """List file products with size and maker: of a job (its id, or its name), or the newest of all jobs."""
    with App.load() as app:
        rows, more = app.database.fetch(lambda connection: _files(connection, job, limit))
    if as_json:
        print_json([_version(row) for row in rows])
        return
    text.table(
        ("file", "id", "version", "size", "QC", "made [UTC]", "made by"),
        [(f"{row.working_directory}/{row.name}", row.product_id, row.id, size_text(row.size),
          "passed" if row.passed_qc else "failed", time_text(row.created_at), f"task {row.task_id} {row.task_type}")
         for row in rows],
        "no files yet",
        important=("file", "id", "size", "QC"),
    )  # fmt: skip
    if more:
        echo(f"there are more: --limit {2 * limit}", err=True)


def _files(connection: Connection, job: str | None, limit: int) -> tuple[list[AnyRow], bool]:
    job_id = None if job is None else job_list.find(connection, job).id
    rows: list[AnyRow] = []
    after = None
    while len(rows) < limit:
        page = file_list.page(connection, job_id=job_id, after=after, limit=min(1000, limit - len(rows)))
        rows += page.rows
        after = page.next
        if after is None:
            break
    return rows, after is not None


def _version(row: AnyRow) -> dict[str, Any]:
    names = ("product_id", "size", "sha256", "created_at", "task_id", "task_type", "job_id")
    known = {"version_id": row.id, "file": f"{row.working_directory}/{row.name}", "passed_qc": bool(row.passed_qc)}
    return known | {name: getattr(row, name) for name in names} | {"current": row.current_version_id == row.id}


@click.command("lineage")
@file_argument
@click.option("--up", "direction", flag_value="up", default="up", help="Show the files it was made from (default).")
@click.option("--down", "direction", flag_value="down", help="Show its descendants: the files made from it.")
@click.option("--depth", type=click.IntRange(1), help="Maximum number of steps.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=lineage.LIMIT,
    show_default=True,
    help="Maximum number of tasks.",
)
@json_option
def lineage_command(file: str, direction: lineage.Direction, depth: int | None, limit: int, as_json: bool) -> None:
    """Print the tasks and files that a file was made from, or with --down those that depend on it.

    FILE is working_directory/name, the name alone where it is unique, or the id that `eas files` prints.
    """

    def read(connection: Connection) -> lineage.Lineage:
        start = lineage.find_product(connection, file).id
        return lineage.lineage(connection, start, direction, depth=depth, limit=limit)

    with App.load() as app:
        found = app.database.fetch(read)
    if as_json:
        print_json(_lineage_data(found))
        return
    echo(visible(_name(found.files[found.start])))
    for edge in found.edges:
        near = edge.direction == ("out" if direction == "up" else "in")
        task, indent = found.tasks[edge.task_id], "  " * (2 * edge.level + (1 if near else 2))
        said = {"outTrue": "made by", "inTrue": "read by", "inFalse": "which reads", "outFalse": "which makes"}
        what = (
            f"task {task.id} {task_details.label(task)}, {task.state}" if near else _name(found.files[edge.product_id])
        )
        echo(f"{indent}{said[f'{edge.direction}{near}']} {visible(what)}")
    if not found.edges:
        echo("  " + ("no task makes it" if direction == "up" else "no task reads it"))
    if found.truncated:
        echo(f"there is more: --limit {2 * limit}", err=True)


def _name(product: AnyRow) -> str:
    return f"{product.working_directory}/{product.name}"


def _lineage_data(found: lineage.Lineage) -> dict[str, Any]:
    return {
        "file": found.start,
        "files": {str(key): _name(row) for key, row in found.files.items()},
        "tasks": {
            str(key): {"label": task_details.label(row), "state": row.state, "job_id": row.job_id}
            for key, row in found.tasks.items()
        },
        "edges": [edge._asdict() for edge in found.edges],
        "truncated": found.truncated,
    }


def _current(connection: Connection, name: str, version: int | None) -> int:
    product = lineage.find_product(connection, name)
    known = [row.id for row in file_list.of_product(connection, product.id, limit=1000)]
    chosen = version or product.current_version_id
    if chosen is None or (version is not None and version not in known):
        hint = f"its versions are: {', '.join(map(str, known)) or 'none yet'}"
        raise RequestError(f"{name!r} has no {'such version' if version else 'version that passed QC'}", hint=hint)
    return int(chosen)


version_option = click.option(
    "--version", type=click.IntRange(1), help="Number of the version; default: the current one."
)


@click.command()
@file_argument
@click.option("-o", "--output", metavar="PATH", type=click.Path(path_type=Path), help="Default: the file's own name.")
@version_option
def get(file: str, output: Path | None, version: int | None) -> None:
    """Copy a file product out of the file store, checked against the recorded checksum.

    FILE is working_directory/name, the name alone where it is unique, or the id that `eas files` prints.
    """
    with App.load() as app, tempfile.TemporaryDirectory() as folder:
        stored = app.database.fetch(lambda c: file_list.version(c, _current(c, file, version)))
        target = output or Path(Path(stored.file_name).name)
        target = target / Path(stored.file_name).name if target.is_dir() else target
        source = app.store.local_copy(stored, Path(folder))
        _place(source, target)
    echo(f"wrote {visible(str(target))} ({size_text(stored.size)})")


def _place(source: Path, target: Path) -> None:
    """Copy a file to ``target``. Raises RequestError if it cannot be written."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        raise RequestError(f"{target} cannot be written: {error.strerror}", hint="choose another --output") from None


@click.command()
@file_argument
@click.option("-o", "--output", metavar="PNG", type=click.Path(path_type=Path), help="Default: its name with .png.")
@click.option("--fold", is_flag=True, help="Fold at the recorded period.")
@click.option("--period", type=NumberRange(min=0, min_open=True), help="Fold at this period [days].")
@version_option
def plot(file: str, output: Path | None, fold: bool, period: float | None, version: int | None) -> None:
    """Draw a light curve as a PNG: its full span, or folded at its period.

    FILE is working_directory/name, the name alone where it is unique, or the id that `eas files` prints.
    """
    from eas.lightcurves import files as lightcurve_files
    from reports.light_curve_picture import folded_picture, span_picture

    with App.load() as app, tempfile.TemporaryDirectory() as folder:
        version_id = app.database.fetch(lambda c: _current(c, file, version))
        stored = app.database.fetch(lambda c: file_list.version(c, version_id))
        known = app.database.fetch(lambda c: folding.ephemeris(c, version_id))
        if period is not None:
            known = folding.Ephemeris(period, known.epoch if known else None, "given")
        if fold and known is None:
            raise RequestError(f"the period of {file!r} is unknown", hint="give --period DAYS")
        curve = lightcurve_files.read(app.store.local_copy(stored, Path(folder)), stored.metadata)
    folded = known if fold or period is not None else None
    picture = folded_picture(curve, folded, stored.file_name) if folded else span_picture(curve, stored.file_name)
    target = output or Path(f"{Path(stored.file_name).name}.png")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "picture.png"
        made.write_bytes(picture)
        _place(made, target)
    echo(f"wrote {visible(str(target))}")
