"""Pictures of outcomes: against one swept parameter, and as a grid over two."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from eas.plain_text import one_line
from eas.taskdb.queries.outcomes import OUTCOMES
from reports.outcomes import as_numbers, detection_rates
from reports.units import axis_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, distinguishable with any colour vision; shape and place show the outcome too.
COLOURS = {"PASS": "#009E73", "FAIL": "#D55E00", "UNDEFINED": "#56B4E9"}
MARKERS = {"PASS": "o", "FAIL": "X", "UNDEFINED": "s"}
OFFSETS = {"PASS": 0.24, "UNDEFINED": 0.0, "FAIL": -0.24}
TEXT_COLOUR = "#333333"
DPI = 120
MIN_VALUES_FOR_LOG_AXIS = 3
MAX_LARGE_MARKERS = 40
"""Number of values above which marks are small and translucent, without edges and numbers."""
MAX_TICKS = 16
EMPTY_CELL_COLOUR = "#d9d9d9"
"""Colour of cells without a detection rate."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure [inches] that needs no display."""
    # The first import on a machine builds a font cache and logs a warning.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def label(text: str) -> str:
    """Escape a text of users for a label, so that matplotlib does not parse dollar signs as formulas."""
    return one_line(text).replace("$", r"\$")


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    # No date and no version: the same data give the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def is_log_spaced(values: Sequence[float] | np.ndarray[Any, Any]) -> bool:
    """Return whether positive values are spaced more evenly by their logarithms than by themselves."""
    distinct = np.unique(np.asarray(values, dtype=float))
    if len(distinct) < MIN_VALUES_FOR_LOG_AXIS or distinct[0] <= 0 or not np.isfinite(distinct).all():
        return False
    steps, ratios = np.diff(distinct), np.diff(np.log(distinct))
    return bool(np.std(ratios) / np.mean(ratios) < np.std(steps) / np.mean(steps) - 1e-9)


def outcome_picture(
    frame: pd.DataFrame, parameter: str, title: str = "", units: Mapping[str, str] | None = None
) -> bytes:
    """Return a PNG of the outcomes of a pass-fail table against one parameter.

    One row for each task type, in it PASS above UNDEFINED above FAIL; a mark's size and number show
    how many tasks it represents. The marks of more than 40 values are spread over the height of their
    line, so that their density can be seen.

    Parameters
    ----------
    frame:
        As ``reports.outcomes.pass_fail_frame`` returns it.
    parameter:
        Its column to put on the horizontal axis; logarithmic where its values are spaced so.
    title:
        Title of the picture.
    units:
        Units of parameters, by name, where their columns have none.
    """
    known = frame.dropna(subset=[parameter])
    task_types = sorted(known["task_type"].unique())
    places, ticks = _positions(known[parameter])
    figure = new_figure(8.0, 1.9 + 1.15 * max(1, len(task_types)))
    axes = figure.add_subplot()
    for row, task_type in enumerate(task_types):
        of_type = (known["task_type"] == task_type).to_numpy()
        _outcome_row(axes, row, places[of_type], _three(known["outcome"][of_type]))
    _decorate_rows(axes, task_types)
    _decorate_values(axes, "x", places, ticks, axis_label(parameter, units or {}))
    axes.set_title(label(title or "outcomes"), loc="left", fontsize=11, color=TEXT_COLOUR)
    _legend(figure, [each for each in OUTCOMES if (_three(known["outcome"]) == each).any()])
    return png(figure)


def _three(outcomes: pd.Series[Any]) -> np.ndarray[Any, Any]:
    """Return outcomes with all that is neither PASS nor FAIL as UNDEFINED."""
    return outcomes.where(outcomes.isin(["PASS", "FAIL"]), "UNDEFINED").to_numpy()


def _positions(column: pd.Series[Any]) -> tuple[np.ndarray[Any, Any], list[str] | None]:
    """Return positions of values on an axis, and the texts of ticks if the values are not numbers."""
    values = as_numbers(column)
    if values is not None:
        return values.to_numpy(dtype=float), None
    words = [label(str(value)) for value in column]
    ticks = list(dict.fromkeys(words))
    return np.array([ticks.index(word) for word in words], dtype=float), ticks


def _outcome_row(axes: Axes, row: int, places: np.ndarray[Any, Any], outcomes: np.ndarray[Any, Any]) -> None:
    for outcome in OUTCOMES:
        values, counts = np.unique(places[outcomes == outcome], return_counts=True)
        if not len(values):
            continue
        height = row + OFFSETS[outcome]
        few = len(np.unique(places)) <= MAX_LARGE_MARKERS
        axes.scatter(
            values,
            np.full(len(values), height) if few else height + _spread(len(values)),
            s=(64 if few else 16) * np.minimum(1 + np.log2(counts), 6),
            c=COLOURS[outcome],
            marker=MARKERS[outcome],
            alpha=1.0 if few else 0.6,
            # An edge separates marks that touch; hundreds of edges would hide the colour.
            edgecolors="white" if few else "none",
            linewidths=0.6 if few else 0.0,
            zorder=3,
        )
        if counts.max() > 1 and few:
            for value, count in zip(values, counts, strict=True):
                axes.annotate(
                    str(count),
                    (value, height),
                    (0, 9),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7,
                    color=TEXT_COLOUR,
                )


def _spread(count: int) -> np.ndarray[Any, Any]:
    """Return offsets between -0.1 and 0.1 that spread neighbours evenly: multiples of the golden ratio."""
    return (np.arange(count) * 0.618034 % 1 - 0.5) * 0.2


