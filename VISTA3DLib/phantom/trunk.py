"""The trunk that everything lies in: skin, fat, the cavity of chest and belly, and the diaphragm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from VISTA3DLib.phantom.appearance import Tissues
from VISTA3DLib.phantom.canvas import FAT_HU, HARD, Canvas, Patch, box_points
from VISTA3DLib.phantom.person import Person
from VISTA3DLib.phantom.shapes import Array, Points

_BOTTOM, _TOP, _PER_MM = -345.0, 345.0, 2

# S, half width, front (A), back (A), in mm
_SKIN = (
    (-340, 166, 84, -102),
    (-300, 172, 82, -104),
    (-260, 178, 86, -110),
    (-220, 177, 92, -113),
    (-180, 171, 98, -112),
    (-140, 163, 101, -106),
    (-100, 154, 104, -100),
    (-50, 147, 106, -97),
    (0, 146, 106, -97),
    (50, 151, 105, -101),
    (100, 157, 105, -106),
    (150, 162, 104, -110),
    (200, 166, 100, -112),
    (235, 170, 90, -112),
    (260, 172, 76, -110),
    (280, 168, 62, -105),
    (300, 152, 52, -98),
    (340, 96, 46, -88),
)
_CAVITY = (
    (-300, 20, 0, -40),
    (-262, 34, 20, -62),
    (-225, 54, 46, -72),
    (-190, 76, 70, -76),
    (-150, 104, 80, -74),
    (-100, 121, 86, -68),
    (-60, 127, 88, -66),
    (-20, 129, 88, -68),
    (20, 131, 88, -73),
    (60, 133, 89, -81),
    (100, 132, 89, -88),
    (140, 129, 86, -93),
    (170, 125, 81, -95),
    (200, 118, 73, -93),
    (225, 109, 63, -88),
    (250, 94, 50, -79),
    (270, 76, 34, -67),
    (285, 55, 16, -54),
    (295, 36, 4, -44),
    (305, 10, -10, -30),
)
# S, thickness of the subcutaneous fat in mm at the front, the sides and the back
_FAT = (
    (-340, 14, 20, 18),
    (-260, 16, 24, 24),
    (-200, 20, 24, 24),
    (-130, 20, 20, 20),
    (-60, 15, 13, 15),
    (0, 12, 11, 12),
    (80, 9, 9, 9),
    (160, 9, 10, 8),
    (240, 8, 10, 8),
    (340, 6, 8, 7),
)
# S, depth of the furrow along the back in mm
_FURROW = ((-340, 34), (-260, 34), (-215, 26), (-180, 7), (-120, 7), (0, 8), (150, 6), (250, 4), (340, 2))


def table_over_s(rows: tuple[tuple[float, ...], ...]) -> list[Array]:
    """Columns of a table over S, interpolated and smoothed, at every half millimetre."""
    keys, *columns = np.asarray(rows, dtype=np.float64).T
    where = np.arange(_BOTTOM, _TOP, 1 / _PER_MM)
    return [
        ndimage.gaussian_filter1d(np.interp(where, keys, column), 10.0 * _PER_MM, mode="nearest").astype(np.float32)
        for column in columns
    ]


def level_index(z: Array | float) -> npt.NDArray[np.intp]:
    """Row of the tables for each S coordinate (mm)."""
    row = np.clip((z - np.float32(_BOTTOM)) * _PER_MM, 0, (_TOP - _BOTTOM) * _PER_MM - 1)
    return np.asarray(row, dtype=np.intp)


@dataclass(frozen=True, kw_only=True)
class Section:
    """Rounded cross-sections stacked along S: half width, half depth and middle (A) at every level, in mm."""

    width: Array
    depth: Array
    middle: Array
    square: float  # 0 is an ellipse; towards 1 the corners fill

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Distance to the outline of the same level, along the ray from the middle."""
        return self.distance_and_place(x, y, z)[0]

    def distance_and_place(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """The distance, and the position relative to half width (R, -1 to 1) and half depth (A, -1 to 1)."""
        row = level_index(z)
        y = y - self.middle.take(row)
        u, v = x / self.width.take(row), y / self.depth.take(row)
        away = np.sqrt(x * x + y * y)
        return away - away / np.maximum(self.level(u, v), np.float32(1e-3)), u, v

    def level(self, u: Array, v: Array) -> Array:
        """1 on the outline, less inside, from the relative position."""
        u, v = u * u, v * v
        return np.asarray(
            np.sqrt(np.float32(1 - self.square) * (u + v) + np.float32(self.square) * np.sqrt(u * u + v * v))
        )

    def point(self, degrees: float, z: float, outside: float) -> Points:
        """The point of the outline at an angle from the back (0) over the side (90) to the front, on the right."""
        row = int(level_index(z))
        width, depth = float(self.width[row]) + outside, float(self.depth[row]) + outside
        u, v = np.sin(np.radians([degrees])), -np.cos(np.radians([degrees]))
        level = self.level(u, v)
        return np.array([(u / level * width)[0], float(self.middle[row]) + (v / level * depth)[0], z])


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """Outlines of one person, in anatomy coordinates."""

    person: Person

    @cached_property
    def extent(self) -> Points:
        """World points (mm, rows) on a box around the skin."""
        reach = float(self.skin.width.max()) + 3
        front = float((self.skin.middle + self.skin.depth).max()) + 3
        back = float((self.skin.middle - self.skin.depth).min()) - 3
        return self.person.to_world(box_points((-reach, back, -342), (reach, front, 342), 9))

    @cached_property
    def girth(self) -> float:
        """Relative thickness of the subcutaneous fat."""
        return self.person.size("subcutaneous fat", 0.45)

    @cached_property
    def skin(self) -> Section:
        """The outline of the body."""
        width, front, back = table_over_s(_SKIN)
        more = np.float32(10 * (self.girth - 1))
        width, front, back = width + more, front + more, back - more / 2
        return Section(width=width, depth=(front - back) / 2, middle=(front + back) / 2, square=0.45)

    @cached_property
    def cavity(self) -> Section:
        """The inside of ribs, belly wall and pelvis."""
        width, front, back = table_over_s(_CAVITY)
        return Section(width=width, depth=(front - back) / 2, middle=(front + back) / 2, square=0.35)

    @cached_property
    def _fat(self) -> list[Array]:
        return [column * np.float32(self.girth) for column in table_over_s(_FAT)]

    @cached_property
    def _furrow(self) -> Array:
        return table_over_s(_FURROW)[0]

    @cached_property
    def breath(self) -> float:
        """Height of the diaphragm's dome over the standard (mm)."""
        return float(self.person.shift("breath", 11.0)[0])

    def skin_distance(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance to the skin, with the furrow of the back and the gap between the thighs."""
        row = level_index(z)
        distance = self.skin.distance(x, y, z)
        groove = self._furrow.take(row) / np.square(1 + np.square(x * np.float32(1 / 16)))
        distance = distance + np.where(y < -40, groove, 0)
        gap = (np.float32(-283) - z) * np.float32(0.3) - np.abs(x)
        ends = np.abs(z) - np.float32(340)
        return np.asarray(np.maximum(np.maximum(distance, gap), ends), dtype=np.float32)

    def fat_thickness(self, x: Array, y: Array, z: Array) -> Array:
        """Thickness of the subcutaneous fat around each point's direction (mm)."""
        row = level_index(z)
        front, side, back = (column.take(row) for column in self._fat)
        across = x * x / np.maximum(x * x + y * y, 1)
        return np.asarray(across * side + (1 - across) * np.where(y > 0, front, back))

    def diaphragm(self, x: Array, y: Array, z: Array) -> Array:
        """Distance from the diaphragm's upper surface: positive in the chest, negative in the belly (mm)."""
        return self.dome(x, z, *self.cavity.distance_and_place(x, y, z)[1:])

    def dome(self, x: Array, z: Array, u: Array, v: Array) -> Array:
        """``diaphragm`` from the position in the cavity."""
        uu, vv = u * u, v * v
        # depth of the recesses at the sides, behind and in front, which fall off only close to the wall
        depth = (82 * uu + np.where(v < 0, np.float32(104), np.float32(36)) * vv) / np.maximum(uu + vv, 1e-4)
        level = np.square(self.cavity.level(u, v))
        rim = depth * level * level * level
        right = 1 / (1 + np.square(np.minimum(x - 62, 0) * np.float32(1 / 50)))
        left = 1 / (1 + np.square(np.maximum(x + 68, 0) * np.float32(1 / 40)))
        top = np.float32(91 + self.breath) + 36 * right + 31 * left - rim
        # the steeper, the closer: the height above the dome is not the distance from it
        slope = 1 + np.float32(3.2) * level * level
        return np.asarray((z - top) / slope)


def paint_background(canvas: Canvas, trunk: Trunk, tissues: Tissues) -> None:
    """Skin, fat and the layers of the wall of the trunk; nothing can be painted outside of the skin later.

    Leaves the fields ``skin``, ``flesh`` (under the subcutaneous fat), ``cavity``, ``chest`` and ``belly``.
    """
    x, y, z = canvas.coordinates
    skin = trunk.skin_distance(x, y, z)
    cavity, u, v = trunk.cavity.distance_and_place(x, y, z)
    dome = trunk.dome(x, z, u, v)
    flesh = skin + trunk.fat_thickness(x, y, z)
    chest, belly = np.maximum(cavity, -dome), np.maximum(cavity, dome + 3)
    canvas.fields.update(skin=skin, flesh=flesh, cavity=cavity, chest=chest, belly=belly)
    np.copyto(canvas.claim, np.float32(-HARD * HARD), where=skin > -2.5)
    canvas.body = skin < 0
    whole = Patch(grid=canvas.grid, where=canvas.grid.everything, x=x, y=y, z=z, distance=skin)
    np.copyto(canvas.hu, _layers(whole, flesh, cavity, tissues), where=canvas.body)


def _layers(patch: Patch, flesh: Array, wall: Array, tissues: Tissues) -> Array:
    """HU of the body without its organs: skin, fat, wall muscles between thin planes of fat, fat of the cavity."""
    fat = FAT_HU + np.float32(7) * patch.ripple(40.0, 1, 7)
    muscle = np.float32(tissues["muscle"]) + np.float32(5) * patch.ripple(13.0, 2, 8)
    # three sheets of muscle around the belly, two around the chest
    chest = patch.z > 30
    planes = (np.abs(wall - 4.5) < 0.7) & ~chest
    planes |= np.abs(wall - np.where(chest, 12.5, 8.5)) < np.where(chest, 1.3, 0.7)
    planes |= (np.abs(patch.x) < 2.5) & (patch.y > 60) & (patch.z < 100)
    # they end at the iliac crest and the groin; the pelvis is a bed of fat for the muscles that are painted later
    groin = np.clip((patch.y - 10) / 30, 0, 1) * np.clip(122 - np.abs(patch.x), 0, 100)
    planes |= patch.z < -92 - np.float32(1.05) * np.clip(patch.y, 0, 36) - np.float32(1.1) * groin
    planes |= wall > 13 + np.clip(patch.z + 30, 0, 200) * np.float32(0.5)
    muscular = (flesh < 0) & (wall > 0) & ~planes
    hu = np.where(muscular, muscle, fat)
    return np.where(patch.distance > -1.8, np.float32(tissues["skin"]), hu).astype(np.float32)


def claim_wall(canvas: Canvas, weight: float) -> None:
    """Let the wall of the trunk push back against organs that reach into it."""
    wall = canvas.fields["cavity"] * np.float32(-weight)
    np.copyto(canvas.claim, wall, where=(canvas.claim == 0) & (wall < 0))
