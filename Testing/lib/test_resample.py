"""Change of grid: against MONAI, against plain loops, and at the borders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Spacing
from odd_volumes import ODD_AFFINES, blobs, odd_affine, odd_shape

from VISTA3DLib import resample
from VISTA3DLib.geometry import Box, Grid
from VISTA3DLib.resample import memory_order, resample_linear, resample_nearest, sample_nearest


def grid_of(name: str) -> Grid:
    return Grid(shape=odd_shape(name), affine=odd_affine(name))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", [np.int16, np.float32])
@pytest.mark.parametrize("name", ODD_AFFINES)
def test_linear_equals_monais_spacing(name: str, kind: type, order: str) -> None:
    grid = grid_of(name)
    array = np.asarray(blobs(grid.shape, sigma=0.7), dtype=kind, order=order)  # type: ignore[call-overload]
    image = MetaTensor(torch.from_numpy(array[None].astype(np.float32)), affine=np.array(grid.affine))
    theirs = Spacing((1.7, 1.3, 2.9), mode="bilinear", padding_mode="border")(image)[0].as_tensor()
    ours = resample_linear(array, grid, grid.with_spacing((1.7, 1.3, 2.9)))
    assert float((ours - theirs).abs().max()) < 5e-4  # HU


def test_small_chunks_give_the_same_image(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = grid_of("pir")
    array, target = blobs(grid.shape), grid.with_spacing((1.1, 5.0, 2.0)).to_ras_axes()
    whole = resample_linear(array, grid, target)
    monkeypatch.setattr(resample, "_CHUNK_BYTES", 1)
    assert torch.equal(resample_linear(array, grid, target), whole)


def test_read_only_and_reversed_arrays_are_read() -> None:
    grid = grid_of("lps")
    array = blobs(grid.shape)
    whole = resample_linear(array, grid, grid.with_spacing((3, 3, 3)))
    backwards = array[::-1, :, ::-1].copy()[::-1, :, ::-1]
    backwards.setflags(write=False)
    assert torch.equal(resample_linear(backwards, grid, grid.with_spacing((3, 3, 3))), whole)


@pytest.mark.parametrize("name", ODD_AFFINES)
def test_there_and_back_keeps_labels_on_a_grid_that_is_finer(name: str) -> None:
    grid = grid_of(name)
    labels = (blobs(grid.shape, sigma=1.0) > 0).astype(np.uint8) * 7
    fine = grid.with_spacing([s / 3 for s in grid.spacing]).to_ras_axes()
    there = resample_nearest(labels, grid, fine)
    back = resample_nearest(there, fine, grid)
    if name != "sheared":  # straightening moves planes sideways; the outermost may lie outside
        assert np.array_equal(back, labels)
    else:
        assert np.mean(back == labels) > 0.98


@pytest.mark.parametrize("name", ODD_AFFINES)
@pytest.mark.parametrize("like", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_nearest_equals_a_plain_loop_and_has_the_memory_order_that_was_asked_for(
    name: str, like: tuple[int, int, int]
) -> None:
    grid = grid_of(name)
    model = grid.with_spacing((3.37, 3.37, 3.37)).to_ras_axes()
    labels = np.random.default_rng(0).integers(1, 9, model.shape).astype(np.uint8)
    inside = Box(start=(2, 3, 4), stop=tuple(n - 1 for n in model.shape))
    ours = resample_nearest(labels[inside.slices], model, grid, inside=inside, like=like)
    expected = np.zeros(grid.shape, dtype=np.uint8)
    for index in np.ndindex(grid.shape):
        place = np.floor(model.to_voxel(grid.to_world(index)) + 0.5).astype(int)
        place = place.clip(0, np.array(model.shape) - 1)
        if all(a <= p < b for a, p, b in zip(inside.start, place, inside.stop, strict=True)):
            expected[index] = labels[tuple(place)]
    assert np.array_equal(ours, expected)
    if name != "sheared":
        assert memory_order(ours) == like


@given(st.tuples(*[st.integers(-15, 25)] * 3), st.tuples(*[st.integers(1, 20)] * 3))
def test_masks_are_false_outside_their_grid(start: tuple[int, int, int], size: tuple[int, int, int]) -> None:
    grid = Grid(shape=(9, 10, 11), affine=odd_affine("pir"))
    box = Box(start=start, stop=tuple(a + n for a, n in zip(start, size, strict=True)))
    sampled = sample_nearest(np.ones(grid.shape, dtype=bool), grid, grid.cropped(box))
    assert int(sampled.sum()) == (box & grid.box).size


@pytest.mark.parametrize("name", ["lps", "sheared"])
def test_a_target_that_misses_the_source_is_empty(name: str) -> None:
    grid = grid_of(name)
    far = grid.cropped(Box(start=(200, 0, 0), stop=(205, 5, 5)))
    assert not sample_nearest(np.ones(grid.shape, dtype=bool), grid, far).any()
    inside = Box(start=(0, 0, 0), stop=(2, 2, 2))
    assert not resample_nearest(np.ones((2, 2, 2), dtype=np.uint8), grid, far, inside=inside)[1:].any()


def test_one_voxel_thick_volumes_are_resampled() -> None:
    grid = Grid(shape=(20, 20, 1), affine=np.diag([1.0, 1.0, 5.0, 1.0]))
    array = blobs((20, 20, 1))
    ours = resample_linear(array, grid, grid.with_spacing((3, 3, 3)))
    assert ours.shape == (7, 7, 1)
    assert torch.isfinite(ours).all()
