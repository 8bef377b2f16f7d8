"""The random transforms of training patches: the paper's (spec 5.2), and warps for when few people are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from monai.transforms import (
    RandAdjustContrastd,
    RandAffined,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSimulateLowResolutiond,
    RandZoomd,
    Transform,
)

from VISTA3DLib.geometry import Index3

_TURN, _STRETCH, _SHEAR = 0.2, 0.3, 0.1  # largest, about each axis (radians) and along it
_CONTRAST_PROB, _GAMMA = 0.3, (0.7, 1.4)
_NOISE_PROB, _NOISE = 0.5, 0.025  # as CTs have it, up to 50 HU; the paper's goes to 400
_MARGIN = 0.2  # of a window's side; what a warp sees beyond it, so that corners show anatomy and no repeated border


def paper_transforms(keys: Sequence[str]) -> list[Transform]:
    """The paper's: zoom of image and maps, the rest of the image alone. No flips, no rotations."""
    modes = _modes(keys, "trilinear")
    zoom = RandZoomd(keys, prob=0.2, min_zoom=0.8, max_zoom=1.2, mode=modes, allow_missing_keys=True)
    return [zoom, *_image_transforms()]


def warping_transforms(keys: Sequence[str], window: Index3, prob: float) -> list[Transform]:
    """Instead of the paper's zoom: turn, stretch and shear image and maps, ``prob`` of the patches; gamma, and noise.

    For patches of ``warped_size``; the result is ``window`` voxels large, its middle that of the patch.
    """
    warp = RandAffined(
        keys,
        prob=prob,
        spatial_size=window,
        rotate_range=(_TURN,) * 3,
        scale_range=(_STRETCH,) * 3,
        shear_range=(_SHEAR,) * 3,
        mode=_modes(keys, "bilinear"),
        padding_mode="border",
        allow_missing_keys=True,
    )
    gamma = RandAdjustContrastd("image", prob=_CONTRAST_PROB, gamma=_GAMMA)
    return [warp, gamma, *_image_transforms(), RandGaussianNoised("image", prob=_NOISE_PROB, std=_NOISE)]


def warp_margin(window: Index3) -> Index3:
    """How many voxels a warp sees beyond each side of a window."""
    x, y, z = (math.ceil(side * _MARGIN) for side in window)
    return x, y, z


def warped_size(window: Index3) -> Index3:
    """How large a patch is cut that is warped to a window."""
    x, y, z = (side + 2 * margin for side, margin in zip(window, warp_margin(window), strict=True))
    return x, y, z


def _image_transforms() -> list[Transform]:
    """What changes values and sharpness of the image alone."""
    return [
        RandSimulateLowResolutiond("image", prob=0.2, zoom_range=(0.3, 1.0)),
        RandGaussianSmoothd("image", prob=0.2, sigma_x=(0.5, 1.0), sigma_y=(0.5, 1.0), sigma_z=(0.5, 1.0)),
        RandScaleIntensityd("image", prob=0.2, factors=0.1),
        RandShiftIntensityd("image", prob=0.2, offsets=0.1),
        RandGaussianNoised("image", prob=0.2, std=0.2),
    ]


def _modes(keys: Sequence[str], between_voxels: str) -> list[str]:
    return [between_voxels if key == "image" else "nearest" for key in keys]
