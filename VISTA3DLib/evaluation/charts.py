"""Charts of an evaluation as SVG text, to be put into a page: click curves and box plots."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from VISTA3DLib.evaluation.click_curves import CurveSummary, ObjectCurve
from VISTA3DLib.evaluation.rows import Row
from VISTA3DLib.evaluation.settings import MODEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that colour-blind people can tell apart (Okabe and Ito); the model's is the strongest.
_COLORS = {MODEL: "#0072b2", "region growing": "#e69f00", "fast marching": "#009e73", "random walker": "#cc79a7"}
_MARKERS = {MODEL: "o", "region growing": "s", "fast marching": "^", "random walker": "D"}
_BOX_CLICKS = (1, 3, 5, 10)
_TEXT = "#2b3138"


def click_curve_chart(summaries: Sequence[CurveSummary]) -> str:
    """Mean Dice over clicks, a line for each method; the model's quartiles as a band. One data set."""
    figure = _figure(7.2, 4.2)
    axes = figure.subplots()
    count = max(len(s.mean) for s in summaries)
    clicks = list(range(1, count + 1))
    for summary in summaries:
        color = _COLORS[summary.method]
        strong = summary.method == MODEL
        axes.plot(
            clicks,
            summary.mean,
            color=color,
            marker=_MARKERS[summary.method],
            markersize=4.5,
            linewidth=2.4 if strong else 1.5,
            label=summary.method,
            zorder=3 if strong else 2,
        )
        if strong:
            axes.fill_between(clicks, summary.low, summary.high, color=color, alpha=0.13, linewidth=0)
    axes.set_xlabel("clicks on an object")
    axes.set_xticks(clicks if count <= 20 else clicks[:: count // 10])
    axes.set_ylabel("Dice, mean over objects")
    _dice_axis(axes)
    _legend(figure)
    return _svg(figure, "Dice after each click, by method. The band holds the model's middle half of the objects.")


def click_box_chart(curves: Sequence[ObjectCurve], methods: Sequence[str]) -> str:
    """Dice of the objects after some numbers of clicks, a box for each method. One data set."""
    most = max(len(c.dice) for c in curves)
    shown = [n for n in _BOX_CLICKS if n <= most] or [most]
    figure = _figure(7.2, 4.2)
    axes = figure.subplots()
    width = 0.8 / len(methods)
    for m, method in enumerate(methods):
        values = [[c.dice[n - 1] for c in curves if c.method == method] for n in shown]
        places = [g + (m - (len(methods) - 1) / 2) * width for g in range(len(shown))]
        if any(values):
            _boxes(axes, values, places, width * 0.8, _COLORS[method], label=method)
    axes.set_xticks(range(len(shown)), [f"{n} click{'s' * (n > 1)}" for n in shown])
    axes.set_ylabel("Dice of an object")
    _dice_axis(axes)
    _legend(figure)
    return _svg(figure, "Dice of the objects after some numbers of clicks, by method.")


def class_box_chart(rows: Sequence[Row]) -> str:
    """Dice of the cases, a box for each class, best class first. Rows of one method, one an object."""
    groups: dict[tuple[int, str], list[float]] = {}
    for row in rows:
        if row.dice is not None:
            groups.setdefault((row.class_id, row.class_name), []).append(row.dice)
    ordered = sorted(groups.items(), key=lambda item: sum(item[1]) / len(item[1]))
    figure = _figure(7.2, 0.9 + 0.27 * len(ordered))
    axes = figure.subplots()
    values = [dice for _, dice in ordered]
    _boxes(axes, values, list(range(len(ordered))), 0.6, _COLORS[MODEL], horizontal=True)
    axes.set_yticks(range(len(ordered)), [f"{name} ({len(dice)})" for (_, name), dice in ordered], fontsize=8.5)
    axes.set_ylim(-0.7, len(ordered) - 0.3)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Dice (in brackets: number of cases)")
    axes.grid(axis="x", color="#e3e7eb", linewidth=0.8)
    return _svg(figure, "Dice of the cases, by class.")


def _legend(figure: Figure) -> None:
    """Above the axes, where it covers no data."""
    figure.legend(frameon=False, fontsize=9, loc="outside upper center", ncols=4, markerscale=1.6)


def _figure(width: float, height: float) -> Figure:
    # The object interface: pyplot would keep global state and choose a window system.
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="none", layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def _dice_axis(axes: Axes) -> None:
    axes.set_ylim(-0.02, 1.02)
    axes.grid(axis="y", color="#e3e7eb", linewidth=0.8)


def _boxes(
    axes: Axes,
    values: Sequence[Sequence[float]],
    places: Sequence[float],
    width: float,
    color: str,
    *,
    horizontal: bool = False,
    label: str = "",
) -> None:
    """Boxes with the objects themselves as dots on them: five objects should not look like fifty."""
    for place, group in zip(places, values, strict=True):
        if group:
            _box(axes, group, place, width, color, horizontal=horizontal)
    along = [v for group in values for v in group]
    across = [
        place + width * 0.6 * ((n * 0.618) % 1.0 - 0.5)  # dots spread over the box, the same in every run
        for place, group in zip(places, values, strict=True)
        for n in range(len(group))
    ]
    x, y = (along, across) if horizontal else (across, along)
    axes.scatter(x, y, s=9, color=color, alpha=0.75, linewidths=0, zorder=3, label=label or None)


def _box(axes: Axes, group: Sequence[float], place: float, width: float, color: str, *, horizontal: bool) -> None:
    """Quartiles as a box, the median as a line, whiskers to the last value within 1.5 heights of the box.

    Not matplotlib's own: its argument for the direction has another name from version to version.
    """
    from matplotlib.patches import Rectangle

    low, median, high = np.quantile(group, [0.25, 0.5, 0.75])
    reach = 1.5 * (high - low)
    first, last = min(v for v in group if v >= low - reach), max(v for v in group if v <= high + reach)

    def line(along: Sequence[float], across: Sequence[float], strength: float) -> None:
        x, y = (along, across) if horizontal else (across, along)
        axes.plot(x, y, color=color, linewidth=strength, zorder=2, solid_capstyle="butt")

    left = place - width / 2
    corner, size = ((low, left), (high - low, width)) if horizontal else ((left, low), (width, high - low))
    axes.add_patch(Rectangle(corner, *size, facecolor=color, alpha=0.28, linewidth=0))
    line([median, median], [left, left + width], 2.0)
    line([first, low], [place, place], 1.0)
    line([high, last], [place, place], 1.0)


def _svg(figure: Figure, title: str) -> str:
    import matplotlib

    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("#aeb6bf")
        axes.tick_params(colors=_TEXT, labelsize=9)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_color(_TEXT)
    buffer = io.StringIO()
    # Text stays text (small, can be searched and copied); ids do not change from one run to the next.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Title": title})
    text = buffer.getvalue()
    return text[text.index("<svg") :].strip()
