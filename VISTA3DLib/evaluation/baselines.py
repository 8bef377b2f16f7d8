"""Classical interactive methods, as yardsticks beside the model: what the same clicks give without any training.

Each gets the same crop and the same clicks as the others and has one set of parameters for all structures, the best of
those that were tried on sarcomas and abdominal organs (``docs/evaluation.md``). The border of the crop counts as
background where a method needs some before the first negative click.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy import ndimage
from skimage.segmentation import random_walker as walk

from VISTA3DLib.errors import VolumeError
from VISTA3DLib.evaluation.clicked_crop import ClickedCrop
from VISTA3DLib.evaluation.settings import BaselineName
from VISTA3DLib.geometry import Index3, reverse_axes
from VISTA3DLib.merge import keep_hit_components
from VISTA3DLib.results import BoolArray

Baseline = Callable[[ClickedCrop], BoolArray]

_HALF_WIDTH_HU = 200.0  # of the intensities that count, around those that were clicked
_MULTIPLIERS = (2.0, 1.75, 1.5, 1.25, 1.0)  # region growing: standard deviations around the mean
_ROUNDS = 4
_WALKER_BETA = 130.0  # scikit-image's default
_EDGE_HU_PER_MM = 5.0  # fast marching: the front stops at such gradients ...
_PLAIN_HU_PER_MM = 1.0  # ... and runs freely below these
_SLOWEST = 1e-3


def make_baseline(name: BaselineName) -> Baseline:
    """The method of this name: a function from a crop with clicks to a mask of it."""
    methods: dict[BaselineName, Baseline] = {
        "region growing": region_growing,
        "fast marching": fast_marching,
        "random walker": random_walker,
    }
    return methods[name]


def region_growing(crop: ClickedCrop) -> BoolArray:
    """Confidence-connected growth (SimpleITK) from the positive clicks.

    Negative clicks narrow the range of intensities until none of them is reached. Where no range does that, voxels
    nearer to a negative click than to any positive one are given up.
    """
    image = SimpleITK.GetImageFromArray(reverse_axes(_image(crop)))
    seeds = [list(p) for p in crop.positive]
    mask = np.zeros(crop.image.shape, dtype=bool)
    for multiplier in _MULTIPLIERS:
        grown = SimpleITK.ConfidenceConnected(image, seeds, _ROUNDS, multiplier, 1, 1)
        mask = reverse_axes(SimpleITK.GetArrayFromImage(grown)) > 0
        if not any(mask[place] for place in crop.negative):
            return _with_clicks(mask, crop)
    return _with_clicks(mask & (_distance(crop, crop.positive) <= _distance(crop, crop.negative)), crop)


def fast_marching(crop: ClickedCrop) -> BoolArray:
    """Two fronts (SimpleITK) that are slow at edges, from the positive clicks and from the background.

    A voxel belongs to the object when the positive front is there first.
    """
    image = _image(crop)
    gradient = _gradient(image, crop.grid.spacing)
    middle, width = (_EDGE_HU_PER_MM + _PLAIN_HU_PER_MM) / 2.0, (_EDGE_HU_PER_MM - _PLAIN_HU_PER_MM) / 6.0
    speed = 1.0 / (1.0 + np.exp(((gradient - middle) / width).clip(-50.0, 50.0))) + _SLOWEST
    inside = _arrival(speed, crop.positive, crop)
    outside = _arrival(speed, _background(crop), crop)
    return _with_clicks(inside < outside, crop)


def random_walker(crop: ClickedCrop) -> BoolArray:
    """The random walker (scikit-image) from the positive clicks and the background."""
    image = _image(crop)
    seeds = np.zeros(image.shape, dtype=np.int32)
    for place in _background(crop):
        seeds[place] = 2
    for place in crop.positive:
        seeds[place] = 1
    if not (seeds == 0).any():
        return _with_clicks(seeds == 1, crop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # on probabilities a rounding error outside 0..1
        labels = walk(image, seeds, beta=_WALKER_BETA, mode="cg_j", spacing=np.asarray(crop.grid.spacing))
    return _with_clicks(np.asarray(labels == 1), crop)


def _image(crop: ClickedCrop) -> npt.NDArray[np.float64]:
    """HU cut to a range around the clicked intensities; ``VolumeError`` where there is nothing to tell apart."""
    if not crop.positive:
        raise VolumeError("There is no positive click.", "Click on the structure.")
    clicked = float(np.median([_mean_around(crop.image, p) for p in crop.positive]))
    image = crop.image.astype(np.float64).clip(clicked - _HALF_WIDTH_HU, clicked + _HALF_WIDTH_HU)
    if float(np.ptp(image)) == 0.0:
        raise VolumeError("All voxels around the clicks have the same value.", "Leave the case out of the baselines.")
    return image


def _mean_around(image: npt.NDArray[np.float32], place: Index3) -> float:
    return float(image[tuple(slice(max(v - 1, 0), v + 2) for v in place)].mean())


def _gradient(image: npt.NDArray[np.float64], spacing: Sequence[float]) -> npt.NDArray[np.float64]:
    """Gradient magnitude in HU per mm of the image blurred by a voxel."""
    total = np.zeros(image.shape)
    for axis in range(3):
        order = [int(a == axis) for a in range(3)]
        total += (ndimage.gaussian_filter(image, 1.0, order=order) / spacing[axis]) ** 2
    return np.sqrt(total)


def _arrival(speed: npt.NDArray[np.float64], places: Sequence[Index3], crop: ClickedCrop) -> npt.NDArray[np.float64]:
    image = SimpleITK.GetImageFromArray(reverse_axes(speed.astype(np.float32)))
    image.SetSpacing([float(s) for s in crop.grid.spacing])
    times = SimpleITK.FastMarching(image, [list(p) for p in places], 1.0, float(np.finfo(np.float32).max) / 2)
    return np.asarray(reverse_axes(SimpleITK.GetArrayFromImage(times)), dtype=np.float64)


def _background(crop: ClickedCrop) -> tuple[Index3, ...]:
    """The negative clicks and the border of the crop (not across an axis that is nothing but border)."""
    border = np.zeros(crop.image.shape, dtype=bool)
    for axis in range(3):
        if border.shape[axis] >= 5:
            for end in (0, -1):
                border[(slice(None),) * axis + (end,)] = True
    for place in crop.positive:
        border[place] = False
    places = [(int(i), int(j), int(k)) for i, j, k in np.argwhere(border)]
    return (*crop.negative, *places)


def _distance(crop: ClickedCrop, places: Sequence[Index3]) -> npt.NDArray[np.float64]:
    """Millimetres to the nearest of some voxels."""
    free = np.ones(crop.image.shape, dtype=bool)
    for place in places:
        free[place] = False
    return np.asarray(ndimage.distance_transform_edt(free, sampling=crop.grid.spacing))


def _with_clicks(mask: BoolArray, crop: ClickedCrop) -> BoolArray:
    """The components that a positive click lies in, the clicked voxels included, negative ones left out."""
    marked = mask.copy()
    for place in crop.negative:
        marked[place] = False
    for place in crop.positive:
        marked[place] = True
    kept, _ = keep_hit_components(marked, np.array(crop.positive, dtype=np.float64), [True] * len(crop.positive))
    return kept
