"""The solid organs of the belly and the pelvis, and the order in which its organs take their places."""

from __future__ import annotations

import numpy as np

from VISTA3DLib.phantom.appearance import Painter, Tissues, textured
from VISTA3DLib.phantom.canvas import Part, Patch
from VISTA3DLib.phantom.gut import gut_parts
from VISTA3DLib.phantom.labels import HEPATIC_VESSEL
from VISTA3DLib.phantom.person import Person
from VISTA3DLib.phantom.shapes import (
    Array,
    Distance,
    Points,
    Rows,
    Solid,
    capsule,
    ellipsoid,
    grown,
    half_space,
    mirror,
    sheet,
    tube,
    union,
    within,
    without,
)
from VISTA3DLib.phantom.trees import grow, scatter
from VISTA3DLib.phantom.trunk import Trunk
from VISTA3DLib.phantom.vessels import belly_vessel_parts

LIVER, SPLEEN, PANCREAS, GALLBLADDER, BLADDER, PROSTATE = 1, 3, 4, 10, 15, 118
RIGHT_KIDNEY, LEFT_KIDNEY, RIGHT_ADRENAL, LEFT_ADRENAL = 5, 14, 8, 9

# R, A, S, radius in mm along the middle of each hollow organ
_PANCREAS: Rows = (
    (43, 16, -28, 10),
    (37, 17, -13, 15),
    (27, 19, 0, 14),
    (10, 24, 9, 11),
    (-8, 25, 15, 10.5),
    (-30, 12, 25, 11),
    (-54, -10, 37, 11),
    (-80, -25, 47, 9),
)
# label, middle, half axes, turn of the solid organs
_SPLEEN = ((-97, -32, 60), (32, 53, 53), (-25, -6, 32))
_GALLBLADDER = ((54, 46, -2), (15, 17, 31), (25, -10, 0))
_BLADDER = ((0, 12, -207), (40, 30, 27), (-12, 0, 0))
_PROSTATE = ((0, 1, -248), (23, 16, 17), (0, 0, 0))
_KIDNEY = ((70, -41, -10), (31, 24.5, 56), (10, -12, -30))
_SINUS = ((55, -32, -10), (17, 9, 23), (10, -12, -30))
_RENAL_PELVIS = ((54, -31, -12), (10, 5, 11), (10, -12, -30))
_LEFT_KIDNEY_SHIFT = (2.0, 1.0, 14.0)  # the left one is higher
_ADRENAL = (((38, -34, 62), (41, -44, 40), 4.6, 4.2), ((40, -40, 52), (52, -50, 36), 4.0, 3.6))


def _shaped(person: Person, name: str, table: tuple[tuple[float, ...], ...], spread: float, move: float) -> Solid:
    """An ellipsoid of a table with this person's size and place."""
    centre, radii, turn = table
    sizes = [radius * person.size(f"{name} {axis}", spread) for axis, radius in enumerate(radii)]
    tilt = np.add(turn, person.shift(f"{name} turn", 6.0, 6.0, 6.0))
    return ellipsoid(np.add(centre, person.shift(name, move, move, move)), sizes, tilt)


def liver_shape(person: Person) -> Solid:
    """The liver, but for what limits it: diaphragm, wall and the organs that are painted before."""
    size = person.size("liver", 0.07)
    right = ellipsoid((66, -8, 50), np.multiply((76, 90, 92), size))
    left_size = person.size("left liver lobe", 0.14)
    left = ellipsoid((-8, 42, 82), np.multiply((72, 42, 36), left_size), (0, 16, 0))
    whole = union(right, left, blend=22.0)
    below = within(whole, half_space((22, 10, 16), (-0.58, 0.05, -0.81)), 24.0)
    tongue = union(below, ellipsoid((8, 46, 70), (50, 34, 34), (0, 15, 0)), blend=15.0)
    # the fissure of the round ligament
    return without(tongue, sheet(((7, 100, 20), (6, 62, 86), (5, 20, 56)), 5.0).distance, 4.0)


def _kidneys(person: Person, tissues: Tissues) -> tuple[list[Part], list[Part]]:
    """Kidneys with the contents of their sinus, and the fat around them."""
    kidneys, around = [], []
    for label, name in ((RIGHT_KIDNEY, "right kidney"), (LEFT_KIDNEY, "left kidney")):
        rise = (0.0, 0.0, 0.0) if label == RIGHT_KIDNEY else _LEFT_KIDNEY_SHIFT
        move = np.add(rise, person.shift(name, 3.0, 3.0, 8.0))
        size = person.size(name, 0.06)
        body, sinus, pelvis = (
            ellipsoid(np.add(centre, move), np.multiply(radii, size), turn)
            for centre, radii, turn in (_KIDNEY, _SINUS, _RENAL_PELVIS)
        )
        shape = without(body, sinus.distance, 5.0)
        fat = grown(body, 4.5)
        if label == LEFT_KIDNEY:
            shape, pelvis, fat = mirror(shape), mirror(pelvis), mirror(fat)
        kidneys.append(Part(name=name, shape=shape, label=label, look=_kidney_look(tissues), weight=2.0))
        kidneys.append(Part(name="renal pelvis", shape=pelvis, look=tissues["urine"], weight=2.0))
        around.append(Part(name="perirenal fat", shape=fat, look=tissues["fat"], weight=0.001))
    return kidneys, around


