"""Scores by class and data set, from the answer about each object that counts; absent classes are counted apart."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from VISTA3DLib.evaluation.rows import Row
from VISTA3DLib.evaluation.settings import EvaluationSettings


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class of one data set with one method.

    ``cases``: in which the class was annotated and is there; all of them count in the Dice and NSD, those that were
    ``missed`` with 0. ``hd95_mm`` and ``volume_error_percent`` are medians (of those that were not missed; signed).
    ``absent``: cases that were annotated for the class and do not have it; ``false_positives``: in how many of those
    something was predicted all the same (None: they were not asked for), ``false_ml`` the mean volume of that.
    """

    dataset: str
    class_id: int
    class_name: str
    method: str
    cases: int
    missed: int
    dice: float | None
    dice_sd: float | None
    dice_median: float | None
    nsd: float | None
    hd95_mm: float | None
    volume_error_percent: float | None
    absent: int
    false_positives: int | None
    false_ml: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class DatasetScore:
    """A data set as the paper sums it up: the mean over classes of the mean over cases; ``classes`` that have any."""

    dataset: str
    method: str
    classes: int
    objects: int
    dice: float
    nsd: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def counted_rows(rows: Iterable[Row], settings: EvaluationSettings) -> tuple[Row, ...]:
    """The row that counts for each object and method: after the last click, or where the best counts, the best Dice."""
    counted: dict[tuple[str, int, str], Row] = {}
    for row in rows:
        before = counted.setdefault((row.case, row.class_id, row.method), row)
        better = (row.dice or 0.0) > (before.dice or 0.0) if settings.best_counts else row.clicks >= before.clicks
        if better:
            counted[row.case, row.class_id, row.method] = row
    return tuple(counted.values())


def class_scores(rows: Iterable[Row], settings: EvaluationSettings) -> tuple[ClassScore, ...]:
    """Scores of every class, by data set, then class id, then method in the order of the rows."""
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in counted_rows(rows, settings):
        groups.setdefault((row.dataset, row.class_id, row.method), []).append(row)
    datasets = list(dict.fromkeys(dataset for dataset, _, _ in groups))
    ordered = sorted(groups, key=lambda key: (datasets.index(key[0]), key[1]))
    return tuple(_class_score(groups[key], settings) for key in ordered)


def dataset_scores(scores: Sequence[ClassScore]) -> tuple[DatasetScore, ...]:
    """Means over the classes of each data set; classes that no case has take no part."""
    groups: dict[tuple[str, str], list[ClassScore]] = {}
    for score in scores:
        if score.cases:
            groups.setdefault((score.dataset, score.method), []).append(score)
    return tuple(
        DatasetScore(
            dataset=dataset,
            method=method,
            classes=len(group),
            objects=sum(s.cases for s in group),
            dice=float(np.mean([s.dice for s in group if s.dice is not None])),
            nsd=float(np.mean([s.nsd for s in group if s.nsd is not None])),
        )
        for (dataset, method), group in groups.items()
    )


def class_scores_to_csv(scores: Iterable[ClassScore]) -> str:
    """Scores as CSV with a header."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [f.name for f in fields(ClassScore)]
    writer.writerow(names)
    for score in scores:
        values = (getattr(score, name) for name in names)
        writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in values])
    return buffer.getvalue()


def _class_score(rows: Sequence[Row], settings: EvaluationSettings) -> ClassScore:
    there = [r for r in rows if r.outcome in {"scored", "missed"}]
    false = [r.predicted_ml for r in rows if r.outcome == "false positive"]
    dice = [r.dice for r in there if r.dice is not None]
    found = [r for r in there if r.outcome == "scored"]
    return ClassScore(
        dataset=rows[0].dataset,
        class_id=rows[0].class_id,
        class_name=rows[0].class_name,
        method=rows[0].method,
        cases=len(there),
        missed=len(there) - len(found),
        dice=_of(np.mean, dice),
        dice_sd=float(np.std(dice, ddof=1)) if len(dice) > 1 else None,
        dice_median=_of(np.median, dice),
        nsd=_of(np.mean, [r.nsd for r in there]),
        hd95_mm=_of(np.median, [r.hd95_mm for r in found]),
        volume_error_percent=_of(np.median, [r.volume_error_percent for r in found]),
        absent=len(rows) - len(there),
        false_positives=len(false) if settings.asks_absent else None,
        false_ml=_of(np.mean, false),
    )


def _of(function: Callable[[Any], Any], values: Sequence[float | None]) -> float | None:
    numbers = [v for v in values if v is not None]
    return float(function(numbers)) if numbers else None
