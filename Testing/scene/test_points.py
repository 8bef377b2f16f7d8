"""Points of a segment: placed, dragged, moved, flipped, removed; live or on request."""

from __future__ import annotations

import numpy as np
import pytest
from scene_table import A, B, C, Table, ball
from VISTA3DScene.jobs import State


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
