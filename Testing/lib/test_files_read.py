"""Image files: exact values, exact place, and a clear word about everything that is no CT."""

from __future__ import annotations

import gzip
import locale
import os
import struct
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
from odd_volumes import ODD_AFFINES, odd_affine

from VISTA3DLib.errors import MemoryLimitError, ReadError, VISTA3DError, VolumeError
from VISTA3DLib.files.image_file import rescaled
from VISTA3DLib.files.read import read_volume
from VISTA3DLib.geometry import flip_lps_ras, reverse_axes

FloatArray = npt.NDArray[np.float64]
LPS = flip_lps_ras(np.eye(4))


def values(shape: tuple[int, ...] = (7, 9, 5), dtype: npt.DTypeLike = np.int16) -> npt.NDArray[Any]:
    return np.random.default_rng(0).integers(-1024, 3000, size=shape).astype(dtype)


def write_nifti(path: Path, array: npt.NDArray[Any], affine: FloatArray) -> None:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def write_nrrd(path: Path, array: npt.NDArray[Any], affine: FloatArray, **header: Any) -> None:
    lps = flip_lps_ras(affine)
    fields = {"space": "left-posterior-superior", "space directions": lps[:3, :3].T, "space origin": lps[:3, 3]}
    nrrd.write(str(path), array, {**fields, **header})


def write_itk(path: Path, array: npt.NDArray[Any], affine: FloatArray) -> None:
    lps = flip_lps_ras(affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(reverse_axes(array))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))


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


def save_4d_nifti(path: Path) -> None:
    write_nifti(path, values((4, 5, 6, 3)), np.eye(4))


def save_4d_nrrd(path: Path) -> None:
    directions = np.vstack([[np.nan] * 3, np.eye(3)])
    fields = {"kinds": ["time", "domain", "domain", "domain"], "space directions": directions}
    write_nrrd(path, values((3, 4, 5, 6)), LPS, **fields)


def save_4d_mha(path: Path) -> None:
    sitk.WriteImage(sitk.JoinSeries([sitk.Image(4, 5, 6, sitk.sitkInt16)] * 3), str(path))


def save_rgb_nifti(path: Path) -> None:
    write_nifti(path, np.zeros((3, 4, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), np.eye(4))


def save_rgb_mha(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 4, 3, 3), np.uint8), isVector=True), str(path))


def save_png(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 6), np.uint8)), str(path))


def save_rgb_png(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 6, 3), np.uint8), isVector=True), str(path))


def save_2d_nifti(path: Path) -> None:
    write_nifti(path, values((5, 6)), np.eye(4))


def save_complex(path: Path) -> None:
    write_nifti(path, values().astype(np.complex64), np.eye(4))


def save_patched_nifti(position: int, value: float, *, sform: bool = True) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        image = nibabel.Nifti1Image(values(), np.diag([1.0, 2.0, 3.0, 1.0]))
        data = bytearray(image.to_bytes())
        struct.pack_into("<f", data, position, value)
        struct.pack_into("<hh", data, 252, int(not sform), int(sform))  # codes of qform and sform
        path.write_bytes(gzip.compress(bytes(data)) if path.suffix == ".gz" else bytes(data))

    return save


def save_nrrd_with(directions: Any) -> Callable[[Path], None]:
    return lambda path: write_nrrd(path, values(), LPS, **{"space directions": np.array(directions, dtype=float)})


def save_mha_with(line: str) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        write_itk(path, values(), LPS)
        key = line.split(" = ")[0].encode()
        lines = [line.encode() if part.startswith(key) else part for part in path.read_bytes().split(b"\n", 12)]
        path.write_bytes(b"\n".join(lines))

    return save


NOT_A_CT: dict[str, tuple[str, Callable[[Path], None], type[VISTA3DError], str]] = {
    "4-D NIfTI": ("a.nii.gz", save_4d_nifti, VolumeError, "3 frames"),
    "4-D NRRD": ("a.nrrd", save_4d_nrrd, VolumeError, "3 frames"),
    "4-D MetaImage": ("a.mha", save_4d_mha, VolumeError, "3 frames"),
    "colour NIfTI": ("a.nii", save_rgb_nifti, VolumeError, "colour"),
    "colour MetaImage": ("a.mha", save_rgb_mha, VolumeError, "3 values"),
    "2-D PNG": ("a.png", save_png, VolumeError, "2 dimensions"),
    "colour PNG": ("a.png", save_rgb_png, VolumeError, "3 values"),
    "2-D NIfTI": ("a.nii.gz", save_2d_nifti, VolumeError, "2 dimensions"),
    "complex numbers": ("a.nii.gz", save_complex, VolumeError, "complex64"),
    "spacing 0 in a qform": ("a.nii", save_patched_nifti(80, 0.0, sform=False), VolumeError, "no length"),
    "spacing 0, compressed": ("a.nii.gz", save_patched_nifti(84, 0.0, sform=False), VolumeError, "no length"),
    "spacing 0 in the sform": ("a.nii", save_patched_nifti(280, 0.0), VolumeError, "no length"),
    "NaN in the sform": ("a.nii", save_patched_nifti(280, float("nan")), VolumeError, "not finite"),
    "spacing 0 in NRRD": ("a.nrrd", save_nrrd_with([[1, 0, 0], [0, 0, 0], [0, 0, 1]]), VolumeError, "no length"),
    "singular NRRD": ("a.nrrd", save_nrrd_with([[1, 0, 0], [1, 0, 0], [0, 0, 1]]), VolumeError, "do not span"),
    "spacing 0 in MetaImage": ("a.mha", save_mha_with("ElementSpacing = 1 0 1"), ReadError, "Zero-valued spacing"),
    "singular MetaImage": ("a.mha", save_mha_with("TransformMatrix = 1 0 0 1 0 0 0 0 1"), ReadError, "direction"),
}


