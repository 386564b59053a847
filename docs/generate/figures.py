"""Generate the tables and the chart of the page Performance from the results of ``python -m benchmarks --page``."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docs.generate.markdown import cell

RESULTS = Path(__file__).with_name("benchmarks.json")

TITLES = {
    "import_time": "What commands cost before they work",
    "start_up": "The first task",
    "hop_latency": "From task to task",
    "end_to_end": "Many short tasks, from submission to the end",
    "queue_throughput": "Job queues, beside others",
    "flow_overhead": "Prefect flows",
    "expansion": "Expansion and plans",
    "large_jobs": "Large jobs, and many jobs",
    "campaign": "A campaign",
    "search_speed": "Searches",
}
CHART = "queue_throughput"
ROW, LEFT, WIDTH = 26, 380, 780
"""Height of a row, and left and right ends of the bars [px]."""


def _stored() -> dict[str, Any]:
    return dict(json.loads(RESULTS.read_text(encoding="utf-8")))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _row(each: Mapping[str, Any]) -> str:
    values = each["values"]
    spread = f"{_number(min(values))} to {_number(max(values))}" if len(values) > 1 else ""
    ratio = "" if each["ratio"] is None else f"{each['ratio']:.2f}"
    cells = (each["name"], _number(each["ours"]), spread, _number(each["reference"]), each["unit"], ratio, each["aim"])
    return f"| {' | '.join(cell(str(text)) for text in cells)} |"


def tables() -> str:
    """Return date and machine of the measurement, and a table for each benchmark."""
    stored = _stored()
    machine = stored["machine"]
    lines = [
        f"Measured on {machine['measured']} with {machine['cpus']} CPUs and Python {machine['python']}; the load of "
        f"the machine at the end was {machine['load']:.1f}.",
        "",
    ]
    for name, title in TITLES.items():
        rows = [each for each in stored["results"] if each["benchmark"] == name]
        if not rows:
            continue
        lines += [f"### {title}", "", f"`python -m benchmarks {name}`", ""]
        lines += ["| what | EAS | range | reference | unit | ratio | aim |", "|---|---|---|---|---|---|---|"]
        lines += [_row(each) for each in rows]
        lines.append("")
    return "\n".join(lines)


def picture() -> str:
    """Return a bar chart of the rates of the job queues with their ranges as SVG."""
    rows = [each for each in _stored()["results"] if each["benchmark"] == CHART]
    largest = max((max([each["ours"], *each["values"]]) for each in rows), default=1.0)
    parts = []
    for number, each in enumerate(rows):
        top, scale = 30 + number * ROW, (WIDTH - LEFT) / largest
        label = html.escape(each["name"].removeprefix("empty tasks, "))
        colour = "#2a6fb0" if label.startswith("EAS") else "#9a9a9a"
        low, high = (min(each["values"]), max(each["values"])) if each["values"] else (each["ours"], each["ours"])
        middle = top + ROW / 2 - 3
        parts += [
            f'<text x="{LEFT - 8}" y="{top + 15}" text-anchor="end">{label}</text>',
            f'<rect x="{LEFT}" y="{top}" width="{each["ours"] * scale:.1f}" height="{ROW - 6}" fill="{colour}"/>',
            f'<path d="M{LEFT + low * scale:.1f} {middle:.1f}H{LEFT + high * scale:.1f}" stroke="#000"/>',
            f'<text x="{LEFT + high * scale + 6:.1f}" y="{top + 15}">{each["ours"]:.0f}</text>',
        ]
    height = 40 + len(rows) * ROW
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 80} {height}" font-family="sans-serif" '
        f'font-size="13"><title>Empty tasks a second</title><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{LEFT}" y="18">empty tasks a second: median, and range of all measurements</text>'
    )
    return "\n".join([head, *parts, "</svg>", ""])