def _decorate_rows(axes: Axes, task_types: Sequence[str]) -> None:
    axes.set_yticks(
        range(len(task_types)), [name.replace("transit_search_", "transit_search_\n") for name in task_types]
    )
    axes.set_ylim(-0.6, len(task_types) - 0.4)
    axes.set_ylabel("task type", fontsize=10, color=TEXT_COLOUR)
    for row in range(1, len(task_types)):
        axes.axhline(row - 0.5, color="#cccccc", linewidth=0.8)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.7)
    _style_axes(axes)


def _style_axes(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=TEXT_COLOUR)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _decorate_values(axes: Axes, which: str, places: np.ndarray[Any, Any], ticks: list[str] | None, text: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    if ticks is not None:
        axis.set_ticks(range(len(ticks)), ticks)
    elif is_log_spaced(places):
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        _log_ticks(axes, which)
    axis.set_label_text(label(text), fontsize=10, color=TEXT_COLOUR)


def _log_ticks(axes: Axes, which: str) -> None:
    """Label a logarithmic axis with plain numbers, even if it spans less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    decades = np.log10(high / low) if low > 0 else 1.0
    subs = (1.0,) if decades > 2.5 else (1.0, 2.0, 5.0) if decades > 1.2 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def round_numbers(values: Sequence[float]) -> list[float]:
    """Return round numbers within the range of ascending ``values``, spaced like these."""
    from matplotlib.ticker import MaxNLocator

    low, high = values[0], values[-1]
    if not is_log_spaced(values):
        return [float(value) for value in MaxNLocator(8).tick_values(low, high) if low <= value <= high]
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    found = [float(f"{factor}e{exponent}") for exponent in exponents for factor in (1, 2, 5)]
    return [value for value in found if low <= value <= high]


def _legend(figure: Figure, shown: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker=MARKERS[each], color=COLOURS[each], markeredgecolor="white", markersize=9)
        for each in shown
    ]
    figure.legend(handles, list(shown), loc="outside lower center", ncols=3, frameon=False, fontsize=9)


def detection_picture(
    frame: pd.DataFrame, vertical: str, horizontal: str, title: str = "", units: Mapping[str, str] | None = None
) -> bytes:
    """Return a PNG of detection rates over two parameters, one grid for each task type.

    A cell's colour is the share of PASS among PASS and FAIL; it is written there, with the number of
    tasks, where there is room. Cells with neither are grey. ``units`` as in ``outcome_picture``.
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
        axes.set_title(task_type, fontsize=10, color=TEXT_COLOUR)
        axes.set_xlabel(axis_label(horizontal, units or {}), fontsize=10, color=TEXT_COLOUR)
    all_axes[0].set_ylabel(axis_label(vertical, units or {}), fontsize=10, color=TEXT_COLOUR)
    if image is not None:
        bar = figure.colorbar(image, ax=list(all_axes), fraction=0.05, pad=0.02)
        bar.set_label("detection rate: PASS / (PASS + FAIL) [%]", fontsize=9, color=TEXT_COLOUR)
    judged = (rates["detection_rate"].notna()).sum()
    if judged < len(task_types) * len(rows) * len(columns):
        _empty_cells_legend(figure)
    figure.suptitle(label(title or "detection rate"), x=0.01, ha="left", fontsize=11, color=TEXT_COLOUR)
    return png(figure)


def _empty_cells_legend(figure: Figure) -> None:
    from matplotlib.patches import Patch

    patch = Patch(facecolor=EMPTY_CELL_COLOUR, edgecolor="#999999", label="neither PASS nor FAIL")
    figure.legend(handles=[patch], loc="outside lower left", frameon=False, fontsize=9)


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
    image = axes.imshow(100 * shares, origin="lower", cmap="viridis", vmin=0, vmax=100, aspect="auto")
    axes.set_facecolor(EMPTY_CELL_COLOUR)
    if len(columns) <= MAX_TICKS and len(rows) <= 20:
        _write_cells(axes, shares, totals)
    _grid_ticks(axes, "x", columns)
    _grid_ticks(axes, "y", rows)
    axes.tick_params(labelsize=8, colors=TEXT_COLOUR)
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
    places, words = grid_ticks(values)
    if which == "x":
        turned = 45 if sum(map(len, words)) > 40 else 0
        axes.set_xticks(places, words, rotation=turned, ha="right" if turned else "center")
    else:
        axes.set_yticks(places, words)


def grid_ticks(values: Sequence[Any]) -> tuple[list[float], list[str]]:
    """Return places and texts of the ticks of an axis whose cells have ``values``; cell n has its middle at n.

    Each cell gets a tick where its value is short; else ticks are at round numbers between the cells' middles.
    """
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    short = all(not isinstance(value, float) or float(f"{value:.2g}") == value for value in values)
    if numeric and len(values) > 1 and not (short and len(values) <= MAX_TICKS):
        scale = np.log if is_log_spaced(values) else np.asarray
        ticks = round_numbers(values)
        if len(ticks) > 1:
            places = np.interp(scale(ticks), scale(values), np.arange(len(values)))
            return places.tolist(), [f"{tick:g}" for tick in ticks]
    shown = range(0, len(values), max(1, -(-len(values) // MAX_TICKS)))
    return [float(place) for place in shown], [
        f"{values[place]:.3g}" if isinstance(values[place], float) else str(values[place]) for place in shown
    ]
