"""Boxes, grids and the maps between them."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Orientation, Spacing
from odd_volumes import ODD_AFFINES, odd_affine, odd_shape
from scipy.spatial.transform import Rotation

from VISTA3DLib.errors import VolumeError
from VISTA3DLib.geometry import (
    Box,
    Grid,
    axis_maps,
    closest_ras_axes,
    flip_lps_ras,
    flip_points_lps_ras,
    nearest_index,
    reverse_axes,
    voxel_map,
)

indices = st.tuples(*[st.integers(-20, 20)] * 3)
sizes = st.tuples(*[st.integers(0, 9)] * 3)
boxes = st.builds(lambda a, n: Box(start=a, stop=tuple(x + y for x, y in zip(a, n, strict=True))), indices, sizes)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Any orthogonal grid: turned, flipped, anisotropic, anywhere."""
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.3, 8)] * 3))
    flips = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(np.multiply(spacing, flips))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-800, 800)] * 3))
    return Grid(shape=draw(st.tuples(*[st.integers(1, 60)] * 3)), affine=affine)


@given(grids(), st.tuples(*[st.floats(-100, 600)] * 3))
def test_world_and_voxel_are_inverse_to_half_a_micron(grid: Grid, index: tuple[float, ...]) -> None:
    assert np.allclose(grid.to_voxel(grid.to_world(index)), index, atol=1e-6)


@given(grids())
def test_ras_axes_keep_every_voxel_where_it_was(grid: Grid) -> None:
    turned = grid.to_ras_axes()
    assert sorted(turned.shape) == sorted(grid.shape)
    corner = turned.to_world([n - 1 for n in turned.shape])
    back = grid.to_voxel(np.stack([turned.to_world((0, 0, 0)), corner]))
    assert np.allclose(back, np.round(back), atol=1e-6)
    assert np.all(np.round(back) >= 0)
    assert np.all(np.round(back) < grid.shape)


@given(grids())
def test_closest_axes_are_those_that_nibabel_finds(grid: Grid) -> None:
    axes = np.sort(np.abs(grid.affine[:3, :3] / grid.spacing), axis=None)
    assume(np.diff(axes).min() > 1e-3)  # at a tie rounding decides, in both
    orientation = nibabel.io_orientation(grid.affine)
    order, flips = closest_ras_axes(grid.affine)
    for source, (target, sign) in enumerate(orientation):
        assert order[int(target)] == source
        assert flips[int(target)] == (sign < 0)


@pytest.mark.parametrize("ras_first", [False, True])
@pytest.mark.parametrize("name", ODD_AFFINES)
def test_the_model_grid_is_the_one_that_monai_makes(name: str, ras_first: bool) -> None:
    grid = Grid(shape=odd_shape(name), affine=odd_affine(name))
    image = MetaTensor(torch.zeros(1, *grid.shape), affine=np.array(grid.affine))
    spacing, orientation = Spacing((1.5, 1.5, 1.5)), Orientation("RAS", labels=None)
    theirs = spacing(orientation(image)) if ras_first else orientation(spacing(image))
    ours = grid.to_ras_axes().with_spacing((1.5,) * 3) if ras_first else grid.with_spacing((1.5,) * 3).to_ras_axes()
    assert ours.shape == tuple(theirs.shape[1:])
    assert np.allclose(ours.affine, theirs.affine.numpy(), atol=1e-9)


@given(grids())
def test_the_new_grid_never_ends_a_whole_voxel_short_of_the_old_one(grid: Grid) -> None:
    fine = grid.with_spacing((1.5, 1.5, 1.5))
    far = fine.to_voxel(grid.to_world([n - 1 for n in grid.shape]))
    assert np.all(np.abs(far - (np.array(fine.shape) - 1)) <= 0.5 + 1e-6)


