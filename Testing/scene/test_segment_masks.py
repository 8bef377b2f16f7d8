"""Voxels of segments: shared labelmaps, neighbours, growth, surfaces; the traps of Slicer's own functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_volumes import odd_affine
from scene_host import make_segmentation
from VISTA3DScene.lattice import LatticeMask, image_box, image_values, on_lattice, oriented_image
from VISTA3DScene.segment_masks import (
    LABELMAP,
    SURFACE,
    change_mask,
    labelmap_of,
    occupied,
    read_mask,
    refresh_surface,
)

from VISTA3DLib.geometry import Box

AFFINE = odd_affine("oblique")
SHAPE = (20, 18, 16)


def block(start: tuple[int, int, int], size: int | tuple[int, int, int], affine: Any = AFFINE) -> LatticeMask:
    """A full block of voxels."""
    shape = (size,) * 3 if isinstance(size, int) else size
    return LatticeMask(affine=affine, box=Box.whole(shape).shifted(start), mask=np.ones(shape, dtype=bool))


NOTHING = LatticeMask.empty(AFFINE)


def shared_segments(scene: Any, labels: np.ndarray, names: str) -> Any:
    """Segments a, b, ... with labels 1, 2, ... on one image."""
    node = make_segmentation(scene)
    inner = node.GetSegmentation()
    inner.SetSourceRepresentationName(LABELMAP)
    image = oriented_image(AFFINE, Box.whole(labels.shape), labels.astype(np.uint8))
    for n, name in enumerate(names, start=1):
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetLabelValue(n)
        segment.AddRepresentation(LABELMAP, image)
        inner.AddSegment(segment, name)
    assert inner.GetNumberOfLayers() == 1
    return node


def two_neighbours(scene: Any) -> Any:
    labels = np.zeros(SHAPE)
    labels[4:10, 4:10, 4:10], labels[10:16, 4:10, 4:10] = 1, 2
    return shared_segments(scene, labels, "ab")


def full(node: Any, segment_id: str) -> np.ndarray:
    """A segment's voxels on the whole grid."""
    mask = read_mask(node, segment_id)
    return np.zeros(SHAPE, bool) if mask is None else mask.inside(Box.whole(SHAPE))


def image_of(node: Any, segment_id: str) -> Any:
    return labelmap_of(node.GetSegmentation().GetSegment(segment_id))


def test_growing_into_a_neighbour_on_the_same_labelmap_leaves_the_neighbour_whole(scene: Any) -> None:
    node = two_neighbours(scene)
    before = full(node, "b")
    change_mask(node, "a", block((8, 4, 4), 4), NOTHING)
    assert np.array_equal(full(node, "b"), before)
    assert full(node, "a")[8:12, 4:8, 4:8].all()
    assert image_of(node, "a") is not image_of(node, "b")


def test_growing_into_empty_voxels_stays_on_the_shared_labelmap(scene: Any) -> None:
    node = two_neighbours(scene)
    image = image_of(node, "a")
    change_mask(node, "b", block((4, 10, 4), 5), NOTHING)
    assert full(node, "b")[4:9, 10:15, 4:9].all()
    assert image_of(node, "b") is image
    assert full(node, "a").sum() == 6**3


def test_a_new_segment_on_a_shared_labelmap_gets_a_label_of_its_own(scene: Any) -> None:
    node = two_neighbours(scene)
    node.GetSegmentation().AddEmptySegment("c", "c")
    change_mask(node, "c", block((0, 0, 0), 3), NOTHING)
    assert full(node, "c").sum() == 27
    assert full(node, "a").sum() == full(node, "b").sum() == 6**3


def test_taking_voxels_from_one_segment_takes_none_from_another(scene: Any) -> None:
    node = two_neighbours(scene)
    change_mask(node, "a", NOTHING, block((6, 4, 4), 8))
    assert full(node, "b").sum() == 6**3
    assert full(node, "a").sum() == 2 * 36 + 0 * 4


def test_a_labelmap_grows_when_voxels_come_outside_of_it_and_its_other_segments_stay(scene: Any) -> None:
    node = shared_segments(scene, np.pad(np.ones((2, 2, 2)), ((0, 2), (0, 0), (0, 0))), "a")
    node.GetSegmentation().AddEmptySegment("b", "b")
    image = image_of(node, "a")
    change_mask(node, "b", block((6, 5, 4), 3), NOTHING)
    assert image_of(node, "a") is image
    assert image_of(node, "b") is image
    assert full(node, "a").sum() == 8
    assert full(node, "b")[6:9, 5:8, 4:7].all()


def test_only_the_box_that_changed_is_written(scene: Any) -> None:
    node = two_neighbours(scene)
    touched = change_mask(node, "a", block((4, 10, 4), (2, 2, 2)), block((4, 4, 4), (1, 1, 1)))
    image = image_of(node, "a")
    assert all(written.image is image for written in touched)
    assert sorted(written.box.shape for written in touched) == [(1, 1, 1), (2, 2, 2)]


def test_removing_all_voxels_leaves_an_empty_segment(scene: Any) -> None:
    node = two_neighbours(scene)
    change_mask(node, "a", NOTHING, block((0, 0, 0), SHAPE))
    assert read_mask(node, "a") is None
    assert full(node, "b").sum() == 6**3


