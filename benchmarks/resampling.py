"""A CT of 512 x 512 x 600 to the model's grid and a label map back."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from benchmarks.measure import measured, report
from VISTA3DLib.geometry import Grid

SHAPE, SPACING = (512, 512, 600), (0.7, 0.7, 1.0)


def the_ct() -> tuple[np.ndarray, Grid]:
    """A CT in DICOM's orientation and memory order, smooth enough to be one."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(-1000, 1500, (75, 64, 64), dtype=np.int16)
    array = np.kron(coarse, np.ones((8, 8, 8), dtype=np.int16)).transpose(2, 1, 0)
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    affine[:3, 3] = 180.0, 170.0, -300.0
    return array, Grid(shape=SHAPE, affine=affine)


def the_labels(shape: tuple[int, ...]) -> np.ndarray:
    """A label map on the model's grid."""
    index = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    return ((index // 977) % 118).astype(np.uint8)


def checksum(array: np.ndarray) -> int:
    """Depends on every value and its place."""
    flat = np.ascontiguousarray(array).reshape(-1).astype(np.uint64)
    return int((flat * (np.arange(flat.size, dtype=np.uint64) % 1000003 + 1)).sum())


def ours() -> None:
    """Separable, with flips folded into indices."""
    from VISTA3DLib.resample import memory_order, resample_linear, resample_nearest

    array, grid = the_ct()
    model = grid.with_spacing((1.5, 1.5, 1.5)).to_ras_axes()
    kept: dict[str, Any] = {}

    def work() -> dict[str, Any]:
        kept["image"] = resample_linear(array, grid, model)
        kept["back"] = resample_nearest(kept["labels"], model, grid, like=memory_order(array))
        return {}

    kept["labels"] = the_labels(model.shape)
    done = measured(work)
    done.result.update(sum=float(kept["image"].double().sum()), back=checksum(kept["back"]))
    report(done)


def theirs() -> None:
    """MONAI's Spacing and its inverse, as the bundle runs them."""
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Compose, Invertd, Orientationd, Spacingd

    array, grid = the_ct()
    image = MetaTensor(
        torch.from_numpy(np.ascontiguousarray(array)[None]), affine=torch.from_numpy(np.array(grid.affine))
    )
    transforms = Compose(
        [Spacingd("image", (1.5, 1.5, 1.5), mode="bilinear"), Orientationd("image", axcodes="RAS", labels=None)]
    )
    invert = Invertd("pred", transforms, orig_keys="image", nearest_interp=True)
    kept: dict[str, Any] = {}

    def work() -> dict[str, Any]:
        data = transforms({"image": image})
        labels = torch.from_numpy(the_labels(tuple(data["image"].shape[1:])).astype(np.float32))
        data["pred"] = MetaTensor(labels[None], meta=data["image"].meta)
        kept["image"] = data["image"]
        kept["back"] = invert(data)["pred"][0]
        return {}

    done = measured(work)
    back = checksum(kept["back"].numpy().astype(np.uint8))
    done.result.update(sum=float(kept["image"].as_tensor().double().sum()), back=back)
    report(done)


if __name__ == "__main__":
    {"ours": ours, "theirs": theirs}[sys.argv[1]]()
