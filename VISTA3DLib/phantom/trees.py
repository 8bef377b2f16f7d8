"""Branching vessels that fill a region."""

from __future__ import annotations

import numpy as np

from VISTA3DLib.phantom.shapes import FAR, Distance, Points, Tube

_MURRAY = 2.6  # the radii of two branches, each to this power, add up to their stem's


def scatter(
    distance: Distance, low: Points, high: Points, count: int, depth: float, rng: np.random.Generator
) -> Points:
    """Up to ``count`` random points that are at least ``depth`` mm inside a shape."""
    points = rng.uniform(low, high, size=(count * 12, 3))
    x, y, z = points.astype(np.float32).T
    return np.asarray(points[distance(x, y, z) < -depth][:count])


def grow(root: Points, targets: Points, tip: float, rng: np.random.Generator, step: float = 13.0) -> Tube:
    """A tree from ``root`` to all ``targets``; its tips have the radius ``tip`` (mm).

    Targets join in the order of their distance to the root, each at the node from which the way is short, where a
    long way back to the root counts as well: this makes stems that run through the region and divide.
    """
    nodes = np.full((1 + len(targets) * 24, 3), FAR)
    nodes[0], parents, travelled, used = root, [0], [0.0], 1
    for target in targets[np.argsort(np.linalg.norm(targets - root, axis=1))]:
        away = np.linalg.norm(nodes[:used] - target, axis=1)
        start = int(np.argmin(away + 0.35 * np.asarray(travelled)))
        pieces = int(np.clip(np.ceil(away[start] / step), 1, 24))
        sideways = rng.normal(size=3) * away[start] * 0.10
        last, base = start, nodes[start]
        for part in np.arange(1, pieces + 1) / pieces:
            nodes[used] = base + part * (target - base) + np.sin(np.pi * part) * sideways
            travelled.append(travelled[last] + float(np.linalg.norm(nodes[used] - nodes[last])))
            parents.append(last)
            last, used = used, used + 1
    tips = np.zeros(used)
    leaves = np.setdiff1d(np.arange(used), parents)
    tips[leaves] = 1
    for node in range(used - 1, 0, -1):
        tips[parents[node]] += tips[node]
    radii = tip * np.maximum(tips, 1) ** (1 / _MURRAY)
    stems = np.asarray(parents[1:])
    return Tube(
        starts=nodes[stems],
        ends=nodes[1:used],
        start_radii=np.minimum(radii[stems], radii[1:] * 1.2),
        end_radii=radii[1:],
        along=np.zeros(used - 1),
    )
