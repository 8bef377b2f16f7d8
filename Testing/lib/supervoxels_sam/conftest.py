"""Supervoxels from SAM features, with a tiny SAM.

What is real here: segment-anything's own classes (ImageEncoderViT, MaskDecoder) loaded the way that production loads
them, checkpoints on disk in SAM's format with SAM's tensor names, the three views, SLIC, the files. What is not: the
network is tiny (2 blocks of 32 channels, 64 x 64 pixels) and its weights are random, so nothing here says how well
SAM's supervoxels follow organs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from odd_volumes import blobs
from tiny_sam import SHAPE, Make

from VISTA3DLib.training import sam_features
from VISTA3DLib.training.supervoxels import SupervoxelSettings, make_supervoxels
from VISTA3DLib.volume import Volume


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SAM with random weights, saved as SAM's checkpoints are (with the prompt encoder's tensors in it)."""
    modeling = sam_features._modeling()
    encoder = modeling.ImageEncoderViT(
        img_size=64, embed_dim=32, depth=2, num_heads=2, use_rel_pos=True, window_size=3, global_attn_indexes=(1,)
    )
    transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    decoder = modeling.MaskDecoder(transformer_dim=256, transformer=transformer)
    random = torch.Generator().manual_seed(0)
    tensors = {"prompt_encoder.no_mask_embed.weight": torch.zeros(1, 256)}
    for prefix, module in (("image_encoder", encoder), ("mask_decoder", decoder)):
        for name, value in module.state_dict().items():
            spread = 0.5 / max(1, value[0].numel() if value.ndim > 1 else 1) ** 0.5
            tensors[f"{prefix}.{name}"] = torch.randn(value.shape, generator=random) * spread + (value == 1)
    path = tmp_path_factory.mktemp("sam") / "sam_tiny.pth"
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def volume() -> Volume:
    """Blobs of three different sides, in which no axis can stand for another."""
    return Volume(array=blobs(SHAPE), affine=np.diag([-1.5, -1.5, 2.0, 1.0]))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads cost more than they gain on images of 64 x 64."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make(checkpoint: Path, volume: Volume) -> Make:
    """Makes supervoxels of the volume with the tiny SAM."""

    def run(work_folder: Path | None = None, *, of: Volume = volume, **values: Any) -> npt.NDArray[np.int16]:
        runs = {k: values.pop(k) for k in ("progress", "cancel", "device") if k in values}
        chosen = {"segments": 30, "compactness": 0.01, "sam_checkpoint": checkpoint, **values}
        return make_supervoxels(of, SupervoxelSettings(method="sam", **chosen), work_folder=work_folder, **runs)

    return run
