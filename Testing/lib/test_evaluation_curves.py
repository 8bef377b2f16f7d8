"""Which answer about an object counts, in curves and tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from odd_volumes import odd_affine

from VISTA3DLib.evaluation.class_scores import class_scores, counted_rows
from VISTA3DLib.evaluation.click_curves import object_curves, summarise_curves
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.metrics import compare_boxed
from VISTA3DLib.evaluation.pictures import worst_rows
from VISTA3DLib.evaluation.rows import Prediction, Row
from VISTA3DLib.evaluation.settings import EvaluationSettings, ProtocolName
from VISTA3DLib.geometry import Grid

GRID = Grid(shape=(10, 9, 8), affine=odd_affine("oblique"))


def box(length: int) -> BoxedMask:
    return BoxedMask.of(np.ones((length, 3, 3), dtype=bool), (1, 1, 1)) if length else BoxedMask.nothing()


def rows_of(truth: int, *lengths: int, first: int = 1, class_id: int = 1) -> list[Row]:
    """The rows of an object, a bar of ``truth`` voxels, that was answered with bars of these lengths."""
    return [
        Row.of(
            Prediction(class_id=class_id, mask=box(n), clicks=clicks),
            compare_boxed(box(truth), box(n), GRID.spacing, tolerance_mm=2.0, voxel_ml=GRID.voxel_ml),
            GRID,
            case="a",
            dataset="bars",
            class_name=f"class {class_id}",
        )
        for clicks, n in enumerate(lengths, start=first)
    ]


def test_an_object_that_is_perfect_before_the_first_click_stays_in_the_curves() -> None:
    settings = EvaluationSettings(protocol="clicks", clicks=3, start_from_auto=True)
    rows = [*rows_of(5, 5, first=0), *rows_of(5, 3, 4, 5, first=0, class_id=2)]
    perfect, other = object_curves(rows, settings)
    assert perfect.dice == (1.0, 1.0, 1.0)
    assert other.dice == pytest.approx((8 / 9, 1.0, 1.0))
    (summary,) = summarise_curves(rows, settings)
    assert summary.objects == 2
    (alone,) = summarise_curves(rows[:1], settings)
    assert (alone.mean, alone.seconds) == ((1.0, 1.0, 1.0), None)


@pytest.mark.parametrize(("protocol", "clicks"), [("zero-shot", 2), ("clicks", 3)])
def test_one_rule_says_which_answer_counts_in_curves_tables_and_pictures(protocol: ProtocolName, clicks: int) -> None:
    settings = EvaluationSettings(protocol=protocol, clicks=3)
    rows = rows_of(5, 2, 4, 3)
    (counted,) = counted_rows(rows, settings)
    assert counted.clicks == clicks
    (curve,), (score,) = object_curves(rows, settings), class_scores(rows, settings)
    assert curve.dice[-1] == score.dice == counted.dice
    assert worst_rows(rows, settings, 1) == (counted,)


@pytest.mark.parametrize(
    ("protocol", "asked"),
    [("auto", True), ("auto+point", True), ("point", False), ("clicks", False), ("zero-shot", False)],
)
def test_an_absent_class_that_was_not_asked_for_is_not_called_not_found(protocol: ProtocolName, asked: bool) -> None:
    lengths: Sequence[int] = (0, 4) if asked else (0, 0)
    rows = [row for n in lengths for row in rows_of(0, n, first=0)]
    (score,) = class_scores(rows, EvaluationSettings(protocol=protocol))
    assert score.absent == 1
    assert score.false_positives == (1 if asked else None)
