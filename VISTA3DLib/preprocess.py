"""From a CT to what the network sees: resampled to the model's spacing, turned to RAS, scaled (spec 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from VISTA3DLib.geometry import Box, Grid, axis_maps
from VISTA3DLib.resample import resample_linear
from VISTA3DLib.settings import HUWindow, IntensityRule, Mode, NetworkSettings
from VISTA3DLib.volume import Volume


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedVolume:
    """A volume on the model's grid.

    ``image`` is float32 [X, Y, Z], scaled to 0..1, axes R, A, S. ``crop`` is the box of ``grid`` that the automatic
    branch looks at (the foreground in bundle mode, else everything).
    """

    volume_grid: Grid
    grid: Grid
    image: torch.Tensor
    crop: Box

    @property
    def separable(self) -> bool:
        """Whether the axes of volume and model are the same up to order and direction."""
        return axis_maps(self.grid, self.volume_grid) is not None

    def to_model(self, box: Box) -> Box:
        """The box of model voxels that covers a box of volume voxels, cut to the model grid."""
        return covering_box(box, self.volume_grid, self.grid)

    def to_volume(self, box: Box) -> Box:
        """The box of volume voxels that covers a box of model voxels, cut to the volume's grid."""
        return covering_box(box, self.grid, self.volume_grid)


def model_grid(volume: Grid, settings: NetworkSettings, mode: Mode) -> Grid:
    """The grid of the model over a volume: the model's spacing, axes nearest to R, A, S.

    Obliquity is kept, as in the reference; shear is not. The order of the two steps decides at which end of a
    flipped axis the first voxels of both grids coincide.
    """
    spacing = settings.spacing
    if spacing is None:
        return volume.to_ras_axes()
    if mode.ras_first:
        return volume.to_ras_axes().with_spacing(spacing)
    return volume.with_spacing(spacing).to_ras_axes()


def prepare_volume(volume: Volume, settings: NetworkSettings, mode: Mode) -> PreparedVolume:
    """Resample, crop and scale a volume once; everything that follows looks at the result."""
    grid = model_grid(volume.grid, settings, mode)
    rule = settings.intensity
    clip = _clip_to(rule) if mode.clip_first and isinstance(rule, HUWindow) else None
    image = resample_linear(volume.finite, volume.grid, grid, before=clip)
    crop = foreground_box(image, mode.crop_margin) if mode.crop_foreground else grid.box
    return PreparedVolume(volume_grid=volume.grid, grid=grid, image=_scaled(image, rule, crop), crop=crop)


def foreground_box(image: torch.Tensor, margin: int) -> Box:
    """The box of voxels above 0 HU, ``margin`` wider and cut to the image; all of it when there is none."""
    box = Box.of_mask((image > 0).numpy())
    whole = Box.whole(image.shape)
    return box.grown(margin) & whole if box.size else whole


def covering_box(box: Box, source: Grid, target: Grid) -> Box:
    """The box of ``target`` voxels that covers a box of ``source`` voxels, cut to ``target``."""
    if not box.size:
        return Box(start=(0, 0, 0), stop=(0, 0, 0))
    ends = np.array([[a - 0.5, b - 0.5] for a, b in zip(box.start, box.stop, strict=True)])
    corners = np.array([[i, j, k] for i in ends[0] for j in ends[1] for k in ends[2]])
    index = target.to_voxel(source.to_world(corners))
    low, high = np.floor(index.min(axis=0) + 0.5).astype(int), np.ceil(index.max(axis=0) + 0.5).astype(int)
    return Box(start=(low[0], low[1], low[2]), stop=(high[0], high[1], high[2])) & target.box


def _clip_to(rule: HUWindow):  # type: ignore[no-untyped-def]
    return lambda values: values.clamp_(rule.low, rule.high)


def _scaled(image: torch.Tensor, rule: IntensityRule, crop: Box) -> torch.Tensor:
    if isinstance(rule, HUWindow):
        low, high = rule.low, rule.high
    else:
        values = image[crop.slices].numpy()
        low, high = (float(v) for v in np.percentile(values, [rule.low, rule.high]))
        if high <= low:  # a constant image
            return torch.zeros_like(image)
    return image.sub_(low).div_(high - low).clamp_(0.0, 1.0)
