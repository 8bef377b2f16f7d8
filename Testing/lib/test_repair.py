"""What clicks change about a mask on the CT's own grid, from given logits on the model's grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from odd_volumes import odd_affine

from VISTA3DLib.components import label_components
from VISTA3DLib.geometry import Box, Grid
from VISTA3DLib.point_job import ClickAnswer, clicked_object, repaired_mask
from VISTA3DLib.points import ClickSet, LogitPatch
from VISTA3DLib.preprocess import PreparedVolume

Mask = npt.NDArray[np.bool_]


def a_scene(name: str, shape: tuple[int, int, int], model_mm: float = 3.0) -> PreparedVolume:
    volume = Grid(shape=shape, affine=odd_affine(name))
    model = volume.with_spacing((model_mm,) * 3).to_ras_axes()
    return PreparedVolume(volume_grid=volume, grid=model, image=torch.zeros(model.shape), crop=model.box)


def ball(grid: Grid, center: npt.ArrayLike, radius_mm: float) -> npt.NDArray[np.float32]:
    """Signed distance (mm, positive inside) to a ball in the world, sampled on a grid."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid.to_world(index) - np.asarray(center), axis=-1)
    return np.asarray(radius_mm - distance, dtype=np.float32)


def answer(
    scene: PreparedVolume,
    logits: npt.NDArray[np.float32],
    base: Mask | None,
    clicks: list[tuple[npt.NDArray[np.float64], bool]],
    smooth: bool = False,
) -> ClickAnswer:
    patch = LogitPatch(box=scene.grid.box, logits=torch.from_numpy(logits), known=np.ones(scene.grid.shape, dtype=bool))
    chosen = ClickSet(
        index=scene.grid.to_voxel([p for p, _ in clicks]),
        positive=tuple(s for _, s in clicks),
        labels=tuple(int(s) for _, s in clicks),
    )
    if base is None:
        return clicked_object([patch], chosen, scene, smooth=smooth)
    return repaired_mask([patch], chosen, base, scene, smooth=smooth)


def full(scene: PreparedVolume, result: ClickAnswer, base: Mask | None = None) -> Mask:
    mask = np.zeros(scene.volume_grid.shape, dtype=bool) if base is None else base.copy()
    mask[result.box.slices] = result.mask
    return mask


SCENES = [
    ("ras", (40, 38, 20)),
    ("lps", (41, 37, 21)),
    ("oblique", (40, 36, 22)),
    ("sheared", (38, 36, 22)),
    ("anisotropic", (80, 76, 11)),
]


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("name", "shape"), SCENES)
def test_a_negative_click_removes_one_ball_to_the_last_voxel_and_leaves_the_other(
    name: str, shape: tuple[int, int, int], smooth: bool
) -> None:
    scene = a_scene(name, shape)
    grid = scene.volume_grid
    one, other = (grid.to_world(np.array(shape) * f) for f in (0.25, 0.75))
    first, second = ball(grid, one, 13) > 0, ball(grid, other, 13) > 0
    base = first | second
    logits = np.full(scene.grid.shape, -3.0, dtype=np.float32)  # the network sees neither
    result = answer(scene, logits, base, [(one, False)], smooth)
    after = full(scene, result, base)
    assert np.array_equal(after, second)
    assert [c.kind for c in result.changes] == ["removed"]
    assert result.changes[0].voxels == int(first.sum())
    assert np.allclose(result.changes[0].center, one, atol=3)
    assert result.box == Box.of_mask(first)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("name", "shape"), SCENES)
