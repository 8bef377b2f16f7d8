"""Signed distances in mm, negative inside: solids, tubes along splines, sheets, and ways to join them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]  # float32 wherever there are many
Points = npt.NDArray[np.float64]
Triple = tuple[float, float, float]
Rows = tuple[tuple[float, float, float, float], ...]  # R, A, S and radius in mm
Distance = Callable[[Array, Array, Array], Array]

FAR = 1e3  # mm; outside every box


@dataclass(frozen=True, kw_only=True)
class Solid:
    """A shape by its signed distance, which is asked for only inside the box from ``low`` to ``high`` (mm)."""

    low: Points
    high: Points
    distance: Distance

    def __post_init__(self) -> None:
        if not np.all(np.asarray(self.low) < np.asarray(self.high)):
            raise ValueError(f"The box from {self.low} to {self.high} is empty.")


@dataclass(frozen=True, kw_only=True)
class Tube:
    """Segments with a radius at either end: one tube, or the many branches of a tree.

    ``flat`` is for each segment the unit vector along which its section is wider, by ``ratio``. ``along`` is the arc
    length at each segment's start (mm).
    """

    starts: Points
    ends: Points
    start_radii: Points
    end_radii: Points
    along: Points
    flat: Points | None = None
    ratio: float = 1.0

    @property
    def reach(self) -> Points:
        """How far each segment's surface is from its axis at most (mm)."""
        return np.asarray(np.maximum(self.start_radii, self.end_radii) * max(self.ratio, 1.0))

    def grown(self, margin: float) -> Tube:
        """The same tube with radii larger by ``margin`` mm (smaller if negative)."""
        return Tube(
            starts=self.starts,
            ends=self.ends,
            start_radii=np.maximum(self.start_radii + margin, 0.1),
            end_radii=np.maximum(self.end_radii + margin, 0.1),
            along=self.along,
            flat=self.flat,
            ratio=self.ratio,
        )

    def pick(self, chosen: npt.NDArray[np.bool_]) -> Tube:
        """Only the chosen segments."""
        return Tube(
            starts=self.starts[chosen],
            ends=self.ends[chosen],
            start_radii=self.start_radii[chosen],
            end_radii=self.end_radii[chosen],
            along=self.along[chosen],
            flat=None if self.flat is None else self.flat[chosen],
            ratio=self.ratio,
        )


def vector(values: npt.ArrayLike) -> Points:
    """Three numbers as a float64 array."""
    return np.asarray(values, dtype=np.float64)


def turn_matrix(degrees: npt.ArrayLike) -> Points:
    """Rotation around the R, A and S axes, in this order, by these angles."""
    a, b, c = np.radians(np.asarray(degrees, dtype=np.float64))
    around_r = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    around_a = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    around_s = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(around_s @ around_a @ around_r)


def local_axes(x: Array, y: Array, z: Array, centre: Points, frame: Points) -> tuple[Array, Array, Array]:
    """Coordinates along the rows of ``frame``, from ``centre``."""
    x, y, z = (axis - np.float32(c) for axis, c in zip((x, y, z), centre, strict=True))
    rows = frame.astype(np.float32)
    a, b, c = (x * row[0] + y * row[1] + z * row[2] for row in rows)
    return a, b, c


def smooth_min(a: Array, b: Array, blend: float) -> Array:
    """Union with a fillet of about ``blend`` mm."""
    fillet = np.maximum(np.float32(blend) - np.abs(a - b), 0)
    return np.asarray(np.minimum(a, b) - fillet * fillet * np.float32(0.25 / blend))


def smooth_max(a: Array, b: Array, blend: float) -> Array:
    """Intersection with an edge rounded by about ``blend`` mm."""
    fillet = np.maximum(np.float32(blend) - np.abs(a - b), 0)
    return np.asarray(np.maximum(a, b) + fillet * fillet * np.float32(0.25 / blend))


