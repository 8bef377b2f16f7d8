"""Whatever happens to the scene or the worker, at any moment: the workbench stays usable, and nothing is left."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_volumes import odd_affine
from scene_host import make_volume
from scene_table import A, B, C, Table, ball, spot_in
from VISTA3DScene.jobs import State


def begin(table: Table, what: str) -> None:
    """Be in the middle of something."""
    table.bench.add_point(table.at(*A))
    table.settle()
    if what == "points":
        table.bench.add_point(table.at(*B))
    elif what == "automatic":
        table.bench.segment_classes([1, 3, 5])
    elif what == "preview":
        table.bench.preview_enabled = True
        table.bench.add_point(table.at(*B))
        table.settle()
        table.bench.preview_enabled = False
    elif what == "model":
        table.bench.load_model("another")


MOMENTS = ["idle", "points", "automatic", "preview", "model"]


def still_works(table: Table) -> None:
    """A click on a CT does what it should."""
    if table.bench.volume is None:
        table.bench.set_volume(make_volume(table.scene, np.zeros((30, 34, 26), dtype=np.int16), odd_affine("oblique")))
    table.bench.select_segment(None)
    table.settle()
    table.bench.add_point(table.at(*C))
    table.settle()
    assert np.array_equal(table.mask(), ball(table, C))
    assert not table.bench.busy
    table.bench.undo()


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_scene_is_closed(table: Table, moment: str) -> None:
    begin(table, moment)
    table.scene.Clear(0)
    assert table.bench.volume is None
    assert table.bench.segmentation is None
    assert table.bench.segments == ()
    assert table.bench.preview is None
    assert table.bench.undo_name is None
    table.settle()
    assert table.bench.positive_node.GetScene() is table.scene
    assert table.bench.positive_node.GetNumberOfControlPoints() == 0
    assert not table.failures
    still_works(table)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_volume_is_deleted(table: Table, moment: str) -> None:
    begin(table, moment)
    before = len(table.bench.segments)
    table.scene.RemoveNode(table.bench.volume)
    assert table.bench.volume is None
    assert len(table.bench.segments) == before  # they are the person's
    table.settle()
    assert not table.failures
    table.bench.add_point((0, 0, 0))
    assert table.failures[-1][0] == "VolumeError"
    still_works(table)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_segmentation_is_deleted(table: Table, moment: str) -> None:
    begin(table, moment)
    table.scene.RemoveNode(table.bench.segmentation)
    assert table.bench.segments == ()
    table.settle()
    assert not table.failures
    assert (len(table.bench.segments) == 3) == (moment == "automatic")  # the run's result finds a new home
    still_works(table)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_segment_is_deleted_elsewhere(table: Table, moment: str) -> None:
    begin(table, moment)
    table.bench.segmentation.GetSegmentation().RemoveSegment(table.bench.selected)
    assert table.bench.selected is None
    table.settle()
    assert not table.failures
    assert table.bench.points == ()
    still_works(table)


def test_a_segment_that_was_deleted_elsewhere_comes_back_with_its_points(table: Table) -> None:
    begin(table, "idle")
    segment_id = table.bench.selected
    table.bench.segmentation.GetSegmentation().RemoveSegment(segment_id)
    table.settle()
    assert table.bench.undo_name == "Edit made elsewhere"
    table.bench.undo()
    table.bench.select_segment(segment_id)
    assert np.array_equal(table.mask(), ball(table, A))
    assert len(table.bench.points) == 1


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_segment_is_renamed_elsewhere(table: Table, moment: str) -> None:
    begin(table, moment)
    table.bench.segmentation.GetSegmentation().GetSegment(table.bench.selected).SetName("mine")
    table.settle()
    assert not table.failures
    assert "mine" in [s.name for s in table.bench.segments]
    if moment == "points":
        assert np.array_equal(table.mask(), ball(table, A, B))
    still_works(table)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_worker_is_killed(table: Table, moment: str) -> None:
    begin(table, moment)
    table.worker.kill()
    table.settle()
    assert not table.failures
    assert table.worker.starts == 2
    if moment == "points":
        assert np.array_equal(table.mask(), ball(table, A, B))
    if moment == "automatic":
        assert len(table.bench.segments) == 4
    still_works(table)


def test_a_request_that_kills_the_worker_twice_is_given_up_and_the_points_stay(table: Table) -> None:
    table.worker.on_answer = lambda op: table.worker.kill() if op == "segment_points" else None
    table.bench.add_point(table.at(*A))
    table.settle()
    assert table.failures[-1][0] == "WorkerDied"
    assert table.bench.points_pending
    table.worker.on_answer = lambda _: None
    table.bench.run_points()
    table.settle()
    assert np.array_equal(table.mask(), ball(table, A))


def test_the_model_file_is_gone_when_the_worker_has_to_start_again(table: Table) -> None:
    begin(table, "points")
    table.worker.fail["load_model"] = ("CheckpointError", "The file is gone.", "Choose another model.")
    table.worker.kill()
    table.settle()
    assert "The file is gone. Choose another model." in table.said
    assert table.bench.model is None
    assert table.bench.points_pending
    assert not table.bench.busy
    table.bench.run_points()
    assert "No model is loaded" in table.failures[-1][1]
    table.worker.fail.clear()
    table.bench.load_model("vista3d-mini")
    table.settle()
    assert np.array_equal(table.mask(), ball(table, A, B))  # what waited was run as soon as there was a model


def test_a_model_that_cannot_be_loaded_is_said_once_and_another_can_be(
    make_table: Callable[[], Table], a_ct: Any
) -> None:
    table = make_table()
    table.worker.fail["load_model"] = ("CheckpointError", "The file is gone.", "Choose another model.")
    table.bench.load_model("gone")
    table.bench.set_volume(a_ct)
    table.bench.segment_classes([1])
    table.settle()
    assert [f[0] for f in table.failures] == ["CheckpointError"]
    assert not table.bench.busy
    assert table.bench.segments == ()
    table.worker.fail.clear()
    table.bench.load_model("there")
    table.settle()
    still_works(table)


@pytest.mark.parametrize("moment", ["volume", "base"])
def test_the_disk_is_full(table: Table, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(table, "idle")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if moment == "volume":
        table.bench.volume.GetImageData().Modified()
    else:
        table.bench.live = False
        table.bench.add_point(table.at(*B))
        table.bench.undo()
        table.bench.select_segment(None)
        table.bench.select_segment(table.bench.segments[0].id)
        from test_ledger import paint

        paint(table.bench.segmentation, table.bench.selected or "", spot_in(table, np.s_[10:11, 12:13, 9:10]), 0)
        table.settle()
        table.bench.live = True
    before = table.mask()
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        table.bench.add_point(table.at(*B))
        table.settle()
    assert table.failures[-1][0] == "OutputError"
    assert "No space left" in table.failures[-1][1]
    assert np.array_equal(table.mask(), before)
    assert not table.bench.busy
    assert table.bench.points_pending
    table.bench.run_points()
    table.settle()
    assert table.mask()[B]
    assert not table.bench.points_pending


def test_a_failing_request_says_so_and_leaves_the_mask(table: Table) -> None:
    begin(table, "idle")
    table.worker.fail["segment_points"] = ("MemoryLimitError", "Memory ran out.", "Close other programs.")
    table.bench.add_point(table.at(*B))
    table.settle()
    assert table.failures == [("MemoryLimitError", "Memory ran out.", "Close other programs.")]
    assert np.array_equal(table.mask(), ball(table, A))
    assert table.bench.state is State.IDLE


def test_why_a_click_found_nothing_is_said(table: Table) -> None:
    table.worker.notes = ["The model finds nothing at these points."]
    table.bench.add_point(table.at(*A))
    table.settle()
    assert table.said[-1] == "The model finds nothing at these points."
    assert not table.failures


def test_a_ct_whose_voxels_change_is_handed_over_again_with_the_next_click(table: Table) -> None:
    begin(table, "idle")
    count = sum(op == "set_volume" for op, _ in table.worker.requests)
    table.bench.volume.GetImageData().Modified()
    table.bench.add_point(table.at(*B))
    table.settle()
    assert sum(op == "set_volume" for op, _ in table.worker.requests) == count + 1
    table.bench.volume.SetSpacing(2.0, 2.3, 4.0)
    table.bench.add_point(table.at(*C))
    table.settle()
    assert sum(op == "set_volume" for op, _ in table.worker.requests) == count + 2


def test_points_that_a_change_of_the_ct_left_outside_can_be_deleted_one_by_one(table: Table) -> None:
    for place in (A, B, C):
        table.bench.add_point(table.at(*place))
    table.settle()
    origin = table.bench.volume.GetOrigin()
    table.bench.volume.SetOrigin(origin[0] + 500, *origin[1:])
    table.bench.remove_point(1)
    table.settle()
    assert "outside" in table.failures[-1][1]  # the others cannot be run
    assert len(table.bench.points) == 2
    table.bench.clear_points()
    table.settle()
    assert table.bench.points == ()


def test_what_cannot_be_segmented_is_refused_with_a_sentence(table: Table, scene: Any) -> None:
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    table.bench.set_volume(empty)
    table.settle()
    assert table.failures[-1][0] == "VolumeError"
    assert "no voxels" in table.failures[-1][1]
    color = make_volume(scene, np.zeros((8, 8, 8), dtype=np.uint8), np.eye(4), "color")
    color.GetImageData().AllocateScalars(3, 3)
    table.bench.set_volume(color)
    table.settle()
    assert "3 values a voxel" in table.failures[-1][1]
    still_works_on_another(table)


def still_works_on_another(table: Table) -> None:
    table.bench.set_volume(None)
    still_works(table)


def test_a_point_list_that_somebody_deletes_comes_back(table: Table) -> None:
    begin(table, "idle")
    table.scene.RemoveNode(table.bench.positive_node)
    table.settle()
    assert table.bench.positive_node.GetScene() is table.scene
    assert table.bench.positive_node.GetNumberOfControlPoints() == 1
    assert len(table.bench.points) == 1
    still_works(table)


def test_a_deleted_preview_node_leaves_the_points_waiting(table: Table) -> None:
    begin(table, "preview")
    table.scene.RemoveNode(table.bench.preview_node)
    assert table.bench.preview is None
    assert table.bench.points_pending
    still_works(table)


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_close_no_node_no_observer_and_no_file_is_left(
    make_table: Callable[[], Table], a_ct: Any, moment: str
) -> None:
    scene = a_ct.GetScene()
    nodes = {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}
    observers = count_observers(scene) + count_observers(a_ct)
    table = make_table()
    table.prepare(a_ct)
    begin(table, moment)
    segmentation = table.bench.segmentation
    kept = {segmentation.GetID(), segmentation.GetDisplayNodeID()}
    table.bench.close()
    left = {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}
    assert left - nodes == kept  # the person's own segmentation
    assert count_observers(scene) + count_observers(a_ct) == observers
    inner = segmentation.GetSegmentation()
    assert not inner.HasObserver(inner.SegmentRemoved) or count_observers(inner) <= 12  # the node's own
    assert not table.folder.exists()
    table.worker.call_due()  # what was to be called later comes too late
    inner.GetSegment(inner.GetNthSegmentID(0)).SetName("renamed")
    table.bench.close()  # twice does no harm
    assert not table.failures


def count_observers(subject: Any) -> int:
    """How many observers an object has, as it prints itself."""
    return str(subject).count("vtkObserver (")


def test_the_session_folder_holds_no_answers_once_they_were_read(table: Table) -> None:
    for moment in ("points", "automatic"):
        begin(table, moment)
        table.settle()
    files = sorted(p.name for p in Path(table.folder).iterdir())
    assert files == ["request_1.npy"]  # the CT, for a worker that might replace this one


def test_segmentations_have_histories_of_their_own(table: Table) -> None:
    begin(table, "idle")
    first = table.bench.segmentation
    table.bench.set_segmentation(None)
    table.bench.add_point(table.at(*B))
    table.settle()
    second = table.bench.segmentation
    assert second is not first
    table.bench.set_segmentation(first)
    assert table.bench.undo_name == "Add point"
    table.bench.undo()
    assert table.bench.segments == ()
    table.bench.set_segmentation(second)
    assert len(table.bench.segments) == 1
