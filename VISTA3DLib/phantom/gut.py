"""Stomach, duodenum, small bowel and colon: hollow organs with a wall, fluid, gas and stool."""

from __future__ import annotations

import numpy as np

from VISTA3DLib.phantom.appearance import Tissues, walled
from VISTA3DLib.phantom.canvas import Part, Patch
from VISTA3DLib.phantom.person import Person
from VISTA3DLib.phantom.shapes import Array, Points, Rows, Tube, tube

STOMACH, DUODENUM, SMALL_BOWEL, COLON = 12, 13, 19, 62

# R, A, S, radius in mm along the middle of each organ
_STOMACH: Rows = (
    (-46, -34, 104, 20),
    (-50, -25, 90, 30),
    (-54, -2, 64, 30),
    (-53, 26, 36, 28),
    (-41, 46, 10, 23),
    (-18, 56, -2, 19),
    (6, 53, 2, 16),
    (22, 46, 8, 11),
    (32, 41, 11, 8),
)
_DUODENUM: Rows = (
    (33, 40, 11, 10),
    (46, 32, 12, 13),
    (55, 16, 0, 13),
    (55, 8, -22, 13),
    (48, 8, -42, 12.5),
    (32, 20, -52, 12),
    (10, 28, -51, 11),
    (-12, 28, -45, 11),
    (-28, 25, -28, 11.5),
    (-36, 32, -22, 12),
)
_COLON: Rows = (
    (78, 26, -142, 15),
    (82, 25, -128, 22),
    (88, 20, -108, 24),
    (95, 4, -85, 23),
    (97, -6, -62, 22),
    (95, 2, -42, 21),
    (84, 34, -36, 19),
    (58, 56, -42, 18),
    (26, 64, -50, 17.5),
    (-8, 65, -48, 17.5),
    (-42, 60, -32, 19),
    (-70, 50, -12, 18.5),
    (-94, 30, -4, 18),
    (-106, 4, -4, 17),
    (-107, -14, -16, 16),
    (-107, -18, -25, 15),
    (-107, -14, -60, 14.5),
    (-102, -2, -92, 14.5),
    (-86, 10, -118, 14.5),
    (-62, 10, -138, 14.5),
    (-34, 26, -152, 15),
    (-2, 30, -160, 15),
    (20, 10, -156, 15),
    (14, -18, -162, 15),
    (0, -38, -182, 16),
    (0, -46, -208, 18),
    (0, -40, -232, 17),
    (0, -42, -255, 12),
    (0, -52, -276, 9),
)
_HAUSTRA_MM = 30.0


def _stomach(person: Person, tissues: Tissues) -> Part:
    rows = person.widened("stomach", _STOMACH, 0.12)
    gas_depth = float(person.size("stomach gas", 0.4))
    level = person.to_world(np.array([[-45.0, 58.0 - 14.0 * gas_depth, 10.0]]))[0, 1]
    fluid, gas = np.float32(tissues["gut fluid"] + 12), np.float32(tissues["gas"])

    def content(patch: Patch) -> Array:
        food = fluid + np.float32(9) * patch.ripple(16.0, 22)
        return np.where(patch.height > level, gas, food)

    look = walled(tissues, "gut wall", 4.0, content)
    return Part(
        name="stomach",
        shape=tube(rows, 14.0),
        label=STOMACH,
        look=look,
        limit="belly",
        margin=1.0,
        weight=1.6,
        moat=1.2,
    )


def _axis_height(shape: Tube, along: Array) -> Array:
    """A (mm, anatomy) of the axis of a tube at each arc length."""
    ends = np.append(shape.along, shape.along[-1] + 1.0)
    heights = np.append(shape.starts[:, 1], shape.ends[-1, 1])
    return np.asarray(np.interp(along, ends, heights), dtype=np.float32)


