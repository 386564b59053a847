"""Timeline of attempts: a Gantt chart, one row for each worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.columns import iso_times
from reports.pictures import TEXT_COLOUR, label, new_figure, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito, then Tol: distinguishable with any colour vision.
TYPE_COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#882255",
    "#44AA99",
    "#999933",
    "#AA4499",
)
FAILED_COLOUR = "#D55E00"
PIXELS_PER_ROW = 1600
"""Fraction of the time axis; closer bars of one worker and task type are drawn as one."""
MAX_WORKERS = 60


def timeline_picture(frame: pd.DataFrame, now: float, title: str = "") -> bytes:
    """Return a PNG of the timeline: a bar for each attempt, coloured by task type, failures marked above.

    Of more than 60 workers, the busiest are shown. Bars too short to be distinguished are merged,
    so that the picture handles any number of attempts.

    Parameters
    ----------
    frame:
        As ``reports.live_tables.timeline_frame`` returns it.
    now:
        End of the bars of running attempts [Unix time, s].
    title:
        Title of the picture.
    """
    start = frame["start_time [s]"].to_numpy(dtype=float)
    end = np.fmax(np.where(np.isnan(frame["end_time [s]"].to_numpy(dtype=float)), now, frame["end_time [s]"]), start)
    workers, left_out = _workers(frame, end - start)
    begin, finish = (float(start.min()), float(end.max())) if len(frame) else (now - 1, now)
    scale, unit = _unit(finish - begin)
    figure = new_figure(10.0, 1.7 + 0.34 * max(2, len(workers)))
    axes = figure.add_subplot()
    kinds = sorted(frame["task_type"].unique())
    colours = {kind: TYPE_COLOURS[place % len(TYPE_COLOURS)] for place, kind in enumerate(kinds)}
    span = max(finish - begin, 1e-3)
    _bars(
        axes, frame, ((start - begin) / scale, (end - begin) / scale, span / scale / PIXELS_PER_ROW), workers, colours
    )
    _decorate(axes, frame, workers, (span / scale, unit, begin))
    heading = label(title or "timeline of attempts")
    axes.set_title(heading + (f" ({left_out} less busy workers omitted)" if left_out else ""), loc="left", fontsize=11)
    handles = [_patch(colours[kind], kind) for kind in kinds]
    if frame["state"].isin(["failed", "stalled"]).any():
        handles.append(_patch(FAILED_COLOUR, "failed or stalled"))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return png(figure)


def _workers(frame: pd.DataFrame, spent: np.ndarray[Any, Any]) -> tuple[list[str], int]:
    """Return the workers to show, by host, and how many are left out."""
    busy = pd.Series(spent).groupby(frame["worker"].to_numpy()).sum().sort_values(ascending=False)
    shown = list(busy.index[:MAX_WORKERS])
    hosts = dict(zip(frame["worker"], frame["host"], strict=True))
    return sorted(shown, key=lambda worker: (hosts[worker], worker)), len(busy) - len(shown)


def _unit(seconds: float) -> tuple[float, str]:
    for scale, unit in ((1.0, "s"), (60.0, "min"), (3600.0, "h")):
        if seconds < 150 * scale:
            return scale, unit
    return 86400.0, "days"


def _bars(
    axes: Axes,
    frame: pd.DataFrame,
    times: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], float],
    workers: Sequence[str],
    colours: Mapping[str, str],
) -> None:
    start, end, gap = times
    bad = frame["state"].isin(["failed", "stalled"]).to_numpy()
    owner, kind = frame["worker"].to_numpy(), frame["task_type"].to_numpy()
    for row, worker in enumerate(workers):
        mine = owner == worker
        for name in pd.unique(kind[mine]):
            here = mine & (kind == name)
            axes.broken_barh(_merged(start[here], end[here], gap), (row - 0.36, 0.72), color=colours[name], linewidth=0)
        if (mine & bad).any():
            bars = _merged(start[mine & bad], end[mine & bad], gap)
            axes.broken_barh(bars, (row - 0.48, 0.14), color=FAILED_COLOUR, linewidth=0)


def _merged(start: np.ndarray[Any, Any], end: np.ndarray[Any, Any], gap: float) -> list[tuple[float, float]]:
    """Return bars as (start, length): widened to be visible, and merged if they touch."""
    order = np.argsort(start, kind="stable")
    start, end = start[order], np.maximum.accumulate(np.fmax(end[order], start[order] + gap))
    first = np.flatnonzero(np.concatenate([[True], start[1:] > end[:-1] + gap * 0.5]))
    last = np.concatenate([first[1:] - 1, [len(start) - 1]])
    return [(float(a), float(b - a)) for a, b in zip(start[first], end[last], strict=True)]


def _patch(colour: str, text: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=text)


def _decorate(axes: Axes, frame: pd.DataFrame, workers: Sequence[str], scale: tuple[float, str, float]) -> None:
    span, unit, begin = scale
    hosts = dict(zip(frame["worker"], frame["host"], strict=True))
    axes.set_yticks(range(len(workers)), [label(f"{hosts[worker]} {worker[:8]}") for worker in workers])
    axes.set_ylim(len(workers) - 0.4 if workers else 1.0, -0.6)
    axes.set_xlim(0, span * 1.01)
    axes.set_xlabel(f"time since {iso_times([begin])[0]} [{unit}]", fontsize=10, color=TEXT_COLOUR)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=TEXT_COLOUR)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
