"""What a person points at: positive and negative points in the world, and the files that hold them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from VISTA3DLib.errors import PromptError, ReadError
from VISTA3DLib.geometry import Grid, Vector3, flip_points_lps_ras, format_shape, format_vector

PointSpace = Literal["ras", "lps", "ijk"]
_SAME_PLACE_MM = 1e-3


@dataclass(frozen=True, kw_only=True)
class Point:
    """A click: RAS millimetres and a sign (positive: belongs to the structure; negative: does not)."""

    ras: Vector3
    positive: bool = True

    def __post_init__(self) -> None:
        if len(self.ras) != 3 or not all(math.isfinite(v) for v in self.ras):
            raise PromptError(f"A point has the coordinates {self.ras}.", "Give three finite numbers (mm).")
        object.__setattr__(self, "ras", tuple(float(v) for v in self.ras))
        object.__setattr__(self, "positive", bool(self.positive))

    @property
    def sign(self) -> str:
        """``+`` or ``-``."""
        return "+" if self.positive else "-"

    def __str__(self) -> str:
        return f"{self.sign}{format_vector(self.ras, 5)}"


def checked_points(points: Iterable[Point], grid: Grid) -> tuple[Point, ...]:
    """The points that can be used on ``grid``, in order, each place once.

    A point counts as inside when it lies in a voxel, borders included: the first and the last voxel are inside.
    Raises ``PromptError`` for a point outside, and for a positive and a negative point at the same place.
    """
    kept: list[Point] = []
    for point in points:
        index = grid.to_voxel(point.ras)
        if not grid.box.contains(index):
            raise PromptError(
                f"The point {point} lies outside the volume: it would be voxel {format_vector(index)} of "
                f"{format_shape(grid.shape)}.",
                "Click inside the image; if the point came from a file, check its coordinate system (RAS or LPS).",
            )
        twin = next((p for p in kept if math.dist(p.ras, point.ras) < _SAME_PLACE_MM), None)
        if twin is None:
            kept.append(point)
        elif twin.positive != point.positive:
            raise PromptError(
                f"A positive and a negative point lie at the same place, {format_vector(point.ras, 5)}.",
                "Delete one of them.",
            )
    return tuple(kept)


def parse_point(text: str, *, space: PointSpace = "ras", grid: Grid | None = None) -> Point:
    """Read ``R,A,S,+`` or ``R,A,S,-`` (the sign may be left out: positive). ``space`` tells what the numbers are."""
    parts = [p.strip() for p in text.split(",")]
    sign = parts.pop() if len(parts) == 4 else "+"
    if len(parts) != 3 or sign not in {"+", "-"}:
        raise PromptError(f"'{text}' is no point.", "Write three numbers and a sign, for example 12.5,-40,88,+")
    try:
        numbers = [float(p) for p in parts]
    except ValueError as error:
        raise PromptError(f"'{text}' is no point: {error}.", "Write numbers, for example 12.5,-40,88,+") from error
    return Point(ras=_to_ras(numbers, space, grid), positive=sign == "+")


def read_points(path: Path, *, grid: Grid | None = None) -> tuple[Point, ...]:
    """Read points from Slicer's markups (``.mrk.json``) or from our own JSON.

    Ours: ``{"space": "ras" | "lps" | "ijk", "points": [{"position": [x, y, z], "positive": true}]}``. In a markups
    file a control point is negative when its description is ``-`` or ``negative`` or its label ends in ``-``;
    undefined points are left out. Raises ``ReadError`` for a file that is missing or holds neither.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReadError(f"The points file {path} cannot be read: {error.strerror}.", "Check the path.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ReadError(f"The points file {path} is no JSON: {error}.", "Save it from Slicer again.") from error
    if isinstance(document, dict) and "markups" in document:
        return _points_from_markups(document, path)
    if isinstance(document, dict) and "points" in document:
        return _points_from_ours(document, path, grid)
    raise ReadError(
        f"The points file {path} holds neither 'markups' (Slicer) nor 'points'.", "Save a point list as .mrk.json."
    )


def points_to_json(points: Sequence[Point]) -> dict[str, Any]:
    """Our own JSON form of points, RAS; read back by ``read_points``."""
    return {"space": "ras", "points": [{"position": list(p.ras), "positive": p.positive} for p in points]}


def _points_from_markups(document: dict[str, Any], path: Path) -> tuple[Point, ...]:
    points = []
    markups = document["markups"]
    if not isinstance(markups, list) or not all(isinstance(m, dict) for m in markups):
        raise ReadError(f"'markups' in {path} is no list of markups.", "Save it from Slicer again.")
    for markup in markups:
        space: PointSpace = "ras" if str(markup.get("coordinateSystem", "LPS")).upper() in {"RAS", "0"} else "lps"
        for control in markup.get("controlPoints", []):
            if control.get("positionStatus", "defined") != "defined":
                continue
            negative = str(control.get("description", "")).strip().lower() in {"-", "negative"}
            negative = negative or str(control.get("label", "")).rstrip().endswith("-")
            points.append(Point(ras=_position(control, space, None, path), positive=not negative))
    return tuple(points)


def _points_from_ours(document: dict[str, Any], path: Path, grid: Grid | None) -> tuple[Point, ...]:
    space = document.get("space", "ras")
    if space not in {"ras", "lps", "ijk"}:
        raise ReadError(f"{path} has the point space '{space}'.", "Use ras, lps or ijk.")
    entries = document["points"]
    if not isinstance(entries, list):
        raise ReadError(f"'points' in {path} is no list.", "Write a list of {position, positive}.")
    return tuple(Point(ras=_position(e, space, grid, path), positive=bool(e.get("positive", True))) for e in entries)


def _position(entry: Any, space: PointSpace, grid: Grid | None, path: Path) -> Vector3:
    try:
        numbers = [float(v) for v in entry["position"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(
            f"A point in {path} has no usable position: {entry!r}.", 'Write "position": [x, y, z].'
        ) from error
    if len(numbers) != 3:
        raise ReadError(f"A point in {path} has {len(numbers)} coordinates.", "Give three numbers.")
    return _to_ras(numbers, space, grid)


def _to_ras(numbers: Sequence[float], space: PointSpace, grid: Grid | None) -> Vector3:
    if space == "ijk":
        if grid is None:
            raise PromptError("Voxel indices need the volume they belong to.", "Give the points in RAS or LPS.")
        r, a, s = grid.to_world(numbers)
    elif space == "lps":
        r, a, s = flip_points_lps_ras(numbers)
    else:
        r, a, s = numbers
    return float(r), float(a), float(s)