def ellipsoid(centre: npt.ArrayLike, radii: npt.ArrayLike, turn: npt.ArrayLike = (0, 0, 0)) -> Solid:
    """An ellipsoid; ``turn`` rotates it (degrees around R, A, S)."""
    middle, size = vector(centre), vector(radii)
    frame = turn_matrix(turn)
    reach = np.sqrt((frame**2) @ (size**2))
    inverse = (1 / size).astype(np.float32)

    def distance(x: Array, y: Array, z: Array) -> Array:
        a, b, c = (q * s for q, s in zip(local_axes(x, y, z, middle, frame.T), inverse, strict=True))
        level = np.sqrt(a * a + b * b + c * c)
        slope = np.sqrt((a * inverse[0]) ** 2 + (b * inverse[1]) ** 2 + (c * inverse[2]) ** 2)
        # the level's value over its slope: exact at the surface, and no further than half off elsewhere
        return np.asarray(level * (level - 1) / np.maximum(slope, 1e-6))

    return Solid(low=middle - reach, high=middle + reach, distance=distance)


def union(*solids: Solid, blend: float = 0.0) -> Solid:
    """All of the solids together, their joints filled with a fillet of ``blend`` mm."""

    def distance(x: Array, y: Array, z: Array) -> Array:
        total = solids[0].distance(x, y, z)
        for solid in solids[1:]:
            other = solid.distance(x, y, z)
            total = smooth_min(total, other, blend) if blend else np.minimum(total, other)
        return total

    low = np.min([solid.low for solid in solids], axis=0) - blend / 4
    high = np.max([solid.high for solid in solids], axis=0) + blend / 4
    return Solid(low=low, high=high, distance=distance)


def within(solid: Solid, limit: Distance, blend: float = 0.0) -> Solid:
    """The part of ``solid`` where ``limit`` is negative too; the edge rounded by ``blend`` mm."""

    def distance(x: Array, y: Array, z: Array) -> Array:
        a, b = solid.distance(x, y, z), limit(x, y, z)
        return smooth_max(a, b, blend) if blend else np.maximum(a, b)

    return Solid(low=solid.low, high=solid.high, distance=distance)


def without(solid: Solid, hole: Distance, blend: float = 0.0) -> Solid:
    """``solid`` less the inside of ``hole``; the edge rounded by ``blend`` mm."""
    return within(solid, lambda x, y, z: -hole(x, y, z), blend)


def grown(solid: Solid, margin: float) -> Solid:
    """``solid`` larger by ``margin`` mm all around."""
    return Solid(
        low=solid.low - margin,
        high=solid.high + margin,
        distance=lambda x, y, z: solid.distance(x, y, z) - np.float32(margin),
    )


def mirror(solid: Solid) -> Solid:
    """``solid`` on the other side of the body."""
    flip = np.array([-1.0, 1.0, 1.0])
    low, high = np.minimum(solid.low * flip, solid.high * flip), np.maximum(solid.low * flip, solid.high * flip)
    return Solid(low=low, high=high, distance=lambda x, y, z: solid.distance(-x, y, z))


def half_space(point: npt.ArrayLike, outwards: npt.ArrayLike) -> Distance:
    """Signed distance of the half space that ends at ``point``, towards ``outwards``."""
    normal = vector(outwards) / np.linalg.norm(vector(outwards))
    offset = np.float32(normal @ vector(point))
    a, b, c = normal.astype(np.float32)
    return lambda x, y, z: a * x + b * y + c * z - offset


def segment_distance(
    x: Array, y: Array, z: Array, start: Points, end: Points, radius: tuple[float, float]
) -> tuple[Array, Array]:
    """Distance to a segment's surface, and how far along it (0 to 1) each point's nearest axis point is."""
    axis = (end - start).astype(np.float32)
    length = np.float32(max(float(axis @ axis), 1e-9))
    x, y, z = (q - np.float32(s) for q, s in zip((x, y, z), start, strict=True))
    along = x * axis[0]
    along += y * axis[1]
    along += z * axis[2]
    part = along / length
    np.minimum(np.maximum(part, 0, out=part), 1, out=part)
    for q in (x, y, z):
        np.multiply(q, q, out=q)
    x += y
    x += z
    along *= 2
    along -= part * length
    along *= part
    x -= along
    away = np.sqrt(np.maximum(x, 0, out=x), out=x)
    away -= np.float32(radius[0])
    if radius[0] != radius[1]:
        away -= part * np.float32(radius[1] - radius[0])
    return away, part


