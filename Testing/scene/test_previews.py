"""What a click would change, shown before it is kept or dropped."""

from __future__ import annotations

import numpy as np
import pytest
from scene_table import A, B, C, Table, ball, foreign_segment


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
