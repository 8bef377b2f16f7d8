"""Hips, femora, and the muscles of the pelvis, the back and the thighs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from VISTA3DLib.phantom.appearance import Tissues, bone, textured
from VISTA3DLib.phantom.canvas import Look, Part, Patch
from VISTA3DLib.phantom.shapes import (
    Array,
    Solid,
    Tube,
    capsule,
    ellipsoid,
    mirror,
    mirrored,
    sheet,
    tube,
    union,
    within,
    without,
)
from VISTA3DLib.phantom.spine import Spine

Row = tuple[float, ...]

_HEAD = (88.0, -8.0, -232.0)  # of the right femur
# corners of the right ilium's plates: R, A, S in mm
_PSIS = (42, -86, -142)
_JOINT = (47, -66, -165)
_CREST_BACK = (78, -70, -98)
_CREST_TOP = (112, -38, -84)
_TUBERCLE = (130, 0, -97)
_ASIS = (122, 34, -128)
_AIIS = (104, 26, -182)
_ROOF = (88, -10, -198)
_NOTCH = (70, -48, -188)
_MIDDLE = (104, -22, -140)  # the wing is hollow: its middle is thin and lies inwards

_PLATES = (
    (_PSIS, _JOINT, _CREST_BACK, 11.0),
    (_JOINT, _CREST_BACK, _MIDDLE, 8.0),
    (_CREST_BACK, _CREST_TOP, _MIDDLE, 5.5),
    (_CREST_TOP, _TUBERCLE, _MIDDLE, 5.5),
    (_TUBERCLE, _ASIS, _MIDDLE, 6.5),
    (_ASIS, _AIIS, _MIDDLE, 7.5),
    (_AIIS, _ROOF, _MIDDLE, 11.0),
    (_ROOF, _NOTCH, _MIDDLE, 11.0),
    (_NOTCH, _JOINT, _MIDDLE, 9.0),
)
# start, end, radius, end radius
_BARS = (
    (_PSIS, _CREST_BACK, 6.0, 5.0),
    (_CREST_BACK, _CREST_TOP, 5.0, 6.0),
    (_CREST_TOP, _TUBERCLE, 6.0, 7.0),
    (_TUBERCLE, _ASIS, 6.0, 6.5),
    ((82, -34, -236), (60, -50, -268), 15.0, 13.0),  # ischium
    ((62, -48, -272), (14, 30, -262), 8.5, 7.0),  # its ramus, to the pubis
    ((74, 14, -220), (20, 42, -238), 9.5, 8.0),  # upper branch of the pubis
    ((11, 42, -236), (10, 36, -262), 8.5, 7.5),  # its body, at the symphysis
)
_FEMUR = (
    ((88, -8, -232), (126, -14, -250), 14.0, 15.0),  # neck
    ((128, -16, -244), (124, -10, -270), 17.0, 16.0),  # greater trochanter
    ((124, -10, -262), (118, -4, -345), 16.5, 14.5),  # shaft
    ((118, -16, -280), (112, -22, -288), 10.0, 8.0),  # lesser trochanter
)

# muscles of the right side: name, label, corners of a plate and thickness
_SHEETS: tuple[tuple[str, int, tuple[Row, ...], float], ...] = (
    ("gluteus minimus", 103, ((119, -6, -130), (96, -52, -152), (129, -4, -236)), 19.0),
    ("gluteus medius", 101, ((137, 12, -108), (98, -66, -106), (140, -16, -240)), 31.0),
    ("gluteus maximus", 99, ((56, -98, -138), (34, -98, -215), (134, -62, -262), (90, -74, -300)), 40.0),
    ("iliacus", 107, ((104, -38, -98), (116, 4, -106), (92, 14, -190)), 15.0),
    ("obturator internus", 0, ((60, 10, -222), (58, -40, -200), (62, -44, -262)), 11.0),
    ("obturator externus", 0, ((30, 28, -262), (60, -20, -278), (104, -14, -262)), 13.0),
    ("tensor fasciae latae", 0, ((136, 22, -140), (146, 18, -180), (146, 6, -300)), 12.0),
)
# name, label, rows of R, A, S, radius
_CORDS: tuple[tuple[str, int, tuple[Row, ...]], ...] = (
    (
        "psoas",
        107,
        (
            (24, -35, 30, 6),
            (29, -33, 0, 12),
            (36, -29, -40, 17),
            (45, -20, -90, 19),
            (59, -2, -140, 18),
            (76, 18, -185, 17),
            (88, 24, -215, 16),
            (98, 16, -245, 14),
            (106, -4, -278, 10),
        ),
    ),
    ("quadratus lumborum", 0, ((52, -56, 32, 7), (64, -60, -20, 12), (74, -62, -85, 13))),
    ("piriformis", 0, ((24, -74, -185, 7), (60, -68, -200, 12), (120, -30, -228, 6))),
    ("rectus femoris", 0, ((104, 30, -190, 5), (110, 42, -230, 14), (112, 46, -345, 18))),
    ("sartorius", 0, ((122, 40, -130, 6), (108, 54, -200, 9), (84, 60, -345, 10))),
    ("vastus", 0, ((134, 10, -240, 8), (134, 14, -280, 26), (128, 14, -345, 36))),
    ("adductors", 0, ((24, 34, -250, 9), (46, 16, -282, 32), (60, 4, -345, 42))),
    ("pectineus", 0, ((40, 44, -225, 8), (78, 30, -262, 15), (102, 6, -300, 8))),
    ("hamstrings", 0, ((62, -54, -262, 9), (74, -50, -295, 24), (82, -50, -345, 32))),
    (
        "rectus abdominis",
        0,
        ((30, 96, 100, 6), (32, 95, 20, 6), (30, 93, -80, 6), (24, 84, -160, 6), (14, 60, -225, 5)),
    ),
)
_RECTUS_RATIO = 4.0


def _right_hip() -> Solid:
    plates = [sheet((a, b, c), thick) for a, b, c, thick in _PLATES]
    bars = [capsule(a, b, r, last) for a, b, r, last in _BARS]
    cup = ellipsoid(np.add(_HEAD, (-3, -1, 4)), (33, 33, 33))
    # the cup faces to the side, forwards and down; its rim stands past the head's middle
    rim_point, rim = np.add(_HEAD, (9.0, 3.0, -5.0)), np.array([0.78, 0.30, -0.55])

    def open_side(x: Array, y: Array, z: Array) -> Array:
        a, b, c = ((q - np.float32(p)) * np.float32(n) for q, p, n in zip((x, y, z), rim_point, rim, strict=True))
        return np.asarray(a + b + c)

    whole = union(*plates, *bars, within(cup, open_side, 4.0), blend=7.0)
    # room for the joint's cartilage around the femoral head
    return without(whole, ellipsoid(_HEAD, (26.0, 26.0, 26.0)).distance)


def _right_femur() -> Solid:
    shafts = [capsule(a, b, r, last) for a, b, r, last in _FEMUR]
    return union(ellipsoid(_HEAD, (23.5, 23.5, 23.5)), *shafts, blend=6.0)


def _femur_look(tissues: Tissues) -> Look:
    """Thick compact bone around fatty marrow in the shaft, spongy bone in head and neck."""
    spongy, compact = bone(tissues, 1.8), bone(tissues, 5.0, "marrow")

    def look(patch: Patch) -> Array:
        return np.where(patch.z > -278, spongy(patch), compact(patch))

    return look


def pelvis_parts(tissues: Tissues) -> list[Part]:
    """Hips, femora and what joins the pubic bones."""
    hip, femur = _right_hip(), _right_femur()
    bony = bone(tissues, 1.7)
    look = _femur_look(tissues)
    parts = []
    for label, shape in ((96, hip), (95, mirror(hip))):
        parts.append(Part(name="hip", shape=shape, label=label, look=bony, weight=5.0))
    for label, shape in ((94, femur), (93, mirror(femur))):
        parts.append(Part(name="femur", shape=shape, label=label, look=look, weight=6.0))
    symphysis = ellipsoid((0, 38, -248), (5, 9, 16))
    parts.append(Part(name="symphysis", shape=symphysis, look=tissues["disc"], weight=1.0))
    return parts


def _muscle_tube(rows: Sequence[Sequence[float]], name: str, bulk: float) -> Tube:
    scaled = [(*row[:3], row[3] * bulk) for row in rows]
    if name == "rectus abdominis":
        return tube(scaled, step=20.0, flat=np.array([1.0, 0.0, 0.0]), ratio=_RECTUS_RATIO)
    return tube(scaled, step=14.0)


def muscle_parts(spine: Spine, tissues: Tissues) -> list[Part]:
    """Muscles of the pelvis, the thighs, the back and the front of the belly, of both sides."""
    look = textured(tissues["muscle"], 5.0, 14.0, 8)
    bulk = spine.person.size("muscles", 0.10)
    shapes: list[tuple[str, int, Solid | Tube]] = []
    for name, label, corners, thick in _SHEETS:
        right = union(*(sheet(corners[n : n + 3], thick * bulk) for n in range(len(corners) - 2)), blend=6.0)
        shapes += [(name, label, right), (name, _left(label), mirror(right))]
    for name, label, rows in _CORDS:
        shapes.append((name, label, _muscle_tube(list(rows), name, bulk)))
        shapes.append((name, _left(label), _muscle_tube(mirrored(rows), name, bulk)))
    shapes += [("autochthon", 105, _autochthon(spine, 1.0, bulk)), ("autochthon", 104, _autochthon(spine, -1.0, bulk))]
    return [
        Part(name=name, shape=shape, label=label, look=look, moat=0.8, limit="flesh", margin=-4.0)
        for name, label, shape in shapes
    ]


def _left(label: int) -> int:
    """The class of the left muscle from that of the right one."""
    return label - 1 if label else 0


def _autochthon(spine: Spine, side: float, bulk: float) -> Tube:
    """The long muscles beside the spinous processes, thickest at the loins."""
    levels = (-200, -170, -130, -95, -60, -20, 30, 80, 140, 200, 250, 300, 340)
    radii = (5, 9, 15, 19, 20, 20, 19, 17, 14, 13, 13, 13, 13)
    rows = []
    for z, radius in zip(levels, radii, strict=True):
        behind = spine.canal(z) - (20 if z > -120 else 14)
        rows.append((side * (radius * 1.35 + 5), behind - radius * 0.12, z, radius * bulk))
    return tube(rows, step=16.0, flat=np.array([1.0, 0.0, 0.0]), ratio=1.35)
