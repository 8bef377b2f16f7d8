"""From many small fragments to few supervoxels: neighbours are merged where that costs the least.

The cost of a merge is Ward's: how much the squared distances to the mean grow, here over the features and the place
together (the distance that SLIC itself uses), and more where the border between the two is a strong edge. SLIC alone
cuts everything into pieces of about equal size and hands pieces that are too small to any neighbour, so that small
organs vanish; merging gives large supervoxels in even tissue and small ones around small organs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from VISTA3DLib.training.supervoxel_grid import FloatArray

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionGraph:
    """Fragments 1 .. n-1 (0 is air and has no neighbours) and which of them touch.

    ``sizes`` (n,) voxels. ``points`` (n, D): the fragments' mean features and scaled places. ``edges`` (E, 2): pairs
    a < b, each once. ``faces`` (E,): voxel faces that they share; ``strengths`` (E,): sum of the edge strength there.
    """

    sizes: npt.NDArray[np.float64]
    points: npt.NDArray[np.float64]
    edges: npt.NDArray[np.int64]
    faces: npt.NDArray[np.float64]
    strengths: npt.NDArray[np.float64]


def region_graph(fragments: Labels, channels: Iterable[FloatArray], edge_strength: FloatArray) -> RegionGraph:
    """The graph of ``fragments`` [I, J, K]; ``channels`` and ``edge_strength`` are images on the same grid."""
    count = int(fragments.max()) + 1
    flat = fragments.ravel()
    sizes = np.bincount(flat, minlength=count).astype(np.float64)
    sums = [np.bincount(flat, channel.ravel(), minlength=count) for channel in channels]
    edges, faces, strengths = _borders(fragments, edge_strength, count)
    points = np.stack(sums, axis=1) / np.maximum(sizes, 1.0)[:, None]
    return RegionGraph(sizes=sizes, points=points, edges=edges, faces=faces, strengths=strengths)


def merged_numbers(graph: RegionGraph, wanted: int, border_weight: float) -> Labels:
    """The new number of each fragment, 1 .. n: ``wanted`` groups, and one more for each part that touches no other.

    The cost of a merge is multiplied by 1 + ``border_weight`` * (edge strength at the border / its mean).
    """
    pairs, costs = _dendrogram(graph, border_weight)
    count = len(graph.sizes)
    # Counted from the end of the merging, or a table and noise in the air would use up what was meant for the body.
    taken = pairs[np.argsort(costs, kind="stable")[: max(0, len(pairs) - (wanted - 1))]]
    links = coo_array((np.ones(len(taken), dtype=bool), (taken[:, 0], taken[:, 1])), shape=(count, count))
    _, groups = connected_components(links, directed=False)
    _, numbers = np.unique(groups[1:], return_inverse=True)
    return np.concatenate([[0], numbers.ravel() + 1]).astype(np.int64)


def without_specks(labels: Labels, least: int) -> Labels:
    """Give regions of fewer than ``least`` voxels to the nearest other one; the largest region always stays.

    For specks of noise in the air, which no merge can reach as they touch nothing.
    """
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    small = (sizes > 0) & (sizes < least)
    small[sizes.argmax()] = False
    if not small.any():
        return labels
    specks = small[labels]
    anchors = (labels > 0) & ~specks
    nearest = distance_transform_edt(~anchors, return_distances=False, return_indices=True)
    out = labels.copy()
    out[specks] = labels[tuple(axis[specks] for axis in nearest)]
    return out


def _borders(
    fragments: Labels, strength: FloatArray, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    keys, values = [], []
    for axis in range(3):
        label, edge = np.moveaxis(fragments, axis, 0), np.moveaxis(strength, axis, 0)
        first, second = label[:-1], label[1:]
        border = (first != second) & (first > 0) & (second > 0)
        a, b = first[border], second[border]
        keys.append(np.minimum(a, b) * count + np.maximum(a, b))
        values.append(0.5 * (edge[:-1][border] + edge[1:][border]))
    return _joined(np.concatenate(keys), np.concatenate(values), None, count)


def _joined(
    keys: npt.NDArray[np.int64], strengths: npt.NDArray[np.float64], faces: npt.NDArray[np.float64] | None, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Edges that are one now (``a * count + b``), with their faces and strengths added up."""
    unique, inverse = np.unique(keys, return_inverse=True)
    edges = np.stack([unique // count, unique % count], axis=1)
    total = np.bincount(inverse, faces, minlength=len(unique)).astype(np.float64)
    return edges, total, np.bincount(inverse, strengths, minlength=len(unique)).astype(np.float64)


def _dendrogram(graph: RegionGraph, border_weight: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """All merges until nothing touches: pairs (M, 2) of fragments whose groups become one, and what each costs.

    Pairs that are each other's cheapest are merged at once in each round. For costs of Ward's kind that gives the same
    tree as one merge at a time from the cheapest on, in tens of rounds instead of tens of thousands of steps.
    """
    sizes, points = graph.sizes.copy(), graph.points.copy()
    edges, faces, strengths = graph.edges, graph.faces, graph.strengths
    count = len(sizes)
    mean_strength = max(float(strengths.sum() / faces.sum()), 1e-12) if len(edges) else 1.0
    spent = np.zeros(count)  # a merge never costs less than those that it is built on
    random = np.random.default_rng(0)
    pairs, costs = [np.empty((0, 2), dtype=np.int64)], [np.empty(0)]
    while len(edges):
        a, b = edges.T
        step = points[a] - points[b]
        growth = sizes[a] * sizes[b] / (sizes[a] + sizes[b]) * np.einsum("ij,ij->i", step, step)
        cost = growth * (1.0 + border_weight * strengths / faces / mean_strength)
        chosen = _mutual(edges, cost, count, random)
        into, gone = a[chosen], b[chosen]
        paid = np.maximum(cost[chosen], np.maximum(spent[into], spent[gone]))
        pairs.append(edges[chosen])
        costs.append(paid)
        total = sizes[into] + sizes[gone]
        points[into] = (points[into] * sizes[into, None] + points[gone] * sizes[gone, None]) / total[:, None]
        sizes[into], spent[into] = total, paid
        renamed = np.arange(count)
        renamed[gone] = into
        ends = np.sort(renamed[edges], axis=1)
        kept = ends[:, 0] != ends[:, 1]
        edges, faces, strengths = _joined(ends[kept, 0] * count + ends[kept, 1], strengths[kept], faces[kept], count)
    return np.concatenate(pairs), np.concatenate(costs)


def _mutual(
    edges: npt.NDArray[np.int64], cost: npt.NDArray[np.float64], count: int, random: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Which edges are the cheapest of both their ends; no two of them share an end."""
    # Equal costs (an image without noise) are ordered at random: in the order of their numbers they would form
    # chains that lose one link a round.
    shuffled = random.permutation(len(cost))
    order = shuffled[np.argsort(cost[shuffled], kind="stable")]
    rank = np.empty(len(cost), dtype=np.int64)
    rank[order] = np.arange(len(cost))
    best = np.full(count, len(cost), dtype=np.int64)
    np.minimum.at(best, edges[:, 0], rank)
    np.minimum.at(best, edges[:, 1], rank)
    return np.asarray((rank == best[edges[:, 0]]) & (rank == best[edges[:, 1]]))
