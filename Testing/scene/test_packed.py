"""Compressed copies of masks and label images say exactly what they copied."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from VISTA3DScene.packed import PackedImage, PackedMask

from VISTA3DLib.geometry import Box

shapes = st.tuples(st.integers(1, 70), st.integers(1, 40), st.integers(1, 20))


def image(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """A label image with large flat regions, as VTK keeps it: i fastest."""
    random = np.random.default_rng(seed)
    out = np.zeros(shape[::-1], dtype=random.choice([np.uint8, np.uint16, np.int16]))
    for label in range(1, 4):
        a = [random.integers(0, n) for n in out.shape]
        out[tuple(slice(v, v + random.integers(1, 30)) for v in a)] = label * 60
    if out.dtype == np.int16 and seed % 2:
        out = -out
    return out.transpose(2, 1, 0)


def written(copy: PackedImage) -> np.ndarray:
    """The whole image that a copy holds, into an array that held something else."""
    out = np.full(copy.box.shape[::-1], 7, dtype=copy.dtype).transpose(2, 1, 0)
    copy.write(out)
    return out


def some_box(shape: tuple[int, int, int], seed: int) -> Box:
    random = np.random.default_rng(seed + 1)
    start = [int(random.integers(-3, n)) for n in shape]
    size = [int(random.integers(1, n + 3)) for n in shape]
    return Box(start=(start[0], start[1], start[2]), stop=(start[0] + size[0], start[1] + size[1], start[2] + size[2]))


@given(shape=shapes, seed=st.integers(0, 999))
def test_a_packed_mask_is_the_mask(shape: tuple[int, int, int], seed: int) -> None:
    mask = np.random.default_rng(seed).random(shape) < 0.3
    assert np.array_equal(PackedMask.of(mask).unpack(), mask)
    flipped = mask.transpose(2, 1, 0)
    assert np.array_equal(PackedMask.of(flipped).unpack(), flipped)


@settings(max_examples=60)
@given(shape=shapes, seed=st.integers(0, 999))
def test_any_box_of_a_copy_is_that_box_of_the_image(shape: tuple[int, int, int], seed: int) -> None:
    values, corner = image(shape, seed), (3, -40, 11)
    copy = PackedImage(values, Box.whole(shape).shifted(corner))
    assert np.array_equal(written(copy), values)
    box = some_box(shape, seed).shifted(corner)
    expected = np.zeros(box.shape, dtype=values.dtype)
    both = box & copy.box
    expected[both.shifted([-v for v in box.start]).slices] = values[both.shifted([-v for v in corner]).slices]
    assert np.array_equal(copy.read(box), expected)


@settings(max_examples=60)
@given(shape=shapes, seed=st.integers(0, 999))
def test_a_difference_is_found_and_an_update_makes_it_go(shape: tuple[int, int, int], seed: int) -> None:
    values = image(shape, seed)
    copy = PackedImage(values, Box.whole(shape))
    assert not copy.difference(values).size
    fork = copy.fork()
    box = some_box(shape, seed) & copy.box
    changed = values.copy(order="K")
    changed[box.slices] += 1
    found = copy.difference(changed)
    assert found.contains_box(box) if box.size else not found.size
    copy.update(changed, box)
    assert not copy.difference(changed).size
    assert np.array_equal(written(copy), changed)
    assert np.array_equal(written(fork), values)  # the fork went its own way


@settings(max_examples=60)
@given(shape=shapes, seed=st.integers(0, 999))
def test_the_box_of_a_label_holds_all_of_its_voxels(shape: tuple[int, int, int], seed: int) -> None:
    values: Any = image(shape, seed)
    copy = PackedImage(values, Box.whole(shape))
    for label in (60, 120, 180, 7):
        assert copy.box_of(label).contains_box(Box.of_mask(values == label))


def test_a_copy_of_a_label_image_takes_a_small_part_of_its_memory() -> None:
    values = np.zeros((100, 200, 200), dtype=np.uint8).transpose(2, 1, 0)
    values[40:160, 50:150, 20:80] = 5
    assert PackedImage(values, Box.whole(values.shape)).nbytes < values.nbytes / 50
