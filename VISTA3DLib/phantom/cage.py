"""Ribs with their cartilages, sternum, clavicles and scapulae, laid on the wall of the chest."""

from __future__ import annotations

import numpy as np

from VISTA3DLib.phantom.appearance import Tissues, bone, textured
from VISTA3DLib.phantom.canvas import Part
from VISTA3DLib.phantom.labels import LEFT_RIB_1, RIGHT_RIB_1
from VISTA3DLib.phantom.shapes import Array, Points, Solid, capsule, mirror, mirrored, sheet, smooth_max, tube, union
from VISTA3DLib.phantom.spine import Spine
from VISTA3DLib.phantom.trunk import Trunk, level_index, table_over_s

# for ribs 1 to 12: the angle at which the bone ends (degrees from the back), how far it descends by then (mm), and
# half of the section's thickness
_RIBS = (
    (150, 20, 3.6),
    (150, 36, 3.7),
    (148, 46, 3.8),
    (147, 55, 3.9),
    (146, 63, 4.0),
    (142, 70, 4.0),
    (136, 74, 4.0),
    (128, 78, 4.0),
    (119, 80, 3.9),
    (108, 80, 3.8),
    (78, 55, 3.5),
    (54, 36, 3.2),
)
_TALLER = 1.55  # a rib is taller than thick
_WALL = 5.5  # mm from the pleura to the middle of a rib
# S at which the cartilages of ribs 1 to 7 meet the sternum
_JOINTS = (257, 223, 203, 184, 166, 150, 137)
# S, half width of the sternum, and how much it lies in front of the cavity
_STERNUM = (
    (104, 4, 9),
    (116, 6, 9),
    (130, 11, 9),
    (145, 17, 9),
    (165, 19, 9),
    (200, 16, 9),
    (218, 12, 9),
    (226, 14, 9),
    (245, 25, 8),
    (262, 31, 7),
    (270, 27, 6),
    (280, 25, 5),
)
_CLAVICLE = ((20, 42, 266, 8), (40, 50, 271, 6.5), (75, 42, 279, 5.5), (112, 16, 288, 5.5), (146, -14, 291, 6.5))


def _rib_path(spine: Spine, trunk: Trunk, number: int) -> Points:
    """Rows of R, A, S from the head to the bony end, on the right."""
    end, drop, _ = _RIBS[number - 1]
    vertebra = spine.vertebrae[f"T{number}"]
    up = vertebra.half_height * (0.75 if number < 11 else 0.2)
    head = vertebra.at(vertebra.width + 1, -vertebra.depth * 0.7, up)
    tubercle = vertebra.at(vertebra.reach + 1, -vertebra.depth - 19, up * 0.9)
    angles = np.linspace(38, end, max(4, round((end - 38) / 11)))
    rows = [head, tubercle]
    for angle in angles:
        part = (angle - 20) / (end - 20)
        rows.append(trunk.cavity.point(angle, float(head[2] - drop * part**1.1), _WALL))
    return np.array(rows)


def _cartilage_path(trunk: Trunk, start: Points, end_degrees: float, joint: float) -> Points:
    """From a rib's bony end along the wall to the sternum or, for ribs 8 to 10, to the cartilage above."""
    front = np.degrees(np.arctan2(start[0], start[1] - float(trunk.cavity.middle[int(level_index(start[2]))])))
    first = 180 - float(front)
    rows = [start]
    for part in (0.35, 0.7, 1.0):
        level = float(start[2] + (joint - start[2]) * part**1.6)
        rows.append(trunk.cavity.point(first + (end_degrees - first) * part, level, _WALL))
    return np.array(rows)


def _sternum(trunk: Trunk) -> Solid:
    width, front = table_over_s(_STERNUM)
    cavity = trunk.cavity

    def distance(x: Array, y: Array, z: Array) -> Array:
        row = level_index(z)
        middle = cavity.middle[row] + cavity.depth[row] + front[row]
        edge = smooth_max(np.abs(x) - width[row], np.abs(y - middle) * np.float32(0.9) - 5.5, 5.0)
        return smooth_max(edge, np.abs(z - 187) - np.float32(83), 4.0)

    return Solid(low=np.array([-35.0, 25.0, 100.0]), high=np.array([35.0, 115.0, 274.0]), distance=distance)


