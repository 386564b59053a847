"""Picture of progress: a bar for each job and task type, divided by state."""

from __future__ import annotations

import numpy as np
import pandas as pd

from eas.model import CONTROL_TASKS
from reports.pictures import TEXT_COLOUR, label, new_figure, png

COLOURS = {
    "done": "#009E73",
    "running": "#0072B2",
    "queued": "#56B4E9",
    "waiting": "#dddddd",
    "cancelled": "#999999",
    "blocked": "#F0E442",
    "stalled": "#CC79A7",
    "failed": "#D55E00",
}
MAX_BARS = 40


def progress_picture(frame: pd.DataFrame) -> bytes:
    """Return a PNG of a progress table: shares of states, the newest 40 of its rows, no control tasks."""
    shown = frame[~frame["task_type"].isin(list(CONTROL_TASKS)) & (frame["total"] > 0)].tail(MAX_BARS)
    figure = new_figure(9.0, 1.5 + 0.32 * max(2, len(shown)))
    axes = figure.add_subplot()
    left = np.zeros(len(shown))
    total = shown["total"].to_numpy(dtype=float)
    for state, colour in COLOURS.items():
        share = 100 * shown[state].to_numpy(dtype=float) / total
        if share.any():
            axes.barh(range(len(shown)), share, left=left, color=colour, label=state, height=0.74)
        left += share
    names = [label(f"{job}: {kind}") for job, kind in zip(shown["job_name"], shown["task_type"], strict=True)]
    axes.set_yticks(range(len(shown)), names)
    for row, (done, count) in enumerate(zip(shown["done"], shown["total"], strict=True)):
        axes.text(101, row, f"{done} of {count}", va="center", fontsize=8, color=TEXT_COLOUR)
    axes.set_ylim(len(shown) - 0.4 if len(shown) else 1.0, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of tasks [%]", fontsize=10, color=TEXT_COLOUR)
    axes.set_title("progress", loc="left", fontsize=11, color=TEXT_COLOUR)
    axes.tick_params(labelsize=8, colors=TEXT_COLOUR)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(shown):
        figure.legend(loc="outside lower center", ncols=8, frameon=False, fontsize=9)
    return png(figure)
