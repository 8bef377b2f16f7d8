"""What a volume may be, and what is said about one that is odd."""

from __future__ import annotations

import numpy as np
import pytest
from odd_volumes import blobs, odd_affine, odd_shape

from VISTA3DLib.errors import VolumeError
from VISTA3DLib.volume import Volume, inspect_volume

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
CT = blobs((40, 40, 30))


def codes(array: np.ndarray, affine: np.ndarray = AFFINE, **options: object) -> set[str]:
    return {f.code for f in inspect_volume(Volume(array=array, affine=affine, **options))}


@pytest.mark.parametrize("shape", [(5, 5), (5, 5, 5, 2), (7,)])
def test_arrays_that_are_not_3d_are_refused_with_their_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(VolumeError, match=" x ".join(map(str, shape))) as caught:
        Volume(array=np.zeros(shape, dtype=np.int16), affine=AFFINE)
    assert "slices" in caught.value.fix


def test_an_empty_array_is_refused() -> None:
    with pytest.raises(VolumeError, match="empty"):
        Volume(array=np.zeros((5, 0, 5), dtype=np.int16), affine=AFFINE)


def test_a_volume_larger_than_any_memory_is_refused_before_it_is_touched() -> None:
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.int16), (4096, 4096, 4096), (0, 0, 0))
    with pytest.raises(VolumeError, match="billion"):
        Volume(array=huge, affine=AFFINE)


def test_spacing_zero_is_refused() -> None:
    with pytest.raises(VolumeError, match="spacing"):
        Volume(array=CT, affine=np.diag([1.0, 1.0, 0.0, 1.0]))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.uint8, np.int16),
        (np.uint16, np.int16),
        (np.int32, np.int16),
        (np.float64, np.float32),
        (np.int16, np.int16),
        (np.float32, np.float32),
        (bool, np.int16),
    ],
)
def test_numbers_become_int16_where_they_fit_else_float32(given: type, kept: type) -> None:
    array = np.arange(27).reshape(3, 3, 3).astype(given)
    assert Volume(array=array, affine=AFFINE).array.dtype == kept


def test_whole_numbers_beyond_int16_become_float32() -> None:
    array = np.full((3, 3, 3), 40_000, dtype=np.int32)
    assert Volume(array=array, affine=AFFINE).array.dtype == np.float32


def test_complex_numbers_are_refused() -> None:
    with pytest.raises(VolumeError, match="complex"):
        Volume(array=np.zeros((3, 3, 3), dtype=complex), affine=AFFINE)


def test_an_ordinary_ct_has_nothing_to_report() -> None:
    assert codes(CT) == set()


def test_memory_order_is_kept_without_a_copy() -> None:
    array = np.zeros((4, 5, 6), dtype=np.int16).transpose(2, 1, 0)
    assert np.shares_memory(Volume(array=array, affine=AFFINE).array, array)


def test_nan_and_infinite_voxels_become_air_and_are_counted() -> None:
    array = CT.astype(np.float32)
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    volume = Volume(array=array, affine=AFFINE)
    assert volume.finite[0, 0, :3].tolist() == [-1024] * 3
    assert np.isnan(volume.array[0, 0, 0])
    finding = next(f for f in inspect_volume(volume) if f.code == "not-finite")
    assert finding.values == {"voxels": 3}


def test_a_volume_of_nan_alone_is_refused() -> None:
    with pytest.raises(VolumeError, match="No voxel"):
        _ = Volume(array=np.full((4, 4, 4), np.nan), affine=AFFINE).finite


@pytest.mark.parametrize(
    ("array", "code"),
    [
        ((CT.astype(np.float32) + 1024) / 4000, "not-hounsfield"),
        (CT.astype(np.float32) / 3000, "not-hounsfield"),
        (CT.astype(np.float32) + 1024, "not-hounsfield"),
        (np.minimum(CT, -900), "all-air"),
        (np.full_like(CT, -1000), "constant"),
    ],
)
def test_values_that_are_no_hounsfield_units_are_reported(array: np.ndarray, code: str) -> None:
    assert code in codes(array)


def test_small_fields_odd_spacing_shear_and_other_modalities_are_reported() -> None:
    assert codes(CT[:10]) == {"small-field"}
    assert codes(CT, np.diag([1.0, 1.0, 12.0, 1.0])) == {"odd-spacing"}
    assert codes(blobs(odd_shape("sheared")), odd_affine("sheared")) == {"sheared"}
    assert codes(CT, modality="MR") == {"not-ct"}
    volume = Volume(array=CT + 2000, affine=AFFINE, modality="MR")
    assert inspect_volume(volume, hounsfield=False) == ()