def capsule(start: npt.ArrayLike, end: npt.ArrayLike, radius: float, end_radius: float | None = None) -> Solid:
    """A segment with round ends; a cone if the radii differ."""
    a, b, last = vector(start), vector(end), radius if end_radius is None else end_radius
    reach = max(radius, last)
    return Solid(
        low=np.minimum(a, b) - reach,
        high=np.maximum(a, b) + reach,
        distance=lambda x, y, z: segment_distance(x, y, z, a, b, (radius, last))[0],
    )


def sheet(corners: Sequence[npt.ArrayLike], thickness: float) -> Solid:
    """A rounded plate of ``thickness`` mm on a triangle."""
    a, b, c = (vector(corner) for corner in corners)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal)
    edges = [(p, q, np.cross(q - p, normal)) for p, q in ((a, b), (b, c), (c, a))]

    def distance(x: Array, y: Array, z: Array) -> Array:
        plane = half_space(tuple(a), tuple(normal))(x, y, z)
        outside = np.stack([half_space(tuple(p), tuple(out))(x, y, z) for p, _, out in edges]).max(axis=0)
        rim = np.stack([segment_distance(x, y, z, p, q, (0.0, 0.0))[0] for p, q, _ in edges]).min(axis=0)
        return np.asarray(np.where(outside > 0, rim, np.abs(plane)) - np.float32(thickness / 2))

    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    return Solid(low=low - thickness / 2, high=high + thickness / 2, distance=distance)


def curve(points: npt.ArrayLike, step: float) -> Points:
    """A smooth curve (Catmull-Rom) through rows of numbers, the first three mm, resampled about every ``step`` mm."""
    rows = np.asarray(points, dtype=np.float64)
    padded = np.concatenate([[2 * rows[0] - rows[1]], rows, [2 * rows[-1] - rows[-2]]])
    t = np.linspace(0, 1, 16, endpoint=False)[:, None]
    basis = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
    spans = [
        sum(weight * padded[index + offset] for offset, weight in enumerate(basis)) / 2
        for index in range(len(rows) - 1)
    ]
    fine = np.concatenate([*spans, rows[-1:]])
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(fine[:, :3], axis=0), axis=1))])
    wanted = np.linspace(0, lengths[-1], max(2, round(lengths[-1] / step) + 1))
    return np.stack([np.interp(wanted, lengths, column) for column in fine.T], axis=1)


def tube(points: npt.ArrayLike, step: float = 8.0, flat: Points | None = None, ratio: float = 1.0) -> Tube:
    """A tube along the smooth curve through rows of (R, A, S, radius) in mm.

    ``flat``: the direction in which its section is wider, by ``ratio``.
    """
    line = curve(points, step)
    starts, ends = line[:-1], line[1:]
    lengths = np.linalg.norm(ends[:, :3] - starts[:, :3], axis=1)
    across = None
    if flat is not None:
        axes = (ends[:, :3] - starts[:, :3]) / np.maximum(lengths, 1e-9)[:, None]
        across = flat - (axes @ flat)[:, None] * axes
        across /= np.linalg.norm(across, axis=1, keepdims=True)
    return Tube(
        starts=starts[:, :3],
        ends=ends[:, :3],
        start_radii=np.maximum(starts[:, 3], 0.1),
        end_radii=np.maximum(ends[:, 3], 0.1),
        along=np.concatenate([[0.0], np.cumsum(lengths)[:-1]]),
        flat=across,
        ratio=ratio,
    )


def tubes(*parts: Tube) -> Tube:
    """Several round tubes as one."""
    return Tube(
        starts=np.concatenate([part.starts for part in parts]),
        ends=np.concatenate([part.ends for part in parts]),
        start_radii=np.concatenate([part.start_radii for part in parts]),
        end_radii=np.concatenate([part.end_radii for part in parts]),
        along=np.concatenate([part.along for part in parts]),
    )


def mirrored(rows: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """Rows of (R, A, S, ...) on the other side of the body."""
    return [(-row[0], *row[1:]) for row in rows]
