"""Pictures of outcomes: against one swept parameter, and as a grid over two."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.outcomes import OUTCOMES, as_numbers, detection_rates, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by all; shape and place tell the outcome too.
COLOURS = {"PASS": "#009E73", "FAIL": "#D55E00", "UNDEFINED": "#56B4E9"}
MARKERS = {"PASS": "o", "FAIL": "X", "UNDEFINED": "s"}
OFFSETS = {"PASS": 0.24, "UNDEFINED": 0.0, "FAIL": -0.24}
INK = "#333333"
DPI = 120
FEWEST_LOG = 3
MANY_VALUES = 40
"""Above so many values, marks are not annotated and ticks are left to matplotlib."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure [inches] that needs no display."""
    # The first import on a machine builds a cache of fonts and says so as a warning.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    # No date and no version: the same data give the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def is_log_spaced(values: Sequence[float] | np.ndarray[Any, Any]) -> bool:
    """Return whether positive values are spaced more evenly by their logarithms than by themselves."""
    distinct = np.unique(np.asarray(values, dtype=float))
    if len(distinct) < FEWEST_LOG or distinct[0] <= 0 or not np.isfinite(distinct).all():
        return False
    steps, ratios = np.diff(distinct), np.diff(np.log(distinct))
    return bool(np.std(ratios) / np.mean(ratios) < np.std(steps) / np.mean(steps) - 1e-9)


def outcome_picture(frame: pd.DataFrame, parameter: str, title: str = "") -> bytes:
    """Return a PNG of the outcomes of a pass-fail table against one parameter.

    One row for each task type, in it PASS above UNDEFINED above FAIL; a mark's size and number tell
    how many tasks it stands for.

    Parameters
    ----------
    frame:
        As ``reports.outcomes.pass_fail_frame`` returns it.
    parameter:
        Its column to put on the horizontal axis; logarithmic where its values are spaced so.
    title:
        What stands above it.
    """
    known = frame.dropna(subset=[parameter])
    task_types = sorted(known["task_type"].unique())
    places, ticks = _places(known[parameter])
    figure = new_figure(8.0, 1.9 + 1.15 * max(1, len(task_types)))
    axes = figure.add_subplot()
    for row, task_type in enumerate(task_types):
        of_type = (known["task_type"] == task_type).to_numpy()
        _outcome_row(axes, row, places[of_type], _three(known["outcome"][of_type]))
    _decorate_rows(axes, task_types)
    _decorate_values(axes, "x", places, ticks, label(parameter))
    axes.set_title(title or "outcomes", loc="left", fontsize=11, color=INK)
    _legend(figure, [each for each in OUTCOMES if (_three(known["outcome"]) == each).any()])
    return png(figure)


def _three(outcomes: pd.Series[Any]) -> np.ndarray[Any, Any]:
    """Return outcomes with all that is neither PASS nor FAIL as UNDEFINED."""
    return outcomes.where(outcomes.isin(["PASS", "FAIL"]), "UNDEFINED").to_numpy()


def _places(column: pd.Series[Any]) -> tuple[np.ndarray[Any, Any], list[str] | None]:
    """Return where values lie on an axis, and the ticks' texts where the values are no numbers."""
    values = as_numbers(column)
    if values is not None:
        return values.to_numpy(dtype=float), None
    words = [str(value) for value in column]
    ticks = list(dict.fromkeys(words))
    return np.array([ticks.index(word) for word in words], dtype=float), ticks


def _outcome_row(axes: Axes, row: int, places: np.ndarray[Any, Any], outcomes: np.ndarray[Any, Any]) -> None:
    for outcome in OUTCOMES:
        values, counts = np.unique(places[outcomes == outcome], return_counts=True)
        if not len(values):
            continue
        height = row + OFFSETS[outcome]
        sizes = 64 * np.minimum(1 + np.log2(counts), 6)
        axes.scatter(
            values,
            np.full(len(values), height),
            s=sizes,
            c=COLOURS[outcome],
            marker=MARKERS[outcome],
            edgecolors="white",
            linewidths=0.6,
            zorder=3,
        )
        if counts.max() > 1 and len(values) <= MANY_VALUES:
            for value, count in zip(values, counts, strict=True):
                axes.annotate(
                    str(count), (value, height), (0, 9), textcoords="offset points", ha="center", fontsize=7, color=INK
                )


