"""Synthetic masses put into patches of real CTs: structures for the click branch that nobody has to draw.

A network of few cases learns its lesions by heart (``docs/training.md``); of masses that are never the same twice it
can learn only what a mass is. Shapes are ellipsoids with smooth bulges, cut to the tissue around them, as tumours of
soft tissue stop at bone and air and often at fat; what a mass encloses belongs to it. Inside, the tissue is replaced by
another mean with a texture of its own; the CT's noise stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from VISTA3DLib.components import label_components
from VISTA3DLib.results import BoolArray

# Of the image as the network sees it (0..1, 2,017 HU wide): fat starts at the first, muscle at the second, bone at the
# third.
_FAT, _MUSCLE, _BONE = 0.41, 0.47, 0.60
_CONTRAST = (0.006, 0.04)  # of the mass against its surroundings: 12 to 80 HU
_TEXTURE = 0.01
_RADIUS = (6.0, 28.0)  # voxels, of a window of 64
_WITHIN_MUSCLE = 0.5  # how often fat is spared
_LEAST = 60  # voxels: smaller ones are no object to click on

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Implanted:
    """``image`` (1, *window) with masses in it, and the mask (*window) bool of each."""

    image: torch.Tensor
    masks: tuple[torch.Tensor, ...]


def implanted(image: torch.Tensor, count: int, rng: np.random.Generator) -> Implanted:
    """Put up to ``count`` masses that do not touch each other into a patch's image (1, *window), values 0..1.

    Fewer, or none, where there is too little soft tissue.
    """
    array = image[0].numpy().copy()
    taken = np.zeros(array.shape, dtype=bool)
    masks = []
    for _ in range(count):
        mask = _shape(array, taken, rng)
        if mask is not None:
            array = _replaced(array, mask, rng)
            taken |= ndimage.binary_dilation(mask, iterations=2)
            masks.append(torch.from_numpy(mask))
    return Implanted(image=torch.from_numpy(array)[None], masks=tuple(masks))


def _shape(image: FloatArray, taken: BoolArray, rng: np.random.Generator) -> BoolArray | None:
    """Where a new mass lies: one piece of soft tissue."""
    lowest = _MUSCLE if rng.random() < _WITHIN_MUSCLE else _FAT
    smooth = ndimage.gaussian_filter(image, 1.0)
    tissue = (smooth > lowest) & (smooth < _BONE) & ~taken
    places = np.argwhere(tissue)
    if not len(places):
        return None
    middle = places[rng.integers(len(places))]
    radius = float(rng.uniform(*_RADIUS)) * min(image.shape) / 64.0
    inside = tissue & (_distance(image.shape, middle, radius, rng) < 1.0)
    pieces = label_components(ndimage.binary_opening(inside))
    own = pieces[tuple(middle)]
    mask = pieces == own if own else np.zeros_like(inside)
    mask = np.asarray(ndimage.binary_fill_holes(mask)) & ~taken
    return mask if int(mask.sum()) >= _LEAST else None


def _distance(
    shape: tuple[int, ...], middle: npt.NDArray[np.int64], radius: float, rng: np.random.Generator
) -> FloatArray:
    """Distance from ``middle`` in units of the surface of a turned ellipsoid with bulges."""
    axes = radius * rng.uniform(0.6, 1.6, 3)
    turned = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix() / axes[:, None]
    offsets = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) - middle
    plain = np.linalg.norm(offsets @ turned.T, axis=-1)
    return np.asarray(plain + rng.uniform(0.0, 0.5) * _smooth_noise(shape, 0.5 * radius, rng), dtype=np.float32)


def _replaced(image: FloatArray, mask: BoolArray, rng: np.random.Generator) -> FloatArray:
    """The image with another tissue in ``mask``; the border is as blurred as a CT's."""
    contrast = float(rng.uniform(*_CONTRAST)) * (1.0 if rng.random() < 0.5 else -1.0)
    noise = image - ndimage.gaussian_filter(image, 1.5)
    texture = rng.uniform(0.0, _TEXTURE) * _smooth_noise(image.shape, float(rng.uniform(1.0, 4.0)), rng)
    tissue = float(np.median(image[mask])) + contrast + texture + float(rng.uniform(0.4, 1.0)) * noise
    share = ndimage.gaussian_filter(mask.astype(np.float32), float(rng.uniform(0.4, 1.0)))
    return np.asarray(image + share * (tissue - image), dtype=np.float32)


def _smooth_noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> FloatArray:
    """Noise of standard deviation 1 whose structures have the size ``sigma`` (voxels)."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma)
    return np.asarray(noise / max(float(noise.std()), 1e-6), dtype=np.float32)
