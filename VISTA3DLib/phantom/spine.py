"""The spine: vertebrae with their processes, discs, sacrum, and the cord in its canal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from VISTA3DLib.phantom.appearance import Tissues, bone, textured
from VISTA3DLib.phantom.canvas import HARD, Part
from VISTA3DLib.phantom.labels import VERTEBRAE
from VISTA3DLib.phantom.person import Person
from VISTA3DLib.phantom.shapes import (
    Array,
    Distance,
    Points,
    Solid,
    capsule,
    local_axes,
    smooth_max,
    smooth_min,
    tube,
)
from VISTA3DLib.phantom.trunk import level_index, table_over_s

# S, A of the middle of the vertebral bodies
_AXIS = (
    (-235, -62),
    (-222, -71),
    (-205, -76),
    (-185, -74),
    (-165, -65),
    (-145, -53),
    (-125, -40),
    (-110, -32),
    (-77, -25),
    (-45, -24),
    (-12, -27),
    (20, -32),
    (50, -39),
    (85, -45),
    (120, -50),
    (160, -52),
    (200, -52),
    (242, -49),
    (270, -45),
    (297, -38),
    (340, -28),
)
# S of the upper ends of sacrum, L5, L4 ... T1
_ENDS = (-125, -93, -60.5, -28, 3, 33, 60, 85.5, 110, 133.5, 156.5, 179, 201, 222, 242.5, 262, 280, 297)
# for L5, L4 ... T1: half width and half depth of the body, disc, reach of the transverse processes, length and drop of
# the spinous process, its half height, all mm
_SIZES = (
    (25.5, 17.5, 10.0, 40, 20, 4, 8),
    (25.0, 17.5, 10.5, 41, 25, 4, 10),
    (24.0, 17.5, 10.0, 42, 27, 4, 10),
    (22.5, 17.0, 9.5, 39, 26, 4, 10),
    (21.5, 16.5, 8.5, 35, 25, 5, 9),
    (20.5, 16.0, 7.0, 23, 22, 7, 7),
    (19.0, 15.5, 5.5, 25, 21, 10, 6),
    (17.5, 15.0, 5.0, 28, 21, 14, 5),
    (16.5, 14.5, 4.5, 30, 20, 17, 5),
    (15.5, 14.0, 4.5, 31, 19, 20, 5),
    (15.0, 13.5, 4.5, 31, 19, 21, 5),
    (14.5, 13.0, 4.5, 32, 19, 21, 5),
    (14.0, 12.0, 4.5, 32, 19, 19, 5),
    (13.5, 11.5, 4.5, 32, 19, 17, 5),
    (13.5, 11.0, 4.5, 33, 20, 14, 5),
    (14.0, 10.0, 4.5, 34, 22, 11, 5),
    (15.0, 9.5, 4.5, 36, 24, 9, 5),
)
# S, half width and half depth of the sacrum and coccyx
_SACRUM = (
    (-240, 5, 3),
    (-222, 10, 6),
    (-205, 22, 9),
    (-185, 33, 13),
    (-165, 43, 17),
    (-145, 51, 21),
    (-130, 53, 23),
    (-118, 48, 22),
)
_CANAL_WIDE, _CANAL_DEEP = 11.0, 8.5  # half axes of the vertebral canal


@dataclass(frozen=True, kw_only=True)
class Vertebra:
    """Where a vertebra is, how it is turned, and its sizes (mm). Rows of ``frame``: right, front, up."""

    name: str
    centre: Points
    frame: Points
    half_height: float
    sizes: tuple[float, ...]
    top: float

    @property
    def width(self) -> float:
        """Half the width of the body."""
        return self.sizes[0]

    @property
    def depth(self) -> float:
        """Half the depth of the body."""
        return self.sizes[1]

    @property
    def reach(self) -> float:
        """How far the transverse processes reach from the middle."""
        return self.sizes[3]

    def at(self, right: float, front: float, up: float) -> Points:
        """The anatomy point at these coordinates of the vertebra."""
        return np.asarray(self.centre + np.array([right, front, up]) @ self.frame)


@dataclass(frozen=True, kw_only=True)
class Spine:
    """All vertebrae of a person."""

    person: Person

    @cached_property
    def _front(self) -> Array:
        return table_over_s(_AXIS)[0]

    def axis(self, z: float) -> float:
        """A of the middle of the vertebral bodies at a level S."""
        return float(self._front[int(level_index(z))])

    @cached_property
    def vertebrae(self) -> dict[str, Vertebra]:
        """By name, from L5 to T1."""
        found = {}
        broad = self.person.size("vertebrae", 0.05)
        for name, low, high, sizes in zip(VERTEBRAE, _ENDS, _ENDS[1:], _SIZES, strict=False):
            # the disc is below its vertebra
            bottom, middle = low + sizes[2], (low + sizes[2] + high) / 2
            up = np.array([0.0, self.axis(middle + 8) - self.axis(middle - 8), 16.0])
            up /= np.linalg.norm(up)
            frame = np.stack([[1.0, 0.0, 0.0], [0.0, up[2], -up[1]], up])
            found[name] = Vertebra(
                name=name,
                centre=np.array([0.0, self.axis(middle), middle]),
                frame=frame,
                half_height=(high - bottom) / 2,
                sizes=(sizes[0] * broad, sizes[1] * broad, *sizes[2:]),
                top=high,
            )
        return found

    def canal(self, z: float) -> float:
        """A of the middle of the vertebral canal at a level S."""
        levels = [(v.centre[2], v.depth + _CANAL_DEEP - 0.5) for v in self.vertebrae.values()]
        low = [(-205.0, 8.0), (-185.0, 10.0), (-150.0, 14.0)]
        where, behind = zip(*(low + levels), strict=True)
        return float(self.axis(z) - np.interp(z, where, behind))


def _body(a: Array, b: Array, c: Array, vertebra: Vertebra, height: float, waist: float) -> Array:
    """An elliptic drum with a waist, flattened at the back."""
    narrow = np.float32(1 - waist) + np.float32(waist) * np.square(c * np.float32(1 / height))
    level = np.hypot(a / (np.float32(vertebra.width) * narrow), b / (np.float32(vertebra.depth) * narrow))
    side = (level - 1) * np.float32(vertebra.depth)
    back = -b - np.float32(vertebra.depth - 1.5)
    return smooth_max(np.maximum(side, back), np.abs(c) - np.float32(height), 3.0)


def _processes(vertebra: Vertebra) -> list[Solid]:
    """Transverse, spinous and articular processes in the vertebra's coordinates."""
    _, depth, _, reach, length, drop, thick = vertebra.sizes
    height = vertebra.half_height
    arch = -depth - 2 * _CANAL_DEEP
    found = [capsule((0, arch - 2, -2), (0, arch - length, -2 - drop), thick * 0.5, thick * 0.45)]
    for side in (-1, 1):
        found.append(capsule((side * 13, arch + 7, 3), (side * reach, arch - 1, 3), 4.5, 3.6))
        found.append(capsule((side * 14, arch + 3, height + 1), (side * 13, arch + 1, -height - 3), 4.0, 4.0))
        found.append(capsule((side * 11, -depth + 4, 3), (side * 14, arch + 5, 3), 4.2, 4.2))
    return found


