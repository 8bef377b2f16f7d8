"""What a person opened is recognised without touching a scene, and refused before anything is closed for it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from test_files_maker import SeriesMaker, ct_values

from VISTA3DLib.errors import ReadError, VolumeError
from VISTA3DLib.geometry import Grid
from VISTA3DWeb.reading import OpenedScene, OpenedSegmentation, OpenedVolume, SeveralSeries, read_anything
from VISTA3DWeb.scene_files import _REMOTE

AFFINE = np.diag([-2.0, -2.5, 3.5, 1.0])


def nifti(path: Path, array: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)
    return path


def test_whole_numbers_on_the_grid_of_the_ct_are_its_segmentation_and_a_ct_otherwise(tmp_path: Path) -> None:
    labels = np.zeros((11, 9, 7), np.uint8)
    labels[2:5, 3:6, 1:4] = 5
    path = nifti(tmp_path / "labels.nii.gz", labels)
    grid = Grid(shape=labels.shape, affine=AFFINE)
    assert isinstance(read_anything([path], grid=grid), OpenedSegmentation)
    assert isinstance(read_anything([path]), OpenedVolume)
    elsewhere = Grid(shape=labels.shape, affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    assert isinstance(read_anything([path], grid=elsewhere), OpenedVolume)


def test_a_ct_on_the_same_grid_stays_a_ct(tmp_path: Path) -> None:
    path = nifti(tmp_path / "ct.nii.gz", ct_values((7, 9, 11)).transpose(2, 1, 0))
    assert isinstance(read_anything([path], grid=Grid(shape=(11, 9, 7), affine=AFFINE)), OpenedVolume)


def test_loose_dicom_files_are_one_series(tmp_path: Path) -> None:
    files = SeriesMaker(hu=ct_values()).write(tmp_path / "ct")
    opened = read_anything(list(files.values()))
    assert isinstance(opened, OpenedVolume)
    assert opened.volume.grid.shape == (10, 12, 9)
    assert len(opened.volume.source_files) == 9


def test_a_folder_with_several_series_asks_for_one(tmp_path: Path) -> None:
    for description in ("thin", "thick"):
        SeriesMaker(hu=ct_values(), description=description).write(tmp_path / "study" / description)
    found = read_anything([tmp_path / "study"])
    assert isinstance(found, SeveralSeries)
    assert {info.description for info in found.series} == {"thin", "thick"}
    opened = read_anything([tmp_path / "study"], series=found.series[1].uid)
    assert isinstance(opened, OpenedVolume)
    with pytest.raises(ReadError, match="no series"):
        read_anything([tmp_path / "study"], series="1.2.3")


def test_a_header_and_its_voxels_belong_together(tmp_path: Path) -> None:
    import SimpleITK

    image = SimpleITK.GetImageFromArray(ct_values())
    SimpleITK.WriteImage(image, str(tmp_path / "ct.mhd"))
    opened = read_anything([tmp_path / "ct.raw", tmp_path / "ct.mhd"])
    assert isinstance(opened, OpenedVolume)


def test_what_does_not_belong_together_or_is_nothing_is_refused(tmp_path: Path) -> None:
    first, second = (nifti(tmp_path / f"{n}.nii.gz", np.zeros((3, 4, 5), np.int16)) for n in "ab")
    with pytest.raises(ReadError, match=r"a.nii.gz, b.nii.gz"):
        read_anything([first, second])
    with pytest.raises(ReadError, match="Nothing"):
        read_anything([])
    with pytest.raises(VolumeError, match="frames"):
        read_anything([nifti(tmp_path / "c.nii.gz", np.zeros((3, 4, 5, 2), np.int16))])


def test_a_scene_is_looked_into_before_it_is_opened(tmp_path: Path) -> None:
    scene = tmp_path / "scene.mrb"
    scene.write_bytes(b"PK no zip")
    with pytest.raises(ReadError, match="cannot be read"):
        read_anything([scene])
    with zipfile.ZipFile(scene, "w") as archive:
        archive.writestr("a.txt", "")
    with pytest.raises(ReadError, match="holds no scene"):
        read_anything([scene])
    with zipfile.ZipFile(scene, "w") as archive:
        archive.writestr("a/a.mrml", "<MRML/>")
    assert isinstance(read_anything([scene]), OpenedScene)
    plain = tmp_path / "scene.mrml"
    plain.write_text("<html>")
    with pytest.raises(ReadError, match="holds no scene"):
        read_anything([plain])


def test_addresses_of_other_machines_are_dropped_from_a_scene() -> None:
    text = b'<VolumeArchetypeStorage id="a" fileName="ct.nrrd" uri="https://example.org/ct.nrrd" uriHandlerState="0">'
    assert b"example.org" not in _REMOTE.sub(b"", text)
    assert b'fileName="ct.nrrd"' in _REMOTE.sub(b"", text)
    local = b'<A uri="file:///data/ct.nrrd">'
    assert _REMOTE.sub(b"", local) == local
