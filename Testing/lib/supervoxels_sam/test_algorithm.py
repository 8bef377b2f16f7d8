"""Supervoxels from SAM features equal the plain algorithm of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from monai.transforms import Resize, ScaleIntensityRange
from monai.transforms.utils import get_largest_connected_component_mask
from skimage.segmentation import slic
from tiny_sam import NEEDS_SAM, Make

from VISTA3DLib.geometry import Index3
from VISTA3DLib.training import sam_views, supervoxels
from VISTA3DLib.training.sam_features import load_slice_encoder
from VISTA3DLib.training.supervoxel_grid import air_mask, block_mean
from VISTA3DLib.volume import Volume

pytestmark = NEEDS_SAM


def reference_features(volume: Volume, checkpoint: Path) -> torch.Tensor:
    """The algorithm plainly, all in memory at the volume's resolution, with MONAI's transforms: 32 x X x Y x Z.

    Only the network is shared with the code under test.
    """
    own = load_slice_encoder(checkpoint, torch.device("cpu"))
    data = ScaleIntensityRange(-1000, 1000, 0, 255, clip=True)(torch.from_numpy(volume.array.astype(np.float32)))
    mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    deviation = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    total: Any = 0
    for order, back in (((2, 0, 1), (0, 1, 2, 3)), ((1, 0, 2), (0, 1, 3, 2)), ((0, 1, 2), (0, 3, 1, 2))):
        slices, parts = data.permute(order), []
        for start in range(0, slices.shape[0], 8):
            image = slices[start : start + 8]
            d, h, w = image.shape
            side = max(h, w)
            image = torch.nn.functional.pad(image, (0, side - w, 0, side - h))
            image = Resize([d, 64, 64], mode="bilinear")(image[None])[0]
            image = (torch.stack([image] * 3, 1) - mean) / deviation
            with torch.inference_mode():
                features = own._upscaling(own._encoder(image))
            assert features.shape == (d, 32, 16, 16)
            parts.append(Resize([side, side, d], mode="bilinear")(features.permute(1, 2, 3, 0))[:, :h, :w])
        total = total + torch.cat(parts, -1).permute(back)
    return total.as_tensor() if hasattr(total, "as_tensor") else total


def reference_supervoxels(features: torch.Tensor, volume: Volume, segments: int) -> npt.NDArray[np.int64]:
    """SLIC and the air rule; the numbers made contiguous, in their order."""
    labels = slic(features.numpy(), channel_axis=0, compactness=0.01, n_segments=segments, sigma=3)
    air = get_largest_connected_component_mask(torch.from_numpy(volume.array < -800), connectivity=None)[None, None]
    grown = torch.nn.functional.max_pool3d(air.float(), 3, 1, 1)
    closed = -torch.nn.functional.max_pool3d(-grown, 3, 1, 1)
    labels[closed[0, 0].bool().numpy()] = 0
    present = np.unique(labels[labels > 0])
    return np.asarray(np.searchsorted(present, labels) + 1) * (labels > 0)


def test_equals_the_plain_algorithm_when_the_working_grid_is_the_volumes(
    make: Make, volume: Volume, checkpoint: Path
) -> None:
    features = reference_features(volume, checkpoint)
    expected = reference_supervoxels(features, volume, 30)
    assert len(np.unique(expected)) > 10
    assert np.array_equal(make(), expected)


def test_batches_change_nothing(make: Make) -> None:
    assert np.array_equal(make(slices_at_once=1), make(slices_at_once=8))


def test_features_on_a_coarser_grid_are_the_means_of_the_fine_ones(
    volume: Volume, checkpoint: Path, tmp_path: Path
) -> None:
    """Blocks that do not divide the volume, and fewer slices at once than a block has."""
    fine = reference_features(volume, checkpoint).numpy()
    encoder = load_slice_encoder(checkpoint, torch.device("cpu"))
    blocks: Index3 = (3, 2, 4)
    store = sam_views.view_features(volume.array, blocks, encoder, tmp_path / "w", checkpoint, slices_at_once=3)
    coarse = store.total()
    assert coarse.shape == (6, 8, 3, 32)
    for channel in (0, 7, 31):
        assert np.allclose(coarse[..., channel], block_mean(fine[channel], blocks), atol=1e-4)
    store.remove()
    assert not (tmp_path / "w").exists()


def test_a_coarser_grid_still_covers_all_that_is_not_air(make: Make, volume: Volume) -> None:
    labels = make(working_mm=3.0, segments=10)
    assert np.array_equal(labels == 0, air_mask(volume.array))
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
    assert 3 < labels.max() <= 20


def test_large_volumes_are_coarsened_on_their_own(make: Make, volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(supervoxels._MOST_VOXELS, "sam", 700)
    shapes = []
    inner = supervoxels.slic_supervoxels

    def seen(features: npt.NDArray[np.float32], *args: Any, **values: Any) -> Any:
        shapes.append(features.shape)
        return inner(features, *args, **values)

    monkeypatch.setattr(supervoxels, "slic_supervoxels", seen)
    assert make(segments=10).shape == volume.array.shape
    assert np.prod(shapes[0][:3]) <= 700
