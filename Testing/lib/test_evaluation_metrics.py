"""Scores of masks: equal to MONAI's, in millimetres, and nothing invented where nothing can be measured."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice
from odd_volumes import blobs, odd_affine, odd_shape
from scipy.ndimage import distance_transform_edt

from VISTA3DLib.errors import SettingsError, VolumeError
from VISTA3DLib.evaluation import metrics
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.metrics import compare_boxed, compare_masks
from VISTA3DLib.geometry import Box, Grid

BoolArray = npt.NDArray[np.bool_]
SPACING = (0.9, 1.3, 3.1)


def box_mask(start: Sequence[int], stop: Sequence[int], shape: tuple[int, int, int] = (23, 19, 17)) -> BoolArray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def monai_scores(truth: BoolArray, predicted: BoolArray, spacing: Sequence[float], tolerance: float) -> list[float]:
    a, b = (torch.from_numpy(m)[None, None] for m in (truth, predicted))
    where = {"include_background": True, "spacing": list(spacing)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return [
            float(compute_dice(b.float(), a.float())),
            float(compute_surface_dice(b, a, class_thresholds=[tolerance], **where)),
            float(compute_hausdorff_distance(b, a, percentile=95, **where)),
        ]


@given(seed=st.integers(0, 10_000), cut=st.floats(-0.5, 1.0), tolerance=st.sampled_from([0.0, 1.0, 2.0, 5.0]))
@settings(max_examples=25)
def test_scores_equal_monais(seed: int, cut: float, tolerance: float) -> None:
    shape = (21, 18, 13)
    truth, predicted = blobs(shape, seed) > 150, blobs(shape, seed + 1) > 200 * cut
    if not truth.any() or not predicted.any():
        return
    scores = compare_masks(truth, predicted, SPACING, tolerance_mm=tolerance)
    assert scores.outcome == "scored"
    assert scores.dice is not None
    assert scores.nsd is not None
    assert scores.hd95_mm is not None
    expected = monai_scores(truth, predicted, SPACING, tolerance)
    assert [scores.dice, scores.nsd, scores.hd95_mm] == pytest.approx(expected, rel=1e-5)


def test_large_surfaces_have_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, predicted = blobs((30, 31, 20), 1) > 0, blobs((30, 31, 20), 2) > 0
    by_tree = compare_masks(truth, predicted, SPACING)
    monkeypatch.setattr(metrics, "_MANY_VOXELS", 0)
    by_transform = compare_masks(truth, predicted, SPACING)
    assert by_transform.nsd == pytest.approx(by_tree.nsd)
    assert by_transform.hd95_mm == pytest.approx(by_tree.hd95_mm)


def test_a_shift_along_an_axis_is_measured_in_its_millimetres() -> None:
    a, b = box_mask((4, 4, 4), (14, 12, 10)), box_mask((4, 4, 6), (14, 12, 12))
    scores = compare_masks(a, b, SPACING)
    assert scores.hd95_mm == pytest.approx(2 * 3.1)
    assert scores.dice == pytest.approx(4 / 6)


def test_equal_masks_are_perfect() -> None:
    mask = box_mask((3, 3, 3), (9, 8, 7))
    scores = compare_masks(mask, mask.copy(), SPACING)
    assert (scores.dice, scores.nsd, scores.hd95_mm) == (1.0, 1.0, 0.0)
    assert scores.volume_error_percent == 0.0


@pytest.mark.parametrize(
    ("truth", "predicted", "outcome", "dice"),
    [(1, 0, "missed", 0.0), (0, 1, "false positive", None), (0, 0, "absent", None)],
)
def test_what_is_not_there_is_not_scored_as_1(truth: int, predicted: int, outcome: str, dice: float | None) -> None:
    mask = box_mask((3, 3, 3), (9, 8, 7))
    scores = compare_masks(mask * truth, mask * predicted, SPACING)
    assert scores.outcome == outcome
    assert scores.dice == dice
    assert scores.nsd == dice
    assert scores.hd95_mm is None
    assert scores.volume_error_percent == (-100.0 if truth else None)


def test_masks_at_the_edge_of_the_image_are_measured_like_others() -> None:
    shape = (23, 19, 17)
    inside = compare_masks(box_mask((4, 4, 4), (12, 12, 12)), box_mask((5, 4, 4), (12, 12, 12)), SPACING)
    corner = compare_masks(box_mask((0, 0, 0), (8, 8, 8), shape), box_mask((1, 0, 0), (8, 8, 8), shape), SPACING)
    assert (corner.dice, corner.nsd, corner.hd95_mm) == pytest.approx((inside.dice, inside.nsd, inside.hd95_mm))


def test_boxes_change_nothing() -> None:
    truth, predicted = blobs((25, 24, 23), 3) > 300, blobs((25, 24, 23), 4) > 300
    whole = compare_masks(truth, predicted, SPACING)
    boxed = compare_boxed(BoxedMask.of(truth), BoxedMask.of(predicted), SPACING)
    assert boxed == whole


def test_volumes_of_a_sheared_grid_follow_the_determinant() -> None:
    grid = Grid(shape=odd_shape("sheared"), affine=odd_affine("sheared"))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[3:9, 3:9, 3:9] = True
    scores = compare_masks(mask, mask, grid.spacing, voxel_ml=grid.voxel_ml)
    assert scores.truth_ml == pytest.approx(216 * abs(np.linalg.det(grid.affine[:3, :3])) / 1000)


def test_any_numbers_are_masks_but_not_nan() -> None:
    mask = box_mask((3, 3, 3), (9, 8, 7))
    assert compare_masks(mask * 7, mask * 0.5, SPACING).dice == 1.0
    with pytest.raises(VolumeError, match="not finite"):
        compare_masks(mask, np.where(mask, math.nan, 0.0), SPACING)


def test_bad_input_is_named() -> None:
    mask = box_mask((3, 3, 3), (9, 8, 7))
    with pytest.raises(VolumeError, match="23 x 19 x 17 and 23 x 19 x 16"):
        compare_masks(mask, mask[..., :-1], SPACING)
    for spacing in ((1.0, 1.0), (1.0, 0.0, 1.0), (1.0, math.inf, 1.0)):
        with pytest.raises(SettingsError, match="spacing"):
            compare_masks(mask, mask, spacing)
    with pytest.raises(SettingsError, match="tolerance"):
        compare_masks(mask, mask, SPACING, tolerance_mm=-1.0)


def test_the_border_of_a_mask_is_measured_between_voxel_centres() -> None:
    point, far = box_mask((4, 4, 4), (5, 5, 5)), box_mask((10, 4, 4), (11, 5, 5))
    depth = distance_transform_edt(~far, sampling=SPACING)
    assert compare_masks(point, far, SPACING).hd95_mm == pytest.approx(float(depth[4, 4, 4]))


def test_a_boxed_mask_can_be_cut_joined_and_reduced() -> None:
    a, b = box_mask((2, 2, 2), (6, 6, 6)), box_mask((4, 4, 4), (9, 9, 9))
    one, two = BoxedMask.of(a), BoxedMask.of(b)
    whole = Box.whole(a.shape)
    assert np.array_equal((one | two).cut(whole), a | b)
    assert np.array_equal(one.without(two).cut(whole), a & ~b)
    assert (BoxedMask.nothing() | one).box == one.box
    assert one.without(one).voxels == 0
    outside = Box(start=(-3, -3, -3), stop=(3, 3, 3))
    assert one.cut(outside).sum() == 1
    with pytest.raises(VolumeError, match="box"):
        BoxedMask(box=Box.whole((2, 2, 2)), mask=np.zeros((1, 2, 2), dtype=bool))
