"""Grids and images with odd geometry: identity affines hide every geometry bug."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation


def _oblique(*degrees: float) -> npt.NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return affine


def _sheared(*, i_from_k: float = 0.0, j_from_k: float = 0.0) -> npt.NDArray[np.float64]:
    affine = np.eye(4)
    affine[0, 2], affine[1, 2] = i_from_k, j_from_k
    return affine


# Spacings keep clear of simple ratios to 3 mm: at exact halves the reference's nearest neighbour is decided by noise.
ODD_AFFINES: dict[str, npt.NDArray[np.float64]] = {
    "ras": np.diag([2.03, 2.21, 4.37, 1.0]),
    "lps": np.diag([-1.93, -2.17, 4.13, 1.0]),
    "pir": np.array([[0, 0, 2.23, 0], [-1.91, 0, 0, 0], [0, -4.07, 0, 0], [0, 0, 0, 1.0]]),
    "oblique": _oblique(11, 23, -17) @ np.diag([2.09, -2.29, 4.03, 1.0]),
    "anisotropic": np.diag([-0.97, 1.07, 7.91, 1.0]),
    "sheared": _sheared(j_from_k=0.31) @ np.diag([2.11, 2.27, 3.71, 1.0]),
}
ODD_SHAPES = {"anisotropic": (71, 64, 9)}


def odd_affine(name: str) -> npt.NDArray[np.float64]:
    """An affine of this kind with an origin far from zero."""
    affine = ODD_AFFINES[name].copy()
    affine[:3, 3] = [13.7, -121.3, 402.9]
    return affine


def odd_shape(name: str) -> tuple[int, int, int]:
    """A shape that suits the affine of this name: a few windows of the small network."""
    return ODD_SHAPES.get(name, (33, 39, 23))


def blobs(shape: tuple[int, ...], seed: int = 0, sigma: float = 2.0) -> npt.NDArray[np.int16]:
    """Soft blobs with values like a CT's, from about -1000 to 600."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return np.asarray(noise / noise.std() * 350 - 200).clip(-1024, 3000).astype(np.int16)
