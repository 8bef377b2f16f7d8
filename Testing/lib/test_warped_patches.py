"""Patches that are turned, stretched and sheared: image and maps alike, anatomy in the corners, the middle in place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose
from test_finetune import quick

from VISTA3DLib.errors import SettingsError
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.training.augmentations import warped_size, warping_transforms
from VISTA3DLib.training.datalist import DataList, read_datalist
from VISTA3DLib.training.patches import Patch, PatchSource
from VISTA3DLib.training.settings import STAGES

WINDOW = (24, 20, 26)
GRID = NetworkSettings(filters=8, blocks_down=(1, 1), window=(16, 16, 16), spacing=(3, 3, 3))


def warp_of(image: torch.Tensor, label: torch.Tensor, seed: int, prob: float = 1.0) -> dict[str, torch.Tensor]:
    """The warp alone, without what changes the image's values."""
    warp = Compose(warping_transforms(["image", "label"], WINDOW, prob)[:1])
    warp.set_random_state(seed)
    found: dict[str, torch.Tensor] = warp({"image": image[None].float(), "label": label[None]})
    return {key: torch.as_tensor(value)[0] for key, value in found.items()}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_image_and_label_are_warped_alike(seed: int) -> None:
    label = torch.zeros(warped_size(WINDOW), dtype=torch.int16)
    label[6:20, 7:19, 9:25] = 7
    warped = warp_of(label / 7, label, seed)
    assert warped["image"].shape == warped["label"].shape == WINDOW
    assert set(warped["label"].unique().tolist()) <= {0, 7}
    # Of eight voxels around a place the nearest one weighs at least an eighth.
    assert bool((warped["label"] == 7)[warped["image"] > 0.88].all())
    assert bool((warped["label"] == 0)[warped["image"] < 0.12].all())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_what_lies_in_the_middle_stays_there(seed: int) -> None:
    size = warped_size(WINDOW)
    label = torch.zeros(size, dtype=torch.int16)
    label[tuple(slice(s // 2 - 2, s // 2 + 2) for s in size)] = 1
    places = torch.nonzero(warp_of(label, label, seed)["label"]).double().mean(0)
    assert np.allclose(places, [(w - 1) / 2 for w in WINDOW], atol=1.6)


def test_corners_show_what_lies_beyond_the_window_and_not_a_repeated_border() -> None:
    size = warped_size(WINDOW)
    ramp = torch.arange(size[0]).float()[:, None, None].expand(size)
    repeated = [float((warp_of(ramp, ramp.short(), s)["image"] > size[0] - 1.001).float().mean()) for s in range(40)]
    assert np.mean(repeated) < 0.003
    assert max(repeated) < 0.05


def test_no_two_patches_are_warped_alike_and_some_are_not_at_all() -> None:
    image = torch.rand(warped_size(WINDOW), generator=torch.Generator().manual_seed(0))
    first, second = (warp_of(image, image, seed)["image"] for seed in (0, 1))
    assert not torch.allclose(first, second, atol=0.05)
    start = [(s - w) // 2 for s, w in zip(image.shape, WINDOW, strict=True)]
    middle = image[tuple(slice(a, a + w) for a, w in zip(start, WINDOW, strict=True))]
    assert torch.allclose(warp_of(image, image, 0, prob=0.0)["image"], middle)


@pytest.fixture
def two_cases(tmp_path: Path) -> DataList:
    """A labelled case, on one axis smaller than what a warp wants to see, and one with supervoxels alone."""
    rng = np.random.default_rng(0)
    label = np.zeros((24, 30, 18), dtype=np.uint8)
    label[4:12, 4:12, 4:12], label[14:20, 14:20, 10:16] = 1, 3
    arrays = {"a": rng.integers(-500, 500, label.shape, dtype=np.int16), "a_label": label}
    arrays |= {"b": arrays["a"][::-1], "b_sv": np.ones(label.shape, dtype=np.int16)}
    for name, array in arrays.items():
        nibabel.save(nibabel.Nifti1Image(array, np.diag([3.0, 3.0, 3.0, 1.0])), tmp_path / f"{name}.nii.gz")
    entries = [{"image": "a.nii.gz", "label": "a_label.nii.gz"}, {"image": "b.nii.gz", "label_sv": "b_sv.nii.gz"}]
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"training": entries, "label_mapping": [[1, 1], [3, 3]]}))
    return read_datalist(path)


def drawn(data: DataList, index: int, epoch: int = 0, **changes: object) -> list[Patch]:
    return PatchSource(data.training, data, GRID, **{"warp_prob": 1.0, **changes}).patches(index, epoch)


@pytest.mark.parametrize("index", [0, 1])
def test_warped_patches_have_the_window_s_size_and_are_the_same_again(two_cases: DataList, index: int) -> None:
    for patch, again in zip(drawn(two_cases, index), drawn(two_cases, index), strict=True):
        assert patch.image.shape == (1, *GRID.window)
        maps = [m for m in (patch.label, patch.supervoxels) if m is not None]
        assert maps
        for values in maps:
            assert values.shape == GRID.window
            assert values.dtype == torch.int64
            assert set(values.unique().tolist()) <= {0, 1, 3}
        assert torch.equal(patch.image, again.image)


@pytest.mark.parametrize("index", [0, 1])
def test_windows_lie_wherever_they_do_without_warps_and_reach_the_image_s_edges(
    two_cases: DataList, index: int
) -> None:
    """Most windows of an inference touch an edge: what was trained on others only is unsure there."""
    shape = (24, 30, 18)
    places = 1 + np.arange(np.prod(shape), dtype=np.int16).reshape(shape)  # 0 is outside
    case = two_cases.training[index]
    nibabel.save(nibabel.Nifti1Image(places, np.diag([3.0, 3.0, 3.0, 1.0])), case.image.parent / "b_sv.nii.gz")
    numbered = replace(case, supervoxels=case.image.parent / "b_sv.nii.gz")
    data = replace(two_cases, training=(numbered,))

    def starts(**changes: object) -> npt.NDArray[np.int64]:
        found = drawn(data, 0, patches_per_case=300, **changes)
        corners = [(p.supervoxels[0, 0, 0], p.supervoxels[-1, -1, -1]) for p in found if p.supervoxels is not None]
        first, last = np.array([[np.unravel_index(int(v) - 1, shape) for v in pair] for pair in corners]).swapaxes(0, 1)
        assert (last - first == 15).all()
        return np.asarray(first)

    warped, plain = starts(warp_prob=1e-9), starts(augment=False)
    reached = np.array(shape) - GRID.window
    for found in (warped, plain):
        assert (found.min(0) == 0).all()
        assert (found.max(0) == reached).all()
    assert np.allclose(warped.mean(0), plain.mean(0), atol=1.0)


def test_without_augmentation_nothing_is_warped(two_cases: DataList) -> None:
    plain = drawn(two_cases, 0, augment=False)
    assert all(
        torch.equal(a.image, b.image)
        for a, b in zip(plain, drawn(two_cases, 0, augment=False, warp_prob=0.0), strict=True)
    )


def test_a_few_cases_are_taught_by_warped_patches(tmp_path: Path) -> None:
    assert quick(tmp_path, tmp_path).stage(16).warp_prob > 0
    assert all(stage.warp_prob == 0 for stage in STAGES.values())  # the paper's recipe has none


def test_a_share_of_warped_patches_above_one_is_refused() -> None:
    with pytest.raises(SettingsError, match="warp_prob"):
        replace(STAGES["automatic"], warp_prob=1.5)
