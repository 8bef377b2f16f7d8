"""Supervoxels without SAM: what is promised of every result, how well they follow organs, files, bad input."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_volumes import ODD_AFFINES, blobs, odd_affine, odd_shape
from scipy.ndimage import binary_closing, gaussian_filter
from scipy.ndimage import label as components_of
from skimage.segmentation import slic

from VISTA3DLib.errors import CancelledError, OutputError, ReadError, SettingsError, VolumeError
from VISTA3DLib.geometry import Grid
from VISTA3DLib.phantom import PhantomSettings, make_phantom
from VISTA3DLib.progress import Cancel, Progress
from VISTA3DLib.training.plain_features import windowed
from VISTA3DLib.training.supervoxel_grid import (
    air_mask,
    block_any,
    block_mean,
    on_volume,
    working_blocks,
    working_shape,
)
from VISTA3DLib.training.supervoxel_merge import merged_numbers, region_graph, without_specks
from VISTA3DLib.training.supervoxels import SupervoxelSettings, make_supervoxels, write_supervoxels
from VISTA3DLib.volume import Volume

PLAIN = SupervoxelSettings(method="plain", segments=40)


def _volume(shape: tuple[int, int, int], seed: int = 0, spacing: float = 3.0) -> Volume:
    return Volume(array=blobs(shape, seed), affine=np.diag([-spacing, -spacing, spacing, 1.0]))


def _check_cover(labels: npt.NDArray[np.int16], volume: Volume) -> None:
    """Int16 on the volume's grid, 0 exactly in the air, numbers without a gap."""
    assert labels.dtype == np.int16
    assert labels.shape == volume.array.shape
    assert np.array_equal(labels == 0, air_mask(volume.finite))
    present = np.unique(labels[labels > 0])
    assert np.array_equal(present, np.arange(1, len(present) + 1))


def achievable_dice(labels: npt.NDArray[np.int16], organs: npt.NDArray[np.integer]) -> float:
    """Dice of the best union of supervoxels for each organ of at least 30 voxels, mean over organs.

    The best union takes supervoxels by the share that lies in the organ, so it is found by trying each prefix.
    """
    size = np.bincount(labels.ravel())
    scores = []
    for organ in np.unique(organs[organs > 0]):
        inside = organs == organ
        if (total := np.count_nonzero(inside)) < 30:
            continue
        shared = np.bincount(labels[inside], minlength=len(size))
        shared[0] = 0
        order = np.argsort(-shared / np.maximum(size, 1), kind="stable")
        order = order[shared[order] > 0]
        dice = 2 * np.cumsum(shared[order]) / (np.cumsum(size[order]) + total)
        scores.append(float(dice.max(initial=0.0)))
    return float(np.mean(scores))


