"""Diagram of a file's lineage: ancestors on the left, descendants on the right."""

from __future__ import annotations

from typing import Any

from eas import web_addresses
from eas.plain_text import one_line
from eas.taskdb.queries import task_details
from eas.taskdb.queries.lineage import Lineage

WIDTH, HEIGHT, GAP_X, GAP_Y = 210, 44, 50, 14
MAX_ROWS = 12
"""Maximum number of boxes in one column."""

TEXT = 26
Key = tuple[str, int]


def draw(up: Lineage, down: Lineage) -> dict[str, Any]:
    """Return boxes and arrows, as the template ``file.html`` draws them."""
    columns: dict[Key, int] = {("file", up.start): 0}
    arrows: list[tuple[Key, Key]] = []
    for found, sign in ((up, -1), (down, 1)):
        for edge in found.edges:
            task, file = ("task", edge.task_id), ("file", edge.product_id)
            columns.setdefault(task, sign * (2 * edge.level + 1))
            near = edge.direction == ("out" if sign < 0 else "in")
            if not near:
                columns.setdefault(file, sign * (2 * edge.level + 2))
            arrows.append((task, file) if edge.direction == "out" else (file, task))
    places = _places(columns)
    first = min(column for column, _ in places.values())
    boxes = [_box(key, column - first, row, up, down) for key, (column, row) in places.items()]
    by_key = {box["key"]: box for box in boxes}
    lines = [_arrow(by_key[start], by_key[end]) for start, end in dict.fromkeys(arrows)
             if start in by_key and end in by_key]  # fmt: skip
    last = max(column for column, _ in places.values())
    rows = max(row for _, row in places.values()) + 1
    width = (last - first + 1) * (WIDTH + GAP_X) - GAP_X + 4
    height = rows * (HEIGHT + GAP_Y) - GAP_Y + 4
    return {"boxes": boxes, "lines": lines, "cut": len(places) < len(columns), "width": width, "height": height}


def _places(columns: dict[Key, int]) -> dict[Key, tuple[int, int]]:
    """Return column and row of each box, ``MAX_ROWS`` in a column."""
    used: dict[int, int] = {}
    found = {}
    for key, column in columns.items():
        row = used.get(column, 0)
        used[column] = row + 1
        if row < MAX_ROWS:
            found[key] = (column, row)
    return found


def _box(key: Key, column: int, row: int, up: Lineage, down: Lineage) -> dict[str, Any]:
    kind, number = key
    where = {"key": key, "kind": kind, "x": 2 + column * (WIDTH + GAP_X), "y": 2 + row * (HEIGHT + GAP_Y)}
    if kind == "file":
        product = up.files.get(number) or down.files[number]
        full = f"{product.working_directory}/{product.name}"
        return {**where, "state": "start" if number == up.start else "file", "address": web_addresses.file(number),
                "text": one_line(product.name[-TEXT:], TEXT), "below": "file", "title": full}  # fmt: skip
    task = up.tasks.get(number) or down.tasks[number]
    label = task_details.label(task)
    return {**where, "state": task.state, "address": web_addresses.task(number), "text": one_line(label, TEXT),
            "below": f"task {number}, {task.state}", "title": label}  # fmt: skip


def _arrow(start: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    y1, y2 = start["y"] + HEIGHT // 2, end["y"] + HEIGHT // 2
    x1, x2 = start["x"] + WIDTH, end["x"]
    middle = (x1 + x2) // 2
    return {"path": f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"}
