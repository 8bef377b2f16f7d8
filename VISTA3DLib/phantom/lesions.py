"""Tumours of the liver and nodules of the lungs."""

from __future__ import annotations

import numpy as np

from VISTA3DLib.phantom.abdomen import LIVER, liver_inside
from VISTA3DLib.phantom.appearance import Tissues
from VISTA3DLib.phantom.canvas import Look, Part, Patch
from VISTA3DLib.phantom.labels import HEPATIC_TUMOR, LUNG_TUMOR
from VISTA3DLib.phantom.shapes import Array, Distance, Points, Solid, ellipsoid, union
from VISTA3DLib.phantom.thorax import LOBES, lung_inside
from VISTA3DLib.phantom.trees import scatter
from VISTA3DLib.phantom.trunk import Trunk

_TUMOUR_RADII = (8.0, 18.0)  # mm
_NODULE_RADII = (5.5, 10.0)


def _places(inside: Distance, low: Points, high: Points, count: int, rng: np.random.Generator) -> Points:
    """Points well inside a shape and apart from each other; less so where there is no room for that."""
    for depth, apart in ((16.0, 45.0), (10.0, 35.0), (5.0, 20.0), (0.0, 0.0)):
        chosen: list[Points] = []
        for point in scatter(inside, low, high, 200, depth, rng):
            if len(chosen) < count and all(np.linalg.norm(point - other) >= apart for other in chosen):
                chosen.append(point)
        if len(chosen) == count:
            break
    return np.asarray(chosen).reshape(-1, 3)


def _blob(centre: Points, radius: float, rng: np.random.Generator) -> Solid:
    """A ball with one or two bulges."""
    solids = [ellipsoid(tuple(centre), np.asarray(rng.uniform(0.85, 1.1, 3) * radius))]
    for _ in range(2):
        offset = rng.normal(size=3)
        offset *= 0.6 * radius / np.linalg.norm(offset)
        solids.append(ellipsoid(tuple(centre + offset), np.asarray(rng.uniform(0.5, 0.7, 3) * radius)))
    return union(*solids, blend=radius * 0.5)


def _tumour_look(tissues: Tissues, radius: float) -> Look:
    core, rim = np.float32(tissues["tumour"]), np.float32(tissues["tumour rim"])

    def look(patch: Patch) -> Array:
        # dark and uneven within, a brighter rim when there is contrast
        inner = core + np.float32(6) * patch.ripple(radius, 31) - np.float32(8) * (patch.distance < -0.6 * radius)
        return np.where(patch.distance > -2.0, (rim + inner) / 2, inner).astype(np.float32)

    return look


def lesion_parts(trunk: Trunk, tissues: Tissues, seed: int, count: int) -> list[Part]:
    """``count`` hepatic tumours and as many lung nodules, drawn from ``seed`` whatever the anatomy."""
    rng = np.random.default_rng([seed, 3])
    parts = []
    liver, low, high = liver_inside(trunk)
    for centre in _places(liver, low, high, count, rng):
        radius = float(rng.uniform(*_TUMOUR_RADII))
        blob, look = _blob(centre, radius, rng), _tumour_look(tissues, radius)
        parts.append(Part(name="hepatic tumor", shape=blob, look=look, inside=(LIVER,), overlap=HEPATIC_TUMOR))
    for _ in range(count):
        lung, low, high = lung_inside(trunk, 1 if rng.random() < 0.55 else -1)
        for centre in _places(lung, low, high, 1, rng):
            blob = _blob(centre, float(rng.uniform(*_NODULE_RADII)), rng)
            parts.append(Part(name="lung tumor", shape=blob, look=tissues["nodule"], inside=LOBES, overlap=LUNG_TUMOR))
    return parts