# ------------------------------------------------------------------------------------------------ every result


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(sorted(ODD_AFFINES)),
    seed=st.integers(0, 50),
    flips=st.tuples(*[st.booleans()] * 3),
    working_mm=st.sampled_from([None, 5.0]),
    segments=st.integers(1, 60),
    as_float=st.booleans(),
)
def test_labels_cover_exactly_what_is_not_air_and_have_no_gaps_in_any_geometry(
    name: str, seed: int, flips: tuple[bool, bool, bool], working_mm: float | None, segments: int, as_float: bool
) -> None:
    """Flipped views, Fortran order and floats included. The regions of a flipped volume may differ: SLIC's seeds lie
    on a grid that starts at the first voxel.
    """
    i, j, k = odd_shape(name)
    array = blobs((i // 2, j // 2, k), seed)[tuple(slice(None, None, -1 if f else 1) for f in flips)]
    array = np.asfortranarray(array.astype(np.float32)) if as_float else array
    volume = Volume(array=array, affine=odd_affine(name))
    labels = make_supervoxels(volume, SupervoxelSettings(method="plain", segments=segments, working_mm=working_mm))
    _check_cover(labels, volume)
    assert labels.max() >= min(segments, 2)


def test_same_volume_gives_the_same_supervoxels_in_any_memory_order() -> None:
    volume = _volume((30, 28, 26))
    again = Volume(array=np.asfortranarray(volume.array), affine=volume.affine)
    first = make_supervoxels(volume, PLAIN)
    assert np.array_equal(first, make_supervoxels(volume, PLAIN))
    assert np.array_equal(first, make_supervoxels(again, PLAIN))


def test_every_supervoxel_is_connected_and_as_many_as_asked_for() -> None:
    volume = Volume(array=np.maximum(blobs((30, 30, 30)), -500), affine=np.diag([3.0, 3, 3, 1]))
    labels = make_supervoxels(volume, PLAIN)
    assert labels.max() == PLAIN.segments
    for number in range(1, labels.max() + 1):
        assert components_of(labels == number)[1] == 1


def test_table_and_noise_in_the_air_take_nothing_from_the_body() -> None:
    """Parts that touch nothing else come on top; specks of a few voxels join what is nearest."""
    rng = np.random.default_rng(0)
    array = np.full((50, 40, 40), -1000, dtype=np.int16)
    array[5:45, 8:30, 5:35] = np.rint(gaussian_filter(rng.normal(size=(40, 22, 30)), 1.5) * 400 + 40)
    array[5:45, 34:37, 5:35] = 0
    specks = rng.integers(0, (50, 7, 40), size=(300, 3))
    array[tuple(specks.T)] = -300
    labels = make_supervoxels(Volume(array=array, affine=np.diag([3.0, 3, 3, 1])), PLAIN)
    body = np.unique(labels[5:45, 8:30, 5:35])
    assert np.count_nonzero(body) >= 30
    assert labels.max() <= PLAIN.segments + 1
    assert np.bincount(labels.ravel())[1:].min() >= 10


# ------------------------------------------------------------------------------------------------ quality and speed


def test_supervoxels_follow_organs_better_than_slic_alone() -> None:
    phantom = make_phantom(
        PhantomSettings(spacing=(3.0, 3.0, 3.0), seed=1, variation=0.5, field_of_view=(390, 300, 240))
    )
    volume = Volume(array=phantom.array, affine=phantom.affine)
    labels = make_supervoxels(volume, SupervoxelSettings(method="plain", segments=200))
    air = air_mask(volume.array)
    alone = slic(
        windowed(volume.array.astype(np.float32)), n_segments=400, compactness=0.1, channel_axis=-1, convert2lab=False
    )
    alone[air] = 0
    assert len(np.unique(alone)) > 150  # in the body: a like number
    assert achievable_dice(labels, phantom.labels) > 0.50
    assert achievable_dice(labels, phantom.labels) > achievable_dice(alone.astype(np.int16), phantom.labels) + 0.1


def test_more_supervoxels_follow_organs_better() -> None:
    phantom = make_phantom(PhantomSettings(spacing=(4.0, 4.0, 4.0), field_of_view=(390, 300, 200)))
    volume = Volume(array=phantom.array, affine=phantom.affine)
    few, many = (
        achievable_dice(make_supervoxels(volume, SupervoxelSettings(method="plain", segments=n)), phantom.labels)
        for n in (50, 800)
    )
    assert many > few + 0.2


def test_a_bright_ball_in_even_tissue_is_a_supervoxel_of_its_own_whatever_its_size() -> None:
    grid = np.indices((40, 40, 40)).astype(float)
    array = np.full((40, 40, 40), 40, dtype=np.int16)
    ball = np.linalg.norm(grid - np.array([12, 20, 24])[:, None, None, None], axis=0) < 3.2
    array[ball] = 160
    labels = make_supervoxels(
        Volume(array=array, affine=np.diag([3.0, 3, 3, 1])), SupervoxelSettings(method="plain", segments=10)
    )
    assert achievable_dice(labels, ball.astype(int)) > 0.95


# ------------------------------------------------------------------------------------------------ the parts


def test_air_is_the_largest_component_below_minus_800_closed_by_one_voxel() -> None:
    array = np.full((20, 20, 20), -1000, dtype=np.int16)
    array[6:14, 6:14, 6:14] = 40  # body
    array[8:10, 8:10, 8:10] = -1000  # gas in it: another component
    array[2, 2, 2] = 0  # a speck in the air: closed
    array[0, 10, 10] = 0  # and one at the border of the volume
    air = air_mask(array)
    expected = binary_closing(np.pad(_largest(array < -800), 1, mode="edge"), np.ones((3, 3, 3)), border_value=1)
    assert np.array_equal(air, expected[1:-1, 1:-1, 1:-1])
    assert air[2, 2, 2]
    assert not air[8, 8, 8]
    assert not air_mask(np.full((4, 4, 4), -800, dtype=np.int16)).any()


def _largest(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    labels, _ = components_of(mask, np.ones((3, 3, 3)))
    return np.asarray(labels == np.bincount(labels[mask]).argmax())


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 9)] * 3), blocks=st.tuples(*[st.integers(1, 4)] * 3), seed=st.integers(0, 9))
def test_blocks_are_means_of_what_they_hold_and_come_back_by_repetition(
    shape: tuple[int, int, int], blocks: tuple[int, int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    array = rng.integers(-1000, 1000, size=shape).astype(np.int16)
    mask = rng.random(shape) < 0.3
    mean, some = block_mean(array, blocks), block_any(mask, blocks)
    assert mean.shape == working_shape(shape, blocks)
    for index in np.ndindex(mean.shape):
        part = tuple(slice(i * b, (i + 1) * b) for i, b in zip(index, blocks, strict=True))
        assert mean[index] == pytest.approx(array[part].mean(), abs=1e-2)
        assert some[index] == mask[part].any()
    numbers = np.arange(mean.size).reshape(mean.shape) + 7
    labels = on_volume(numbers, blocks, mask)
    assert np.array_equal(labels == 0, mask)
    for index in np.ndindex(mean.shape):
        part = tuple(slice(i * b, (i + 1) * b) for i, b in zip(index, blocks, strict=True))
        assert len(np.unique(labels[part][~mask[part]])) <= 1


def test_working_grid_is_the_volumes_own_until_that_is_too_large() -> None:
    grid = Grid(shape=(512, 512, 400), affine=np.diag([0.75, 0.75, 1.0, 1.0]))
    assert working_blocks(grid, 200_000_000) == (1, 1, 1)
    blocks = working_blocks(grid, 8_000_000)
    assert np.prod(working_shape(grid.shape, blocks)) <= 8_000_000
    sides = np.array(blocks) * grid.spacing
    assert sides.max() < 1.6 * sides.min()
    assert working_blocks(grid, 200_000_000, 2.0) == (3, 3, 2)
    flat = Grid(shape=(3000, 3000, 1), affine=np.diag([1.0, 1.0, 0.1, 1.0]))
    assert working_blocks(flat, 1_000_000) == (3, 3, 1)


def test_merging_joins_the_most_alike_neighbours_first_and_a_strong_edge_holds_them_apart() -> None:
    fragments = np.repeat([1, 2, 3, 4, 0, 5], 4)[:, None, None] * np.ones((1, 4, 4), dtype=np.int64)
    values = np.choose(fragments, [0.0, 1.0, 1.1, 3.0, 3.05, 9.0]).astype(np.float32)
    even = np.ones(fragments.shape, dtype=np.float32)
    graph = region_graph(fragments, [values], even)
    assert graph.edges.tolist() == [[1, 2], [2, 3], [3, 4]]
    assert graph.faces.tolist() == [16.0, 16.0, 16.0]
    assert merged_numbers(graph, 1, 1.0).tolist() == [0, 1, 1, 1, 1, 2]
    assert merged_numbers(graph, 2, 1.0).tolist() == [0, 1, 1, 2, 2, 3]
    assert merged_numbers(graph, 3, 1.0).tolist() == [0, 1, 2, 3, 3, 4]
    edge = np.where(np.isin(np.indices(fragments.shape)[0], [11, 12]), 1000.0, 1.0).astype(np.float32)
    assert merged_numbers(region_graph(fragments, [values], edge), 3, 10.0).tolist() == [0, 1, 1, 2, 3, 4]


def test_specks_join_the_nearest_region_but_the_largest_stays() -> None:
    labels = np.zeros((12, 3, 3), dtype=np.int64)
    labels[:4], labels[5, 1, 1], labels[9:] = 1, 2, 3
    assert without_specks(labels, 10)[5, 1, 1] == 1
    assert np.array_equal(without_specks(labels, 1000) > 0, labels > 0)
    assert set(np.unique(without_specks(labels, 1000))) == {0, 1}


# ------------------------------------------------------------------------------------------------ files


def test_written_file_lies_on_the_cts_grid(tmp_path: Path, an_odd_volume: Volume) -> None:
    ct, output = tmp_path / "ct.nii.gz", tmp_path / "new" / "sv.nii.gz"
    nibabel.save(nibabel.Nifti1Image(an_odd_volume.array, an_odd_volume.affine), ct)
    write_supervoxels(ct, output, PLAIN)
    image = nibabel.load(output)
    assert image.get_data_dtype() == np.int16
    assert np.allclose(image.affine, an_odd_volume.affine, atol=1e-3)
    _check_cover(np.asarray(image.dataobj), an_odd_volume)
    assert b"plain" in image.header["descrip"].tobytes()
    assert [p.name for p in output.parent.iterdir()] == ["sv.nii.gz"]


def test_output_that_cannot_be_written_is_said_before_the_work_starts(tmp_path: Path) -> None:
    missing = tmp_path / "no-such-ct.nii.gz"  # reading it would fail too, later
    (tmp_path / "folder.nii.gz").mkdir()
    (tmp_path / "file").touch()
    for output in ("folder.nii.gz", "file/sv.nii.gz", "sv.nrrd"):
        with pytest.raises(OutputError, match=output.split("/")[-1]):
            write_supervoxels(missing, tmp_path / output, PLAIN)
    with pytest.raises(ReadError, match="no-such-ct"):
        write_supervoxels(missing, tmp_path / "sv.nii.gz", PLAIN)
    assert not (tmp_path / "sv.nii.gz").exists()


# ------------------------------------------------------------------------------------------------ bad input


def test_only_air_gives_no_supervoxel_and_one_value_gives_one() -> None:
    affine = np.eye(4)
    nothing = np.full((8, 8, 8), -1000, dtype=np.int16)
    assert not make_supervoxels(Volume(array=nothing, affine=affine), PLAIN).any()
    nothing[2, 2, 2] = -900
    assert not make_supervoxels(Volume(array=nothing, affine=affine), PLAIN).any()
    water = make_supervoxels(Volume(array=np.zeros((8, 8, 8), dtype=np.int16), affine=affine), PLAIN)
    assert np.array_equal(water, np.ones((8, 8, 8)))
    almost = np.zeros((12, 12, 12), dtype=np.int16)
    almost[3, 3, 3] = 1
    _check_cover(make_supervoxels(Volume(array=almost, affine=affine), PLAIN), Volume(array=almost, affine=affine))


def test_values_that_are_no_numbers_count_as_air() -> None:
    array = blobs((20, 20, 20)).astype(np.float32)
    array[:5], array[10, 10, 10] = np.nan, np.inf
    volume = Volume(array=array, affine=np.diag([3.0, 3, 3, 1]))
    labels = make_supervoxels(volume, PLAIN)
    _check_cover(labels, volume)
    assert not labels[:3].any()


def test_single_slices_and_needles_work() -> None:
    for shape in ((40, 40, 1), (1, 60, 40), (300, 1, 1)):
        volume = Volume(array=blobs((64, 64, 64))[tuple(slice(n) for n in shape)], affine=np.eye(4))
        volume = Volume(array=np.resize(volume.array, shape), affine=np.eye(4))
        _check_cover(make_supervoxels(volume, PLAIN), volume)


def test_a_volume_with_fewer_voxels_than_supervoxels_is_refused() -> None:
    small = Volume(array=blobs((4, 4, 2)), affine=np.eye(4))
    with pytest.raises(VolumeError, match=r"32 voxels \(4 x 4 x 2\).*40"):
        make_supervoxels(small, PLAIN)
    with pytest.raises(VolumeError, match=r"30\.0 mm"):
        make_supervoxels(_volume((20, 20, 20)), SupervoxelSettings(method="plain", segments=40, working_mm=30.0))


def test_more_labels_than_int16_counts_are_refused() -> None:
    labels = np.arange(33 * 1000).reshape(33, 10, 100)
    with pytest.raises(VolumeError, match="32,999"):
        on_volume(labels, (1, 1, 1), np.zeros(labels.shape, dtype=bool))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"method": "graph-cut"}, "graph-cut"),
        ({"method": "sam"}, "checkpoint"),
        ({"method": "plain", "sam_checkpoint": Path("sam.pth")}, "sam.pth"),
        ({"segments": 0}, "0 supervoxels"),
        ({"segments": 40000}, "40000"),
        ({"compactness": 0.0}, "compactness is 0.0"),
        ({"compactness": float("nan")}, "compactness is nan"),
        ({"sigma": -1.0}, "sigma is -1.0"),
        ({"slices_at_once": 0}, "0 slices"),
        ({"working_mm": 0.0}, "0.0 mm"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_their_value(values: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named) as caught:
        SupervoxelSettings(**{"method": "plain", **values})  # type: ignore[arg-type]
    assert caught.value.fix


def test_progress_is_reported_and_cancel_stops() -> None:
    reports: list[Progress] = []
    make_supervoxels(_volume((20, 20, 20)), PLAIN, progress=reports.append)
    assert reports[-1].fraction == 1.0
    assert {r.stage for r in reports} == {"supervoxels"}
    cancel = Cancel()

    def stop(report: Progress) -> None:
        if report.done == 2:
            cancel.cancel()

    with pytest.raises(CancelledError):
        make_supervoxels(_volume((20, 20, 20)), PLAIN, progress=stop, cancel=cancel)
