"""Where windows lie, against MONAI's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.apps.vista3d.inferer import _get_window_idx
from monai.data.utils import dense_patch_slices
from monai.inferers.utils import _get_scan_interval

from VISTA3DLib.geometry import Box
from VISTA3DLib.windows import belongs_to, click_window, click_windows, connected_groups, window_lattice

sizes = st.tuples(*[st.integers(1, 70)] * 3)
windows = st.tuples(*[st.sampled_from([8, 16, 24])] * 3)


@given(sizes, windows, st.sampled_from([0.0, 0.25, 0.5, 0.625, 0.9]))
def test_the_lattice_is_monais(size: tuple[int, int, int], window: tuple[int, int, int], overlap: float) -> None:
    lattice = window_lattice(size, window, overlap)
    padded = tuple(max(n, w) for n, w in zip(size, window, strict=True))
    step = _get_scan_interval(padded, window, 3, [overlap] * 3)
    theirs = [tuple(s.start for s in slices) for slices in dense_patch_slices(padded, window, step)]
    assert lattice.padded_shape == padded
    assert list(lattice.ordered((0, 1, 2))) == theirs
    assert lattice.count == len(theirs)


@given(sizes, windows, st.sampled_from([0.25, 0.625]))
def test_every_voxel_is_covered(size: tuple[int, int, int], window: tuple[int, int, int], overlap: float) -> None:
    lattice = window_lattice(size, window, overlap)
    for axis in range(3):
        seen = np.zeros(lattice.padded_shape[axis], dtype=bool)
        for start in lattice.starts[axis]:
            seen[start : start + window[axis]] = True
        assert seen.all()


@given(st.floats(0, 1), st.integers(16, 90), st.sampled_from([8, 16]))
def test_a_click_window_is_monais(share: float, size: int, side: int) -> None:
    place = share * (size - 1)
    left, right = _get_window_idx(place, side, size)  # type: ignore[arg-type]
    box = click_window((place,) * 3, Box.whole((size,) * 3), (side,) * 3)
    assert (box.start[0], box.stop[0]) == (int(left[0]), int(right[0]))


@given(st.lists(st.tuples(*[st.floats(0, 59)] * 3), min_size=1, max_size=6), st.booleans())
def test_adding_a_click_never_moves_the_windows_of_those_before(clicks: list[tuple[float, ...]], shared: bool) -> None:
    bounds = [Box.whole((60, 60, 60))] * len(clicks)
    every = click_windows(clicks, bounds, (16, 16, 16), shared=shared)
    fewer = click_windows(clicks[:-1], bounds[:-1], (16, 16, 16), shared=shared)
    assert every[: len(fewer)] == fewer


@given(st.lists(st.tuples(*[st.floats(0, 59)] * 3), min_size=1, max_size=6), st.booleans())
def test_every_click_lies_in_a_window(clicks: list[tuple[float, ...]], shared: bool) -> None:
    chosen = click_windows(clicks, [Box.whole((60, 60, 60))] * len(clicks), (16, 16, 16), shared=shared)
    assert all(any(w.contains(c) for w in chosen) for c in clicks)
    assert len(chosen) <= len(clicks)


def test_near_clicks_share_a_window_and_far_ones_do_not() -> None:
    bounds = [Box.whole((64, 64, 64))] * 3
    near = [(30.0, 30.0, 30.0), (33.0, 28.0, 31.0), (30.0, 45.0, 30.0)]
    assert len(click_windows(near, bounds, (16, 16, 16), shared=True)) == 2
    assert len(click_windows(near, bounds, (16, 16, 16), shared=False)) == 3


@given(st.tuples(*[st.integers(0, 40)] * 3), st.tuples(*[st.integers(1, 40)] * 3), st.tuples(*[st.floats(0, 1)] * 3))
def test_a_window_belongs_to_the_bounds_it_was_made_for(
    start: tuple[int, int, int], size: tuple[int, int, int], share: tuple[float, float, float]
) -> None:
    bounds = Box(start=start, stop=tuple(a + n for a, n in zip(start, size, strict=True)))
    click = [a + f * (n - 1) for a, n, f in zip(start, size, share, strict=True)]
    assert belongs_to(click_window(click, bounds, (16, 16, 16)), bounds)


def test_a_window_beside_the_bounds_does_not_belong_to_them() -> None:
    assert not belongs_to(Box(start=(0, 0, 0), stop=(16, 16, 16)), Box(start=(4, 0, 0), stop=(40, 40, 40)))
    assert not belongs_to(Box(start=(0, 0, 0), stop=(16, 16, 16)), Box(start=(1, 1, 1), stop=(5, 5, 5)))


@pytest.mark.parametrize(
    ("starts", "groups"), [([0, 8, 30], [[0, 1], [2]]), ([0, 40, 15], [[0, 2], [1]]), ([0, 28, 14], [[0, 1, 2]])]
)
def test_windows_are_grouped_by_overlap(starts: list[int], groups: list[list[int]]) -> None:
    boxes = [Box(start=(s, 0, 0), stop=(s + 16, 16, 16)) for s in starts]
    assert connected_groups(boxes) == groups