def _kidney_look(tissues: Tissues) -> Painter:
    cortex, medulla = np.float32(tissues["cortex"]), np.float32(tissues["medulla"])

    def look(patch: Patch) -> Array:
        pyramids = (patch.distance < -6) & (patch.ripple(19.0, 21) > -0.25)
        return np.where(pyramids, medulla, cortex).astype(np.float32)

    return look


def organ_parts(person: Person, tissues: Tissues) -> list[list[Part]]:
    """The organs of belly and pelvis, in groups: what a group took, the next ones do not get."""
    kidneys, around = _kidneys(person, tissues)
    stomach, duodenum, colon, bowel = gut_parts(person, tissues)
    deep = [*belly_vessel_parts(person, tissues), *kidneys]
    soft = [
        _pancreas(person, tissues),
        duodenum,
        Part(
            name="gallbladder",
            shape=_shaped(person, "gallbladder", _GALLBLADDER, 0.15, 3.5),
            label=GALLBLADDER,
            look=_bag(tissues, "bile", 1.6),
            weight=6.0,
        ),
        stomach,
        Part(
            name="spleen",
            shape=_shaped(person, "spleen", _SPLEEN, 0.10, 3.5),
            label=SPLEEN,
            look=textured(tissues["spleen"], 4.0, 14.0, 25),
            weight=2.2,
            moat=1.2,
            limit="belly",
            margin=1.0,
        ),
        Part(
            name="liver",
            shape=liver_shape(person),
            label=LIVER,
            look=textured(tissues["liver"], 4.0, 12.0, 26),
            moat=1.0,
            limit="belly",
            margin=1.0,
        ),
        colon,
        bowel,
        Part(
            name="bladder",
            shape=_shaped(person, "bladder", _BLADDER, 0.16, 2.5),
            label=BLADDER,
            look=_bag(tissues, "urine", 3.0),
            weight=2.5,
            moat=1.5,
        ),
        Part(
            name="prostate",
            shape=_shaped(person, "prostate", _PROSTATE, 0.08, 1.0),
            label=PROSTATE,
            look=textured(tissues["prostate"], 8.0, 12.0, 27),
            moat=1.0,
        ),
    ]
    return [deep, [*around, *_adrenals(tissues)], soft]


def _pancreas(person: Person, tissues: Tissues) -> Part:
    rows = person.widened("pancreas", _PANCREAS, 0.07)
    shape = tube(rows, 8.0, flat=np.array([0.0, 0.0, 1.0]), ratio=1.45)
    value = np.float32(tissues["pancreas"])

    def look(patch: Patch) -> Array:
        # lobules with fat between them
        return value + np.float32(22) * np.minimum(patch.ripple(8.0, 28, 10), 0.2)

    return Part(name="pancreas", shape=shape, label=PANCREAS, look=look, weight=4.0)


def _bag(tissues: Tissues, content: str, thickness: float) -> Painter:
    fluid = np.float32(tissues[content])
    wall = np.float32(tissues["muscle"])
    return lambda patch: np.where(patch.distance > -thickness, wall, fluid)


def _adrenals(tissues: Tissues) -> list[Part]:
    right = union(*(capsule(*limb) for limb in _ADRENAL), blend=3.0)
    left = union(
        *(capsule((-a[0] + 2, a[1] + 6, a[2] - 6), (-b[0] + 2, b[1] + 6, b[2] - 6), r, s) for a, b, r, s in _ADRENAL),
        blend=3.0,
    )
    look = tissues["adrenal"]
    return [
        Part(name="adrenal", shape=shape, label=label, look=look, weight=4.0)
        for shape, label in ((right, RIGHT_ADRENAL), (left, LEFT_ADRENAL))
    ]


def liver_inside(trunk: Trunk) -> tuple[Distance, Points, Points]:
    """Signed distance of the liver, wall and diaphragm considered, and its box."""
    liver, kidney = liver_shape(trunk.person), ellipsoid(*_KIDNEY)

    def inside(x: Array, y: Array, z: Array) -> Array:
        belly = np.maximum(trunk.cavity.distance(x, y, z), trunk.diaphragm(x, y, z) + 3)
        # away from the spine, its muscles and the kidney, which take a part of the shape
        taken = np.maximum(4 - kidney.distance(x, y, z), (8 - x - y) * np.float32(0.7))
        return np.maximum(np.maximum(liver.distance(x, y, z), belly), taken)

    return inside, liver.low, liver.high


def organ_trees(trunk: Trunk, tissues: Tissues) -> list[Part]:
    """Vessels inside the liver, and those of the mesentery."""
    rng = trunk.person.stream("liver vessels")
    targets = scatter(*liver_inside(trunk), 110, 9.0, rng)
    veins = grow(np.array([26.0, -2.0, 102.0]), targets[:45], 1.3, rng, 15.0)
    portal = grow(np.array([44.0, 6.0, 56.0]), targets[45:], 1.2, rng, 15.0)
    look = tissues["hepatic vessel"]
    parts = [
        Part(name="hepatic vessels", shape=tree, look=look, inside=(LIVER,), overlap=HEPATIC_VESSEL)
        for tree in (veins, portal)
    ]
    gut = trunk.person.stream("mesentery").uniform((-70, 18, -165), (70, 60, -60), size=(70, 3))
    mesentery = grow(np.array([6.0, 43.0, -75.0]), gut, 0.7, rng, 15.0)
    parts.append(
        Part(
            name="mesenteric vessels",
            shape=mesentery,
            look=tissues["vein"] * 0.8,
            inside=(0,),
            limit="belly",
            margin=4.0,
        )
    )
    return parts
