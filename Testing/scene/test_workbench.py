"""Overwriting, steps of undo, cancel, and what is told about segments."""

from __future__ import annotations

import numpy as np
import pytest
from scene_table import A, B, C, Table, ball, foreign_segment
from test_ledger import picture
from VISTA3DScene.overwrite import Overwrite


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