@pytest.mark.parametrize("case", list(NOT_A_CT))
def test_what_is_no_ct_is_refused_with_its_value(tmp_path: Path, case: str) -> None:
    name, save, error, words = NOT_A_CT[case]
    save(tmp_path / name)
    with pytest.raises(error, match=words) as caught:
        read_volume(tmp_path / name)
    assert str(tmp_path / name) in caught.value.message
    assert caught.value.fix


def half_of(save: Callable[[Path], None]) -> Callable[[Path], None]:
    def cut(path: Path) -> None:
        save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return cut


def text(path: Path) -> None:
    path.write_text("Dear colleague, the CT is attached.")


DAMAGED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "half a .nii.gz": ("a.nii.gz", half_of(lambda p: write_nifti(p, values((40, 40, 40)), np.eye(4)))),
    "half a .nii": ("a.nii", half_of(lambda p: write_nifti(p, values((40, 40, 40)), np.eye(4)))),
    "half a .nrrd": ("a.nrrd", half_of(lambda p: write_nrrd(p, values((40, 40, 40)), LPS))),
    "half a raw .nrrd": ("a.nrrd", half_of(lambda p: write_nrrd(p, values((40, 40, 40)), LPS, encoding="raw"))),
    "half a .mha": ("a.mha", half_of(lambda p: write_itk(p, values((40, 40, 40)), LPS))),
    **{
        f"text as {suffix}": (f"a{suffix}", text) for suffix in (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".dcm", "")
    },
    **{f"empty {suffix}": (f"a{suffix}", Path.touch) for suffix in (".nii.gz", ".nrrd", ".mha", ".dcm", "")},
    "gzip of text": ("a.nii.gz", lambda p: p.write_bytes(gzip.compress(b"hello" * 1000)) and None),
    "NRRD header only": ("a.nrrd", lambda p: p.write_bytes(b"NRRD0004\ntype: short\n") and None),
    "NRRD of an unknown type": (
        "a.nrrd",
        lambda p: p.write_bytes(b"NRRD0004\ntype: blob\ndimension: 3\nsizes: 1 1 1\nencoding: raw\n\n") and None,
    ),
    "NRRD without its data": (
        "a.nhdr",
        lambda p: (
            p.write_bytes(b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 1 1 1\nencoding: raw\ndata file: b.raw\n")
            and None
        ),
    ),
}


@pytest.mark.parametrize("case", list(DAMAGED))
def test_damaged_files_are_named(tmp_path: Path, case: str) -> None:
    name, save = DAMAGED[case]
    save(tmp_path / name)
    with pytest.raises(ReadError) as caught:
        read_volume(tmp_path / name)
    assert str(tmp_path / name) in caught.value.message
    assert caught.value.fix
    assert case.startswith("empty") == ("empty" in caught.value.message)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"gone\.nii\.gz does not exist"):
        read_volume(tmp_path / "gone.nii.gz")


def test_a_series_is_asked_of_dicom_only(tmp_path: Path) -> None:
    write_nifti(tmp_path / "ct.nii.gz", values(), np.eye(4))
    with pytest.raises(ReadError, match="not DICOM"):
        read_volume(tmp_path / "ct.nii.gz", series="1.2.3")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
@pytest.mark.parametrize("what", ["file", "folder", "file in a closed folder"])
def test_what_may_not_be_read_is_said(tmp_path: Path, what: str) -> None:
    for folder in [tmp_path, *tmp_path.parents][:-2]:
        folder.chmod(folder.stat().st_mode | 0o011)
    target = tmp_path / "closed"
    target.mkdir()
    path = target / "ct.nii.gz"
    write_nifti(path, values(), np.eye(4))
    (path if what == "file" else target).chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(ReadError, match="permission denied"):
            read_volume(target if what == "folder" else path)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        target.chmod(0o755)


def test_importing_is_quick_and_light() -> None:
    heavy = ["torch", "SimpleITK", "highdicom", "pydicom", "nibabel", "nrrd", "scipy"]
    code = (
        "import sys, VISTA3DLib.files.read, VISTA3DLib.files.write, VISTA3DLib.files.segmentation_read\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _huge_nifti(path: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((30000, 30000, 30000))
    header.set_sform(np.eye(4), code=1)
    path.write_bytes(header.binaryblock + bytes(1000))


def _huge_nrrd(path: Path) -> None:
    path.write_text(
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 30000 30000 30000\nendian: little\nencoding: raw\n\nvoxels"
    )


def _huge_meta(path: Path) -> None:
    path.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 30000 30000 30000\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )


@pytest.mark.parametrize(("name", "write"), [("ct.nii", _huge_nifti), ("ct.nrrd", _huge_nrrd), ("ct.mha", _huge_meta)])
def test_a_volume_larger_than_memory_is_refused_before_its_voxels_are_read(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    with pytest.raises(MemoryLimitError, match=r"30000 x 30000 x 30000 voxels and needs [\d.]+ GiB") as caught:
        read_volume(tmp_path / name)
    assert caught.value.fix