def test_axis_maps_fold_permutations_and_flips() -> None:
    volume = Grid(shape=(33, 39, 23), affine=odd_affine("pir"))
    model = volume.with_spacing((3, 3, 3)).to_ras_axes()
    maps = axis_maps(model, volume)
    assert maps is not None
    assert [m.source for m in maps] == [2, 0, 1]
    matrix = voxel_map(model, volume)
    for target, m in enumerate(maps):
        point = np.zeros(3)
        point[target] = 7
        assert (matrix[:3, :3] @ point + matrix[:3, 3])[m.source] == pytest.approx(m.coordinates(7, 8)[0])


def test_sheared_grids_have_no_axis_maps() -> None:
    volume = Grid(shape=(33, 39, 23), affine=odd_affine("sheared"))
    assert axis_maps(volume.with_spacing((3, 3, 3)), volume) is None
    assert not volume.is_orthogonal()
    assert Grid(shape=(33, 39, 23), affine=odd_affine("oblique")).is_orthogonal()


def test_a_grid_rounded_to_float32_still_counts_as_straight() -> None:
    affine = odd_affine("oblique").astype(np.float32).astype(np.float64)
    volume = Grid(shape=(512, 512, 300), affine=affine)
    assert axis_maps(volume.with_spacing((1.5,) * 3).to_ras_axes(), volume) is not None


@given(boxes, boxes)
def test_intersection_holds_what_both_hold(a: Box, b: Box) -> None:
    both = a & b
    assert both.size <= min(a.size, b.size)
    if both.size:
        assert a.contains_box(both)
        assert b.contains_box(both)


@given(boxes, boxes)
def test_union_holds_both_and_ignores_empty_boxes(a: Box, b: Box) -> None:
    union = a | b
    for box in (a, b):
        assert not box.size or union.contains_box(box)
    if not a.size:
        assert union == b


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.02))
def test_the_box_of_a_mask_holds_it_and_nothing_less_does(seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((9, 11, 7)) < share
    box = Box.of_mask(mask)
    assert mask[box.slices].sum() == mask.sum()
    for axis in range(3):
        assert (
            not mask.any()
            or mask[box.slices].take([0, -1], axis=axis).any(axis=tuple(a for a in range(3) if a != axis)).all()
        )


def test_a_cropped_grid_stays_in_place() -> None:
    grid = Grid(shape=(30, 20, 10), affine=odd_affine("oblique"))
    part = grid.cropped(Box(start=(3, 4, 5), stop=(9, 9, 9)))
    assert part.shape == (6, 5, 4)
    assert np.allclose(part.to_world((1, 1, 1)), grid.to_world((4, 5, 6)))


@given(st.lists(st.tuples(*[st.floats(-500, 500)] * 3), min_size=1, max_size=4))
def test_lps_and_ras_flip_into_each_other(points: list[tuple[float, ...]]) -> None:
    assert np.array_equal(flip_points_lps_ras(flip_points_lps_ras(points)), np.asarray(points))
    affine = odd_affine("pir")
    assert np.allclose(flip_lps_ras(affine) @ [1, 2, 3, 1], (affine @ [1, 2, 3, 1]) * [-1, -1, 1, 1])


def test_reversed_axes_share_memory() -> None:
    array = np.zeros((2, 3, 4))
    assert reverse_axes(array).shape == (4, 3, 2)
    assert np.shares_memory(array, reverse_axes(array))


def test_ties_go_to_the_higher_voxel_so_that_each_covers_two_finer_ones() -> None:
    nearest = nearest_index(np.arange(8) * 0.5)
    assert np.array_equal(np.bincount(nearest)[1:4], [2, 2, 2])


@pytest.mark.parametrize(
    ("affine", "text"),
    [
        (np.diag([1.0, 0.0, 1.0, 1.0]), "spacing"),
        (np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "span"),
        (np.full((4, 4), np.nan), "finite"),
        (np.eye(3), "shape"),
    ],
)
def test_affines_that_cannot_place_voxels_are_refused(affine: np.ndarray, text: str) -> None:
    with pytest.raises(VolumeError, match=text) as caught:
        Grid(shape=(3, 3, 3), affine=affine)
    assert caught.value.fix


def test_an_empty_shape_is_refused() -> None:
    with pytest.raises(VolumeError, match="0"):
        Grid(shape=(3, 0, 3), affine=np.eye(4))
