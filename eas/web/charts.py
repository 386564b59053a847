"""Coordinates of charts for templates: the bars of a timeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eas.plain_text import duration_text, one_line, time_text

WIDTH, LEFT_MARGIN, ROW_HEIGHT = 960, 150, 18
MAX_WORKERS = 60
"""Maximum number of rows of the chart."""

TICKS = 6


def timeline(rows: Sequence[Any], now: float) -> dict[str, Any] | None:
    """Return bars of attempts, a row for each worker, as the template ``timeline.html`` draws them.

    Returns None if there is nothing to draw. ``now`` is the end of bars of running attempts [Unix s].
    """
    if not rows:
        return None
    begin = min(row.started_at for row in rows)
    end = max(begin + 1e-3, *(row.ended_at or now for row in rows))
    scale = (WIDTH - LEFT_MARGIN - 10) / (end - begin)
    workers = list(
        dict.fromkeys(row.worker_id for row in sorted(rows, key=lambda row: (row.host or "", row.worker_id)))
    )
    lines = {worker: number for number, worker in enumerate(workers[:MAX_WORKERS])}
    hosts = {row.worker_id: row.host or "" for row in rows}
    bars = []
    for row in rows:
        if row.worker_id not in lines:
            continue
        ended = max(row.ended_at or now, row.started_at)
        bars.append({
            "x": round(LEFT_MARGIN + (row.started_at - begin) * scale, 1),
            "y": 4 + ROW_HEIGHT * lines[row.worker_id],
            "width": max(1.5, round((ended - row.started_at) * scale, 1)),
            "task": row.task_id,
            "state": row.state,
            "title": f"task {row.task_id} {row.task_type}: {row.state}, {duration_text(ended - row.started_at)}",
        })  # fmt: skip
    names = [
        {"y": 4 + ROW_HEIGHT * number + 11, "text": one_line(f"{hosts[worker]} {worker[:6]}", 22), "worker": worker}
        for worker, number in lines.items()
    ]
    ticks = [
        {"x": round(LEFT_MARGIN + place * scale, 1), "text": time_text(begin + place)[11:]}
        for place in (step / TICKS * (end - begin) for step in range(TICKS + 1))
    ]
    height = 4 + ROW_HEIGHT * len(lines)
    return {"bars": bars, "names": names, "ticks": ticks, "height": height, "width": WIDTH, "left": LEFT_MARGIN,
            "cut": len(workers) > MAX_WORKERS, "begin": begin, "end": end}  # fmt: skip
