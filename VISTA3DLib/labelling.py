"""From blended features to labels: which class wins each voxel, or which classes it belongs to (spec 2.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from VISTA3DLib.automatic import FeatureSlab
from VISTA3DLib.geometry import Box, Index3

_CPU_CHUNK = 8192  # voxels that are classified at once: their logits stay in the cache
_GPU_CHUNK = 2**18


class SlabReader(Protocol):
    """Something that reads blended features slab by slab, in order along the stream axis."""

    def read(self, slab: FeatureSlab) -> None:
        """Take in one slab; nothing of it may be kept without a copy."""


class ClassTable:
    """Class embeddings ``E`` (K, C) with the ids they stand for; answers for columns of features.

    ``labels`` are the values that the classes get in a label map, their own ids by default.
    """

    def __init__(
        self, embeddings: torch.Tensor, class_ids: Sequence[int], *, labels: Sequence[int] | None = None
    ) -> None:
        self.class_ids = tuple(class_ids)
        values = tuple(labels or class_ids)
        self.dtype = np.uint8 if max(values) <= 255 else np.uint16
        background = torch.zeros_like(embeddings[:1])
        # Background is a class with logit 0: it wins where no class is positive, as the reference's threshold does.
        self._with_background = torch.cat([background, embeddings]).t().contiguous()
        self._embeddings = embeddings.t().contiguous()
        self._lookup = np.array([0, *values], dtype=self.dtype)

    def labels(self, features: torch.Tensor) -> npt.NDArray[Any]:
        """Class id of each voxel of ``features`` (C, ...): the largest positive logit, or 0."""
        shape = features.shape[1:]
        winners = [
            (part @ self._with_background.to(part.device)).argmax(1).to(torch.int16) for part in _columns(features)
        ]
        found: npt.NDArray[Any] = self._lookup[torch.cat(winners).cpu().numpy()]
        return found.reshape(shape)

    def bits(self, features: torch.Tensor) -> npt.NDArray[np.uint8]:
        """Which classes are positive at each voxel, eight to a byte: (ceil(K / 8), ...)."""
        shape = features.shape[1:]
        packed = [
            np.packbits((part @ self._embeddings.to(part.device) > 0).cpu().numpy(), axis=1)
            for part in _columns(features)
        ]
        return np.ascontiguousarray(np.concatenate(packed).T).reshape(-1, *shape)


class LabelReader:
    """Collects one label per voxel of the image."""

    def __init__(self, table: ClassTable, shape: Index3) -> None:
        self._table = table
        self.labels = np.zeros(shape, dtype=table.dtype)

    def read(self, slab: FeatureSlab) -> None:
        """Classify the slab's voxels."""
        planes = self.labels.transpose(slab.axes)
        planes[slab.start : slab.stop] = self._table.labels(slab.features)


class BitReader:
    """Collects which classes each voxel belongs to; classes may overlap."""

    def __init__(self, table: ClassTable, shape: Index3) -> None:
        self._table = table
        self._bits = np.zeros((-(-len(table.class_ids) // 8), *shape), dtype=np.uint8)

    def read(self, slab: FeatureSlab) -> None:
        """Test the slab's voxels for every class."""
        planes = self._bits.transpose(0, *(a + 1 for a in slab.axes))
        planes[:, slab.start : slab.stop] = self._table.bits(slab.features)

    def masks(self) -> Iterator[tuple[int, Box, npt.NDArray[np.bool_]]]:
        """For each class: its id, the box it fills, and the mask in that box."""
        yield from unpack_masks(self._bits, self._table.class_ids)


class FeatureKeeper:
    """Keeps the blended features of an image so that further classes need no network pass.

    ``dtype`` float32 keeps the very sums, and later answers equal those of a fresh run; float16 halves the memory.
    """

    def __init__(self, channels: int, shape: Index3, dtype: torch.dtype = torch.float32) -> None:
        self._sums = torch.empty((channels, *shape), dtype=dtype)
        self._weights = torch.empty(shape, dtype=torch.float32)
        self._axes: Index3 = (0, 1, 2)

    def read(self, slab: FeatureSlab) -> None:
        """Copy the slab."""
        self._axes = slab.axes
        self._turned_sums()[:, slab.start : slab.stop] = slab.features
        self._weights.permute(self._axes)[slab.start : slab.stop] = slab.weights

    @property
    def nbytes(self) -> int:
        """Memory that is taken."""
        return self._sums.nbytes + self._weights.nbytes

    def slabs(self, device: torch.device, planes: int = 8) -> Iterator[FeatureSlab]:
        """The stream of slabs again, float32 on ``device``."""
        sums, weights = self._turned_sums(), self._weights.permute(self._axes)
        for start in range(0, weights.shape[0], planes):
            stop = min(start + planes, weights.shape[0])
            yield FeatureSlab(
                start=start,
                stop=stop,
                axes=self._axes,
                features=sums[:, start:stop].to(device, torch.float32),
                weights=weights[start:stop].to(device),
            )

    def normalised(self, box: Box) -> torch.Tensor:
        """Means over the windows (C, *box.shape), float32."""
        return self._sums[(slice(None), *box.slices)].float() / self._weights[box.slices]

    def _turned_sums(self) -> torch.Tensor:
        return self._sums.permute(0, *(a + 1 for a in self._axes))


def unpack_masks(
    bits: npt.NDArray[np.uint8], class_ids: Sequence[int]
) -> Iterator[tuple[int, Box, npt.NDArray[np.bool_]]]:
    """Split packed bits (ceil(K / 8), X, Y, Z) into one mask per class, each cut to its box."""
    for n, class_id in enumerate(class_ids):
        mask = (bits[n // 8] & (0x80 >> (n % 8))) != 0
        box = Box.of_mask(mask)
        yield class_id, box, mask[box.slices].copy()


def _columns(features: torch.Tensor) -> Iterator[torch.Tensor]:
    """Chunks (n, C) float32 of ``features`` (C, ...)."""
    flat = features.reshape(features.shape[0], -1)
    chunk = _CPU_CHUNK if flat.device.type == "cpu" else _GPU_CHUNK
    for start in range(0, flat.shape[1], chunk):
        yield flat[:, start : start + chunk].float().t()
