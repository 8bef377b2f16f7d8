"""Algorithm 1: equal to the reference where that is right, corrected where it is not (spec 4.3, 8.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.nets.vista3d import VISTA3D
from scipy import ndimage

from VISTA3DLib.merge import Part, apply_parts, merge_by_components

SHAPE = (18, 15, 21)
FULL = np.ones((3, 3, 3))
Mask = npt.NDArray[np.bool_]
Click = tuple[tuple[int, int, int], bool]


def reference_merge(
    base: npt.NDArray[np.float32],
    proposal: npt.NDArray[np.float32],
    points: Sequence[Sequence[float]],
    labels: Sequence[int],
) -> npt.NDArray[np.float32]:
    """Logits after the reference's ``connected_components_combine``, for one object."""
    shell = VISTA3D(torch.nn.Identity(), torch.nn.Identity(), torch.nn.Identity())
    merged = shell.connected_components_combine(
        torch.from_numpy(base.copy())[None, None],
        torch.from_numpy(proposal.copy())[None, None],
        torch.tensor([points], dtype=torch.float32),
        torch.tensor([labels]),
        torch.tensor([True]),
    )
    return np.asarray(merged[0, 0].numpy())


def logits(mask: Mask) -> npt.NDArray[np.float32]:
    return np.where(mask, 2.0, -2.0).astype(np.float32)


def random_mask(seed: int, share: float, sigma: float) -> Mask:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), sigma)
    return np.asarray(noise > np.quantile(noise, 1 - share))


def box_mask(*boxes: tuple[slice, slice, slice]) -> Mask:
    mask = np.zeros(SHAPE, dtype=bool)
    for box in boxes:
        mask[box] = True
    return mask


masks = st.builds(random_mask, st.integers(0, 10_000), st.floats(0.05, 0.6), st.floats(0.5, 2.0))
coordinates = st.tuples(*[st.integers(0, n - 1) for n in SHAPE])
clicks = st.lists(st.tuples(coordinates, st.booleans()), min_size=1, max_size=4, unique_by=lambda c: c[0])


def merged(base: Mask, proposal: Mask, chosen: list[Click]) -> tuple[Mask, tuple[Part, ...]]:
    points = np.array([p for p, _ in chosen], dtype=np.float64)
    parts = merge_by_components(base, proposal, points, [s for _, s in chosen])
    return apply_parts(base, parts), parts


def within_reach(difference: Mask, point: tuple[int, int, int]) -> int:
    """How many components lie within two voxels of a point."""
    labels, _ = ndimage.label(difference, FULL)
    near = labels[tuple(slice(max(p - 2, 0), p + 3) for p in point)]
    return len(np.unique(near[near > 0]))


@given(masks, masks, clicks)
def test_the_merge_equals_the_references_where_that_is_unambiguous(
    base: Mask, proposal: Mask, chosen: list[Click]
) -> None:
    """Excluded: clicks near several components (4.3-6) and negative clicks inside the mask (4.3-2), see below."""
    if any(base[p] for p, s in chosen if not s) and not any(base[p] for p, s in chosen if s):
        return
    inside = any(base[p] for p, s in chosen if s)
    additions = proposal if inside else proposal & ~base
    if any(within_reach(additions if s else base & ~proposal, p) > 1 for p, s in chosen):
        return
    ours, _ = merged(base, proposal, chosen)
    theirs = reference_merge(logits(base), logits(proposal), [p for p, _ in chosen], [int(s) for _, s in chosen])
    assert np.array_equal(ours, theirs > 0)


@given(masks, masks, clicks)
def test_only_components_that_were_clicked_change(base: Mask, proposal: Mask, chosen: list[Click]) -> None:
    after, parts = merged(base, proposal, chosen)
    changed = np.zeros(SHAPE, dtype=bool)
    for part in parts:
        assert part.mask.any()
        assert part.points
        assert all(chosen[n][1] == part.added for n in part.points)
        changed[part.box.slices] |= part.mask
        value = proposal[part.box.slices][part.mask]
        assert value.all() if part.added else not value.any()
    assert np.array_equal(after[~changed], base[~changed])