def _scapula(trunk: Trunk) -> Solid:
    """A blade of triangles over ribs 2 to 7, its spine and its socket, on the right."""

    def on(degrees: float, z: float, outside: float = 15.0) -> Points:
        return trunk.cavity.point(degrees, z, outside)

    upper, middle, lower = on(40, 262, 20), on(42, 220, 15), on(50, 158, 14)
    inner, socket = on(66, 212, 15), np.array([140.0, -22.0, 264.0])
    blade = [sheet(c, 4.5) for c in ((upper, middle, inner), (middle, lower, inner), (upper, inner, socket))]
    ridge = sheet((on(44, 240, 16), socket - np.array([6.0, 6.0, 0.0]), (146, -42, 280)), 6.0)
    edge = inner + np.array([8.0, 6.0, 0.0])
    margin = [capsule(lower, edge, 4.0), capsule(edge, socket, 4.0, 10.0)]
    process = capsule(socket, (122, 12, 276), 6.0)
    return union(*blade, ridge, *margin, process, capsule((146, -42, 280), (152, -22, 288), 6.0), blend=5.0)


def cage_parts(spine: Spine, trunk: Trunk, tissues: Tissues) -> list[Part]:
    """Ribs, cartilages, sternum, clavicles and scapulae of both sides."""
    parts = []
    bony = bone(tissues, 1.1, "trabecular", "thin cortical")
    thick = spine.person.size("ribs", 0.06)
    paths = [_rib_path(spine, trunk, number) for number in range(1, 13)]
    for first, flip in ((RIGHT_RIB_1, 1.0), (LEFT_RIB_1, -1.0)):
        for index, path in enumerate(paths):
            radius = np.full((len(path), 1), _RIBS[index][2] * thick)
            radius[0] += 0.8
            rows = np.hstack([path * [flip, 1, 1], radius])
            shape = tube(rows, step=11.0, flat=np.array([0.0, 0.0, 1.0]), ratio=_TALLER)
            parts.append(Part(name=f"rib {index + 1}", shape=shape, label=first + index, look=bony, weight=5.0))
    sternum = bone(tissues, 1.2, "trabecular", "thin cortical")
    parts.append(Part(name="sternum", shape=_sternum(trunk), label=122, look=sternum, weight=5.0))
    parts += _cartilages(trunk, paths, tissues)
    clavicle, scapula = bone(tissues, 1.6), bone(tissues, 1.2, "trabecular", "thin cortical")
    blade = _scapula(trunk)
    for label, line in ((92, list(_CLAVICLE)), (91, mirrored(_CLAVICLE))):
        parts.append(Part(name="clavicle", shape=tube(line), label=label, look=clavicle, weight=4.0))
    for label, solid in ((90, blade), (89, mirror(blade))):
        parts.append(Part(name="scapula", shape=solid, label=label, look=scapula, weight=3.0))
    return parts


def _cartilages(trunk: Trunk, paths: list[Points], tissues: Tissues) -> list[Part]:
    parts = []
    look = textured(tissues["cartilage"], 15.0, 9.0, 6)
    above = np.zeros(3)
    for index, path in enumerate(paths[:10]):
        if index < len(_JOINTS):
            rows = _cartilage_path(trunk, path[-1], 171.0, _JOINTS[index])
        else:
            rows = np.array([path[-1], (path[-1] + above) / 2 + [2.0, 1.0, -3.0], above])
        above = rows[1] if index >= len(_JOINTS) else rows[2]
        for flip in (1.0, -1.0):
            shape = tube(np.hstack([rows * [flip, 1, 1], np.full((len(rows), 1), 5.2)]), step=11.0)
            parts.append(Part(name="costal cartilage", shape=shape, label=114, look=look, weight=2.0))
    return parts
