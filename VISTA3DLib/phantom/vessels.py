"""Great vessels, windpipe and gullet: tables of what runs where."""

from __future__ import annotations

import numpy as np

from VISTA3DLib.phantom.appearance import Painter, Tissues, textured
from VISTA3DLib.phantom.canvas import Part, Patch
from VISTA3DLib.phantom.person import Person
from VISTA3DLib.phantom.shapes import Array, Rows, mirrored, tube

# name: class, tissue, rows of R, A, S, radius in mm; what comes first wins where two overlap
VESSELS: tuple[tuple[str, int, str, Rows], ...] = (
    (
        "aorta",
        6,
        "artery",
        (
            (4, 6, 186, 14),
            (13, 17, 202, 15),
            (17, 20, 222, 14.5),
            (13, 13, 238, 14),
            (1, 4, 246, 13.5),
            (-14, -13, 247, 13),
            (-23, -33, 238, 12.5),
            (-26, -45, 218, 12),
            (-25, -43, 190, 12),
            (-23, -39, 150, 11.5),
            (-20, -32, 110, 11),
            (-14, -20, 80, 10.5),
            (-10, -11, 50, 10),
            (-8, -4, 20, 9.5),
            (-8, 2, -12, 9.2),
            (-6, 5, -45, 8.8),
            (-4, 5, -66, 8.5),
            (-3, 4, -78, 8.5),
        ),
    ),
    ("superior vena cava", 125, "vein", ((26, 6, 248, 8.5), (27, 5, 225, 9.5), (28, 6, 188, 10))),
    (
        "inferior vena cava",
        7,
        "vein",
        (
            (12, 1, -92, 10.5),
            (17, 3, -60, 11),
            (19, 2, -30, 11),
            (20, -1, 0, 11),
            (22, -4, 30, 11.5),
            (24, -6, 60, 12),
            (24, -6, 90, 12.5),
            (25, -1, 116, 13),
            (27, 5, 138, 13),
        ),
    ),
    ("brachiocephalic trunk", 109, "artery", ((4, 7, 254, 7), (11, 2, 266, 6.5), (19, -2, 277, 6), (21, -3, 281, 6))),
    ("right common carotid artery", 113, "artery", ((21, -2, 279, 4), (24, -4, 300, 4), (25, -6, 340, 3.8))),
    (
        "right subclavian artery",
        124,
        "artery",
        ((22, -4, 280, 5), (36, -10, 292, 5), (56, -8, 296, 4.8), (84, 0, 292, 4.5)),
    ),
    (
        "left common carotid artery",
        112,
        "artery",
        ((-8, -5, 256, 4.5), (-14, -6, 275, 4), (-21, -6, 305, 4), (-24, -6, 340, 4)),
    ),
    (
        "left subclavian artery",
        123,
        "artery",
        ((-18, -20, 254, 5.5), (-25, -20, 272, 5), (-38, -14, 292, 5), (-56, -8, 296, 4.8), (-84, 0, 292, 4.5)),
    ),
    ("right brachiocephalic vein", 111, "vein", ((26, 7, 248, 7.5), (31, 6, 272, 7), (37, 2, 300, 7), (39, 0, 340, 6))),
    (
        "left brachiocephalic vein",
        110,
        "vein",
        (
            (24, 9, 249, 7),
            (6, 27, 255, 6.5),
            (-16, 23, 266, 6.5),
            (-32, 8, 284, 6.5),
            (-38, 2, 305, 6.5),
            (-40, 0, 340, 6),
        ),
    ),
    ("pulmonary trunk", 0, "vein", ((-13, 42, 190, 13), (-17, 33, 206, 13), (-15, 17, 220, 12))),
    (
        "right pulmonary artery",
        0,
        "vein",
        ((-13, 13, 220, 11), (8, -3, 217, 9.5), (28, -9, 214, 9.5), (46, -12, 207, 8)),
    ),
    (
        "left pulmonary artery",
        0,
        "vein",
        ((-16, 16, 222, 11), (-30, 0, 225, 9.5), (-42, -14, 220, 8.5), (-49, -20, 208, 8)),
    ),
    (
        "right iliac artery",
        59,
        "artery",
        ((3, 6, -82, 6), (13, 14, -94, 5.6), (26, 9, -111, 5.2), (36, -4, -129, 5), (42, -10, -145, 5)),
    ),
    (
        "right iliac artery",
        59,
        "artery",
        ((42, -10, -144, 5), (54, 2, -175, 4.8), (64, 26, -205, 4.6), (70, 42, -232, 4.5)),
    ),
    (
        "left iliac artery",
        58,
        "artery",
        ((-9, 4, -82, 6), (-17, 3, -95, 5.6), (-30, -7, -118, 5.2), (-42, -10, -145, 5)),
    ),
    (
        "left iliac artery",
        58,
        "artery",
        ((-42, -10, -144, 5), (-54, 2, -175, 4.8), (-64, 26, -205, 4.6), (-70, 42, -232, 4.5)),
    ),
    (
        "right iliac vena",
        61,
        "vein",
        (
            (15, -1, -93, 7.5),
            (26, -10, -114, 6.5),
            (37, -20, -140, 6),
            (48, -8, -172, 6),
            (56, 16, -205, 6),
            (58, 34, -232, 6),
        ),
    ),
    (
        "left iliac vena",
        60,
        "vein",
        (
            (9, -1, -93, 7.5),
            (-10, -6, -107, 6.5),
            (-35, -20, -138, 6),
            (-48, -8, -172, 6),
            (-56, 16, -205, 6),
            (-58, 34, -232, 6),
        ),
    ),
)
# both sides, without a class
_PAIRED: tuple[tuple[str, str, Rows], ...] = (
    ("internal iliac artery", "artery", ((32, -9, -122, 4), (38, -40, -160, 3.5), (44, -52, -195, 2.5))),
    ("femoral artery", "artery", ((70, 42, -230, 4.5), (73, 46, -270, 4.3), (72, 42, -345, 4))),
    ("femoral vein", "vein", ((58, 34, -230, 6), (61, 40, -270, 5.8), (64, 36, -345, 5.5))),
    ("axillary vein", "vein", ((37, 2, 298, 6), (70, 14, 294, 6), (112, 8, 284, 5))),
)
# name, class, tissue, rows: vessels of the belly, both named and not
_BELLY: tuple[tuple[str, int, str, Rows], ...] = (
    (
        "splenic vein",
        17,
        "portal",
        ((-88, -30, 54, 3.5), (-60, -20, 40, 4.2), (-30, 3, 24, 4.8), (-4, 14, 10, 5.5), (12, 13, 5, 6.5)),
    ),
    ("portal vein", 17, "portal", ((12, 13, 4, 6.5), (22, 12, 20, 7.2), (34, 9, 40, 7.5), (44, 6, 55, 7))),
    ("portal branch", 17, "portal", ((42, 7, 53, 6.5), (56, 2, 60, 5.8), (70, -2, 62, 5))),
    ("portal branch", 17, "portal", ((42, 7, 53, 6), (28, 18, 66, 5.2), (8, 30, 74, 4.4))),
    (
        "mesenteric vein",
        0,
        "portal",
        (
            (12, 13, 4, 6.2),
            (13, 24, -14, 5.6),
            (13, 40, -38, 5.2),
            (12, 45, -52, 5),
            (12, 43, -75, 4),
            (16, 40, -100, 3),
        ),
    ),
    (
        "mesenteric artery",
        0,
        "artery",
        ((-8, 8, 8, 4), (-8, 20, -4, 4), (-5, 38, -36, 3.6), (-3, 45, -50, 3.4), (1, 43, -75, 3), (8, 40, -105, 2.4)),
    ),
    ("celiac artery", 0, "artery", ((-9, -2, 30, 4.5), (-8, 10, 33, 4), (-8, 17, 33, 3.5))),
    (
        "splenic artery",
        0,
        "artery",
        ((-8, 17, 33, 3), (-28, 8, 40, 2.8), (-48, -8, 46, 2.8), (-66, -22, 48, 2.6), (-86, -28, 62, 2.2)),
    ),
    ("hepatic artery", 0, "artery", ((-8, 17, 33, 3), (10, 20, 30, 2.8), (26, 20, 36, 2.6), (38, 14, 52, 2.2))),
    ("right renal artery", 0, "artery", ((-4, -2, -3, 3.3), (16, -14, -6, 3), (38, -24, -8, 2.8), (57, -33, -10, 2.6))),
    ("left renal artery", 0, "artery", ((-12, -2, 0, 3.3), (-32, -14, 2, 3), (-57, -33, 4, 2.6))),
    ("right renal vein", 0, "vein", ((26, -4, -6, 5.8), (42, -14, -8, 5.2), (57, -31, -11, 4.8))),
    (
        "left renal vein",
        0,
        "vein",
        ((14, 8, 1, 5), (-6, 15, 3, 4.6), (-26, 2, 4, 5), (-42, -14, 5, 5.2), (-57, -31, 4, 4.8)),
    ),
)
_TRACHEA: Rows = ((1, 4, 340, 9), (1, -4, 300, 9), (3, -11, 270, 9), (5, -17, 246, 9), (5, -20, 233, 9.5))
_BRONCHI: tuple[Rows, ...] = (
    ((5, -20, 234, 8.5), (20, -22, 222, 7), (36, -24, 212, 6.2), (46, -26, 204, 5)),
    ((5, -20, 234, 8), (-14, -21, 224, 6.5), (-32, -23, 214, 6), (-44, -25, 206, 5)),
)
_ESOPHAGUS: Rows = (
    (0, -14, 340, 6),
    (-1, -20, 297, 6),
    (-4, -29, 270, 6.5),
    (-5, -33, 245, 6.5),
    (-5, -34, 215, 6.5),
    (-5, -33, 190, 6.5),
    (-6, -30, 160, 6.5),
    (-10, -23, 132, 7),
    (-17, -15, 112, 7.5),
    (-27, -9, 98, 8),
)


