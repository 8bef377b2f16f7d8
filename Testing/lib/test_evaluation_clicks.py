"""The simulated person, the paper's clicks in windows, and the loop that looks at the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_volumes import blobs, odd_affine, odd_shape

from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.oracle import TRIALS, corrected_by_oracle, merged_logits, window_score
from VISTA3DLib.evaluation.simulation import Click, first_click, next_click
from VISTA3DLib.evaluation.window_clicks import WindowClick, centre_click, largest_core, trial_clicks
from VISTA3DLib.geometry import Grid

BoolArray = npt.NDArray[np.bool_]


def box_mask(start: Sequence[int], stop: Sequence[int], shape: Sequence[int] = (24, 20, 16)) -> BoolArray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def boxed(mask: BoolArray) -> BoxedMask:
    return BoxedMask.of(mask)


def test_the_first_click_is_the_deepest_voxel_in_millimetres() -> None:
    mask = box_mask((1, 1, 1), (22, 8, 6)) | box_mask((12, 8, 1), (15, 19, 4))
    click = first_click(boxed(mask), (1.0, 1.0, 1.0))
    assert click is not None
    assert click.positive
    assert click.index[2] == 3  # the middle of the slab along its thinnest axis
    stretched = first_click(boxed(mask), (0.1, 5.0, 5.0))
    assert stretched is not None
    assert stretched.index[0] == 11  # now the first axis is the thin one


def test_an_object_that_is_not_there_cannot_be_clicked() -> None:
    assert first_click(BoxedMask.nothing(), (1.0, 1.0, 1.0)) is None
    assert next_click(BoxedMask.nothing(), BoxedMask.nothing(), (1.0, 1.0, 1.0)) is None


def test_the_next_click_lies_in_the_largest_error_with_its_sign() -> None:
    truth = box_mask((2, 2, 2), (20, 8, 8))
    missing = box_mask((2, 2, 2), (6, 8, 8))
    extra = box_mask((2, 12, 2), (20, 18, 8))
    click = next_click(boxed(truth), boxed((truth & ~missing) | extra), (1.0, 1.0, 1.0))
    assert click is not None
    assert not click.positive
    assert extra[click.index]
    click = next_click(boxed(truth), boxed(truth & ~missing), (1.0, 1.0, 1.0))
    assert click is not None
    assert click.positive
    assert missing[click.index]


def test_diagonal_errors_are_one_component() -> None:
    truth = box_mask((2, 2, 2), (8, 8, 8))
    diagonal = box_mask((8, 8, 8), (12, 12, 12)) | box_mask((12, 12, 12), (16, 16, 15))
    apart = box_mask((18, 2, 2), (23, 7, 6))
    assert apart.sum() > box_mask((8, 8, 8), (12, 12, 12)).sum()
    click = next_click(boxed(truth), boxed(truth | diagonal | apart), (1.0, 1.0, 1.0))
    assert click is not None
    assert diagonal[click.index]


def test_a_click_without_effect_is_not_repeated() -> None:
    truth = box_mask((2, 2, 2), (20, 8, 8))
    clicks: list[Click] = []
    for _ in range(20):
        click = next_click(boxed(truth), BoxedMask.nothing(), (1.0, 1.0, 1.0), clicks)
        assert click is not None
        clicks.append(click)
    assert len({c.index for c in clicks}) == 20


def test_nothing_is_left_to_click_on_a_perfect_result() -> None:
    truth = boxed(box_mask((2, 2, 2), (9, 8, 8)))
    assert next_click(truth, truth, (1.0, 1.0, 1.0)) is None


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_clicks_always_tell_the_truth(seed: int) -> None:
    shape = (17, 15, 11)
    truth, predicted = blobs(shape, seed) > 150, blobs(shape, seed + 1) > 100
    click = next_click(boxed(truth), boxed(predicted), (0.8, 1.1, 2.7))
    if click is None:
        assert np.array_equal(truth, predicted)
    else:
        assert truth[click.index] == click.positive
        assert truth[click.index] != predicted[click.index]


@pytest.mark.parametrize("name", ["lps", "oblique", "sheared"])
def test_a_click_becomes_a_point_at_its_voxel(name: str) -> None:
    grid = Grid(shape=odd_shape(name), affine=odd_affine(name))
    point = Click(index=(5, 7, 3), positive=False).on(grid)
    assert grid.to_voxel(point.ras) == pytest.approx([5, 7, 3])
    assert not point.positive


def test_the_papers_first_click_is_the_voxel_nearest_to_the_centroid_of_the_largest_core() -> None:
    large, small = box_mask((2, 2, 2), (11, 11, 11)), box_mask((16, 12, 4), (20, 16, 8))
    assert centre_click(large | small).index == (6, 6, 6)
    ring = box_mask((2, 2, 2), (17, 17, 11)) & ~box_mask((6, 6, 0), (13, 13, 16))
    assert largest_core(ring)[centre_click(ring).index]  # the centroid itself lies in the hole


def test_a_thin_object_is_clicked_all_the_same() -> None:
    thin = box_mask((2, 5, 5), (17, 6, 6))
    assert not largest_core(thin).any()
    assert centre_click(thin).index == (9, 5, 5)


def test_trials_click_on_the_larger_error() -> None:
    rng = np.random.default_rng(0)
    target = box_mask((2, 2, 2), (14, 14, 14))
    (first,) = trial_clicks(np.zeros_like(target), target, rng, first=True)
    assert first.positive
    assert target[first.index]
    half = box_mask((2, 2, 2), (8, 14, 14))
    (missing,) = trial_clicks(half, target, rng, first=False)
    assert missing.positive
    assert (target & ~half)[missing.index]
    too_much = target | box_mask((2, 14, 2), (23, 20, 14))
    on_object, extra = trial_clicks(too_much, target, rng, first=False)
    assert on_object.positive
    assert target[on_object.index]
    assert not extra.positive
    assert (too_much & ~target)[extra.index]


def test_an_absent_object_gets_a_negative_click_on_what_was_found() -> None:
    rng = np.random.default_rng(0)
    nothing, found = np.zeros((9, 9, 9), dtype=bool), box_mask((1, 1, 1), (5, 5, 5), (9, 9, 9))
    (click,) = trial_clicks(found, nothing, rng, first=True)
    assert not click.positive
    assert found[click.index]
    assert trial_clicks(nothing, nothing, rng, first=True) == ()


def logits_of(mask: BoolArray) -> torch.Tensor:
    return torch.where(torch.from_numpy(mask), 5.0, -5.0)


def test_the_oracle_keeps_the_best_trial() -> None:
    target = box_mask((2, 2, 2), (14, 14, 14))
    half = box_mask((2, 2, 2), (8, 14, 14))
    answers = iter([target, box_mask((0, 0, 0), (24, 20, 16)), np.zeros_like(target)])
    best, given = corrected_by_oracle(
        logits_of(half), target, lambda _: logits_of(next(answers)), np.random.default_rng(0)
    )
    assert np.array_equal((best > 0).numpy(), target)
    assert given >= TRIALS


def test_the_oracle_never_makes_a_window_worse() -> None:
    target = box_mask((2, 2, 2), (14, 14, 14))
    automatic = logits_of(box_mask((2, 2, 2), (13, 14, 14)))
    best, _ = corrected_by_oracle(
        automatic, target, lambda _: logits_of(np.ones_like(target)), np.random.default_rng(0)
    )
    assert window_score(best, target) >= window_score(automatic, target)


def test_a_window_without_object_and_without_finding_needs_no_click() -> None:
    nothing = np.zeros((6, 6, 6), dtype=bool)

    def ask(_: object) -> torch.Tensor:
        raise AssertionError("nothing to ask")

    assert corrected_by_oracle(logits_of(nothing), nothing, ask, np.random.default_rng(0))[1] == 0


def test_merged_logits_change_where_the_click_is_only() -> None:
    base = logits_of(box_mask((2, 2, 2), (6, 6, 6)))
    near, far = box_mask((6, 2, 2), (10, 6, 6)), box_mask((16, 14, 2), (20, 18, 6))
    proposed = logits_of((base > 0).numpy() | near | far)
    merged = merged_logits(base, proposed, [WindowClick(index=(7, 3, 3))])
    assert np.array_equal((merged > 0).numpy(), (base > 0).numpy() | near)
