"""Heart, and lungs with their lobes, vessels and airways."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from VISTA3DLib.phantom.appearance import Tissues
from VISTA3DLib.phantom.canvas import HARD, Labels, Look, Part, Patch
from VISTA3DLib.phantom.person import Person
from VISTA3DLib.phantom.shapes import Array, Distance, Points, Solid, ellipsoid, grown, tube, union
from VISTA3DLib.phantom.trees import grow, scatter
from VISTA3DLib.phantom.trunk import Trunk

LOBES = (28, 29, 30, 31, 32)
# middle, half axes, turn around R, A, S (degrees)
_MUSCLE = ((-21, 26, 160), (69, 51, 48))
_CHAMBERS = (
    ("left ventricle", (-40, 20, 150), (43, 21, 20)),
    ("right ventricle", (-14, 50, 152), (46, 18, 29)),
    ("left atrium", (-3, -9, 183), (30, 17, 21)),
    ("right atrium", (31, 13, 163), (19, 24, 30)),
)
_HEART_TURN = (0.0, 32.0, -25.0)
_PULMONARY_VEINS = (
    ((18, -8, 190, 7), (36, -6, 198, 6.5), (60, 4, 208, 4.5)),
    ((18, -14, 176, 7), (38, -22, 168, 6.5), (62, -34, 156, 4.5)),
    ((-22, -8, 192, 7), (-42, -4, 202, 6.5), (-64, 8, 212, 4.5)),
    ((-22, -14, 178, 7), (-44, -22, 170, 6.5), (-64, -36, 158, 4.5)),
)
_HILA = {1: (46, -14, 206), -1: (-49, -20, 207)}
_VENOUS_HILA = {1: (50, -16, 182), -1: (-53, -16, 186)}


def heart_shape(person: Person) -> Solid:
    """The heart with its atria."""
    size = person.size("heart", 0.07)
    scaled = [
        ellipsoid(_MUSCLE[0], np.multiply(_MUSCLE[1], size), _HEART_TURN),
        ellipsoid((30, 12, 162), np.multiply((26, 32, 38), size)),
        ellipsoid((-3, -8, 184), np.multiply((36, 21, 24), size)),
        ellipsoid((-6, 36, 184), np.multiply((22, 20, 22), size)),
    ]
    return union(*scaled, blend=12.0)


def _heart_look(tissues: Tissues) -> Look:
    chambers = [ellipsoid(c, r, _HEART_TURN if "ventricle" in name else (0, 0, 0)) for name, c, r in _CHAMBERS]
    wall, blood, venous = (np.float32(tissues[name]) for name in ("myocardium", "cardiac blood", "vein"))

    def look(patch: Patch) -> Array:
        hu = wall + np.float32(5) * patch.ripple(18.0, 11)
        for index, chamber in enumerate(chambers):
            depth = chamber.distance(patch.x, patch.y, patch.z)
            # the right heart is a little less bright; 2 mm of slope for papillary muscle and trabeculae
            part = np.clip(np.float32(0.5) - depth / 2, 0, 1)
            hu = hu + part * ((venous if index in (1, 3) else blood) - hu)
        fat = np.float32(tissues["fat"])
        groove = np.abs(patch.x * 0.55 + patch.z * 0.83 - 142 + patch.y * 0.05) < 1.6
        return np.where(groove & (patch.distance > -6), fat, hu).astype(np.float32)

    return look


def _lung_distance(side: int, x: Array, y: Array, z: Array) -> Array:
    """Signed distance of a lung (1 right, -1 left) from the mediastinum; wall and diaphragm limit it elsewhere."""
    x = np.float32(side) * x
    wide = np.float32(25 if side > 0 else 27)
    # the mediastinum narrows in front of the great vessels, and behind beside the vertebrae
    narrow = np.float32(0.55) * np.maximum(y - 14, 0) + np.float32(0.28) * np.maximum(-36 - y, 0)
    middle = np.maximum(wide - narrow, 4) + np.float32(0.18) * np.maximum(z - 248, 0) - x
    return np.asarray(middle, dtype=np.float32)


def _fissures(side: int, patch: Patch) -> tuple[Array, Array]:
    """Distances above the oblique and the horizontal fissure (mm)."""
    x, y, z = np.abs(patch.x), patch.y, patch.z
    bulge = 4 * np.sin(x * np.float32(0.045)) + np.float32(0.02) * (x - 70)
    high = 222 if side > 0 else 230
    oblique = (z - (high - np.float32(0.84) * (y + 85)) + bulge) * np.float32(0.766)
    return oblique, z - (176 - np.float32(0.10) * (y - 40) + np.float32(0.04) * (x - 70)) - bulge * np.float32(0.6)


def _lobes(side: int) -> Callable[[Patch], Labels]:
    def label(patch: Patch) -> Labels:
        oblique, horizontal = _fissures(side, patch)
        if side < 0:
            return np.where(oblique > 0, 28, 29).astype(np.uint8)
        return np.where(oblique < 0, 32, np.where(horizontal > 0, 30, 31)).astype(np.uint8)

    return label


def _lung_look(side: int, tissues: Tissues) -> Look:
    air = np.float32(tissues["lung"])

    def look(patch: Patch) -> Array:
        # the lung is denser below, towards the back, in a person who lies on it
        hu = air - np.float32(0.32) * patch.y
        hu += np.float32(13) * patch.ripple(9.0, 12)
        hu += np.float32(9) * patch.ripple(30.0, 13)
        oblique, horizontal = _fissures(side, patch)
        line = np.abs(oblique) < 0.6
        if side > 0:
            line |= (np.abs(horizontal) < 0.6) & (oblique > 0)
        return np.asarray(np.where(line, hu + 110, hu), dtype=np.float32)

    return look


def _lung(side: int) -> Solid:
    low, high = (np.array([3.0, -100.0, 5.0]), np.array([140.0, 95.0, 305.0]))
    if side < 0:
        low[0], high[0] = -140.0, -3.0
    return Solid(low=low, high=high, distance=lambda x, y, z: _lung_distance(side, x, y, z))


def heart_parts(person: Person, tissues: Tissues) -> list[Part]:
    """Heart and pulmonary veins, which keep their place before the lungs fill the rest of the chest."""
    heart = heart_shape(person)
    parts = [
        Part(name="heart", shape=heart, label=115, look=_heart_look(tissues), weight=2.0, limit="chest", margin=3.0)
    ]
    blood = tissues["cardiac blood"]
    for rows in _PULMONARY_VEINS:
        parts.append(Part(name="pulmonary vein", shape=tube(rows, 8.0), label=119, look=blood, weight=3.0))
    return parts


def lung_parts(trunk: Trunk, tissues: Tissues) -> list[Part]:
    """The fat around the heart, and both lungs by lobes."""
    fat = grown(heart_shape(trunk.person), 3.5)
    parts = [Part(name="pericardial fat", shape=fat, look=tissues["fat"], weight=HARD, limit="chest")]
    for side in (1, -1):
        parts.append(
            Part(
                name="lung",
                shape=_lung(side),
                label=_lobes(side),
                look=_lung_look(side, tissues),
                limit="chest",
                margin=1.0,
                weight=HARD,
            )
        )
    return parts


def lung_inside(trunk: Trunk, side: int) -> tuple[Distance, Points, Points]:
    """Signed distance of the right (1) or left (-1) lung, heart and wall considered, and its box."""
    lung, heart = _lung(side), heart_shape(trunk.person)

    def inside(x: Array, y: Array, z: Array) -> Array:
        chest = np.maximum(trunk.cavity.distance(x, y, z), -trunk.diaphragm(x, y, z))
        return np.maximum(np.maximum(chest, lung.distance(x, y, z)), 5 - heart.distance(x, y, z))

    return inside, lung.low, lung.high


def lung_trees(trunk: Trunk, tissues: Tissues) -> list[Part]:
    """Arteries, veins and airways in the lungs."""
    parts: list[Part] = []
    for side in (1, -1):
        rng = trunk.person.stream(f"lung {side}")
        targets = scatter(*lung_inside(trunk, side), 420, 5.0, rng)
        arteries = grow(np.array(_HILA[side], dtype=np.float64), targets[:260], 1.0, rng)
        veins = grow(np.array(_VENOUS_HILA[side], dtype=np.float64), targets[260:], 0.9, rng)
        airways = grow(np.add(_HILA[side], (0.0, -10.0, -2.0)), targets[:36] + np.array([0.0, 0.0, 5.0]), 0.95, rng)
        for tree in (arteries, veins):
            parts.append(Part(name="pulmonary vessels", shape=tree, look=tissues["vein"], inside=LOBES))
        parts.append(Part(name="airways", shape=airways, look=_airway(tissues), inside=LOBES))
    return parts


def _airway(tissues: Tissues) -> Look:
    wall, gas = np.float32(0.0), np.float32(tissues["gas"])
    return lambda patch: np.where(patch.distance > -0.9, wall, gas)