def _colon(person: Person, tissues: Tissues) -> Part:
    rows = np.asarray(person.widened("colon", _COLON, 0.10))
    sag = float(person.shift("transverse colon", 12.0)[0])
    rows[7:12, 2] += sag * np.array([0.5, 0.9, 1.0, 0.8, 0.4])
    smooth = tube(rows, 5.0)
    pouches = 1 + 0.11 * np.sin(smooth.along * 2 * np.pi / _HAUSTRA_MM) * (smooth.along < smooth.along[-1] - 190)
    shape = Tube(
        starts=smooth.starts,
        ends=smooth.ends,
        start_radii=smooth.start_radii * pouches,
        end_radii=smooth.end_radii * np.append(pouches[1:], 1.0),
        along=smooth.along,
    )
    stool, gas = np.float32(tissues["stool"]), np.float32(tissues["gas"])
    length = float(smooth.along[-1])

    def content(patch: Patch) -> Array:
        assert patch.along is not None
        grain = patch.ripple(7.0, 23, 12)
        solid = np.where(grain > 1.0, -220, stool + 26 * grain).astype(np.float32)
        part = patch.along * np.float32(1 / length)
        # gas rises into the transverse colon and the sigmoid, stool lies on the right and on the left
        empty = 4 + 12 * np.cos(part * 13.0) + 6 * np.cos(patch.along * 0.021)
        return np.where(patch.y - _axis_height(shape, patch.along) > empty, gas, solid)

    look = walled(tissues, "gut wall", 2.2, content)
    return Part(
        name="colon", shape=shape, label=COLON, look=look, limit="cavity", margin=1.5, weight=1.3, moat=1.0, track=True
    )


def _bowel_path(person: Person) -> Points:
    """Loops from the duodenum to the caecum: sweeps from side to side, in front and behind, further down each time."""
    rng = person.stream("small bowel")
    rows: list[tuple[float, ...]] = [
        (-36, 32, -22, 11.5),
        (-54, 34, -26, 11.5),
        (-78, 18, -34, 11.5),
        (-84, 6, -52, 11.5),
        (-62, 8, -54, 11.5),
        (-44, 22, -46, 11.5),
        (-46, 42, -56, 11.5),
        (-66, 44, -62, 11.5),
    ]
    side = -1.0
    for level in (-72, -94, -116, -137, -158):
        for front in (54.0, 26.0):
            reach = 74.0 if level > -130 else 52.0
            for x in np.linspace(side * reach, -side * reach, 8):
                bend = 8 * np.sin(x / 11 + rng.uniform(-0.6, 0.6))
                rows.append((x, front + bend, level + rng.normal(0, 3.5), 11.0 + rng.normal(0, 0.9)))
            side = -side
    rows += [(40, 14, -150, 9.5), (62, 18, -132, 9), (76, 22, -122, 8)]
    return np.asarray(rows, dtype=np.float64)


def _small_bowel(person: Person, tissues: Tissues) -> Part:
    shape = tube(_bowel_path(person), 7.0)
    fluid, gas = np.float32(tissues["gut fluid"]), np.float32(tissues["gas"])
    wall = np.float32(tissues["gut wall"])

    def look(patch: Patch) -> Array:
        assert patch.along is not None
        folds = np.float32(2.0) + np.float32(0.9) * np.sin(patch.along * np.float32(1.1))
        bubble = np.cos(patch.along * np.float32(0.016)) + np.cos(patch.along * np.float32(0.0273) + 1) > 1.35
        bubble &= patch.y - _axis_height(shape, patch.along) > 2
        inner = np.where(bubble, gas, fluid + np.float32(12) * patch.ripple(10.0, 24))
        return np.where(patch.distance > -folds, wall, inner).astype(np.float32)

    return Part(
        name="small bowel", shape=shape, label=SMALL_BOWEL, look=look, limit="cavity", margin=1.5, moat=1.0, track=True
    )


def _duodenum(person: Person, tissues: Tissues) -> Part:
    fluid = np.float32(tissues["gut fluid"])
    look = walled(tissues, "gut wall", 2.8, lambda patch: fluid + np.float32(14) * patch.ripple(9.0, 29))
    shape = tube(person.widened("duodenum", _DUODENUM, 0.06), 8.0)
    return Part(name="duodenum", shape=shape, label=DUODENUM, look=look, weight=4.0, moat=1.0)


def gut_parts(person: Person, tissues: Tissues) -> tuple[Part, Part, Part, Part]:
    """Stomach, duodenum, colon and small bowel, which have a wall and contents."""
    return _stomach(person, tissues), _duodenum(person, tissues), _colon(person, tissues), _small_bowel(person, tissues)