def test_others_hear_that_the_labelmap_changed(scene: Any) -> None:
    node = two_neighbours(scene)
    heard: list[str] = []
    inner = node.GetSegmentation()
    inner.AddObserver(inner.SourceRepresentationModified, lambda *_: heard.append("changed"))
    stamp = image_of(node, "a").GetMTime()
    change_mask(node, "a", block((4, 10, 4), 2), NOTHING)
    assert heard
    assert image_of(node, "a").GetMTime() > stamp
    inner.RemoveObservers(inner.SourceRepresentationModified)


def test_surfaces_survive_and_only_that_of_the_changed_segment_is_computed_again(scene: Any) -> None:
    node = two_neighbours(scene)
    node.CreateClosedSurfaceRepresentation()
    inner = node.GetSegmentation()
    old = {i: inner.GetSegment(i).GetRepresentation(SURFACE) for i in "ab"}
    count = old["a"].GetNumberOfPoints()
    change_mask(node, "a", block((4, 10, 4), 6), NOTHING)
    assert inner.ContainsRepresentation(SURFACE)
    assert inner.GetSegment("b").GetRepresentation(SURFACE) is old["b"]
    refresh_surface(node, "a")
    assert inner.GetSegment("b").GetRepresentation(SURFACE) is old["b"]
    assert inner.GetSegment("a").GetRepresentation(SURFACE).GetNumberOfPoints() > count


def test_slicers_own_merge_would_have_given_a_shared_neighbour_our_voxels(scene: Any) -> None:
    """Why we write ourselves: if this fails, Slicer was repaired and the writer could go through it again."""
    node = two_neighbours(scene)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    image = oriented_image(AFFINE, Box(start=(0, 0, 0), stop=(3, 3, 3)), np.ones((3, 3, 3), np.uint8))
    logic.SetBinaryLabelmapToSegment(image, node, "b", logic.MODE_MERGE_MAX, image.GetExtent())
    assert full(node, "b").sum() == 6**3
    assert full(node, "a").sum() == 6**3 + 27


def test_occupied_tells_who_has_the_voxels_across_labelmaps(scene: Any) -> None:
    node = two_neighbours(scene)
    node.GetSegmentation().AddEmptySegment("c", "c")
    change_mask(node, "c", block((9, 9, 9), 3), NOTHING)
    found = occupied(node, ["c"], block((8, 8, 8), 3))
    assert {i: m.voxels for i, m in found.items()} == {"a": 2 * 2 * 2, "b": 1 * 2 * 2}


masks = st.tuples(*(st.integers(-3, n + 1) for n in SHAPE), *(st.integers(1, 7) for _ in SHAPE)).map(
    lambda v: block((v[0], v[1], v[2]), (v[3], v[4], v[5]))
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.sampled_from("abc"), masks, st.booleans()), min_size=1, max_size=8))
def test_any_edits_give_what_independent_masks_give(scene: Any, edits: list[tuple[str, LatticeMask, bool]]) -> None:
    labels = np.zeros(SHAPE)
    labels[4:10, 4:10, 4:10], labels[10:16, 4:10, 4:10] = 1, 2
    node = shared_segments(scene, labels, "abc")
    room = Box.whole(SHAPE).grown(12)
    expected = {i: label_of(node, i).inside(room) for i in "abc"}
    for segment_id, part, add in edits:
        change_mask(node, segment_id, *((part, NOTHING) if add else (NOTHING, part)))
        if add:
            expected[segment_id] |= part.inside(room)
        else:
            expected[segment_id] &= ~part.inside(room)
    for segment_id, mask in expected.items():
        assert np.array_equal(label_of(node, segment_id).inside(room), mask)
    scene.RemoveNode(node)


def label_of(node: Any, segment_id: str) -> LatticeMask:
    return read_mask(node, segment_id) or NOTHING


@pytest.mark.parametrize("name", ["lps", "pir", "oblique", "anisotropic", "sheared"])
def test_a_mask_keeps_its_place_when_it_is_brought_to_a_finer_lattice_and_back(name: str) -> None:
    affine = odd_affine(name)
    finer = affine @ np.diag([1 / 3, 1 / 3, 1 / 3, 1.0])
    finer[:3, 3] = (affine @ [-1 / 3, -1 / 3, -1 / 3, 1])[:3]  # three voxels a side in each voxel
    mask = LatticeMask(
        affine=affine, box=Box(start=(2, 3, 4), stop=(8, 7, 9)), mask=np.random.default_rng(0).random((6, 4, 5)) < 0.4
    ).tight()
    there = on_lattice(mask, finer)
    assert there.voxels == 27 * mask.voxels
    back = on_lattice(there, affine)
    assert np.array_equal(back.inside(mask.box), mask.mask)
    assert back.voxels == mask.voxels


def test_lattices_that_differ_by_whole_voxels_are_shifted_exactly() -> None:
    moved = AFFINE.copy()
    moved[:3, 3] = (AFFINE @ [5, -7, 11, 1])[:3] + 1e-5
    mask = block((2, 3, 4), (3, 2, 1))
    there = on_lattice(mask, moved)
    assert there.box.start == (-3, 10, -7)
    assert there.voxels == mask.voxels


def test_an_image_made_of_an_array_has_the_array_in_its_box() -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    image = oriented_image(AFFINE, Box.whole((2, 3, 4)).shifted((5, 6, 7)), values)
    assert image_box(image).start == (5, 6, 7)
    assert np.array_equal(image_values(image), values)