def _gullet(tissues: Tissues) -> Painter:
    wall, inside = np.float32(tissues["gut wall"]), np.float32(tissues["gut fluid"] - 60)

    def look(patch: Patch) -> Array:
        return np.where(patch.distance < -5.0, inside, wall - 20)

    return look


def vessel_parts(person: Person, tissues: Tissues) -> list[Part]:
    """Airways, gullet, arteries and veins of the trunk."""
    parts = [Part(name="trachea", shape=tube(_TRACHEA, 12.0), label=57, look=tissues["gas"] - 20, weight=9.0)]
    for rows in _BRONCHI:
        parts.append(Part(name="bronchus", shape=tube(rows, 10.0), label=57, look=tissues["gas"] - 20, weight=9.0))
    for name, label, tissue, table in VESSELS:
        wide = person.size(name.replace("right ", "").replace("left ", ""), 0.08)
        rows = tuple((a, b, c, r * wide) for a, b, c, r in table)
        look = textured(tissues[tissue], 5.0, 25.0, 10)
        parts.append(Part(name=name, shape=tube(rows, 10.0), label=label, look=look, weight=6.0))
    for name, tissue, rows in _PAIRED:
        for side in (rows, mirrored(rows)):
            parts.append(Part(name=name, shape=tube(side, 12.0), look=tissues[tissue], weight=5.0))
    wall = tube(_TRACHEA, 12.0).grown(1.8)
    parts.append(Part(name="tracheal wall", shape=wall, look=tissues["muscle"], weight=5.0))
    for rows in _BRONCHI:
        shape = tube(rows, 10.0).grown(1.4)
        parts.append(Part(name="bronchial wall", shape=shape, look=tissues["muscle"], weight=5.0))
    gullet = tube(_ESOPHAGUS, 10.0, flat=np.array([1.0, 0.0, 0.0]), ratio=1.3)
    parts.append(Part(name="esophagus", shape=gullet, label=11, look=_gullet(tissues), weight=5.0))
    return parts


def belly_vessel_parts(person: Person, tissues: Tissues) -> list[Part]:
    """The vessels of liver, spleen, kidneys and gut."""
    parts = []
    for name, label, tissue, rows in _BELLY:
        wide = person.widened(name.rsplit(" ", maxsplit=1)[0] + " vessels", rows, 0.06)
        parts.append(Part(name=name, shape=tube(wide, 8.0), label=label, look=tissues[tissue], weight=6.0))
    return parts
