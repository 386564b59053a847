"""Renders a folded plan as SVG, HTML or Mermaid.

Each list of tasks is laid out in columns: a task is to the right of the tasks whose files or metadata it reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Final

from eas.chains.folded_plan import Box, FoldedPlan, Link

CHARACTER, LINE, PAD, TOP, GAP_X, GAP_Y = 6.5, 36.0, 14.0, 30.0, 110.0, 18.0
"""Sizes [pixels]."""
STYLE: Final = (
    "text{font:12px sans-serif;fill:#222}.task{fill:#e8f1fb;stroke:#3465a4}.chain{fill:#fafafa;stroke:#aaa}"
    ".loop{fill:#f4f9ee;stroke:#73a943}.choice{fill:#fdf6e3;stroke:#c9a227}.repeat{fill:#f8eef8;stroke:#8e5ea2}"
    ".file,.metadata,.again{fill:none;stroke:#555;stroke-width:1.3}.metadata{stroke-dasharray:5 4}"
    ".again{stroke:#8e5ea2;stroke-width:2}.label{font-size:11px;fill:#444;paint-order:stroke;stroke:#fff;stroke-width:3px}"
)
MARKER: Final = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerUnits="userSpaceOnUse" markerWidth="9"'
    ' markerHeight="9" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>'
)


@dataclass
class _Place:
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0


@dataclass
class _Layout:
    """Where each box is, by its JSON path."""

    folded: FoldedPlan
    places: dict[str, _Place] = field(default_factory=dict)

    def __post_init__(self) -> None:
        around: dict[str, list[Box]] = {}
        _ancestors(self.folded.root, [], around)
        self._columns: dict[str, list[tuple[str, str]]] = {}
        for link in self.folded.links:
            source, target = around[link.source], around[link.target]
            for depth, (one, other) in enumerate(zip(source, target, strict=False)):
                if one is not other:
                    self._columns.setdefault(source[depth - 1].path, []).append((one.path, other.path))
                    break
        self._measure(self.folded.root)
        self._move(self.folded.root, 2, 2)

    def _measure(self, box: Box) -> None:
        """Set the sizes of a box and all in it, and the places of its children relative to it."""
        place = self.places[box.path] = _Place(width=CHARACTER * len(box.title) + 2 * PAD, height=LINE)
        if not box.children:
            return
        for child in box.children:
            self._measure(child)
        x, bottom = PAD, TOP
        for column in self._layers(box):
            y = TOP
            for each in column:
                each.x, each.y = x, y
                y += each.height + GAP_Y
            bottom = max(bottom, y)
            x += max(each.width for each in column) + GAP_X
        place.width = max(place.width, x - GAP_X + PAD)
        place.height = bottom - GAP_Y + PAD + (GAP_Y if box.kind == "repeat" else 0)

    def _layers(self, box: Box) -> list[list[_Place]]:
        depth = dict.fromkeys((child.path for child in box.children), 0)
        edges = list(dict.fromkeys(self._columns.get(box.path, ())))
        for _ in range(min(len(depth), 200)):  # two loops may take files of each other: no order ends that
            deeper = [(other, depth[one] + 1) for one, other in edges if depth[other] <= depth[one] < len(depth) - 1]
            if not deeper:
                break
            depth.update(deeper)
        columns: dict[int, list[_Place]] = {}
        for path, column in depth.items():
            columns.setdefault(column, []).append(self.places[path])
        return [columns[each] for each in sorted(columns)]

    def _move(self, box: Box, x: float, y: float) -> None:
        place = self.places[box.path]
        place.x, place.y = place.x + x, place.y + y
        for child in box.children:
            self._move(child, place.x, place.y)


def _ancestors(box: Box, outer: list[Box], found: dict[str, list[Box]]) -> None:
    found[box.path] = [*outer, box]
    for child in box.children:
        _ancestors(child, found[box.path], found)


def svg(folded: FoldedPlan) -> str:
    """Return the picture as SVG."""
    layout = _Layout(folded)
    whole = layout.places[folded.root.path]
    width, height = whole.width + 4, whole.height + 4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
        f' height="{height:.0f}" role="img" aria-label="{escape(folded.root.label)}">',
        f"<style>{STYLE}</style>",
        MARKER,
        '<rect width="100%" height="100%" fill="#fff"/>',
        *(text for box in folded.root.walk() for text in _drawn_box(box, layout.places[box.path])),
        *(text for link in folded.links for text in _drawn_link(link, layout.places)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _drawn_box(box: Box, at: _Place) -> Iterator[str]:
    title = "\n".join(filter(None, (box.path or box.label, box.about)))
    yield (
        f'<rect class="{box.kind}" x="{at.x:.0f}" y="{at.y:.0f}" width="{at.width:.0f}" height="{at.height:.0f}"'
        ' rx="5">'
        f"<title>{escape(title)}</title></rect>"
    )
    yield f'<text x="{at.x + PAD:.0f}" y="{at.y + 20:.0f}">{escape(box.title)}</text>'
    if box.kind == "repeat":
        left, right, y = at.x + 2 * PAD, at.x + at.width - 2 * PAD, at.y + at.height - GAP_Y + 4
        yield (
            f'<path class="again" marker-end="url(#tip)" d="M{right:.0f} {y - 16:.0f} Q{right:.0f} {y:.0f}'
            f' {right - 10:.0f} {y:.0f} H{left + 10:.0f} Q{left:.0f} {y:.0f} {left:.0f} {y - 16:.0f}">'
            f"<title>{escape(box.label)}</title></path>"
        )


def _drawn_link(link: Link, places: dict[str, _Place]) -> Iterator[str]:
    start, end = places[link.source], places[link.target]
    x1, y1, x2, y2 = start.x + start.width, start.y + LINE / 2, end.x, end.y + LINE / 2
    bend = max(40.0, abs(x2 - x1) / 2)
    curve = f"M{x1:.0f} {y1:.0f} C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
    title = link.example + (f" and {link.count - 1} more" if link.count > 1 else "") if link.count else link.label
    kind = "file" if link.count else "metadata"
    yield f'<path class="{kind}" marker-end="url(#tip)" d="{curve}"><title>{escape(title)}</title></path>'
    x, y = (x1 + x2) / 2, (y1 + y2) / 2 - 5
    yield f'<text class="label" text-anchor="middle" x="{x:.0f}" y="{y:.0f}">{escape(_short(link.label, 18))}</text>'


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def html(folded: FoldedPlan) -> str:
    """Return the picture as an HTML page of its own."""
    name = escape(folded.root.label)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{name}</title></head>\n'
        f"<body>\n{svg(folded)}</body>\n</html>\n"
    )


def mermaid(folded: FoldedPlan) -> str:
    """Return the picture as a Mermaid flowchart."""
    names = {box.path: f"n{number}" for number, box in enumerate(folded.root.walk())}
    lines = ["flowchart LR", *_subgraph(folded.root, names, "  ")]
    for link in folded.links:
        arrow = "-->" if link.count else "-.->"
        lines.append(f'  {names[link.source]} {arrow}|"{_plain(link.label)}"| {names[link.target]}')
    for box in folded.root.walk():
        if box.kind == "repeat":
            first, last = names[box.children[0].path], names[box.children[-1].path]
            lines.append(f'  {last} ==>|"{_plain(box.label)}"| {first}')
    return "\n".join(lines) + "\n"


def _subgraph(box: Box, names: dict[str, str], indent: str) -> Iterator[str]:
    name, label = names[box.path], _plain(box.title)
    if not box.children:
        yield f'{indent}{name}["{label}"]'
        return
    yield f'{indent}subgraph {name}["{label}"]'
    for child in box.children:
        yield from _subgraph(child, names, indent + "  ")
    yield f"{indent}end"


def _plain(text: str) -> str:
    """Return a text for Mermaid's double quotes, with markup characters as entities."""
    return "".join(char if char.isalnum() or char in " _.:,-/()=+" else f"#{ord(char)};" for char in text)
