"""What a classical method gets to see of a CT: the surroundings of the clicks, as far as the model sees them.

The crop reaches half a model window to every side of each click and has the model's spacing, so that the methods
compete on the same image. It follows from the clicks alone: the truth is not known here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.simulation import Click
from VISTA3DLib.geometry import Box, Grid, Index3
from VISTA3DLib.resample import resample_linear, resample_nearest
from VISTA3DLib.results import BoolArray
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.volume import Volume

MOST_VOXELS = 80**3  # a random walker takes seconds on these; larger crops are made coarser
_KEPT = 32  # crops: one object's clicks, for one method after the other


@dataclass(frozen=True, kw_only=True, eq=False)
class ClickedCrop:
    """``image`` (float32 HU) on ``grid``, with ``positive`` and ``negative`` clicks as voxels of it.

    ``box`` is where it lies on the volume's ``whole`` grid.
    """

    image: npt.NDArray[np.float32]
    grid: Grid
    whole: Grid
    box: Box
    positive: tuple[Index3, ...]
    negative: tuple[Index3, ...]

    def on_volume(self, mask: BoolArray) -> BoxedMask:
        """A mask of the crop on the volume's grid (nearest)."""
        return BoxedMask.of(resample_nearest(mask, self.grid, self.whole.cropped(self.box)), self.box.start)


class CropMaker:
    """Makes crops of one volume; ``settings`` are the model's that the methods stand beside."""

    def __init__(self, volume: Volume, settings: NetworkSettings) -> None:
        self._volume = volume
        self._spacing = np.asarray(settings.spacing or volume.grid.spacing)
        reach_mm = self._spacing * settings.window / 2.0
        # Axes may be turned between the volume and the model: the longest reach serves all of them.
        self._reach = [int(np.ceil(reach_mm.max() / s)) for s in volume.grid.spacing]
        self._images: OrderedDict[Box, tuple[npt.NDArray[np.float32], Grid]] = OrderedDict()

    def around(self, clicks: Sequence[Click]) -> ClickedCrop:
        """The crop for these clicks; its voxels are at most ``MOST_VOXELS``."""
        box = Box(start=(0, 0, 0), stop=(0, 0, 0))
        for click in clicks:
            i, j, k = click.index
            box = box | Box(start=(i, j, k), stop=(i + 1, j + 1, k + 1)).grown(self._reach)
        box = box & self._volume.grid.box
        image, grid = self._image(box)
        places = {sign: tuple(self._place(c, grid) for c in clicks if c.positive == sign) for sign in (True, False)}
        return ClickedCrop(
            image=image,
            grid=grid,
            whole=self._volume.grid,
            box=box,
            positive=places[True],
            negative=tuple(p for p in places[False] if p not in places[True]),
        )

    def _place(self, click: Click, grid: Grid) -> Index3:
        nearest = np.floor(grid.to_voxel(self._volume.grid.to_world(click.index)) + 0.5).astype(int)
        i, j, k = nearest.clip(0, np.asarray(grid.shape) - 1)
        return int(i), int(j), int(k)

    def _image(self, box: Box) -> tuple[npt.NDArray[np.float32], Grid]:
        if box not in self._images:
            self._images[box] = self._resampled(box)
            if len(self._images) > _KEPT:
                self._images.popitem(last=False)
        return self._images[box]

    def _resampled(self, box: Box) -> tuple[npt.NDArray[np.float32], Grid]:
        source = self._volume.grid.cropped(box)
        sides = np.asarray(source.shape) * source.spacing
        spacing = np.maximum(self._spacing, source.spacing)  # finer than the CT would add nothing but voxels
        excess = np.prod(sides / spacing) / MOST_VOXELS
        if excess > 1.0:
            spacing = spacing * np.cbrt(excess)
        grid = source.with_spacing(spacing)
        image = np.asarray(self._volume.finite[box.slices], dtype=np.float32)
        # Half a target voxel of blur: without it a coarser grid would pick single noisy voxels.
        sigma = [0.5 * t / s if t > 1.2 * s else 0.0 for t, s in zip(spacing, source.spacing, strict=True)]
        smooth = ndimage.gaussian_filter(image, sigma, truncate=2.0) if any(sigma) else image
        return resample_linear(smooth, source, grid).numpy(), grid
