"""DICOM series: sorted by place, complete, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that everybody uses
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    ComprehensiveSRStorage,
    MediaStorageDirectoryStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    XRayRadiationDoseSRStorage,
)
from test_files_maker import TILT, SeriesMaker, ct_values, rotation

from VISTA3DLib.errors import ReadError
from VISTA3DLib.files.read import list_series, read_volume
from VISTA3DLib.geometry import reverse_axes

AXES = {
    "axial": np.diag([0.8, 0.7, 2.5]),
    "towards the feet": np.diag([0.8, 0.7, -2.5]),
    "oblique": rotation(20, -15, 35) @ np.diag([0.8, 0.7, 2.5]),
    "sagittal": np.array([[0, 0, 2.5], [0.8, 0, 0], [0, -0.7, 0]]),
    "tilted gantry": TILT,
    "oblique and tilted": rotation(20, -15, 35) @ TILT,
}


@pytest.mark.parametrize("name", list(AXES))
def test_a_series_is_sorted_in_space_and_placed_right(tmp_path: Path, name: str) -> None:
    maker = SeriesMaker(hu=ct_values(), axes=AXES[name])
    paths = maker.write(tmp_path)

    volume = read_volume(tmp_path)

    # Slices are sorted along the normal of the images, which may be against the order in which they were made.
    backwards = np.dot(np.cross(maker.axes[:, 0], maker.axes[:, 1]), maker.axes[:, 2]) < 0
    order = range(len(maker.hu))[:: -1 if backwards else 1]
    assert np.array_equal(volume.array, reverse_axes(maker.hu[order]))
    assert volume.array.dtype == np.int16
    assert volume.source_files == tuple(paths[k] for k in order)
    for index in [(0, 0, 0), (9, 11, 8), (3, 7, 2)]:
        made = (index[0], index[1], order[index[2]])
        assert np.allclose(volume.grid.to_world(index), (maker.affine @ [*made, 1])[:3], atol=1e-6)
    assert (volume.name, volume.modality) == ("abdomen 2.5", "CT")


@settings(max_examples=15, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6.0)] * 3),
    shear=st.floats(-0.5, 0.5),
    origin=st.tuples(*[st.floats(-900, 900)] * 3),
)
def test_any_place_in_the_world_survives(
    tmp_path_factory: pytest.TempPathFactory, angles: Any, spacing: Any, shear: float, origin: Any
) -> None:
    sheared = np.array([[1, 0, 0], [0, 1, shear], [0, 0, 1]])
    maker = SeriesMaker(hu=ct_values((4, 5, 6)), axes=rotation(*angles) @ sheared @ np.diag(spacing), origin=origin)
    folder = tmp_path_factory.mktemp("series")
    maker.write(folder)
    assert np.allclose(read_volume(folder).affine, maker.affine, atol=1e-5)


@pytest.mark.parametrize("name", ["axial", "oblique"])
def test_itk_reads_the_same(tmp_path: Path, name: str) -> None:
    maker = SeriesMaker(hu=ct_values(), axes=AXES[name])
    paths = maker.write(tmp_path)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(paths[k]) for k in range(len(paths))])
    image = reader.Execute()

    volume = read_volume(tmp_path)

    assert np.array_equal(sitk.GetArrayFromImage(image), reverse_axes(volume.array))
    for index in [(0, 0, 0), (9, 11, 8)]:
        left, posterior, superior = image.TransformContinuousIndexToPhysicalPoint([float(v) for v in index])
        assert np.allclose(volume.grid.to_world(index), [-left, -posterior, superior], atol=1e-4)


def test_one_file_stands_for_its_series(tmp_path: Path) -> None:
    one, other = SeriesMaker(hu=ct_values(seed=1)), SeriesMaker(hu=ct_values(seed=2))
    paths = one.write(tmp_path, prefix="a")
    other.write(tmp_path, prefix="b")
    assert np.array_equal(read_volume(paths[4]).array, reverse_axes(one.hu))


def test_folders_in_the_folder_are_searched(tmp_path: Path) -> None:
    maker = SeriesMaker(hu=ct_values())
    paths = maker.write(tmp_path / "DICOM" / "S0001")
    (tmp_path / "DICOM" / "S0002").mkdir()
    paths[3].rename(tmp_path / "DICOM" / "S0002" / "IM")
    (tmp_path / "LIESMICH.TXT").write_text("viewer")
    (tmp_path / "DICOM" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert np.array_equal(read_volume(tmp_path).array, reverse_axes(maker.hu))


def test_a_dicomdir_stands_for_its_folder(tmp_path: Path) -> None:
    maker = SeriesMaker(hu=ct_values())
    maker.write(tmp_path / "DICOM")
    maker.dataset(0, SOPClassUID=MediaStorageDirectoryStorage).save_as(tmp_path / "DICOMDIR")
    assert np.array_equal(read_volume(tmp_path / "DICOMDIR").array, reverse_axes(maker.hu))


def test_several_series_are_listed_and_one_can_be_chosen(tmp_path: Path) -> None:
    thin = SeriesMaker(hu=ct_values(seed=1), number=2, description="thin lung")
    thick = SeriesMaker(hu=ct_values((5, 12, 10), seed=2), number=7, description="thick soft")
    thin.write(tmp_path, prefix="a")
    thick.write(tmp_path, prefix="b")

    with pytest.raises(ReadError) as caught:
        read_volume(tmp_path)

    text = str(caught.value)
    assert "2 series" in text
    for maker in (thin, thick):
        assert all(part in text for part in (maker.uid, maker.description, f"10 x 12 x {len(maker.hu)}"))
    assert f"series='{thin.uid}'" in caught.value.fix
    assert np.array_equal(read_volume(tmp_path, series=thick.uid).array, reverse_axes(thick.hu))
    with pytest.raises(ReadError, match=r"has no series 1\.2\.3") as caught:
        read_volume(tmp_path, series="1.2.3")
    assert thin.uid in str(caught.value)


def test_list_series_says_what_is_there(tmp_path: Path) -> None:
    good = SeriesMaker(hu=ct_values(), number=2)
    gap = SeriesMaker(hu=ct_values(), number=4)
    scout = SeriesMaker(hu=ct_values((1, 12, 10)), number=1, extra={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]})
    paths = good.write(tmp_path / "a")
    gap.write(tmp_path / "b", leave_out=[4])
    scout.write(tmp_path / "c")
    (tmp_path / "d.dcm").write_bytes(b"")

    series = list_series(tmp_path)

    assert [info.uid for info in series] == [scout.uid, good.uid, gap.uid, ""]
    assert [info.usable for info in series] == [False, True, False, False]
    assert series[1].files == tuple(paths[k] for k in range(9))
    assert (series[1].slices, series[1].rows, series[1].columns, series[1].study_uid) == (9, 12, 10, good.study)
    assert series[1].spacing == pytest.approx((0.8, 0.7, 2.5))
    assert "localizer" in series[0].problem
    assert "1 slice missing" in series[2].problem
    assert "d.dcm" in series[3].problem
    with pytest.raises(ReadError, match="does not exist"):
        list_series(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    assert list_series(tmp_path / "empty") == ()


@pytest.mark.parametrize("missing", [[4], [2, 3], [1, 6]])
@pytest.mark.parametrize("name", ["axial", "tilted gantry", "oblique"])
def test_a_missing_slice_is_named(tmp_path: Path, missing: list[int], name: str) -> None:
    maker = SeriesMaker(hu=ct_values(), axes=AXES[name])
    paths = maker.write(tmp_path, leave_out=missing)
    with pytest.raises(ReadError, match="not evenly spaced") as caught:
        read_volume(tmp_path)
    before, after = paths[missing[0] - 1].name, paths[next(k for k in range(missing[0], 9) if k not in missing)].name
    assert f"between {before} at" in str(caught.value)
    assert f"and {after} at" in str(caught.value)
    count = "2 slices missing" if missing == [2, 3] else "1 slice missing"
    assert count in str(caught.value)


def test_uneven_spacing_is_refused_and_rounded_positions_are_not(tmp_path: Path) -> None:
    maker = SeriesMaker(hu=ct_values(), axes=np.diag([0.8, 0.7, 0.625]))
    for k, path in maker.write(tmp_path).items():
        maker.dataset(k, ImagePositionPatient=[0, 0, round(0.625 * k, 1)]).save_as(path)
    assert read_volume(tmp_path).grid.spacing[2] == pytest.approx(0.625, abs=0.01)
    for k, path in maker.write(tmp_path).items():
        maker.dataset(k, ImagePositionPatient=[0, 0, 0.625 * k + (k > 5) * 0.3]).save_as(path)
    with pytest.raises(ReadError, match="uneven"):
        read_volume(tmp_path)


def test_a_slice_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    maker = SeriesMaker(hu=ct_values())
    paths = maker.write(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "copy").write_bytes(paths[4].read_bytes())
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.array, reverse_axes(maker.hu))
    assert len(volume.source_files) == 9


def test_two_phases_in_one_series_are_named(tmp_path: Path) -> None:
    one = SeriesMaker(hu=ct_values(seed=1), extra={"AcquisitionNumber": 4})
    other = SeriesMaker(hu=ct_values(seed=2), extra={"AcquisitionNumber": 5}, uid=one.uid)
    one.write(tmp_path, prefix="a")
    other.write(tmp_path, prefix="b")
    with pytest.raises(ReadError, match="different images at the same place") as caught:
        read_volume(tmp_path)
    assert "AcquisitionNumber: 4 (9 images), 5 (9 images)" in str(caught.value)


@pytest.mark.parametrize(
    "changes", [{"PixelSpacing": [0.9, 0.9]}, {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, {"Rows": 6}]
)
def test_a_mixture_of_sizes_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    maker = SeriesMaker(hu=ct_values())
    paths = maker.write(tmp_path)
    maker.dataset(4, **changes).save_as(paths[4])
    with pytest.raises(ReadError, match="mixes images of 2 sizes or directions") as caught:
        read_volume(tmp_path)
    assert f"as {paths[4].name}" in str(caught.value)


def test_a_localizer_in_the_series_is_left_out(tmp_path: Path) -> None:
    maker = SeriesMaker(hu=ct_values())
    maker.write(tmp_path)
    scout = maker.dataset(
        0, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], ImageOrientationPatient=[1, 0, 0, 0, 0, -1]
    )
    scout.save_as(tmp_path / "scout")
    assert np.array_equal(read_volume(tmp_path).array, reverse_axes(maker.hu))


def test_what_is_no_ct_is_listed(tmp_path: Path) -> None:
    kinds = (XRayRadiationDoseSRStorage, SecondaryCaptureImageStorage, ComprehensiveSRStorage)
    for number, kind in enumerate(kinds):
        SeriesMaker(hu=ct_values((1, 4, 4))).dataset(0, SOPClassUID=kind).save_as(tmp_path / f"{number}.dcm")
    SeriesMaker(hu=ct_values((1, 4, 4))).dataset(0, SamplesPerPixel=3).save_as(tmp_path / "colour.dcm")
    no_place = SeriesMaker(hu=ct_values((1, 4, 4))).dataset(0)
    del no_place.ImagePositionPatient
    no_place.save_as(tmp_path / "no_place.dcm")
    with pytest.raises(ReadError, match="no images of a volume") as caught:
        read_volume(tmp_path)
    for part in ("X-Ray Radiation Dose SR", "Secondary Capture", "Comprehensive SR", "colour", "without position"):
        assert part in str(caught.value)
    with pytest.raises(ReadError, match="X-Ray Radiation Dose SR"):
        read_volume(tmp_path / "0.dcm")


def test_bolus_tracking_does_not_hide_the_ct(tmp_path: Path) -> None:
    maker = SeriesMaker(hu=ct_values())
    maker.write(tmp_path / "ct")
    SeriesMaker(hu=ct_values((6, 12, 10)), extra={"ImagePositionPatient": [0, 0, 0]}).write(tmp_path / "tracking")
    assert np.array_equal(read_volume(tmp_path).array, reverse_axes(maker.hu))
    with pytest.raises(ReadError, match="same place"):
        read_volume(tmp_path / "tracking")


@pytest.mark.parametrize("kind", ["truncated pixels", "truncated header", "empty", "text", "encrypted", "cut in UIDs"])
def test_damaged_files_are_named(tmp_path: Path, kind: str) -> None:
    maker = SeriesMaker(hu=ct_values())
    path = maker.write(tmp_path)[8]  # the last slice: no gap would tell
    data = path.read_bytes()
    path.unlink()
    path = tmp_path / "bad.dcm"
    if kind == "encrypted":
        item = type(maker.dataset(0))("", {}, file_meta=None)
        maker.dataset(8, EncryptedAttributesSequence=[item]).save_as(path)
    else:
        marks = {"truncated pixels": len(data) - 100, "truncated header": 800, "empty": 0, "cut in UIDs": 500}
        path.write_bytes(data[: marks[kind]] if kind in marks else b"these are no images" * 20)
    with pytest.raises(ReadError, match=r"bad\.dcm"):
        read_volume(tmp_path)


def test_a_truncated_compressed_file_is_named(tmp_path: Path) -> None:
    maker = SeriesMaker(hu=ct_values(), syntax=RLELossless)
    path = maker.write(tmp_path)[8]
    path.write_bytes(path.read_bytes()[:-150])
    with pytest.raises(ReadError, match=path.name):
        read_volume(tmp_path)


def test_a_folder_without_dicom_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="empty"):
        read_volume(tmp_path)
    (tmp_path / "ct.nii.gz").write_bytes(b"x")
    with pytest.raises(ReadError, match=r"no DICOM files.*ct\.nii\.gz"):
        read_volume(tmp_path)


def test_a_single_image_is_a_volume_of_one_slice(tmp_path: Path) -> None:
    maker = SeriesMaker(hu=ct_values((1, 12, 10)))
    path = maker.write(tmp_path)[0]
    volume = read_volume(tmp_path)
    assert volume.array.shape == (10, 12, 1)
    assert volume.grid.spacing == pytest.approx((0.8, 0.7, 2.5))
    maker.dataset(0, SliceThickness=None).save_as(path)
    with pytest.raises(ReadError, match="no slice thickness"):
        read_volume(tmp_path)


def test_directions_that_are_parallel_are_refused(tmp_path: Path) -> None:
    maker = SeriesMaker(hu=ct_values(), extra={"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]})
    maker.write(tmp_path)
    with pytest.raises(ReadError, match="without position"):
        read_volume(tmp_path)


def test_mr_keeps_its_modality(tmp_path: Path) -> None:
    SeriesMaker(hu=ct_values(), extra={"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"}).write(tmp_path)
    assert read_volume(tmp_path).modality == "MR"


def test_old_files_without_a_preamble_are_read(tmp_path: Path) -> None:
    maker = SeriesMaker(hu=ct_values())
    for k in range(9):
        dataset = maker.dataset(k)
        del dataset.file_meta
        dataset.preamble = None
        dataset.save_as(tmp_path / f"{k}.dcm", implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert (tmp_path / "0.dcm").read_bytes()[:2] == b"\x08\x00"
    assert np.array_equal(read_volume(tmp_path).array, reverse_axes(maker.hu))
