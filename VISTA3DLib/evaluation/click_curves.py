"""Dice after each click: curves by method and object, clicks to a goal, area under the curve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.integrate import trapezoid

from VISTA3DLib.evaluation.rows import Row
from VISTA3DLib.evaluation.settings import EvaluationSettings

GOALS = (0.8, 0.9)


@dataclass(frozen=True, kw_only=True)
class ObjectCurve:
    """Dice of one object with one method after 1, 2, ... clicks.

    ``dice`` has as many values as clicks were allowed: where the simulated person stopped (nothing was wrong any more)
    or a method refused, the last value stays; what is perfect before the first click stays so.
    """

    case: str
    dataset: str
    class_id: int
    class_name: str
    method: str
    dice: tuple[float, ...]

    @property
    def area(self) -> float:
        """Area under the curve from the first to the last click (trapezoids), as a share: 1 is perfect at once.

        The challenge of spec 7.6 does not divide: times 4 it is that area for 5 clicks.
        """
        if len(self.dice) == 1:
            return self.dice[0]
        return float(trapezoid(self.dice)) / (len(self.dice) - 1)

    def clicks_to(self, goal: float) -> int | None:
        """The first click after which Dice is at least ``goal``; None if it never is."""
        return next((n for n, dice in enumerate(self.dice, start=1) if dice >= goal), None)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Clicks to reach ``dice``: ``reached`` is the share of objects that got there.

    ``mean_clicks`` counts objects that did not with all clicks that were allowed, as is usual; ``median_clicks`` is of
    those that did (None if none did).
    """

    dice: float
    reached: float
    mean_clicks: float
    median_clicks: float | None


@dataclass(frozen=True, kw_only=True)
class CurveSummary:
    """Curves of one method over the objects of one data set.

    ``mean``, ``median``, ``low`` and ``high`` (quartiles) are Dice after 1, 2, ... clicks. ``area`` is the mean of the
    objects' areas. ``seconds`` is the median time of an answer (None if no click was needed).
    """

    dataset: str
    method: str
    objects: int
    mean: tuple[float, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    area: float
    goals: tuple[Goal, ...]
    seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def object_curves(rows: Iterable[Row], settings: EvaluationSettings) -> tuple[ObjectCurve, ...]:
    """The curves of all objects that were clicked, in the order of the rows; each as long as clicks were allowed.

    Where the best answer counts (``EvaluationSettings``), the value is the best so far.
    """
    scores: dict[tuple[str, int, str], dict[int, float]] = {}
    first: dict[tuple[str, int, str], Row] = {}
    for row in rows:
        if row.dice is not None:
            key = (row.case, row.class_id, row.method)
            first.setdefault(key, row)
            scores.setdefault(key, {})[row.clicks] = row.dice
    curves = []
    for key, by_click in scores.items():
        dice, last = [], by_click.get(0, 0.0)  # of the automatic mask, if the clicks start from one
        for number in range(1, settings.clicks + 1):
            now = by_click.get(number, last)
            last = max(now, last) if settings.best_counts else now
            dice.append(last)
        row = first[key]
        curves.append(
            ObjectCurve(
                case=row.case,
                dataset=row.dataset,
                class_id=row.class_id,
                class_name=row.class_name,
                method=row.method,
                dice=tuple(dice),
            )
        )
    return tuple(curves)


def summarise_curves(rows: Sequence[Row], settings: EvaluationSettings) -> tuple[CurveSummary, ...]:
    """One summary per data set and method, methods in their order."""
    curves = object_curves(rows, settings)
    summaries = []
    for dataset in dict.fromkeys(c.dataset for c in curves):
        for method in settings.methods:
            chosen = [c for c in curves if c.dataset == dataset and c.method == method]
            times = [r.seconds for r in rows if r.dataset == dataset and r.method == method and r.clicks]
            if chosen:
                summaries.append(_summary(dataset, method, chosen, times))
    return tuple(summaries)


def _summary(dataset: str, method: str, curves: Sequence[ObjectCurve], times: Sequence[float]) -> CurveSummary:
    table = np.array([c.dice for c in curves])
    low, median, high = np.quantile(table, [0.25, 0.5, 0.75], axis=0)
    return CurveSummary(
        dataset=dataset,
        method=method,
        objects=len(curves),
        mean=tuple(table.mean(axis=0).tolist()),
        median=tuple(median.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        area=float(np.mean([c.area for c in curves])),
        goals=tuple(_goal(goal, curves) for goal in GOALS),
        seconds=float(np.median(times)) if times else None,
    )


def _goal(goal: float, curves: Sequence[ObjectCurve]) -> Goal:
    needed = [c.clicks_to(goal) for c in curves]
    reached = [n for n in needed if n is not None]
    counted = [len(c.dice) if n is None else n for c, n in zip(curves, needed, strict=True)]
    return Goal(
        dice=goal,
        reached=len(reached) / len(needed),
        mean_clicks=float(np.mean(counted)),
        median_clicks=float(np.median(reached)) if reached else None,
    )