def test_a_positive_click_adds_the_clicked_ball_only(name: str, shape: tuple[int, int, int], smooth: bool) -> None:
    scene = a_scene(name, shape)
    grid = scene.volume_grid
    one, other = (grid.to_world(np.array(shape) * f) for f in (0.25, 0.75))
    base = ball(grid, other, 13) > 0
    logits = np.maximum(ball(scene.grid, one, 13), ball(scene.grid, other, 13))
    result = answer(scene, logits, base, [(one, True)], smooth)
    after = full(scene, result, base)
    assert not (base & ~after).any()
    wanted = ball(grid, one, 13) > 0
    added = after & ~base
    overlap = 2 * (added & wanted).sum() / (added.sum() + wanted.sum())
    assert overlap > (0.96 if smooth else 0.80)
    assert int(label_components(added).max()) == 1


def test_smooth_borders_are_nearer_to_the_truth_than_the_models_voxels() -> None:
    scene = a_scene("lps", (90, 90, 45), model_mm=6.0)
    centre = scene.volume_grid.to_world(np.array([45.0, 45, 22]))
    truth = ball(scene.volume_grid, centre, 40) > 0
    logits = ball(scene.grid, centre, 40)

    def dice(smooth: bool) -> float:
        mask = full(scene, answer(scene, logits, None, [(centre, True)], smooth))
        return float(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))

    assert dice(smooth=True) > 0.99 > dice(smooth=False)


def test_no_crumbs_stay_where_a_fine_structure_was_removed() -> None:
    """A plate one CT voxel thick, sampled every third voxel by the model: most of it is invisible to the merge."""
    scene = a_scene("lps", (61, 61, 31), model_mm=6.0)
    base = np.zeros(scene.volume_grid.shape, dtype=bool)
    base[20:40, 20:40, 10:20] = True
    base[25:35, 25:35, 20] = True  # a crumb on top, one voxel thick
    keep = np.zeros_like(base)
    keep[50:55, 50:55, 25:28] = True
    logits = np.full(scene.grid.shape, -3.0, dtype=np.float32)
    click = scene.volume_grid.to_world((30, 30, 15))
    result = answer(scene, logits, base | keep, [(click, False)])
    assert np.array_equal(full(scene, result, base | keep), keep)


def test_an_addition_next_to_another_structure_does_not_touch_it() -> None:
    """The mask that is repaired is one segment: what the caller holds in other segments is not even seen."""
    scene = a_scene("ras", (40, 40, 20))
    base = np.zeros(scene.volume_grid.shape, dtype=bool)
    centre = scene.volume_grid.to_world((20, 20, 10))
    result = answer(scene, ball(scene.grid, centre, 12), base, [(centre, True)])
    assert not base.any()
    assert scene.volume_grid.box.contains_box(result.box)


def test_clicks_that_change_nothing_give_an_empty_box_and_say_why() -> None:
    scene = a_scene("ras", (40, 40, 20))
    centre = scene.volume_grid.to_world((20, 20, 10))
    base = np.zeros(scene.volume_grid.shape, dtype=bool)
    logits = np.full(scene.grid.shape, -3.0, dtype=np.float32)
    result = answer(scene, logits, base, [(centre, True)])
    assert result.box.size == 0
    assert result.changes == ()
    assert "change nothing" in result.notes[0]


@given(st.integers(0, 10_000), st.sampled_from(SCENES))
def test_repair_gives_the_same_mask_in_any_order_of_clicks(
    seed: int, scene_of: tuple[str, tuple[int, int, int]]
) -> None:
    rng = np.random.default_rng(seed)
    scene = a_scene(*scene_of)
    grid = scene.volume_grid
    places = [grid.to_world(rng.random(3) * (np.array(grid.shape) - 1)) for _ in range(3)]
    base = np.max([ball(grid, p, r) for p, r in zip(places, (9, 14, 11), strict=True)], axis=0) > 0
    logits = np.max([ball(scene.grid, p + 4, 10) for p in places], axis=0)
    clicks = [(p, bool(rng.random() < 0.5)) for p in places]
    forward = full(scene, answer(scene, logits, base, clicks), base)
    assert np.array_equal(forward, full(scene, answer(scene, logits, base, clicks[::-1]), base))
