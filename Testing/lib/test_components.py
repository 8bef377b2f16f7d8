"""Connected components, and the classes of which an automatic answer keeps the largest one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odd_volumes import blobs, odd_affine
from scipy import ndimage

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.components import keep_largest_components, label_components, largest_component
from VISTA3DLib.geometry import Box
from VISTA3DLib.model import Model
from VISTA3DLib.session import Session
from VISTA3DLib.volume import Volume

Mask = npt.NDArray[np.bool_]
FULL = np.ones((3, 3, 3))
masks = arrays(np.bool_, (5, 4, 6))
label_maps = arrays(np.uint8, (4, 5, 6), elements=st.integers(0, 3))


def largest_by_scipy(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask, FULL)
    if not count:
        return np.zeros_like(mask)
    return np.asarray(labels == np.bincount(labels.ravel())[1:].argmax() + 1)


@given(masks)
def test_components_are_those_of_scipy_with_26_neighbours(mask: Mask) -> None:
    ours = label_components(mask)
    theirs, count = ndimage.label(mask, FULL)
    assert int(ours.max()) == count
    assert len({(int(a), int(b)) for a, b in zip(ours[mask], theirs[mask], strict=True)}) == count


def test_a_mask_of_three_voxels_in_a_row_has_its_two_components() -> None:
    assert label_components(np.array([[[True, False, True]]])).max() == 2


@given(masks)
def test_the_largest_component_is_one_piece_of_the_mask_and_none_is_larger(mask: Mask) -> None:
    found = largest_component(mask)
    assert not (found & ~mask).any()
    assert int(label_components(found).max()) == int(mask.any())
    assert np.count_nonzero(found) == np.count_nonzero(largest_by_scipy(mask))


@given(label_maps)
def test_the_other_labels_stay_when_one_is_cut_to_its_largest_component(labels: npt.NDArray[np.uint8]) -> None:
    before = labels.copy()
    keep_largest_components(labels, [2])
    assert np.array_equal(labels != before, (before == 2) & (labels == 0))
    assert np.array_equal(labels == 2, largest_component(before == 2))


CLASSES = ClassCatalogue.load().sets["everything"]


def session_on(model: Model, volume: Volume, single_piece: tuple[int, ...] = ()) -> Session:
    catalogue = replace(model.settings.catalogue, single_piece=single_piece)
    changed = Model(model.network, replace(model.settings, catalogue=catalogue), model.runtime, id="single")
    session = Session(changed)
    session.set_volume(volume)
    return session


def in_pieces(masks: Mapping[int, Mask]) -> tuple[int, int]:
    """Two classes whose masks have several pieces."""
    first, second, *_ = [i for i, mask in masks.items() if label_components(mask).max() > 1]
    return first, second


@pytest.mark.parametrize("smooth", [False, True])
def test_only_classes_of_a_single_piece_lose_their_smaller_pieces(
    a_model: Model, an_odd_volume: Volume, smooth: bool
) -> None:
    before = session_on(a_model, an_odd_volume).segment_classes(CLASSES, overlapping=True, smooth=smooth)
    single, other = in_pieces({i: before.mask(i) for i in CLASSES})
    cut = session_on(a_model, an_odd_volume, (single,))
    after = cut.segment_classes(CLASSES, overlapping=True, smooth=smooth)
    assert np.array_equal(after.mask(single), largest_by_scipy(before.mask(single)))
    assert np.array_equal(after.mask(other), before.mask(other))
    found = after.masks[single]
    assert Box.of_mask(found.mask).shape == found.box.shape


@pytest.mark.parametrize("smooth", [False, True])
def test_a_label_map_has_the_largest_piece_too(a_model: Model, smooth: bool) -> None:
    affine = odd_affine("lps")
    affine[:3, :3] = np.diag([-3.0, -3.0, 3.0])  # the model's grid, turned: no voxel is lost or made on the way
    volume = Volume(array=blobs((25, 21, 30)), affine=affine, name="3 mm")
    before = session_on(a_model, volume).segment_classes(CLASSES, smooth=smooth).labelmap
    single, other = in_pieces({i: before == i for i in CLASSES})
    after = session_on(a_model, volume, (single,)).segment_classes(CLASSES, smooth=smooth).labelmap
    assert np.array_equal(after == single, largest_by_scipy(before == single))
    assert np.array_equal(after == other, before == other)


def test_a_merged_group_keeps_the_pieces_of_its_members(a_model: Model, a_volume: Volume) -> None:
    kidneys, members = 2, (5, 14)
    asked = {"classes": [kidneys], "merge_groups": True}
    before = session_on(a_model, a_volume).segment_classes(**asked).labelmap
    after = session_on(a_model, a_volume, members).segment_classes(**asked).labelmap
    assert np.array_equal(before, after)
