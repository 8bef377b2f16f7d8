"""What a person does with points: live, moved, flipped, removed, undone."""

from __future__ import annotations

import numpy as np
from fake_worker import clicked
from scene_table import Table


def test_a_click_becomes_a_segment(table: Table) -> None:
    table.bench.add_point(table.at(10, 12, 9))
    table.settle()
    expected = clicked(table.grid, np.zeros(table.grid.shape, bool), [(np.array(table.at(10, 12, 9)), True)])
    assert np.array_equal(table.mask(), expected)
    assert len(table.bench.segments) == 1
    assert not table.bench.busy
    table.bench.undo()
    assert table.bench.segments == ()
    table.bench.redo()
    assert np.array_equal(table.mask(), expected)
    assert not table.failures
