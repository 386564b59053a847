"""Generate the page about the task database and its diagram from the declared tables."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from sqlalchemy import Column, Table
from sqlalchemy.dialects import sqlite

from docs.generate.markdown import NOTE, cell
from eas.taskdb import tables

MEANINGS = {
    "task_types": "The task types of the registry with the worker types that run them.",
    "jobs": "Jobs with their chain, options, state, and the lease of the process that drives them.",
    "tasks": "The tree of tasks of every job, with state, reason, settings and metadata.",
    "product_versions": "Stored versions of file products with size, checksum and result of QC.",
    "hosts": "Machines that ran workers.",
    "log_entries": "Log messages and tracebacks of attempts and tasks.",
}
"""Descriptions of tables whose declaration has none."""
WIDTH, HEIGHT, GAP_X, GAP_Y = 170, 30, 60, 16
"""Size of the boxes of the diagram and gaps between them [px]."""
STEP = 23
"""Vertical offset between neighbouring columns [px], which keeps arrows visible that pass a box."""


def page() -> str:
    """Return the page of all tables."""
    found = descriptions()
    lines = [
        "# The task database",
        "",
        NOTE,
        "",
        "Any SQL client may read the task database; only EAS may change it. Times are Unix times [s], UTC. Structured",
        "values are JSON in text columns. `eas db init` creates and migrates the tables; the table `alembic_version`",
        "has the version of the schema.",
        "",
        "Each arrow is a foreign key: it points to the referenced table.",
        "",
        "![Tables of the task database and their foreign keys](../img/task-database.svg)",
    ]
    for table in tables.metadata.sorted_tables:
        lines += ["", f"## {table.name}", "", found[table.name], ""]
        lines += ["| column | type | empty | key |", "|---|---|---|---|", *(_column(each) for each in table.columns)]
    return "\n".join(lines) + "\n"


def _column(column: Column[object]) -> str:
    keys = ["primary"] if column.primary_key else []
    keys += [f"of [{key.column.table.name}](#{key.column.table.name})" for key in column.foreign_keys]
    kind = column.type.compile(dialect=sqlite.dialect())  # type: ignore[no-untyped-call]
    return f"| `{column.name}` | {kind} | {'yes' if column.nullable else 'no'} | {', '.join(keys)} |"


def descriptions() -> dict[str, str]:
    """Return the first sentence about each table, from the docstring below its declaration or from ``MEANINGS``."""
    source = Path(tables.__file__).read_text(encoding="utf-8")
    body = ast.parse(source).body
    found = dict(MEANINGS)
    for statement, following in itertools.pairwise(body):
        match statement, following:
            case ast.Assign(value=ast.Call(args=[ast.Constant(value=str(name)), *_])), ast.Expr(
                value=ast.Constant(value=str(text))
            ):
                found[name] = cell(text).partition(". ")[0].rstrip(".").replace("``", "`") + "."
    return found


def picture() -> str:
    """Return a diagram of tables and foreign keys as SVG; each table is to the right of those it references."""
    places = {
        name: (20 + x * (WIDTH + GAP_X), 20 + y * (HEIGHT + GAP_Y) + x * STEP) for name, (x, y) in _grid().items()
    }
    width = max(x for x, _ in places.values()) + WIDTH + 20
    height = max(y for _, y in places.values()) + HEIGHT + 20
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        '<defs><marker id="end" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="#37474f"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for table in tables.metadata.sorted_tables:
        lines += _arrows(table, places)
    for name, (x, y) in places.items():
        box = f'x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4"'
        lines.append(f'<rect {box} fill="#e3f2fd" stroke="#37474f"/>')
        lines.append(f'<text x="{x + WIDTH / 2:g}" y="{y + 20}" text-anchor="middle">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _grid() -> dict[str, tuple[int, int]]:
    """Return the column and row of each table; the column is the length of the longest path of foreign keys."""
    columns: dict[str, int] = {}
    for table in tables.metadata.sorted_tables:  # referenced tables come first
        named = {key.column.table.name for key in table.foreign_keys} - {table.name}
        columns[table.name] = max((columns[each] + 1 for each in named), default=0)
    rows: dict[int, int] = {}
    places = {}
    for name, column in columns.items():
        places[name] = (column, rows.setdefault(column, 0))
        rows[column] += 1
    return places


def _arrows(table: Table, places: dict[str, tuple[int, int]]) -> Iterator[str]:
    x, y = places[table.name]
    for key in sorted(table.foreign_keys, key=lambda each: each.target_fullname):
        name = key.column.table.name
        if name != table.name:
            end_x, end_y = places[name]
            start, end = (x, y + HEIGHT // 2), (end_x + WIDTH, end_y + HEIGHT // 2)
            bend = f"C{start[0] - 35} {start[1]} {end[0] + 35} {end[1]}"
            line = f"M{start[0]} {start[1]}{bend} {end[0]} {end[1]}"
            yield f'<path d="{line}" fill="none" stroke="#37474f" marker-end="url(#end)"/>'