@given(masks, masks, clicks, st.randoms())
def test_the_order_of_the_clicks_does_not_matter(
    base: Mask, proposal: Mask, chosen: list[Click], random: object
) -> None:
    shuffled = list(chosen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert np.array_equal(merged(base, proposal, chosen)[0], merged(base, proposal, shuffled)[0])


@given(masks, masks, clicks)
def test_a_positive_click_never_removes_and_a_negative_click_never_adds(
    base: Mask, proposal: Mask, chosen: list[Click]
) -> None:
    after, _ = merged(base, proposal, chosen)
    signs = {s for _, s in chosen}
    if signs == {True}:
        assert not (base & ~after).any()
    if signs == {False}:
        assert not (after & ~base).any()


def test_a_negative_click_inside_the_mask_does_not_make_additions_grow() -> None:
    """Spec 4.3-2: in the reference any click inside, even a negative one, opens the rule for all positive clicks."""
    base = box_mask(np.s_[2:8, 2:8, 2:8])
    bridge = box_mask(np.s_[2:8, 2:8, 2:14])  # what the network now proposes: the old mask and an extension
    hole = bridge & ~box_mask(np.s_[3:5, 3:5, 3:5])
    chosen = [((4, 4, 12), True), ((3, 3, 3), False)]
    ours, parts = merged(base, hole, chosen)
    added = next(p for p in parts if p.added)
    assert int(added.mask.sum()) == 6 * 6 * 6
    theirs = reference_merge(logits(base), logits(hole) + 0.5, [p for p, _ in chosen], [1, 0])
    touched = theirs == np.float32(2.5)  # logits that the reference took from the network
    assert int(touched.sum()) > 6 * 6 * 6
    assert np.array_equal(ours, theirs > 0)


def test_a_click_between_two_components_takes_the_nearest_not_the_last_numbered() -> None:
    """Spec 4.3-6."""
    base = np.zeros(SHAPE, dtype=bool)
    near, far = np.s_[3:5, 4:8, 4:8], np.s_[8:12, 4:8, 4:8]
    proposal = box_mask(near, far)
    click = (6, 5, 5)  # two voxels from either; the first is one nearer after a shift
    chosen = [((5, 5, 5), True)]
    ours, _ = merged(base, proposal, chosen)
    assert np.array_equal(ours, box_mask(near))
    theirs = reference_merge(logits(base), logits(proposal), [click], [1])
    assert np.array_equal(theirs > 0, box_mask(far))
    assert np.array_equal(merged(base, proposal, [(click, True)])[0], box_mask(near))


def test_objects_that_lie_side_by_side_in_a_batch_stay_apart() -> None:
    """Spec 4.3-4: the reference labels a batch in one piece and joins neighbours across objects."""
    shell = VISTA3D(torch.nn.Identity(), torch.nn.Identity(), torch.nn.Identity())
    clicked, other = np.s_[2:5, 2:6, 2:6], np.s_[9:12, 2:6, 2:6]
    first, bridge = box_mask(clicked, other), box_mask(np.s_[2:12, 2:6, 2:6])
    theirs = shell.connected_components_combine(
        torch.full((2, 1, *SHAPE), -2.0),
        torch.from_numpy(np.stack([logits(first), logits(bridge)]))[:, None],
        torch.tensor([[[3.0, 3, 3]], [[3.0, 3, 3]]]),
        torch.tensor([[1], [1]]),
        torch.tensor([True, True]),
    )[0, 0].numpy()
    ours, _ = merged(np.zeros(SHAPE, dtype=bool), first, [((3, 3, 3), True)])
    assert np.array_equal(theirs > 0, first)
    assert np.array_equal(ours, box_mask(clicked))


def test_unknown_voxels_take_the_proposals_value_where_the_reference_leaves_nan() -> None:
    """Spec 4.3-3: NaN times zero is NaN. Masks here are boolean: what was never computed is background."""
    base = np.full(SHAPE, np.nan, dtype=np.float32)
    proposal = box_mask(np.s_[2:8, 2:8, 2:8])
    theirs = reference_merge(base, logits(proposal), [(4, 4, 4)], [1])
    assert np.isnan(theirs).all()
    ours, _ = merged(np.zeros(SHAPE, dtype=bool), proposal, [((4, 4, 4), True)])
    assert np.array_equal(ours, proposal)


def test_a_positive_click_inside_the_mask_grows_it_as_in_the_reference() -> None:
    base = box_mask(np.s_[2:8, 2:8, 2:8])
    proposal = box_mask(np.s_[4:12, 4:12, 4:12])
    ours, _ = merged(base, proposal, [((5, 5, 5), True)])
    assert np.array_equal(ours, base | proposal)
    assert np.array_equal(ours, reference_merge(logits(base), logits(proposal), [(5, 5, 5)], [1]) > 0)


def test_voxels_without_a_proposal_take_no_part() -> None:
    base, proposal = box_mask(np.s_[2:14, 4:8, 4:8]), np.zeros(SHAPE, dtype=bool)
    valid = box_mask(np.s_[0:9, :, :])
    parts = merge_by_components(base, proposal, np.array([[4.0, 5, 5]]), [False], valid=valid)
    assert np.array_equal(apply_parts(base, parts), box_mask(np.s_[9:14, 4:8, 4:8]))


@pytest.mark.parametrize("corner", [(0, 0, 0), tuple(n - 1 for n in SHAPE)])
def test_clicks_on_the_outermost_voxels_work(corner: tuple[int, int, int]) -> None:
    whole = np.ones(SHAPE, dtype=bool)
    assert merged(np.zeros(SHAPE, dtype=bool), whole, [(corner, True)])[0].all()
    assert not merged(whole, ~whole, [(corner, False)])[0].any()