def _decorate_rows(axes: Axes, task_types: Sequence[str]) -> None:
    axes.set_yticks(
        range(len(task_types)), [name.replace("transit_search_", "transit_search_\n") for name in task_types]
    )
    axes.set_ylim(-0.6, len(task_types) - 0.4)
    for row in range(1, len(task_types)):
        axes.axhline(row - 0.5, color="#cccccc", linewidth=0.8)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.7)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _decorate_values(axes: Axes, which: str, places: np.ndarray[Any, Any], ticks: list[str] | None, text: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    if ticks is not None:
        axis.set_ticks(range(len(ticks)), ticks)
    elif is_log_spaced(places):
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        _log_ticks(axes, which)
    axis.set_label_text(text, fontsize=10, color=INK)


def _log_ticks(axes: Axes, which: str) -> None:
    """Label a logarithmic axis by plain numbers, also where it spans less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    decades = np.log10(high / low) if low > 0 else 1.0
    subs = (1.0,) if decades > 2.5 else (1.0, 2.0, 5.0) if decades > 1.2 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, shown: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker=MARKERS[each], color=COLOURS[each], markeredgecolor="white", markersize=9)
        for each in shown
    ]
    figure.legend(handles, list(shown), loc="outside lower center", ncols=3, frameon=False, fontsize=9)


def detection_picture(frame: pd.DataFrame, vertical: str, horizontal: str, title: str = "") -> bytes:
    """Return a PNG of detection rates over two parameters, one grid for each task type.

    A cell's colour is the share of PASS among PASS and FAIL; it is written there, with the number of
    tasks, where there is room. Cells without any outcome stay empty.
    """
    rates = detection_rates(frame, vertical, horizontal)
    task_types = sorted(rates["task_type"].unique())
    rows, columns = _steps(rates[vertical]), _steps(rates[horizontal])
    width = float(np.clip(0.55 * len(columns), 3.2, 9.0))
    height = float(np.clip(0.42 * len(rows), 2.4, 7.0))
    figure = new_figure(width * max(1, len(task_types)) + 2.4, height + 1.5)
    image: Any = None
    all_axes = figure.subplots(1, max(1, len(task_types)), squeeze=False)[0]
    for axes, task_type in zip(all_axes, task_types, strict=False):
        image = _grid(axes, rates[rates["task_type"] == task_type], (vertical, rows), (horizontal, columns))
        axes.set_title(task_type, fontsize=10, color=INK)
    all_axes[0].set_ylabel(label(vertical), fontsize=10, color=INK)
    if image is not None:
        bar = figure.colorbar(image, ax=list(all_axes), fraction=0.05, pad=0.02)
        bar.set_label("detection rate (PASS / (PASS + FAIL))", fontsize=9, color=INK)
    figure.suptitle(title or "detection rate", x=0.01, ha="left", fontsize=11, color=INK)
    return png(figure)


def _steps(column: pd.Series[Any]) -> list[Any]:
    """Return a parameter's distinct values, numbers in ascending order."""
    values = list(dict.fromkeys(column))
    return sorted(values) if as_numbers(column) is not None else values


def _grid(axes: Axes, rates: pd.DataFrame, vertical: tuple[str, list[Any]], horizontal: tuple[str, list[Any]]) -> Any:
    (row_name, rows), (column_name, columns) = vertical, horizontal
    row_of, column_of = ({value: place for place, value in enumerate(each)} for each in (rows, columns))
    shares = np.full((len(rows), len(columns)), np.nan)
    totals = np.zeros(shares.shape, dtype=int)
    cells = zip(
        rates[row_name], rates[column_name], rates["detection_rate"], rates["passed"] + rates["failed"], strict=True
    )
    for row, column, share, total in cells:
        shares[row_of[row], column_of[column]] = share
        totals[row_of[row], column_of[column]] = total
    image = axes.imshow(shares, origin="lower", cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axes.set_facecolor("#f2f2f2")
    if len(columns) <= 16 and len(rows) <= 20:
        _write_cells(axes, shares, totals)
    _grid_ticks(axes, "x", columns)
    _grid_ticks(axes, "y", rows)
    axes.set_xlabel(label(column_name), fontsize=10, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    return image


def _write_cells(axes: Axes, shares: np.ndarray[Any, Any], totals: np.ndarray[Any, Any]) -> None:
    many = totals.max(initial=0) > 1
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            text = f"{share:.0%}\nof {totals[row, column]}" if many else f"{share:.0%}"
            axes.text(
                column, row, text, ha="center", va="center", fontsize=7, color="white" if share < 0.5 else "black"
            )


def _grid_ticks(axes: Axes, which: str, values: list[Any]) -> None:
    every = max(1, -(-len(values) // 16))
    shown = range(0, len(values), every)
    words = [f"{values[place]:.3g}" if isinstance(values[place], float) else str(values[place]) for place in shown]
    if which == "x":
        turned = 45 if sum(map(len, words)) > 40 else 0
        axes.set_xticks(list(shown), words, rotation=turned, ha="right" if turned else "center")
    else:
        axes.set_yticks(list(shown), words)