def _vertebra_distance(vertebra: Vertebra) -> Distance:
    processes = _processes(vertebra)
    middle = np.float32(-vertebra.depth - _CANAL_DEEP + 0.5)
    tall = np.float32(vertebra.half_height * 0.62)

    def distance(x: Array, y: Array, z: Array) -> Array:
        a, b, c = local_axes(x, y, z, vertebra.centre, vertebra.frame)
        total = _body(a, b, c, vertebra, vertebra.half_height, 0.09)
        around = np.hypot(a * np.float32(_CANAL_DEEP / _CANAL_WIDE), b - middle)
        ring = smooth_max(np.abs(around - np.float32(_CANAL_DEEP + 3)) - 3, np.abs(c + 3) - tall, 3.0)
        total = smooth_min(total, ring, 2.0)
        for index, process in enumerate(processes):
            # the spinous process is a plate: thin from side to side
            total = smooth_min(total, process.distance(a * 1.6 if index == 0 else a, b, c), 2.0)
        return np.asarray(np.maximum(total, np.float32(_CANAL_DEEP) - around))

    return distance


def _vertebra(vertebra: Vertebra) -> Solid:
    width, back = max(vertebra.reach + 5, vertebra.width + 2), vertebra.depth + 2 * _CANAL_DEEP + vertebra.sizes[4] + 7
    up, down = vertebra.half_height + 8, vertebra.half_height + max(8.0, vertebra.sizes[5] - 2)
    corners = np.array(
        [vertebra.at(r, f, u) for r in (-width, width) for f in (-back, vertebra.depth + 2) for u in (-down, up)]
    )
    return Solid(low=corners.min(axis=0), high=corners.max(axis=0), distance=_vertebra_distance(vertebra))


