"""What a person does with points: live, moved, flipped, removed, undone; preview, overwriting, repair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_worker import clicked
from scene_table import Table
from test_ledger import paint, picture
from VISTA3DScene.jobs import State
from VISTA3DScene.overwrite import Overwrite


def ball(table: Table, *places: tuple[float, float, float], base: Any = None, off: Any = ()) -> np.ndarray:
    """What the fake model makes of positive points at voxels ``places`` and negative ones at ``off``."""
    start = np.zeros(table.grid.shape, bool) if base is None else base
    points = [(np.array(table.at(*p)), True) for p in places] + [(np.array(table.at(*p)), False) for p in off]
    return clicked(table.grid, start, points)


A, B, C = (10, 12, 9), (20, 22, 16), (12, 14, 10)


def test_a_click_becomes_a_segment(table: Table) -> None:
    table.bench.add_point(table.at(*A))
    table.settle()
    assert np.array_equal(table.mask(), ball(table, A))
    assert len(table.bench.segments) == 1
    assert not table.bench.busy
    table.bench.undo()
    assert table.bench.segments == ()
    table.bench.redo()
    assert np.array_equal(table.mask(), ball(table, A))
    assert not table.failures


def test_points_placed_in_the_lists_are_run_as_well(table: Table) -> None:
    table.bench.positive_node.AddControlPointWorld(*table.at(*A))
    table.settle()
    table.bench.negative_node.AddControlPointWorld(*table.at(*C))
    table.settle()
    assert np.array_equal(table.mask(), ball(table, A, off=[C]))
    assert [p.positive for p in table.bench.points] == [True, False]
    table.bench.positive_node.SetNthControlPointPositionWorld(0, *table.at(*B))
    table.settle()
    assert np.array_equal(table.mask(), ball(table, B, off=[C]))
    table.bench.negative_node.RemoveNthControlPoint(0)
    table.settle()
    assert np.array_equal(table.mask(), ball(table, B))
    assert table.bench.undo_name == "Remove point"


def test_a_point_that_is_dragged_runs_once_when_it_is_let_go(table: Table) -> None:
    table.bench.add_point(table.at(*A))
    table.settle()
    node, count = table.bench.positive_node, len(table.worker.requests)
    node.InvokeEvent(node.PointStartInteractionEvent)
    for n in range(5):
        node.SetNthControlPointPositionWorld(0, *table.at(A[0] + n, A[1], A[2]))
        table.settle()
    assert len(table.worker.requests) == count
    node.InvokeEvent(node.PointEndInteractionEvent)
    table.settle()
    assert len(table.worker.requests) == count + 1
    assert np.array_equal(table.mask(), ball(table, (A[0] + 4, A[1], A[2])))


def test_the_point_under_the_cursor_in_place_mode_is_no_click(table: Table) -> None:
    node = table.bench.positive_node
    node.AddControlPointWorld(*table.at(*B))
    node.SetNthControlPointPositionWorld(0, *table.at(*B), node.PositionPreview)
    table.settle()
    assert table.bench.segments == ()
    table.bench.add_point(table.at(*A))
    table.settle()
    assert node.GetNumberOfControlPoints() == 2  # the preview point is left alone
    assert node.GetNumberOfDefinedControlPoints() == 1
    node.SetNthControlPointPositionWorld(0, *table.at(*B))
    table.settle()
    assert np.array_equal(table.mask(), ball(table, A, B))


def test_the_newest_click_wins_and_older_answers_are_dropped(table: Table) -> None:
    table.bench.add_point(table.at(*A))
    table.bench.add_point(table.at(*B))
    assert table.bench.state is State.POINTS
    assert table.worker.waiting == 2  # the first is cancelled, and answers that it is
    table.settle()
    assert np.array_equal(table.mask(), ball(table, A, B))
    assert not table.failures
    table.bench.undo()
    assert len(table.bench.points) == 1
    assert not table.mask().any()  # as it was: the first click had no answer yet
    assert table.bench.points_pending
    table.bench.run_points()
    table.settle()
    assert np.array_equal(table.mask(), ball(table, A))


@pytest.mark.parametrize("how", ["remove", "move", "flip", "clear"])
def test_an_edited_point_gives_the_mask_that_would_have_been_without_it(table: Table, how: str) -> None:
    for place in (A, B):
        table.bench.add_point(table.at(*place))
        table.settle()
    table.bench.add_point(table.at(*C), positive=False)
    table.settle()
    if how == "remove":
        table.bench.remove_point(1)
        expected = ball(table, A, off=[C])
    elif how == "move":
        table.bench.move_point(2, table.at(*B))
        assert table.failures[-1][0] == "PromptError"  # two signs in one place
        table.bench.move_point(2, table.at(B[0] + 1, B[1], B[2]))
        expected = ball(table, A, B, off=[(B[0] + 1, B[1], B[2])])
    elif how == "flip":
        table.bench.flip_point(2)
        expected = ball(table, A, B, C)
    else:
        table.bench.clear_points()
        expected = np.zeros(table.grid.shape, bool)
    table.settle()
    assert np.array_equal(table.mask(), expected)
    table.bench.undo()
    assert np.array_equal(table.mask(), ball(table, A, B, off=[C]))
    assert len(table.bench.points) == 3


def foreign_segment(table: Table, *places: tuple[int, int, int]) -> str:
    """A segment that somebody else made."""
    segment_id = table.bench.new_segment(None, "foreign")
    assert segment_id is not None
    segment = table.bench.segmentation.GetSegmentation().GetSegment(segment_id)
    from VISTA3DScene.lattice import LatticeMask
    from VISTA3DScene.segment_masks import change_mask

    from VISTA3DLib.geometry import Box

    mask = ball(table, *places)
    there = LatticeMask(affine=table.grid.affine, box=Box.whole(mask.shape), mask=mask)
    change_mask(table.bench.segmentation, segment_id, there, LatticeMask.empty(table.grid.affine))
    segment.RemoveTag("VISTA3D.Prompts")
    table.settle()
    return segment_id


def test_any_segment_is_repaired_and_its_mask_is_the_base_of_all_its_points(table: Table) -> None:
    segment_id = foreign_segment(table, A, B)
    base = table.mask(segment_id)
    table.bench.add_point(table.at(*C))
    table.settle()
    table.bench.add_point(table.at(*B), positive=False)
    table.settle()
    assert np.array_equal(table.mask(), ball(table, C, base=base, off=[B]))
    table.bench.remove_point(1)
    table.settle()
    assert np.array_equal(table.mask(), ball(table, C, base=base))
    table.bench.remove_point(0)
    table.settle()
    assert np.array_equal(table.mask(), base)


def test_an_edit_made_elsewhere_stays_when_points_before_and_after_it_change(table: Table) -> None:
    table.bench.add_point(table.at(*A))
    table.settle()
    selected = table.bench.selected or ""
    spot = np.s_[A[0] : A[0] + 1, A[1] : A[1] + 1, A[2] : A[2] + 1]
    paint(table.bench.segmentation, selected, spot_in(table, spot), 0)  # the eraser, in the middle of the ball
    table.settle()
    assert table.bench.undo_name == "Edit made elsewhere"
    assert not table.mask()[A]
    table.bench.add_point(table.at(*B))
    table.settle()
    expected = ball(table, A)
    expected[A] = False
    assert np.array_equal(table.mask(), ball(table, B, base=expected))
    table.bench.move_point(0, table.at(A[0], A[1], A[2] + 2))  # a point from before the edit
    table.settle()
    moved = ball(table, (A[0], A[1], A[2] + 2))
    moved[A] = False
    assert np.array_equal(table.mask(), ball(table, B, base=moved))
    table.bench.remove_point(1)
    table.settle()
    assert np.array_equal(table.mask(), moved)


def spot_in(table: Table, where: tuple[slice, slice, slice]) -> tuple[slice, slice, slice]:
    """A place on the volume's grid, in the array of the selected segment's labelmap."""
    from VISTA3DScene.lattice import image_box
    from VISTA3DScene.segment_masks import labelmap_of

    image = labelmap_of(table.bench.segmentation.GetSegmentation().GetSegment(table.bench.selected or ""))
    start = image_box(image).start
    i, j, k = (slice(s.start - o, s.stop - o) for s, o in zip(where, start, strict=True))
    return i, j, k


def test_an_edit_made_while_the_worker_computes_is_kept(table: Table) -> None:
    table.bench.add_point(table.at(*A))
    table.settle()
    table.bench.add_point(table.at(*B))
    paint(table.bench.segmentation, table.bench.selected or "", spot_in(table, np.s_[10:11, 12:13, 9:10]), 0)
    table.settle()
    assert not table.mask()[A]
    assert table.mask()[B]
    assert np.array_equal(table.mask() | ball(table, A), ball(table, A, B))


def test_without_live_points_wait_for_run(table: Table) -> None:
    table.bench.live = False
    table.bench.add_point(table.at(*A))
    table.bench.add_point(table.at(*B))
    table.settle()
    assert not table.mask().any()
    assert table.bench.points_pending
    table.bench.run_points()
    table.settle()
    assert np.array_equal(table.mask(), ball(table, A, B))
    assert not table.bench.points_pending


def test_a_point_outside_the_ct_is_refused_and_goes_from_the_list(table: Table) -> None:
    table.bench.positive_node.AddControlPointWorld(*table.at(-9, 3, 3))
    table.settle()
    assert table.failures[-1][0] == "PromptError"
    assert "outside" in table.failures[-1][1]
    assert table.bench.positive_node.GetNumberOfDefinedControlPoints() == 0
    assert table.bench.segments == ()


def test_points_belong_to_their_segment_and_the_lists_follow_the_selection(table: Table) -> None:
    table.bench.add_point(table.at(*A))
    table.settle()
    first = table.bench.selected
    second = table.bench.new_segment(1)
    assert table.bench.points == ()
    assert table.bench.positive_node.GetNumberOfControlPoints() == 0
    table.bench.add_point(table.at(*B))
    table.bench.add_point(table.at(*C), positive=False)
    table.settle()
    table.bench.select_segment(first)
    assert [p.ras for p in table.bench.points] == [pytest.approx(table.at(*A))]
    assert table.bench.negative_node.GetNumberOfControlPoints() == 0
    table.bench.next_segment()
    assert table.bench.selected == second
    assert len(table.bench.points) == 2
    table.bench.next_segment(-1)
    assert table.bench.selected == first
    assert np.array_equal(table.mask(first), ball(table, A))
    assert np.array_equal(table.mask(second), ball(table, B, off=[C]))


def test_the_class_of_a_segment_goes_with_its_points(table: Table) -> None:
    table.bench.new_segment(1)
    table.bench.add_point(table.at(*A))
    table.settle()
    arguments = table.worker.requests[-1][1]
    assert (arguments["class_id"], arguments["zero_shot"]) == (1, False)
    table.bench.new_segment(None, "lesion")
    table.bench.add_point(table.at(*B))
    table.settle()
    arguments = table.worker.requests[-1][1]
    assert (arguments["class_id"], arguments["zero_shot"]) == (None, True)


def test_what_a_click_would_change_is_shown_and_kept(table: Table) -> None:
    segment_id = foreign_segment(table, A)
    before = table.mask(segment_id)
    table.bench.preview_enabled = True
    table.bench.add_point(table.at(*B))
    table.settle()
    preview = table.bench.preview
    assert preview is not None
    grown = ball(table, B, base=before)
    assert preview.added_ml == pytest.approx((grown & ~before).sum() * table.grid.voxel_ml)
    assert preview.removed_ml == 0
    assert [p["kind"] for p in preview.parts] == ["added"]
    assert np.array_equal(table.mask(segment_id), before)
    node = table.bench.preview_node
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["Added", "Removed"]
    assert not node.GetSaveWithScene()
    table.bench.accept()
    assert np.array_equal(table.mask(segment_id), grown)
    assert table.bench.preview is None
    assert node.GetScene() is None
    assert table.bench.undo_name == "Keep preview"
    table.bench.undo()
    assert np.array_equal(table.mask(segment_id), before)
    assert len(table.bench.points) == 1
    table.bench.redo()
    assert np.array_equal(table.mask(segment_id), grown)
    assert not table.bench.points_pending


def test_a_dropped_preview_takes_its_points_with_it_and_undo_brings_them_back(table: Table) -> None:
    table.bench.add_point(table.at(*A))
    table.settle()
    table.bench.preview_enabled = True
    for place in (B, C):
        table.bench.add_point(table.at(*place))
        table.settle()
    assert table.bench.preview is not None
    table.bench.drop()
    assert table.bench.preview is None
    assert len(table.bench.points) == 1
    assert table.bench.positive_node.GetNumberOfControlPoints() == 1
    assert np.array_equal(table.mask(), ball(table, A))
    table.bench.undo()
    assert len(table.bench.points) == 3
    assert table.bench.points_pending
    assert np.array_equal(table.mask(), ball(table, A))


def test_a_preview_of_an_older_state_is_put_away_by_undo(table: Table) -> None:
    table.bench.preview_enabled = True
    table.bench.add_point(table.at(*A))
    table.settle()
    assert table.bench.preview is not None
    table.bench.undo()
    assert table.bench.preview is None
    assert table.bench.preview_node is None
    table.bench.accept()  # nothing waits: nothing happens
    assert table.bench.segments == ()


@pytest.mark.parametrize("policy", list(Overwrite))
def test_overwriting_is_what_was_chosen_and_undone_exactly(table: Table, policy: Overwrite) -> None:
    other = foreign_segment(table, A)
    before = table.mask(other)
    table.bench.new_segment(None, "new")
    table.bench.policy = policy
    start = picture(table.bench.segmentation)
    table.bench.add_point(table.at(*C))
    table.settle()
    grown = ball(table, C)
    assert (grown & before).any()
    if policy is Overwrite.KEEP_OTHERS:
        assert np.array_equal(table.mask(), grown)
        assert np.array_equal(table.mask(other), before)
    elif policy is Overwrite.ONLY_EMPTY:
        assert np.array_equal(table.mask(), grown & ~before)
        assert np.array_equal(table.mask(other), before)
    else:
        assert np.array_equal(table.mask(), grown)
        assert np.array_equal(table.mask(other), before & ~grown)
    table.bench.undo()
    assert picture(table.bench.segmentation) == start
    table.bench.redo()
    table.bench.undo()
    assert picture(table.bench.segmentation) == start


def test_every_action_is_one_step_and_its_name_says_which(table: Table) -> None:
    table.bench.new_segment(1)
    table.bench.rename_segment(table.bench.selected or "", "my liver")
    table.bench.recolor_segment(table.bench.selected or "", (1, 0, 0))
    table.bench.add_point(table.at(*A))
    table.settle()
    table.bench.flip_point(0)
    table.settle()
    table.bench.remove_segment(table.bench.selected or "")
    names = []
    while table.bench.undo_name:
        names.append(table.bench.undo_name)
        table.bench.undo()
    assert names == ["Delete segment", "Flip point", "Add point", "Recolor segment", "Rename segment", "New segment"]
    assert table.bench.segments == ()
    for _ in names:
        table.bench.redo()
    assert table.bench.segments == ()  # deleted again
    table.bench.undo()
    assert table.bench.segments[0].name == "my liver"


def test_undo_in_the_middle_of_a_run_does_not_wait_for_it(table: Table) -> None:
    table.bench.add_point(table.at(*A))
    table.bench.undo()
    assert table.bench.segments == ()
    assert not table.bench.busy
    table.settle()
    assert table.bench.segments == ()


def test_cancel_leaves_the_points_waiting_and_the_mask_as_it_was(table: Table) -> None:
    table.bench.add_point(table.at(*A))
    table.bench.cancel()
    assert not table.bench.busy
    table.settle()
    assert not table.mask().any()
    assert table.bench.points_pending
    table.bench.run_points()
    table.settle()
    assert np.array_equal(table.mask(), ball(table, A))


def test_a_segment_is_measured_shown_and_listed(table: Table) -> None:
    segment_id = table.bench.new_segment(3)
    assert segment_id is not None
    table.bench.add_point(table.at(*A))
    table.settle()
    assert table.bench.volume_ml(segment_id) == pytest.approx(ball(table, A).sum() * table.grid.voxel_ml)
    info = table.bench.segments[0]
    assert (info.class_id, info.points, info.visible, info.name) == (3, 1, True, "spleen")
    table.bench.show_segment(segment_id, False)
    table.bench.set_opacity(segment_id, 0.25)
    info = table.bench.segments[0]
    assert (info.visible, info.opacity) == (False, 0.25)
    steps = table.bench.undo_name
    table.bench.show_surface(True)
    assert table.bench.segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    table.bench.add_point(table.at(*B))
    table.settle()
    assert table.bench.segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    table.bench.undo()
    assert table.bench.undo_name == steps


def test_many_changes_in_one_go_are_told_once(table: Table) -> None:
    table.bench.add_point(table.at(*A))
    table.settle()
    count = table.changes
    table.bench.flip_point(0)
    assert table.changes == count + 1
