"""A click lands in the voxel that is under the cursor, in every geometry and under every transform."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_worker import clicked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_volumes import ODD_AFFINES, odd_affine
from scene_host import make_segmentation, make_transform, make_volume, make_warp
from scene_table import Table
from VISTA3DScene.frames import from_world, to_world
from VISTA3DScene.lattice import LatticeMask, image_affine, image_box
from VISTA3DScene.segment_masks import change_mask, labelmap_of, read_mask
from VISTA3DScene.volumes import box_of_roi

from VISTA3DLib.geometry import Grid

SHAPE = (21, 24, 17)
MOVE = np.array([[0.8, -0.6, 0, 31], [0.6, 0.8, 0, -12], [0, 0, 1, 7], [0, 0, 0, 1.0]])

angles = st.floats(-math.pi, math.pi)
spacings = st.floats(0.3, 6.0)


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Turned, flipped, anisotropic, sheared a little, far from the origin."""
    affine = np.eye(4)
    for axis in range(3):
        turn, angle = np.eye(4), draw(angles)
        i, j = (a for a in range(3) if a != axis)
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[i, j], turn[j, i] = -math.sin(angle), math.sin(angle)
        affine = affine @ turn
    shear = np.eye(4)
    shear[1, 2] = draw(st.floats(-0.3, 0.3))
    flips = [draw(st.sampled_from([-1.0, 1.0])) for _ in range(3)]
    affine = affine @ shear @ np.diag([*(f * draw(spacings) for f in flips), 1.0])
    affine[:3, 3] = [draw(st.floats(-800, 800)) for _ in range(3)]
    return affine


def move_linearly(scene: Any, node: Any) -> None:
    node.SetAndObserveTransformNodeID(make_transform(scene, MOVE).GetID())


def warp(scene: Any, node: Any) -> None:
    middle = volume_middle(node)
    node.SetAndObserveTransformNodeID(make_warp(scene, middle, 160.0, 9.0).GetID())


def warp_moved(scene: Any, node: Any) -> None:
    warp(scene, node)
    node.GetParentTransformNode().SetAndObserveTransformNodeID(make_transform(scene, MOVE).GetID())


def leave(_scene: Any, _node: Any) -> None:
    """No transform."""


TRANSFORMS = {"none": leave, "linear": move_linearly, "non-linear": warp, "non-linear under linear": warp_moved}


def volume_middle(node: Any) -> list[float]:
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return [(bounds[n] + bounds[n + 1]) / 2 for n in (0, 2, 4)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    affine=affines(),
    place=st.tuples(*(st.floats(0, n - 1) for n in SHAPE)),
    transform=st.sampled_from(["none", "linear", "non-linear"]),
)
def test_a_place_in_the_world_is_the_voxel_under_it(
    scene: Any, affine: np.ndarray, place: tuple[float, float, float], transform: str
) -> None:
    volume = make_volume(scene, np.zeros(SHAPE, dtype=np.int16), affine)
    TRANSFORMS[transform](scene, volume)
    grid = Grid(shape=SHAPE, affine=affine)
    r, a, s = grid.to_world(place)
    world = to_world(volume, (float(r), float(a), float(s)))
    # The way that Slicer's own slice views go: IJK to RAS, then the parent transform.
    if transform == "linear":
        assert np.allclose(world, (MOVE @ [r, a, s, 1])[:3], atol=1e-6)
    back = grid.to_voxel(from_world(volume, world))
    assert np.abs(back - place).max() <= 0.01  # far below half a voxel
    scene.Clear(0)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", ODD_AFFINES)
def test_a_click_makes_its_ball_around_the_voxel_that_was_clicked(
    make_table: Callable[[], Table], scene: Any, name: str, transform: str
) -> None:
    table = make_table()
    volume = make_volume(scene, np.zeros(SHAPE, dtype=np.int16), odd_affine(name))
    TRANSFORMS[transform](scene, volume)
    table.prepare(volume)
    index = (11, 13, 8)
    local = table.at(*index)
    node = table.bench.positive_node  # as a person places it
    node.AddControlPointWorld(*to_world(volume, local))
    table.settle()
    expected = clicked(table.grid, np.zeros(SHAPE, bool), [(np.array(local), True)])
    segmentation = table.bench.segmentation
    assert table.bench.selected is not None
    mask = read_mask(segmentation, table.bench.selected)
    assert mask is not None
    assert np.array_equal(mask.inside(table.grid.box), expected)  # the segmentation shares the volume's transform
    assert np.allclose(table.bench.points[0].ras, to_world(volume, local), atol=1e-4)
    center = table.bench.center(table.bench.selected)
    assert center is not None
    assert math.dist(center, to_world(volume, local)) < 2 * max(table.grid.spacing)
    assert not table.failures


