"""The classical methods: they find a clear object, obey clicks, and get the same image as the model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from odd_volumes import odd_affine
from scipy.ndimage import gaussian_filter

from VISTA3DLib.errors import VolumeError
from VISTA3DLib.evaluation.baselines import make_baseline
from VISTA3DLib.evaluation.clicked_crop import MOST_VOXELS, CropMaker
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.metrics import compare_boxed
from VISTA3DLib.evaluation.settings import BASELINES, BaselineName
from VISTA3DLib.evaluation.simulation import Click, first_click
from VISTA3DLib.geometry import Grid
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.volume import Volume

SETTINGS = NetworkSettings(filters=8, blocks_down=(1, 1), window=(32, 32, 32), spacing=(3.0, 3.0, 3.0))
BoolArray = npt.NDArray[np.bool_]


def ball(grid: Grid, index: tuple[float, float, float], radius_mm: float) -> BoolArray:
    """Voxels within a distance of a voxel, in world millimetres."""
    places = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    offset = grid.to_world(places) - grid.to_world(index)
    return np.asarray((offset**2).sum(axis=-1) <= radius_mm**2)


def a_volume(kind: str, *balls: tuple[tuple[float, float, float], float]) -> tuple[Volume, list[BoolArray]]:
    """Bright balls (120 HU) in darker tissue (0 HU) with noise."""
    grid = Grid(shape=(44, 46, 23), affine=odd_affine(kind))
    masks = [ball(grid, *b) for b in balls]
    rng = np.random.default_rng(0)
    image = 120.0 * np.any(masks, axis=0) + 8.0 * gaussian_filter(rng.normal(size=grid.shape), 0.7) / 0.2
    return Volume(array=image.astype(np.float32), affine=grid.affine), masks


def answer(name: BaselineName, volume: Volume, clicks: list[Click]) -> BoxedMask:
    crop = CropMaker(volume, SETTINGS).around(clicks)
    return crop.on_volume(make_baseline(name)(crop))


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("kind", ["lps", "pir", "oblique"])
def test_a_clear_object_is_found_with_one_click(name: BaselineName, kind: str) -> None:
    volume, (mask,) = a_volume(kind, ((20, 24, 11), 17.0))
    click = first_click(BoxedMask.of(mask), volume.grid.spacing)
    assert click is not None
    scores = compare_boxed(BoxedMask.of(mask), answer(name, volume, [click]), volume.grid.spacing)
    assert scores.dice is not None
    assert scores.dice > 0.7


@pytest.mark.parametrize("name", BASELINES)
def test_clicked_voxels_belong_to_the_result(name: BaselineName) -> None:
    volume, _ = a_volume("lps", ((14, 22, 11), 12.0), ((32, 22, 11), 12.0))
    clicks = [Click(index=(14, 22, 11)), Click(index=(32, 22, 11)), Click(index=(23, 22, 11), positive=False)]
    found = answer(name, volume, clicks).cut(volume.grid.box)
    assert [bool(found[c.index]) for c in clicks] == [True, True, False]


@pytest.mark.parametrize("name", BASELINES)
def test_a_negative_click_takes_something_away(name: BaselineName) -> None:
    volume, (left, right) = a_volume("lps", ((16, 22, 11), 14.0), ((27, 22, 11), 14.0))  # grown together
    one = [Click(index=(12, 22, 11))]
    before = answer(name, volume, one).cut(volume.grid.box)
    after = answer(name, volume, [*one, Click(index=(31, 22, 11), positive=False)]).cut(volume.grid.box)
    assert np.count_nonzero(after & right & ~left) < max(np.count_nonzero(before & right & ~left), 1)
    assert np.count_nonzero(after & left) > 0


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("shape", [(40, 40, 1), (3, 40, 2), (1, 1, 30)])
def test_thin_volumes_are_no_trouble(name: BaselineName, shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32) * 30
    volume = Volume(array=image, affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    index = tuple(n // 2 for n in shape)
    found = answer(name, volume, [Click(index=(index[0], index[1], index[2]))])
    assert found.cut(volume.grid.box)[index]


@pytest.mark.parametrize("name", BASELINES)
def test_an_image_of_one_value_is_refused(name: BaselineName) -> None:
    volume = Volume(array=np.full((20, 20, 20), 40, dtype=np.int16), affine=np.eye(4))
    with pytest.raises(VolumeError, match="same value"):
        answer(name, volume, [Click(index=(10, 10, 10))])


def test_a_crop_reaches_as_far_as_the_models_window_and_knows_no_truth() -> None:
    volume = Volume(array=np.zeros((200, 200, 60), dtype=np.int16), affine=np.diag([1.0, 1.0, 2.0, 1.0]))
    maker = CropMaker(volume, SETTINGS)
    crop = maker.around([Click(index=(100, 100, 30))])
    assert [b - a for a, b in zip(crop.box.start, crop.box.stop, strict=True)] == [97, 97, 49]  # 48 mm each way
    assert crop.grid.spacing == pytest.approx((3.0, 3.0, 3.0))
    assert crop.grid.to_world(crop.positive[0]) == pytest.approx(volume.grid.to_world((100, 100, 30)), abs=1.51)
    wider = maker.around([Click(index=(100, 100, 30)), Click(index=(130, 100, 30), positive=False)])
    assert wider.box.stop[0] == crop.box.stop[0] + 30
    assert maker.around([Click(index=(100, 100, 30))]).image is crop.image  # resampled once


def test_a_huge_crop_is_made_coarser() -> None:
    settings = NetworkSettings()  # the published window, 192 mm of 1.5 mm voxels
    volume = Volume(array=np.zeros((200, 200, 200), dtype=np.int16), affine=np.eye(4))
    crop = CropMaker(volume, settings).around([Click(index=(100, 100, 100))])
    assert crop.image.size <= 1.1 * MOST_VOXELS
    assert crop.grid.spacing[0] > 1.5


def test_a_crop_is_not_finer_than_the_ct() -> None:
    volume = Volume(array=np.zeros((40, 40, 20), dtype=np.int16), affine=np.diag([2.0, 2.0, 8.0, 1.0]))
    crop = CropMaker(volume, SETTINGS).around([Click(index=(20, 20, 10))])
    assert crop.grid.spacing == pytest.approx((3.0, 3.0, 8.0))
