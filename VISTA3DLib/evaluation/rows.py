"""What is known about one object after one click with one method: a row of ``results.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.metrics import MaskComparison, Scores
from VISTA3DLib.evaluation.settings import MODEL
from VISTA3DLib.evaluation.simulation import Click
from VISTA3DLib.geometry import Grid


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """A mask of one class on the volume's grid, after ``clicks`` clicks, the last of which was ``click``.

    ``seconds`` is what the answer took (for the automatic branch: the run, divided by its classes).
    """

    class_id: int
    mask: BoxedMask
    method: str = MODEL
    clicks: int = 0
    click: Click | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Refusal:
    """A class of a case that could not be asked for (by this method), and why."""

    class_id: int
    error: VISTA3DError
    method: str = MODEL


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is scored: a class of a case, as a method answered after so many clicks."""

    case: str
    dataset: str
    class_id: int
    class_name: str
    method: str
    clicks: int


@dataclass(frozen=True, kw_only=True)
class Row(Scores, Subject):  # the columns are in this order: the subject's, the scores', its own
    """The scores of a ``Prediction``.

    ``click_*`` are RAS mm and 1 (positive) or 0 of the last click. Volumes in ml, distances in mm, times in seconds.
    """

    volume_error_ml: float
    volume_error_percent: float | None
    click_r: float | None = None
    click_a: float | None = None
    click_s: float | None = None
    click_positive: int | None = None
    seconds: float = 0.0
    fold: int | None = None

    @classmethod
    def of(
        cls,
        prediction: Prediction,
        scores: MaskComparison,
        grid: Grid,
        *,
        case: str,
        dataset: str,
        class_name: str,
        fold: int | None = None,
    ) -> Row:
        """Put a prediction and its scores together."""
        click = prediction.click
        place = (None, None, None) if click is None else tuple(round(v, 3) for v in click.on(grid).ras)
        own = {field.name for field in fields(cls)}
        return cls(
            **{name: value for name, value in scores.to_dict().items() if name in own},
            case=case,
            dataset=dataset,
            class_id=prediction.class_id,
            class_name=class_name,
            method=prediction.method,
            clicks=prediction.clicks,
            click_r=place[0],
            click_a=place[1],
            click_s=place[2],
            click_positive=None if click is None else int(click.positive),
            seconds=round(prediction.seconds, 4),
            fold=fold,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Row:
        """The inverse of ``to_dict``; ``TypeError`` for anything else."""
        return cls(**plain)


def rows_to_csv(rows: Iterable[Row]) -> str:
    """Rows as CSV with a header; numbers with six digits, nothing where there is no score."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [f.name for f in fields(Row)]
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in names])
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
