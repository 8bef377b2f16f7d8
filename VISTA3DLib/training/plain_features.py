"""Supervoxels without a network: SLIC on windowed HU, merged by intensity at several scales and by gradient.

No SAM here: this is what is used when there are no SAM weights (``method="plain"``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cc3d
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from skimage.segmentation import slic

from VISTA3DLib.progress import Tracker
from VISTA3DLib.results import BoolArray
from VISTA3DLib.training.supervoxel_grid import FloatArray
from VISTA3DLib.training.supervoxel_merge import Labels, merged_numbers, region_graph, without_specks

# HU windows, each scaled to 0..1: lung and air, fat to soft tissue, within soft tissue, bone. They overlap where
# organs differ little, so that 30 HU between liver and vessel count as much as 300 HU between lung and trachea.
WINDOWS = ((-1000.0, -300.0), (-160.0, 240.0), (-20.0, 180.0), (150.0, 1200.0))
_SCALES = ((2.0, 0.3), (4.0, 0.3))  # sigma in mm and weight of the smoothed windows beside the windows themselves
_GRADIENT_MM = 2.0
_BORDER_WEIGHT = 1.0
_SEED_VOXELS = 200  # working voxels per SLIC seed: fragments far smaller than any supervoxel that is asked for
_SEED_COMPACTNESS = 0.3
_SEED_ROUNDS = 5
_SPECK_VOXELS = 10  # noise in the air, which has no neighbour to be merged with


def plain_supervoxels(
    hu: FloatArray,
    body: BoolArray,
    spacing: Sequence[float],
    *,
    segments: int,
    compactness: float,
    sigma: Sequence[float],
    tracker: Tracker,
) -> Labels:
    """Labels 1 .. n where ``body`` is set, 0 elsewhere: ``segments`` of them, and one more for each further part that
    does not touch the rest (a table).

    ``hu`` is float32 [I, J, K] with voxels of ``spacing`` mm. ``compactness`` weighs place against intensity: the width
    of a window counts as much as the side of a mean supervoxel divided by it. ``sigma``: smoothing before SLIC in
    voxels along each axis. Reports four steps.
    """
    windows = windowed(hu)
    sides = np.asarray(spacing, dtype=np.float64)
    fragments = slic(
        windows,
        n_segments=max(hu.size // _SEED_VOXELS, 4 * segments),
        compactness=_SEED_COMPACTNESS,
        max_num_iter=_SEED_ROUNDS,
        sigma=tuple(sigma),
        spacing=sides / np.prod(sides) ** (1.0 / 3.0),
        convert2lab=False,
        enforce_connectivity=False,  # small fragments go to the neighbour that they resemble, not to any
        channel_axis=-1,
    )
    tracker.step()
    parts = cc3d.connected_components(np.where(body, fragments, 0).astype(np.uint32), connectivity=6).astype(np.int64)
    tracker.step()
    mean_voxels = np.count_nonzero(body) / segments
    mean_side = float(mean_voxels * np.prod(sides)) ** (1.0 / 3.0)
    graph = region_graph(parts, _channels(windows, sides, compactness / mean_side), gradient_strength(windows, sides))
    tracker.step()
    labels = merged_numbers(graph, segments, _BORDER_WEIGHT)[parts]
    labels = without_specks(labels, min(_SPECK_VOXELS, round(mean_voxels / 4)))
    tracker.step()
    return labels


def windowed(hu: FloatArray) -> FloatArray:
    """The four windows of ``hu``, float32 [I, J, K, 4] in 0..1."""
    out = np.empty((*hu.shape, len(WINDOWS)), dtype=np.float32)
    for n, (low, high) in enumerate(WINDOWS):
        np.clip((hu - np.float32(low)) / np.float32(high - low), 0.0, 1.0, out=out[..., n])
    return out


def gradient_strength(windows: FloatArray, spacing: npt.NDArray[np.float64]) -> FloatArray:
    """Length of the gradient of all windows together, per mm, float32 [I, J, K]; smoothed by 2 mm."""
    squares = np.zeros(windows.shape[:3], dtype=np.float32)
    for n in range(windows.shape[3]):
        smooth = gaussian_filter(windows[..., n], _GRADIENT_MM / spacing)
        for axis, side in enumerate(spacing):
            if smooth.shape[axis] > 1:
                squares += np.gradient(smooth, np.float32(side), axis=axis) ** 2
    return np.sqrt(squares)


def _channels(
    windows: FloatArray, spacing: npt.NDArray[np.float64], per_mm: float
) -> Iterator[npt.NDArray[np.float32]]:
    """What fragments are compared by, one image at a time: the windows, the smoothed windows, the place."""
    for n in range(windows.shape[3]):
        yield windows[..., n]
        for scale, weight in _SCALES:
            yield gaussian_filter(windows[..., n], scale / spacing) * np.float32(weight)
    for axis, (count, side) in enumerate(zip(windows.shape[:3], spacing, strict=True)):
        place = (np.arange(count) * side * per_mm).astype(np.float32)
        yield np.broadcast_to(np.expand_dims(place, tuple(a for a in range(3) if a != axis)), windows.shape[:3])