def _disc(vertebra: Vertebra) -> Solid:
    """The disc below a vertebra."""
    thick = vertebra.sizes[2]
    middle = vertebra.at(0, 0, -vertebra.half_height - thick / 2)

    def distance(x: Array, y: Array, z: Array) -> Array:
        return _body(*local_axes(x, y, z, middle, vertebra.frame), vertebra, thick / 2 + 2.0, 0.0)

    reach = np.array([vertebra.width + 2, vertebra.depth + 6, thick / 2 + 10])
    return Solid(low=middle - reach, high=middle + reach, distance=distance)


def _sacrum() -> Solid:
    width, depth = table_over_s(_SACRUM)
    axis = table_over_s(_AXIS)[0]

    def distance(x: Array, y: Array, z: Array) -> Array:
        row = level_index(z)
        # the sides (alae) bend forwards less than the middle does: a shield that is hollow in front
        y = y - axis[row] + np.square(x) * np.float32(0.004)
        level = np.hypot(x / width[row], y / depth[row])
        side = (level - 1) * depth[row] * np.float32(0.85)
        # the upper end is tilted as the lumbosacral disc is
        above = (z + 127 + 0.45 * (y - 10)) * np.float32(0.9)
        return smooth_max(smooth_max(side, above, 4.0), -238 - z, 4.0)

    low, high = np.array([-58.0, -112.0, -243.0]), np.array([58.0, 0.0, -100.0])
    return Solid(low=low, high=high, distance=distance)


def spine_parts(spine: Spine, tissues: Tissues) -> list[Part]:
    """Vertebrae, discs, sacrum, cord and its sheath."""
    parts = []
    levels = np.arange(-205.0, 336.0, 9.0)
    middle = [(0.0, spine.canal(z), z) for z in levels]
    sac = [(*p, 7.6 if p[2] > -130 else max(2.0, 7.6 + (p[2] + 130) * 0.07)) for p in middle]
    swell = 1.0 + 0.12 * np.exp(-(((levels - 50) / 20) ** 2)) + 0.15 * np.exp(-(((levels - 300) / 25) ** 2))
    cord = [(*p, 4.6 * s) for p, s in zip(middle, swell, strict=True) if p[2] > 14]
    cord[0] = (*cord[0][:3], 1.5)
    parts.append(Part(name="spinal cord", shape=tube(cord), label=121, look=tissues["cord"], weight=HARD))
    parts.append(Part(name="thecal sac", shape=tube(sac), look=tissues["csf"], weight=20.0))
    bony = bone(tissues, 1.6)
    for index, (name, vertebra) in enumerate(spine.vertebrae.items()):
        shape = _vertebra(vertebra)
        parts.append(Part(name=f"vertebrae {name}", shape=shape, label=33 + index, look=bony, weight=5.0))
    parts.append(Part(name="sacrum", shape=_sacrum(), label=97, look=bone(tissues, 1.8), weight=5.0))
    look = textured(tissues["disc"], 8.0, 12.0, 5)
    for vertebra in spine.vertebrae.values():
        parts.append(Part(name=f"disc below {vertebra.name}", shape=_disc(vertebra), look=look, weight=3.0))
    return parts
