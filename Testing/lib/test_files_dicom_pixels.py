"""Values of DICOM images: exact in HU, however they are stored."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that everybody uses
from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)
from test_files_maker import TILT, SeriesMaker, ct_values, rotation

from VISTA3DLib.files.read import read_volume
from VISTA3DLib.geometry import reverse_axes


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian])
def test_compressed_slices_have_the_same_values(tmp_path: Path, syntax: Any) -> None:
    maker = SeriesMaker(hu=ct_values())
    if syntax == DeflatedExplicitVRLittleEndian:
        for k, path in maker.write(tmp_path).items():
            dataset = maker.dataset(k)
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.save_as(path)
    else:
        maker.syntax = syntax
        maker.write(tmp_path)
    assert np.array_equal(read_volume(tmp_path).array, reverse_axes(maker.hu))


@pytest.mark.parametrize("codec", ["JPEG", "JPEG2000"])
def test_jpeg_lossless_has_the_same_values(tmp_path: Path, codec: str) -> None:
    maker = SeriesMaker(hu=ct_values())
    for k, path in maker.write(tmp_path).items():
        dataset, coded = maker.dataset(k), _coded(maker.stored(k), codec)
        assert coded.file_meta.TransferSyntaxUID.is_compressed
        dataset.file_meta.TransferSyntaxUID = coded.file_meta.TransferSyntaxUID
        dataset.PixelData = coded.PixelData
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
    assert np.array_equal(read_volume(tmp_path).array, reverse_axes(maker.hu))


def _coded(stored: npt.NDArray[Any], codec: str) -> Dataset:
    """One image as GDCM encodes it: pydicom has no encoder for these."""
    with tempfile.TemporaryDirectory() as folder:
        writer = sitk.ImageFileWriter()
        writer.SetFileName(f"{folder}/coded.dcm")
        writer.UseCompressionOn()
        writer.SetCompressor(codec)
        writer.Execute(sitk.GetImageFromArray(stored[None]))
        return dcmread(f"{folder}/coded.dcm", defer_size=None)


@pytest.mark.parametrize(
    ("slope", "intercept", "signed", "bits", "dtype"),
    [
        (1.0, 0.0, True, 16, np.int16),
        (2.0, -1024.0, False, 16, np.int16),
        (0.5, -1024.5, False, 16, np.float32),
        (1.0, -1024.0, False, 12, np.int16),
        (1.0, 0.0, True, 13, np.int16),
    ],
)
def test_hounsfield_units_are_exact(
    tmp_path: Path, slope: float, intercept: float, signed: bool, bits: int, dtype: Any
) -> None:
    hu = intercept + slope * np.round((ct_values() - intercept) / slope)
    maker = SeriesMaker(hu=hu, slope=slope, intercept=intercept, signed=signed, bits_stored=bits)
    maker.write(tmp_path)
    volume = read_volume(tmp_path)
    assert volume.array.dtype == dtype
    assert np.array_equal(volume.array, reverse_axes(hu))


def test_bits_above_the_stored_ones_are_not_part_of_the_value(tmp_path: Path) -> None:
    maker = SeriesMaker(hu=ct_values(), bits_stored=12)
    for k, path in maker.write(tmp_path).items():
        dataset = maker.dataset(k)
        dataset.PixelData = (maker.stored(k) | 0x8000).astype(np.uint16).tobytes()  # an old overlay sits there
        dataset.save_as(path)
    assert np.array_equal(read_volume(tmp_path).array, reverse_axes(maker.hu))


def test_each_slice_has_its_own_slope(tmp_path: Path) -> None:
    maker = SeriesMaker(hu=ct_values().astype(np.float64))
    for k, path in maker.write(tmp_path).items():
        maker.dataset(k, RescaleSlope=0.25 * (k + 1), RescaleIntercept=0.0).save_as(path)
    expected = np.stack([maker.stored(k) * 0.25 * (k + 1) for k in range(len(maker.hu))])
    volume = read_volume(tmp_path)
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, reverse_axes(expected.astype(np.float32)))


@pytest.mark.parametrize("syntax", ["plain", "compressed"])
def test_an_enhanced_multiframe_ct_is_read(tmp_path: Path, syntax: str) -> None:
    maker = SeriesMaker(hu=ct_values(), axes=rotation(20, -15, 35) @ TILT)
    path = tmp_path / "enhanced.dcm"
    maker.write_enhanced(path, [3, 0, 8, 1, 2, 7, 6, 5, 4])
    if syntax == "compressed":
        dataset = dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    volume = read_volume(path)
    assert np.array_equal(volume.array, reverse_axes(maker.hu))
    assert np.allclose(volume.affine, maker.affine, atol=1e-6)
    assert volume.source_files == (path,)
