"""Files that are no CT, damaged, closed, missing or too large: refused with a clear word."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that everybody uses
from image_writers import LPS, values, write_itk, write_nifti, write_nrrd

from VISTA3DLib.errors import MemoryLimitError, ReadError, VISTA3DError, VolumeError
from VISTA3DLib.files.read import read_volume


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


@pytest.mark.parametrize("name", ["letter.nii.gz", "letter.nii", "letter.mha", "letter.png", "letter.txt", "letter"])
def test_a_text_is_refused_without_a_librarys_words(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    text(path)
    with pytest.raises(ReadError) as caught:
        read_volume(path)
    assert caught.value.message == f"{path} holds no image that can be read here."
    assert "NIfTI, NRRD, MetaImage or DICOM" in caught.value.fix


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
