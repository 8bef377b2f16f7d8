"""Pictures of the worst results: the truth and what was predicted, three planes, near the object."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.evaluation.cases import EvaluationCase, LoadedCase, load_case
from VISTA3DLib.evaluation.class_scores import counted_rows
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.rows import Row
from VISTA3DLib.evaluation.run import CASES_FOLDER, Evaluation
from VISTA3DLib.evaluation.settings import MODEL, EvaluationSettings
from VISTA3DLib.evaluation.store import CaseStore
from VISTA3DLib.geometry import Box, Grid
from VISTA3DLib.picture import Outline, draw_picture
from VISTA3DLib.volume import Volume

_TRUTH, _PREDICTED = (79, 209, 130), (255, 107, 107)
_MARGIN_MM = 40.0
_DPI = 72


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """An object with a low Dice, and its picture (JPEG)."""

    row: Row
    jpeg: bytes


def worst_rows(rows: Sequence[Row], settings: EvaluationSettings, count: int) -> tuple[Row, ...]:
    """The model's answers that count with the lowest Dice, worst first; perfect ones are none."""
    counted = counted_rows((r for r in rows if r.method == MODEL), settings)
    scored = [r for r in counted if r.dice is not None and r.dice < 1.0]
    return tuple(sorted(scored, key=lambda r: (r.dice, r.case, r.class_id))[:count])


def draw_worst(evaluation: Evaluation, folder: Path, count: int) -> tuple[WorstCase, ...]:
    """Draw the ``count`` worst objects; ``folder`` is where ``run_cases`` kept its cases. Each CT is read once."""
    rows = worst_rows(evaluation.rows, evaluation.settings, count)
    store = CaseStore(folder / CASES_FOLDER)
    drawn: dict[Row, bytes] = {}
    for case in evaluation.cases:
        wanted = [r for r in rows if r.case == case.id]
        kept = store.load(case.id, evaluation.keys[case.id]) if wanted else None
        loaded = _loaded(case) if kept is not None else None
        if kept is None or loaded is None:
            continue
        for row in wanted:
            predicted = kept.masks.get(row.class_id, BoxedMask.nothing())
            drawn[row] = draw_comparison(loaded.volume, loaded.truths[row.class_id], predicted, title=title_of(row))
    return tuple(WorstCase(row=row, jpeg=drawn[row]) for row in rows if row in drawn)


def draw_comparison(volume: Volume, truth: BoxedMask, predicted: BoxedMask, *, title: str) -> bytes:
    """A JPEG of the planes that show most of both masks, ``_MARGIN_MM`` around the truth."""
    grid = volume.grid
    margin = [round(_MARGIN_MM / s) for s in grid.spacing]
    box = (truth.box if truth.box.size else predicted.box).grown(margin) & grid.box
    part = Volume(array=volume.finite[box.slices], affine=grid.cropped(box).affine, name=volume.name)
    outlines = [
        _outline("truth", _TRUTH, truth, box, grid),
        _outline("predicted", _PREDICTED, predicted, box, grid),
    ]
    figure = draw_picture(part, outlines, title=title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpg", dpi=_DPI, facecolor=figure.get_facecolor(), pil_kwargs={"quality": 82})
    return buffer.getvalue()


def title_of(row: Row) -> str:
    """Case, class and Dice of a row; how many clicks, if any."""
    clicks = f", {row.clicks} click{'s' * (row.clicks > 1)}" if row.clicks else ""
    return f"{row.case}: {row.class_name}, Dice {row.dice:.2f}{clicks}"


def _loaded(case: EvaluationCase) -> LoadedCase | None:
    try:
        return load_case(case)
    except VISTA3DError:  # it was there when it was scored; a report without one picture is still a report
        return None


def _outline(name: str, color: tuple[int, int, int], mask: BoxedMask, box: Box, grid: Grid) -> Outline:
    inner = mask.box & box
    shown = inner.shifted([-v for v in box.start]) if inner.size else inner
    return Outline(name=name, color=color, box=shown, mask=mask.cut(inner), ml=mask.voxels * grid.voxel_ml)