@pytest.mark.parametrize("seg_transform", ["none", "linear", "non-linear"])
@pytest.mark.parametrize("ct_transform", ["none", "linear", "non-linear"])
def test_ct_and_segmentation_under_different_transforms_meet_in_the_world(
    make_table: Callable[[], Table], scene: Any, ct_transform: str, seg_transform: str
) -> None:
    table = make_table()
    volume = make_volume(scene, np.zeros(SHAPE, dtype=np.int16), odd_affine("oblique"))
    segmentation = make_segmentation(scene, volume)
    TRANSFORMS[ct_transform](scene, volume)
    if seg_transform == "non-linear":
        segmentation.SetAndObserveTransformNodeID(make_warp(scene, volume_middle(volume), 160.0, -6.0).GetID())
    else:
        TRANSFORMS[seg_transform](scene, segmentation)
    table.prepare(volume)
    table.bench.set_segmentation(segmentation)
    world = to_world(volume, table.at(11, 13, 8))
    table.bench.add_point(world)
    table.settle()
    expected = clicked(table.grid, np.zeros(SHAPE, bool), [(np.array(table.at(11, 13, 8)), True)])
    overlap = (table.mask() & expected).sum() * 2 / (table.mask().sum() + expected.sum())
    assert overlap > 0.9 if (ct_transform, seg_transform) != ("none", "none") else overlap == 1.0
    mask = read_mask(segmentation, table.bench.selected or "")
    assert mask is not None
    middle = np.argwhere(mask.mask).mean(axis=0) + np.asarray(mask.box.start)
    r, a, s = (mask.affine @ [*middle, 1.0])[:3]
    assert math.dist(to_world(segmentation, (r, a, s)), world) < 2.5  # mm; voxels are 2 to 4
    # A repair takes the way there and back: a negative click in the same place takes the ball away.
    table.bench.add_point(world, positive=False)
    table.settle()
    assert table.failures[-1][0] == "PromptError"  # two signs in one place
    table.bench.flip_point(0)
    table.settle()
    assert table.mask().sum() <= 0.02 * expected.sum()


def test_points_stay_on_the_anatomy_when_the_ct_is_moved(table: Table, a_ct: Any) -> None:
    table.bench.add_point(table.at(9, 8, 7))
    table.settle()
    move_linearly(table.scene, a_ct)
    moved = (MOVE @ [*table.at(9, 8, 7), 1.0])[:3]
    assert np.allclose(table.bench.points[0].ras, moved, atol=1e-4)
    shown = table.bench.positive_node.GetNthControlPointPositionWorld(0)
    assert np.allclose(shown, moved, atol=1e-4)
    table.settle()
    assert len(table.bench.points) == 1  # moving the CT is no edit of the point
    assert table.bench.undo_name == "Add point"


def test_a_segmentation_with_a_geometry_of_its_own_keeps_it(make_table: Callable[[], Table], scene: Any) -> None:
    table = make_table()
    volume = make_volume(scene, np.zeros(SHAPE, dtype=np.int16), odd_affine("oblique"))
    finer = make_volume(scene, np.zeros((50, 60, 40), dtype=np.int16), odd_affine("lps") @ np.diag([0.5, 0.5, 0.4, 1]))
    segmentation = make_segmentation(scene, finer)
    table.prepare(volume)
    table.bench.set_segmentation(segmentation)
    table.bench.add_point(table.at(10, 12, 8))
    table.settle()
    image = labelmap_of(segmentation.GetSegmentation().GetSegment(table.bench.selected or ""))
    steps = np.linalg.solve(odd_affine("lps") @ np.diag([0.5, 0.5, 0.4, 1]), image_affine(image))
    assert np.allclose(steps[:3, :3], np.eye(3), atol=1e-6)
    expected = clicked(table.grid, np.zeros(SHAPE, bool), [(np.array(table.at(10, 12, 8)), True)])
    assert abs(table.bench.volume_ml(table.bench.selected or "") - expected.sum() * table.grid.voxel_ml) < 0.4
    assert image_box(image).size


def test_only_what_the_model_changed_is_changed_on_a_finer_grid(make_table: Callable[[], Table], scene: Any) -> None:
    table = make_table()
    volume = make_volume(scene, np.zeros(SHAPE, dtype=np.int16), odd_affine("lps"))
    finer = make_volume(
        scene, np.zeros((60, 70, 50), dtype=np.int16), odd_affine("lps") @ np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    )
    segmentation = make_segmentation(scene, finer)
    table.prepare(volume)
    table.bench.set_segmentation(segmentation)
    table.bench.new_segment(None, "fine")
    fine = odd_affine("lps") @ np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    detail = LatticeMask(
        affine=fine,
        box=Grid(shape=(3, 3, 3), affine=np.eye(4)).box.shifted((7, 7, 7)),
        mask=(np.indices((3, 3, 3)).sum(axis=0) % 2 == 0),
    )
    change_mask(segmentation, "vista3d_new", detail, LatticeMask.empty(fine))
    table.bench.add_point(table.at(14, 16, 10))
    table.settle()
    mask = read_mask(segmentation, "vista3d_new")
    assert mask is not None
    assert mask.voxels > 200
    assert np.array_equal(mask.inside(detail.box), detail.mask)  # far from the click: as fine as it was


def test_a_region_of_interest_is_the_voxels_inside_it(scene: Any) -> None:
    volume = make_volume(scene, np.zeros(SHAPE, dtype=np.int16), odd_affine("lps"))
    grid = Grid(shape=SHAPE, affine=odd_affine("lps"))
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    low, high = grid.to_world((4.6, 3.2, 2.6)), grid.to_world((12.4, 9.9, 11.4))
    roi.SetCenter(*((low + high) / 2))
    roi.SetSize(*np.abs(high - low))
    box = box_of_roi(roi, volume)
    assert box is not None
    assert box.start == (5, 4, 3)
    assert box.stop == (13, 10, 12)
    move_linearly(scene, volume)
    roi.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    assert box_of_roi(roi, volume) == box
