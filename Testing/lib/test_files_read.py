"""Image files: exact values, exact place."""

from __future__ import annotations

import locale
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that everybody uses
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from image_writers import LPS, FloatArray, values, write_itk, write_nifti, write_nrrd
from odd_volumes import ODD_AFFINES, odd_affine

from VISTA3DLib.files.image_file import rescaled
from VISTA3DLib.files.read import read_volume
from VISTA3DLib.geometry import reverse_axes

WRITERS: dict[str, Callable[[Path, npt.NDArray[Any], FloatArray], None]] = {
    "ct.nii.gz": write_nifti,
    "ct.nii": write_nifti,
    "ct.nrrd": write_nrrd,
    "ct.nhdr": write_nrrd,
    "ct.mha": write_itk,
    "ct.mhd": write_itk,
}


@pytest.mark.parametrize("kind", list(ODD_AFFINES))
@pytest.mark.parametrize("name", list(WRITERS))
def test_every_format_keeps_values_and_place(tmp_path: Path, name: str, kind: str) -> None:
    array, affine = values(), odd_affine(kind)
    WRITERS[name](tmp_path / name, array, affine)
    volume = read_volume(tmp_path / name)
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, array)
    assert np.allclose(volume.affine, affine, atol=1e-4)
    assert (volume.name, volume.source_files, volume.modality) == ("ct", (), "CT")


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha"])
@settings(max_examples=20, deadline=None)
@given(numbers=st.lists(st.floats(-3, 3), min_size=9, max_size=9), origin=st.tuples(*[st.floats(-1000, 1000)] * 3))
def test_any_affine_survives(
    tmp_path_factory: pytest.TempPathFactory, name: str, numbers: list[float], origin: tuple[float, float, float]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.array(numbers).reshape(3, 3)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    assume(lengths.min() > 0.1 and abs(np.linalg.det(affine[:3, :3])) > 0.05 * lengths.prod())
    affine[:3, 3] = origin
    path = tmp_path_factory.mktemp("any") / name
    WRITERS[name](path, values((3, 4, 5)), affine)
    assert np.allclose(read_volume(path).affine, affine, atol=1e-3)


@pytest.mark.parametrize("name", ["ct.gipl", "ct.vtk", "ct.img", "ct.hdr"])
def test_other_formats_of_itk_are_read(tmp_path: Path, name: str) -> None:
    array = values()
    image = sitk.GetImageFromArray(reverse_axes(array))
    image.SetSpacing([2.0, 3.0, 4.0])
    before = locale.setlocale(locale.LC_ALL)
    sitk.WriteImage(image, str(tmp_path / name))
    locale.setlocale(locale.LC_ALL, before)  # ITK's writer of VTK files leaves the C locale behind, as its reader does
    volume = read_volume(tmp_path / name)
    assert np.array_equal(volume.array, array)
    assert volume.grid.spacing == pytest.approx((2.0, 3.0, 4.0))
    assert locale.setlocale(locale.LC_ALL) == before


@pytest.mark.parametrize(
    ("dtype", "slope", "inter", "expected"),
    [
        (np.int16, 1, 0, np.int16),
        (np.uint16, 1, -1024, np.int16),
        (np.int16, 0.5, 0, np.float32),
        (np.uint8, 2, -1000, np.int16),
        (np.int32, 1, 0, np.int16),
        (np.float32, None, None, np.float32),
        (np.float64, None, None, np.float32),
        (">i2", 1, 0, np.int16),
    ],
)
def test_nifti_slopes_are_applied_without_loss(
    tmp_path: Path, dtype: Any, slope: float | None, inter: float | None, expected: Any
) -> None:
    stored = np.random.default_rng(0).integers(0, 255, size=(5, 6, 7)).astype(dtype)
    image = nibabel.Nifti1Image(stored, np.diag([1.0, 2.0, 3.0, 1.0]))
    image.header.set_slope_inter(slope, inter)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    volume = read_volume(tmp_path / "ct.nii.gz")
    assert volume.array.dtype == expected
    assert np.array_equal(volume.array, nibabel.load(tmp_path / "ct.nii.gz").get_fdata().astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(
    stored=st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=30),
    slope=st.sampled_from([1.0, -1.0, 2.0, 0.25, 1.3671875, 0.1, 1e-3]),
    intercept=st.sampled_from([0.0, -1024.0, -1000.5, 40000.0]),
)
def test_rescaling_is_exact(stored: list[int], slope: float, intercept: float) -> None:
    exact = np.array(stored, dtype=np.float64) * slope + intercept
    found = rescaled(np.array(stored, dtype=np.int16), slope, intercept)
    assert np.array_equal(found, exact.astype(np.float32))
    whole = slope in (1, -1, 2) and intercept != -1000.5 and exact.min() >= -(2**15) and exact.max() < 2**15
    assert found.dtype == (np.int16 if whole else np.float32)


def test_nifti_prefers_the_sform_then_the_qform(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii"
    sform, qform = odd_affine("oblique"), odd_affine("lps")
    image = nibabel.Nifti1Image(values(), None)
    image.set_sform(sform, 1)
    image.set_qform(qform, 1)
    nibabel.save(image, path)
    assert np.allclose(read_volume(path).affine, sform, atol=1e-4)
    image.set_sform(None, 0)
    nibabel.save(image, path)
    assert np.allclose(read_volume(path).affine, qform, atol=1e-4)


def test_nifti_in_metres_is_converted_as_itk_does(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii"
    image = nibabel.Nifti1Image(values(), np.diag([0.001, 0.002, 0.003, 1.0]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, path)
    assert read_volume(path).grid.spacing == pytest.approx(sitk.ReadImage(str(path)).GetSpacing())


@pytest.mark.parametrize(
    ("space", "flips"),
    [
        ("left-posterior-superior", (-1, -1, 1)),
        ("LPS", (-1, -1, 1)),
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
        ("scanner-xyz", (-1, -1, 1)),
    ],
)
def test_nrrd_spaces(tmp_path: Path, space: str, flips: tuple[int, int, int]) -> None:
    path = tmp_path / "ct.nrrd"
    write_nrrd(
        path, values(), LPS, **{"space": space, "space directions": np.diag([2.0, 3, 4]), "space origin": [5, 6, 7]}
    )
    expected = np.diag([*flips, 1.0]) @ np.array([[2, 0, 0, 5], [0, 3, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1.0]])
    assert np.allclose(read_volume(path).affine, expected)


def test_nrrd_without_a_space_is_taken_as_itk_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "ct.nrrd"
    nrrd.write(str(path), values(), {"spacings": [2.0, 3.0, 4.0]})
    image = sitk.ReadImage(str(path))
    assert np.allclose(read_volume(path).affine, LPS @ np.diag([2.0, 3.0, 4.0, 1.0]))
    assert image.GetSpacing() == (2.0, 3.0, 4.0)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_a_fourth_axis_of_one_is_dropped(tmp_path: Path) -> None:
    array = values()
    write_nifti(tmp_path / "ct.nii.gz", array[..., None], np.eye(4))
    directions = np.vstack([[np.nan] * 3, np.eye(3)])
    fields = {"kinds": ["list", "domain", "domain", "domain"], "space directions": directions}
    write_nrrd(tmp_path / "ct.nrrd", array[None], LPS, **fields)
    for name in ("ct.nii.gz", "ct.nrrd"):
        assert np.array_equal(read_volume(tmp_path / name).array, array)


def test_importing_is_quick_and_light() -> None:
    heavy = ["torch", "SimpleITK", "highdicom", "pydicom", "nibabel", "nrrd", "scipy"]
    code = (
        "import sys, VISTA3DLib.files.read, VISTA3DLib.files.write, VISTA3DLib.files.segmentation_read\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
