"""Segments of other origin, and edits made elsewhere, are repaired by clicks and never lost."""

from __future__ import annotations

import numpy as np
from scene_table import A, B, C, Table, ball, foreign_segment, spot_in
from test_ledger import paint


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


def test_an_edit_made_while_the_worker_computes_is_kept(table: Table) -> None:
    table.bench.add_point(table.at(*A))
    table.settle()
    table.bench.add_point(table.at(*B))
    paint(table.bench.segmentation, table.bench.selected or "", spot_in(table, np.s_[10:11, 12:13, 9:10]), 0)
    table.settle()
    assert not table.mask()[A]
    assert table.mask()[B]
    assert np.array_equal(table.mask() | ball(table, A), ball(table, A, B))
