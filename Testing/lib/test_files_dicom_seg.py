"""DICOM SEG: on the planes of the CT, with references and codes, and as highdicom understands it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt
import pytest
from highdicom.seg import Segmentation, SegmentDescription, segread
from pydicom import dcmread
from test_files_maker import (
    AORTA,
    LIVER,
    RIB,
    SPLEEN,
    SeriesMaker,
    ball,
    ct_values,
    nested,
    overlapping_result,
    rotation,
    small_disk,
)

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import OutputError, ReadError
from VISTA3DLib.files.read import read_volume
from VISTA3DLib.files.segmentation_read import read_segmentation
from VISTA3DLib.files.segments import SegmentToWrite, tight
from VISTA3DLib.files.write import write_segmentation, write_segments
from VISTA3DLib.geometry import reverse_axes
from VISTA3DLib.results import ClassesResult
from VISTA3DLib.volume import Volume

CT = ClassCatalogue.load("ct")
TILT = np.array([[0.8, 0, 0], [0, 0.7, -0.9], [0, 0, 2.5]])
AXES = {
    "axial": np.diag([0.8, 0.7, 2.5]),
    "towards the feet": np.diag([0.8, 0.7, -2.5]),
    "oblique": rotation(20, -15, 35) @ np.diag([0.8, 0.7, 2.5]),
    "tilted gantry": TILT,
    "oblique and tilted": rotation(20, -15, 35) @ TILT,
}
SHAPE = (10, 13, 9)  # 130 voxels a frame: frames do not end at a whole byte


def a_ct(folder: Path, axes: str = "oblique", **changes: Any) -> tuple[SeriesMaker, Volume]:
    maker = SeriesMaker(hu=ct_values((9, 13, 10)), axes=AXES[axes], extra=changes)
    maker.write(folder)
    return maker, read_volume(folder)


NESTED = nested(SHAPE)


def separate(volume: Volume) -> ClassesResult:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[1:4, 2:9, 1:5], labels[5:8, 3:6, 2:8] = LIVER, RIB
    return ClassesResult(grid=volume.grid, class_ids=(LIVER, SPLEEN, RIB), model="mini", labelmap=labels)


@pytest.mark.parametrize("axes", list(AXES))
@pytest.mark.parametrize("overlap", [False, True])
def test_every_geometry_comes_back(tmp_path: Path, axes: str, overlap: bool) -> None:
    _, volume = a_ct(tmp_path / "ct", axes)
    result = overlapping_result(volume, NESTED) if overlap else separate(volume)
    written = write_segmentation(tmp_path / "a.dcm", result, volume, CT)
    masks = {i: result.mask(i) for i in result.class_ids if i != SPLEEN}
    assert {s.id: s.voxels for s in written.segments} == {i: mask.sum() for i, mask in masks.items()}
    assert written.empty == (() if overlap else (SPLEEN,))

    found = read_segmentation(tmp_path / "a.dcm", volume.grid)
    for segment in found.segments:
        item = CT[int(segment.id.removeprefix("vista3d_"))]
        assert (segment.name, segment.color) == (item.name, item.color)
        assert segment.terminology == item.terminology.to_slicer()
        assert np.array_equal(found.full_mask(segment), masks[item.id])
    assert [segment.label for segment in found.segments] == list(range(1, len(masks) + 1))
    # Without a grid it has its own, around the planes that are used.
    own = read_segmentation(tmp_path / "a.dcm")
    for segment in own.segments:
        index = np.argwhere(own.full_mask(segment))
        there = volume.grid.to_voxel(own.grid.to_world(index))
        assert np.allclose(there, np.argwhere(masks[int(segment.id[-3:])]), atol=1e-3)


@pytest.mark.parametrize("axes", list(AXES))
@pytest.mark.parametrize("overlap", [False, True])
def test_highdicom_finds_each_slice_with_its_source(tmp_path: Path, axes: str, overlap: bool) -> None:
    _, volume = a_ct(tmp_path / "ct", axes)
    result = overlapping_result(volume, NESTED) if overlap else separate(volume)
    written = write_segmentation(tmp_path / "a.dcm", result, volume, CT)
    seg = segread(tmp_path / "a.dcm")
    sources = [dcmread(path).SOPInstanceUID for path in volume.source_files]
    assert seg.SegmentsOverlap == ("YES" if overlap else "NO")
    for number, segment in enumerate(written.segments, start=1):
        pixels = seg.get_pixels_by_source_instance(
            sources, segment_numbers=[number], ignore_spatial_locations=True, assert_missing_frames_are_empty=True
        )
        assert np.array_equal(pixels[..., 0], reverse_axes(result.mask(segment.id)))
    if "tilted" not in axes:
        for number, segment in enumerate(written.segments, start=1):
            part = seg.get_volume(segment_numbers=[number], allow_missing_positions=True)
            index = np.argwhere(part.array[..., 0])
            world = (part.affine @ np.c_[index, np.ones(len(index))].T).T[:, :3] * [-1, -1, 1]
            expected = np.argwhere(result.mask(segment.id))
            places = np.round(volume.grid.to_voxel(world)).astype(int)
            assert sorted(map(tuple, places.tolist())) == sorted(map(tuple, expected.tolist()))


def test_it_says_what_it_is(tmp_path: Path) -> None:
    maker, volume = a_ct(tmp_path / "ct")
    write_segmentation(
        tmp_path / "a.dcm", overlapping_result(volume, {**NESTED, RIB: ball(SHAPE, (8, 11, 7), 1.1)}), volume, CT
    )
    seg = dcmread(tmp_path / "a.dcm")
    assert (seg.Modality, seg.SegmentationType) == ("SEG", "BINARY")
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == maker.uid
    assert seg.StudyInstanceUID == maker.study
    assert seg.FrameOfReferenceUID == maker.frame_of_reference
    assert seg.SeriesInstanceUID != maker.uid
    referenced = {
        str(item.ReferencedSOPInstanceUID) for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert referenced == {dcmread(path).SOPInstanceUID for path in volume.source_files}
    assert str(seg.PatientName) == "Müller^Jörg"
    rib = next(item for item in seg.SegmentSequence if item.SegmentLabel == "left rib 1")
    assert rib.SegmentAlgorithmType == "AUTOMATIC"
    assert rib.SegmentAlgorithmName == "VISTA3D mini"
    kind = rib.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodingSchemeDesignator, kind.CodeValue) == ("SCT", CT[RIB].terminology.type.value)
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    tumor = next(item for item in seg.SegmentSequence if item.SegmentLabel == "hepatic tumor")
    assert tumor.AnatomicRegionSequence[0].CodeMeaning == "Liver"
    # Every frame says which segment it shows and at which of the places it lies.
    rows = [tuple(frame.FrameContentSequence[0].DimensionIndexValues) for frame in seg.PerFrameFunctionalGroupsSequence]
    assert len(set(rows)) == len(rows) == seg.NumberOfFrames
    assert {row[0] for row in rows} == {1, 2, 3, 4, 5}
    depth = {}
    for frame, row in zip(seg.PerFrameFunctionalGroupsSequence, rows, strict=True):
        depth.setdefault(row[1], set()).add(tuple(frame.PlanePositionSequence[0].ImagePositionPatient))
    assert all(len(places) == 1 for places in depth.values())
    assert sorted(depth) == list(range(1, len(depth) + 1))


def test_every_class_has_codes_that_dicom_takes(tmp_path: Path) -> None:
    _, volume = a_ct(tmp_path / "ct")
    ids = [item.id for item in CT][:117]
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels.ravel()[: len(ids)] = ids
    result = ClassesResult(grid=volume.grid, class_ids=tuple(ids), model="mini", labelmap=labels)
    write_segmentation(tmp_path / "a.dcm", result, volume, CT)
    found = read_segmentation(tmp_path / "a.dcm", volume.grid)
    assert [segment.terminology for segment in found.segments] == [CT[i].terminology.to_slicer() for i in ids]
    assert [segment.name for segment in found.segments] == [CT[i].name for i in ids]


def test_an_enhanced_ct_is_referenced(tmp_path: Path) -> None:
    maker = SeriesMaker(hu=ct_values((9, 13, 10)), axes=AXES["oblique"])
    maker.write_enhanced(tmp_path / "ct.dcm", [3, 0, 8, 1, 2, 7, 6, 5, 4])
    volume = read_volume(tmp_path / "ct.dcm")
    result = overlapping_result(volume, NESTED)
    write_segmentation(tmp_path / "a.dcm", result, volume, CT)
    found = read_segmentation(tmp_path / "a.dcm", volume.grid)
    for segment in found.segments:
        assert np.array_equal(found.full_mask(segment), NESTED[int(segment.id[-3:])])


def test_names_in_any_script_and_without_codes(tmp_path: Path) -> None:
    _, volume = a_ct(tmp_path / "ct")
    box, mask = tight(volume.grid.box, NESTED[LIVER])
    segment = SegmentToWrite(id=400, name="Läsion 肝", color=(200, 10, 10), box=box, mask=mask)
    write_segments(tmp_path / "a.dcm", [segment], volume.grid, source_files=volume.source_files, model="mini")
    (found,) = read_segmentation(tmp_path / "a.dcm").segments
    assert (found.name, found.id) == ("Läsion 肝", "vista3d_400")
    assert "Tissue" in (found.terminology or "")
    assert str(dcmread(tmp_path / "a.dcm").PatientName) == "Müller^Jörg"


def test_an_anonymised_ct_is_enough(tmp_path: Path) -> None:
    maker, _ = a_ct(tmp_path / "ct")
    for path in (tmp_path / "ct").iterdir():
        dataset = dcmread(path)
        del dataset.PatientName, dataset.PatientID
        dataset.save_as(path)
    volume = read_volume(tmp_path / "ct")
    write_segmentation(tmp_path / "a.dcm", separate(volume), volume, CT)
    assert segread(tmp_path / "a.dcm").PatientID in (None, "")
    assert maker.uid


@pytest.mark.parametrize("case", ["not DICOM", "deleted", "replaced", "no frame of reference", "no voxel"])
def test_what_cannot_be_referenced_is_said(tmp_path: Path, case: str) -> None:
    maker, volume = a_ct(tmp_path / "ct")
    result = separate(volume)
    words = {
        "not DICOM": "needs the DICOM files",
        "deleted": "cannot be read any more",
        "replaced": "not that of the CT's 9 DICOM files",
        "no frame of reference": "frame of reference",
        "no voxel": "no segment has a voxel",
    }[case]
    if case == "not DICOM":
        volume = Volume(array=volume.array, affine=volume.affine)
    elif case == "deleted":
        volume.source_files[3].unlink()
    elif case == "replaced":
        volume.source_files[3].write_bytes(volume.source_files[4].read_bytes())
    elif case == "no frame of reference":
        dataset = maker.dataset(0)
        del dataset.FrameOfReferenceUID
        dataset.save_as(volume.source_files[0])
    else:
        result = ClassesResult(grid=volume.grid, class_ids=(1,), model="m", labelmap=np.zeros(SHAPE, np.uint8))
    with pytest.raises(OutputError, match=words) as caught:
        write_segmentation(tmp_path / "a.dcm", result, volume, CT)
    assert caught.value.fix
    assert not (tmp_path / "a.dcm").exists()


def by_highdicom(volume: Volume, kind: str, path: Path, pixels: npt.NDArray[Any], count: int) -> None:
    family = highdicom.sr.CodedConcept("123109", "DCM", "Artificial Intelligence")
    algorithm = highdicom.AlgorithmIdentificationSequence(name="x", family=family, version="1")
    tissue = highdicom.sr.CodedConcept("85756007", "SCT", "Tissue")
    described = [
        SegmentDescription(n, f"part {n}", tissue, tissue, "AUTOMATIC", algorithm_identification=algorithm)
        for n in range(1, count + 1)
    ]
    sources = [dcmread(file, stop_before_pixels=True) for file in volume.source_files]
    for dataset in sources:
        for keyword in ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
            setattr(dataset, keyword, None)
    Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
    ).save_as(path)


def test_fractional_and_label_map_segmentations_are_read(tmp_path: Path) -> None:
    _, volume = a_ct(tmp_path / "ct")
    masks = [NESTED[AORTA], NESTED[LIVER]]
    labels = reverse_axes(masks[0] * 1 + masks[1] * 2).astype(np.uint8)
    by_highdicom(volume, "LABELMAP", tmp_path / "map.dcm", labels, 2)
    probability = np.stack([reverse_axes(mask * 0.7 + 0.2) for mask in masks], axis=-1)
    by_highdicom(volume, "FRACTIONAL", tmp_path / "soft.dcm", probability, 2)
    for name in ("map.dcm", "soft.dcm"):
        found = read_segmentation(tmp_path / name, volume.grid)
        assert [(s.name, s.id, s.color) for s in found.segments] == [
            ("part 1", "label_1", None),
            ("part 2", "label_2", None),
        ]
        for segment, mask in zip(found.segments, masks, strict=True):
            assert np.array_equal(found.full_mask(segment), mask)


@pytest.mark.parametrize("axes", ["axial", "oblique and tilted"])
@pytest.mark.parametrize("planes", [[3], [2, 6], [0, 4, 8], [1, 3, 8]])
def test_planes_without_a_frame_may_lie_between(tmp_path: Path, axes: str, planes: list[int]) -> None:
    _, volume = a_ct(tmp_path / "ct", axes)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:5, 3:9, planes] = True
    labels = mask.astype(np.uint8)
    result = ClassesResult(grid=volume.grid, class_ids=(1,), model="mini", labelmap=labels)
    write_segmentation(tmp_path / "a.dcm", result, volume, CT)
    found = read_segmentation(tmp_path / "a.dcm", volume.grid)
    assert np.array_equal(found.full_mask(found.segments[0]), mask)


def test_a_folder_with_one_segmentation_is_enough(tmp_path: Path) -> None:
    _, volume = a_ct(tmp_path / "ct")
    with pytest.raises(ReadError, match="no DICOM segmentation"):
        read_segmentation(tmp_path)
    write_segmentation(tmp_path / "seg" / "a.dcm", separate(volume), volume, CT)
    assert len(read_segmentation(tmp_path).segments) == 2
    write_segmentation(tmp_path / "seg" / "b.dcm", separate(volume), volume, CT)
    with pytest.raises(ReadError, match=r"2 DICOM segmentations: a\.dcm, b\.dcm"):
        read_segmentation(tmp_path)
    assert read_volume(tmp_path).grid.same_as(volume.grid)  # a segmentation is no CT


def test_damaged_segmentations_are_named(tmp_path: Path) -> None:
    _, volume = a_ct(tmp_path / "ct")
    path = tmp_path / "a.dcm"
    write_segmentation(path, separate(volume), volume, CT)
    data = path.read_bytes()
    for size in (len(data) - 40, len(data) // 2, 200):
        path.write_bytes(data[:size])
        with pytest.raises(ReadError, match=r"a\.dcm"):
            read_segmentation(path)
    with pytest.raises(ReadError, match="not a DICOM segmentation"):
        read_segmentation(volume.source_files[0])


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    _, volume = a_ct(tmp_path / "ct")
    with small_disk(tmp_path / "disk", "8k") as place:
        with pytest.raises(OutputError, match="No space left"):
            write_segmentation(place / "a.dcm", overlapping_result(volume, NESTED), volume, CT)
        assert not list(place.iterdir())
