"""Automatic runs: segments arrive in one go, on one labelmap, and take nothing from anybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_worker import slab
from odd_volumes import odd_affine
from scene_host import make_segmentation, make_transform, make_volume, make_warp, vtk_matrix
from scene_table import A, Table, ball, foreign_segment
from test_coordinates import MOVE, volume_middle
from test_ledger import paint, picture
from VISTA3DScene.jobs import State
from VISTA3DScene.lattice import image_affine
from VISTA3DScene.ledger import EDITED_ELSEWHERE
from VISTA3DScene.overwrite import Overwrite
from VISTA3DScene.segment_masks import labelmap_of
from VISTA3DScene.tags import get_tag

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.geometry import Box

CLASSES = [1, 3, 5]


def run(table: Table, classes: Any = CLASSES, **options: Any) -> None:
    table.bench.segment_classes(classes, **options)
    assert table.bench.state is State.AUTOMATIC
    table.settle()
    assert not table.failures
    assert not table.bench.busy


def expected(table: Table, class_id: int, roi: Box | None = None) -> np.ndarray:
    out = np.zeros(table.grid.shape, dtype=bool)
    out[(slab(table.grid, class_id) & (roi or table.grid.box)).slices] = True
    return out


def ids(table: Table) -> dict[int | None, str]:
    """Segment ids by class."""
    return {s.class_id: s.id for s in table.bench.segments}


def test_segments_arrive_with_names_colours_and_terminology_on_one_labelmap(table: Table) -> None:
    run(table)
    catalogue = ClassCatalogue.load("ct")
    inner = table.bench.segmentation.GetSegmentation()
    assert inner.GetNumberOfLayers() == 1
    assert [s.class_id for s in table.bench.segments] == CLASSES
    for info in table.bench.segments:
        item = catalogue[info.class_id or 0]
        assert info.name == item.name
        assert info.color == pytest.approx([c / 255 for c in item.color])
        assert get_tag(inner.GetSegment(info.id), "TerminologyEntry") == item.terminology.to_slicer()
        assert np.array_equal(table.mask(info.id), expected(table, item.id))
    assert "3 of 3 structures found." in table.said
    assert table.bench.undo_name == "Segment 3 classes"


def test_a_run_is_one_step(table: Table) -> None:
    foreign_segment(table, A)
    start = picture(table.bench.segmentation)
    run(table)
    end = picture(table.bench.segmentation)
    table.bench.undo()
    assert picture(table.bench.segmentation) == start
    table.bench.redo()
    assert picture(table.bench.segmentation) == end


def test_a_run_that_is_done_again_is_known_to_the_last_voxel(table: Table) -> None:
    run(table)
    table.bench.undo()
    table.bench.redo()
    end, node = picture(table.bench.segmentation), table.bench.segmentation
    paint(node, ids(table)[3], np.s_[2:4, 1:2, 0:1], 5)
    painted = [table.mask(i).tobytes() for i in ids(table).values()]
    table.bench.undo()
    assert table.bench.redo_name == EDITED_ELSEWHERE
    assert picture(node) == end
    table.bench.redo()
    assert [table.mask(i).tobytes() for i in ids(table).values()] == painted
    table.bench.undo()
    labelmap_of(node.GetSegmentation().GetNthSegment(0)).Modified()  # touched, nothing changed
    table.bench.undo()
    assert table.bench.segments == ()


def test_a_segment_that_left_the_shared_labelmap_comes_back_whole_with_the_run(table: Table) -> None:
    run(table, [3, 4])
    end, inner = picture(table.bench.segmentation), table.bench.segmentation.GetSegmentation()
    table.bench.select_segment(ids(table)[3])
    table.bench.add_point(table.at(*A))  # grows into its neighbour
    table.settle()
    assert inner.GetNumberOfLayers() == 2
    while table.bench.undo_name is not None:
        table.bench.undo()
    table.bench.redo()
    assert picture(table.bench.segmentation) == end


@pytest.mark.parametrize("policy", list(Overwrite))
@pytest.mark.parametrize("overlapping", [False, True])
def test_the_overwrite_policy_holds_for_runs(table: Table, policy: Overwrite, overlapping: bool) -> None:
    other = foreign_segment(table, A)
    before, start = table.mask(other), picture(table.bench.segmentation)
    table.bench.policy = policy
    run(table, [3], overlapping=overlapping)  # the slab from 9 to 12, across the ball
    mask, found = table.mask(ids(table)[3]), expected(table, 3)
    if overlapping:
        found[8:13] = found[9:10]
    assert (before & found).any()
    if policy is Overwrite.ONLY_EMPTY:
        assert np.array_equal(mask, found & ~before)
    else:
        assert np.array_equal(mask, found)
    left = before & ~found if policy is Overwrite.OVERWRITE_OTHERS else before
    assert np.array_equal(table.mask(other), left)
    table.bench.undo()
    assert picture(table.bench.segmentation) == start


def test_overlapping_structures_all_keep_their_voxels(table: Table) -> None:
    run(table, [1, 2, 3], overlapping=True)  # 2 is a group: its members come
    assert table.bench.segments
    for info in table.bench.segments:
        assert info.class_id is not None
        assert table.mask(info.id).sum() > expected(table, info.class_id).sum()
    table.bench.undo()
    assert table.bench.segments == ()


def test_a_second_run_writes_into_the_segments_of_the_first_unless_a_person_changed_them(table: Table) -> None:
    run(table)
    table.bench.select_segment(ids(table)[3])
    table.bench.add_point(table.at(*A))
    table.settle()
    repaired = table.mask(ids(table)[3])
    names = [s.name for s in table.bench.segments]
    run(table)
    assert [s.name for s in table.bench.segments][:3] == names
    assert [s.name for s in table.bench.segments][3:] == ["spleen 2"]
    first = next(s.id for s in table.bench.segments if s.name == "spleen")
    assert np.array_equal(table.mask(first), repaired)
    table.bench.undo()
    assert len(table.bench.segments) == 3


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_second_run_that_finds_something_else_changes_the_segments_and_is_undone(
    table: Table, overlapping: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(table, overlapping=overlapping)
    before = picture(table.bench.segmentation)
    monkeypatch.setattr("fake_worker.slab", lambda grid, c: slab(grid, c).shifted((2, 1, 0)) & grid.box)
    run(table, overlapping=overlapping)
    assert [s.class_id for s in table.bench.segments] == CLASSES
    if not overlapping:
        assert table.bench.segmentation.GetSegmentation().GetNumberOfLayers() == 1  # they passed voxels to each other
        for class_id in CLASSES:
            assert table.mask(ids(table)[class_id]).sum() <= expected(table, class_id).sum()
            assert table.mask(ids(table)[class_id])[slab(table.grid, class_id).stop[0]].any()
    table.bench.undo()
    assert picture(table.bench.segmentation) == before


def test_a_region_of_interest_bounds_what_is_written(table: Table, scene: Any) -> None:
    run(table)
    grid = table.grid
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    box = Box(start=(2, 4, 5), stop=(28, 14, 15))
    corners = np.array([grid.to_world(v) for v in (np.array(box.start) - 0.4, np.array(box.stop) - 0.6)])
    roi.SetCenter(*corners.mean(axis=0))
    axes = np.eye(4)
    axes[:3, :3] = grid.affine[:3, :3] / np.array(grid.spacing)
    axes[:3, 3] = corners.mean(axis=0)
    roi.SetAndObserveObjectToNodeMatrix(vtk_matrix(axes))
    roi.SetSize(*(np.array(box.shape) - 0.2) * grid.spacing)
    table.bench.segment_classes([7, 3], roi=roi)
    table.settle()
    assert not table.failures
    assert table.worker.requests[-1][1]["roi"] == {"start": list(box.start), "stop": list(box.stop)}
    assert np.array_equal(table.mask(ids(table)[7]), expected(table, 7, box))
    for class_id in CLASSES:
        assert np.array_equal(table.mask(ids(table)[class_id]), expected(table, class_id))


def test_an_estimate_comes_back(table: Table) -> None:
    heard: list[Any] = []
    table.bench.estimate(CLASSES, heard.append)
    table.settle()
    assert heard[0]["windows"] == 3


def test_an_unknown_class_is_refused_at_once_with_the_nearest_names(table: Table) -> None:
    table.bench.segment_classes(["livr"])
    assert table.failures[-1][0] == "ClassError"
    assert "liver" in table.failures[-1][2]
    assert not table.bench.busy


def test_a_cancelled_run_changes_nothing(table: Table) -> None:
    table.bench.segment_classes(CLASSES)
    table.bench.cancel()
    assert not table.bench.busy
    table.settle()
    assert table.bench.segments == ()
    assert table.bench.undo_name is None


def test_a_click_during_a_run_is_answered_behind_it(table: Table) -> None:
    table.bench.segment_classes(CLASSES)
    table.bench.add_point(table.at(*A))
    assert table.bench.state is State.AUTOMATIC
    table.settle()
    assert len(table.bench.segments) == 4
    assert np.array_equal(table.mask(), ball(table, A))


def move(scene: Any, node: Any) -> None:
    node.SetAndObserveTransformNodeID(make_transform(scene, MOVE).GetID())


def warp(scene: Any, node: Any) -> None:
    node.SetAndObserveTransformNodeID(make_warp(scene, volume_middle(node), 160.0, 8.0).GetID())


@pytest.mark.parametrize("how", [move, warp])
def test_a_run_on_a_transformed_ct_arrives_in_the_right_place(
    make_table: Callable[[], Table], scene: Any, how: Any
) -> None:
    table = make_table()
    volume = make_volume(scene, np.zeros((30, 26, 20), dtype=np.int16), odd_affine("oblique"))
    segmentation = make_segmentation(scene, volume)  # in the world, while the CT is moved
    how(scene, volume)
    table.prepare(volume)
    table.bench.set_segmentation(segmentation)
    run(table, [3])
    found, wanted = table.mask(ids(table)[3]), expected(table, 3)
    assert 2 * (found & wanted).sum() / (found.sum() + wanted.sum()) > 0.85


def test_labels_arrive_on_the_geometry_that_a_segmentation_has(make_table: Callable[[], Table], scene: Any) -> None:
    table = make_table()
    affine = odd_affine("lps")
    volume = make_volume(scene, np.zeros((30, 26, 20), dtype=np.int16), affine)
    fine = affine @ np.diag([1 / 3, 1 / 3, 1 / 3, 1.0])
    fine[:3, 3] = (affine @ [-1 / 3, -1 / 3, -1 / 3, 1])[:3]
    segmentation = make_segmentation(scene, make_volume(scene, np.zeros((90, 78, 60), dtype=np.int16), fine))
    table.prepare(volume)
    table.bench.set_segmentation(segmentation)
    run(table)
    image = labelmap_of(segmentation.GetSegmentation().GetSegment(ids(table)[1]))
    assert np.allclose(image_affine(image), fine)
    for class_id in CLASSES:
        assert np.array_equal(table.mask(ids(table)[class_id]), expected(table, class_id))
        voxels = expected(table, class_id).sum() * table.grid.voxel_ml
        assert table.bench.volume_ml(ids(table)[class_id]) == pytest.approx(voxels)


def test_a_segment_that_comes_after_a_run_was_undone_has_no_voxels_of_it(table: Table) -> None:
    run(table)
    inner = table.bench.segmentation.GetSegmentation()
    inner.AddEmptySegment("guest", "guest")  # on the labelmap of the run, and here to stay
    ledger_of(table).watcher.accept()
    table.bench.undo()
    assert [s.id for s in table.bench.segments] == ["guest"]
    for name in "abcdef":
        inner.AddEmptySegment(name, name)
    assert not any(table.mask(s.id).any() for s in table.bench.segments)


def ledger_of(table: Table) -> Any:
    return table.bench._bench.needed_ledger()


def test_deleting_one_of_many_and_undoing_leaves_the_others_alone(table: Table) -> None:
    run(table)
    before = picture(table.bench.segmentation)
    table.bench.remove_segment(ids(table)[3])
    for class_id in (1, 5):
        assert np.array_equal(table.mask(ids(table)[class_id]), expected(table, class_id))
    table.bench.new_segment(None, "gap")
    table.bench.add_point(table.at(*A))
    table.settle()
    assert np.array_equal(table.mask(), ball(table, A))
    for _ in range(3):
        table.bench.undo()
    assert picture(table.bench.segmentation) == before
