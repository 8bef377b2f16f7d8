"""Reading segmentations: of this project, of Slicer old and new, label maps of every type, and what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that everybody uses
import slicerio
from odd_volumes import ODD_AFFINES, odd_affine
from test_files_maker import (
    AORTA,
    LIVER,
    RIB,
    SMALL,
    a_volume,
    classes_result,
    labels_of,
    nested,
    overlapping_result,
)

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import ReadError, VISTA3DError
from VISTA3DLib.files.segmentation_read import read_segmentation
from VISTA3DLib.files.segments import SegmentToWrite
from VISTA3DLib.files.write import write_segmentation, write_segments
from VISTA3DLib.geometry import Box, Grid, flip_lps_ras, reverse_axes

CT = ClassCatalogue.load("ct")
NESTED = nested(SMALL)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.labels.json", '{"1": "Leber", "6": "Aorta"}'),
        ("a.json", '{"labels": {"1": {"name": "Leber", "color": [1, 2, 3]}, "6": {"name": "Aorta"}}}'),
        ("labels.json", '{"1": {"name": "Leber"}, "6": {"name": "Aorta", "voxels": 7}}'),
        ("a.json", '{"labels": {"background": 0, "Leber": 1, "Aorta": 6}}'),
        ("a.txt", '# ITK-SnAP\n0 0 0 0 0 0 0 "Clear Label"\n1 1 2 3 1 1 1 "Leber"\n6 4 5 6 0.5 1 1 "Aorta"\n'),
    ],
)
def test_names_come_from_the_file_beside_a_label_map(tmp_path: Path, name: str, text: str) -> None:
    nibabel.save(nibabel.Nifti1Image(labels_of(), odd_affine("ras")), tmp_path / "a.nii.gz")
    (tmp_path / name).write_text(text)
    found = read_segmentation(tmp_path / "a.nii.gz")
    assert [s.name for s in found.segments] == ["Leber", "Aorta", "label 63"]
    assert [s.id for s in found.segments] == ["label_1", "label_6", "label_63"]
    if "1, 2, 3" in text or "1 2 3" in text:
        assert found.segments[0].color == (1, 2, 3)


def test_damaged_names_are_said_only_if_they_are_ours(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(labels_of(), odd_affine("ras")), tmp_path / "a.nii.gz")
    for other in ("a.json", "labels.json", "a.txt"):
        (tmp_path / other).write_text("{")
    assert read_segmentation(tmp_path / "a.nii.gz").segments[0].name == "label 1"
    (tmp_path / "a.labels.json").write_text("{")
    with pytest.raises(ReadError, match=r"a\.labels\.json"):
        read_segmentation(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_label_maps_of_every_type_are_read(tmp_path: Path, name: str, dtype: Any) -> None:
    labels = labels_of(dtype=dtype)
    if name == "a.nii.gz":
        nibabel.save(nibabel.Nifti1Image(labels, np.diag([-1.0, -1, 1, 1])), tmp_path / name)
    elif name == "a.nrrd":
        nrrd.write(str(tmp_path / name), labels, {"spacings": [1.0, 1, 1]})
    else:
        sitk.WriteImage(sitk.GetImageFromArray(reverse_axes(labels)), str(tmp_path / name))
    found = read_segmentation(tmp_path / name)
    assert [s.label for s in found.segments] == [LIVER, AORTA, RIB]
    for segment in found.segments:
        assert np.array_equal(found.full_mask(segment), labels == segment.label)


def test_labels_of_any_size_and_sign_are_read(tmp_path: Path) -> None:
    labels = labels_of(dtype=np.int32)
    labels[labels == AORTA], labels[labels == RIB] = -7, 2_000_000_000
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / "a.nii.gz")
    found = read_segmentation(tmp_path / "a.nii.gz")
    assert [s.label for s in found.segments] == [-7, 1, 2_000_000_000]
    for segment in found.segments:
        assert np.array_equal(found.full_mask(segment), labels == segment.label)


@pytest.mark.parametrize("file", ["Segmentation.seg.nrrd", "SegmentationOverlapping.seg.nrrd"])
def test_files_of_slicer_are_read(file: str) -> None:
    path = slicerio.get_testdata_file(file)
    expected = slicerio.read_segmentation(path)
    found = read_segmentation(Path(path))
    assert np.allclose(flip_lps_ras(found.grid.affine), expected["ijkToLPS"])
    for segment, other in zip(found.segments, expected["segments"], strict=True):
        assert (segment.id, segment.name, segment.label) == (other["id"], other["name"], other["labelValue"])
        assert np.array_equal(found.full_mask(segment), slicerio.segment_mask(expected, other))
        assert segment.terminology is not None
        assert segment.terminology.split("~")[2] == "^".join(other["terminology"]["type"])


@pytest.mark.parametrize("axis", [0, 3])
def test_files_of_old_slicers_are_read(tmp_path: Path, axis: int) -> None:
    """Before 4.11: one layer a segment, every voxel 1, no layer and no label value in the header."""
    masks = list(NESTED.values())
    directions = np.insert(np.diag([-2.0, -3.0, 4.0]), axis, np.nan, axis=0)
    kinds = ["domain"] * 3
    kinds.insert(axis, "list")
    header = {"space": "left-posterior-superior", "space directions": directions, "kinds": kinds}
    header |= {f"Segment{n}_{key}": f"{key}{n}" for n in range(4) for key in ("ID", "Name")}
    nrrd.write(str(tmp_path / "a.seg.nrrd"), np.stack(masks, axis=axis).astype(np.uint8), header)
    found = read_segmentation(tmp_path / "a.seg.nrrd")
    assert found.grid.spacing == (2.0, 3.0, 4.0)
    for n, (segment, mask) in enumerate(zip(found.segments, masks, strict=True)):
        assert (segment.id, segment.name, segment.color) == (f"ID{n}", f"Name{n}", None)
        assert np.array_equal(found.full_mask(segment), mask)


def test_an_empty_segment_of_a_file_stays_empty(tmp_path: Path) -> None:
    header = {"Segment0_ID": "a", "Segment0_LabelValue": "7", "Segment1_ID": "b", "Segment1_LabelValue": "1"}
    nrrd.write(str(tmp_path / "a.seg.nrrd"), labels_of((1,)), header)
    other = Grid(shape=(12, 12, 12), affine=np.diag([-1.0, -1.0, 1.0, 1.0]))
    found = read_segmentation(tmp_path / "a.seg.nrrd", other)
    assert [(s.id, s.voxels > 0, s.box.size > 0) for s in found.segments] == [("a", False, False), ("b", True, True)]
    assert not found.full_mask(found.segments[0]).any()


@pytest.mark.parametrize("target", ["ras", "lps", "oblique", "sheared", "far away", "a little off", "much finer"])
def test_masks_come_on_the_grid_that_is_asked_for(tmp_path: Path, target: str) -> None:
    volume = a_volume("pir")
    write_segmentation(tmp_path / "a.seg.nrrd", overlapping_result(volume, NESTED), volume, CT)
    affine = odd_affine(target if target in ODD_AFFINES else "pir")
    affine[:3, 3] = volume.grid.to_world([n / 2 for n in SMALL])
    affine[:3, 3] += {"far away": 5000.0, "a little off": 0.4}.get(target, 0.0)
    affine[:3, :3] *= 0.13 if target == "much finer" else 1.0
    grid = Grid(shape=(46, 47, 48) if target == "much finer" else (16, 17, 18), affine=affine)
    grid = grid.cropped(grid.box.shifted([-n // 2 for n in grid.shape]))

    found = read_segmentation(tmp_path / "a.seg.nrrd", grid)

    assert found.grid is grid
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    source = volume.grid.to_voxel(grid.to_world(index))
    nearest = np.floor(source + 0.5).astype(int)
    inside = np.all((nearest >= 0) & (nearest < SMALL), axis=-1)
    i, j, k = np.moveaxis(nearest.clip(0, np.array(SMALL) - 1), -1, 0)
    clear = np.abs(source - np.floor(source) - 0.5).min(axis=-1) > 1e-6  # halfway, rounding noise decides
    for segment, mask in zip(found.segments, NESTED.values(), strict=True):
        expected = mask[i, j, k] & inside
        assert np.array_equal(found.full_mask(segment)[clear], expected[clear])
        assert segment.mask.shape == segment.box.shape
    assert any(s.voxels for s in found.segments) == (target != "far away")


def test_a_segment_is_found_by_name_id_or_label(tmp_path: Path) -> None:
    volume = a_volume()
    path = tmp_path / "a.seg.nrrd"
    write_segmentation(path, classes_result(volume, labels_of(), (LIVER, AORTA, RIB)), volume, CT)
    found = read_segmentation(path)
    for name in ("aorta", " Aorta ", "vista3d_006", "6"):
        assert found.find(name).label == AORTA
    with pytest.raises(ReadError, match="no segment 'spleen'") as caught:
        found.find("spleen")
    assert caught.value.fix == "It has: 'liver', 'aorta', 'left rib 1'."
    segments = [
        SegmentToWrite(id=n, name="same", color=(0, 0, 0), box=Box(start=(n, 0, 0), stop=(n + 1, 1, 1)), mask=one)
        for n, one in ((1, np.ones((1, 1, 1), bool)), (2, np.ones((1, 1, 1), bool)))
    ]
    write_segments(path, segments, volume.grid)
    with pytest.raises(ReadError, match="2 segments 'same'"):
        read_segmentation(path).find("same")


def test_what_was_read_can_be_written_again(tmp_path: Path) -> None:
    first = read_segmentation(Path(slicerio.get_testdata_file("SegmentationOverlapping.seg.nrrd")))
    assert len({s.label for s in first.segments}) < len(first.segments)  # each layer counts from 1
    again = first
    for name in ("a.seg.nrrd", "b.seg.nrrd"):
        write_segments(tmp_path / name, again.to_write(), again.grid)
        again = read_segmentation(tmp_path / name)
        assert [s.label for s in again.segments[:2]] == [s.label for s in first.segments[:2]]
        for segment, other in zip(again.segments, first.segments, strict=True):
            assert (segment.id, segment.name, segment.color) == (other.id, other.name, other.color)
            codes = [str(s.terminology).split("~")[1:4] for s in (segment, other)]  # the list's name is not kept
            assert codes[0] == codes[1]
            assert np.array_equal(again.full_mask(segment), first.full_mask(other))
    volume = a_volume()
    write_segmentation(tmp_path / "c.nii.gz", classes_result(volume, labels_of(), (LIVER, AORTA, RIB)), volume, CT)
    write_segments(tmp_path / "c.seg.nrrd", read_segmentation(tmp_path / "c.nii.gz").to_write(), volume.grid)
    assert [s.id for s in read_segmentation(tmp_path / "c.seg.nrrd").segments] == [
        "vista3d_001",
        "vista3d_006",
        "vista3d_063",
    ]


def a_ct(path: Path) -> None:
    values = np.random.default_rng(0).integers(-1000, 2000, SMALL).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def a_probability_map(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.full(SMALL, 0.5, np.float32), np.eye(4)), path)


def not_a_number(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.full(SMALL, np.nan, np.float32), np.eye(4)), path)


def a_fractional_one(path: Path) -> None:
    header = {"Segment0_ID": "a", "Segmentation_MasterRepresentation": "Fractional labelmap"}
    nrrd.write(str(path), labels_of(), header)


def a_missing_layer(path: Path) -> None:
    nrrd.write(str(path), labels_of(), {"Segment0_ID": "a", "Segment0_Layer": "2"})


def an_odd_label(path: Path) -> None:
    nrrd.write(str(path), labels_of(), {"Segment0_ID": "a", "Segment0_LabelValue": "one"})


def frames(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 4, 5, 2), np.uint8), np.eye(4)), path)


def flat(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 4), np.uint8), np.eye(4)), path)


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("a.nii.gz", a_ct, "different values"),
        ("a.nii.gz", a_probability_map, "not whole numbers"),
        ("a.nii.gz", not_a_number, "not whole numbers"),
        ("a.seg.nrrd", a_fractional_one, "fractional"),
        ("a.seg.nrrd", a_missing_layer, "layer 2 of 1"),
        ("a.seg.nrrd", an_odd_label, "'one'"),
        ("a.nii.gz", frames, "2 frames"),
        ("a.nii.gz", flat, "2 dimensions"),
        ("a.seg.nrrd", Path.touch, "empty"),
        ("a.seg.nrrd", lambda path: path.write_text("hello"), "cannot be read"),
        ("a.dcm", lambda path: path.write_text("hello"), "not a DICOM segmentation"),
        ("gone.seg.nrrd", lambda path: None, "does not exist"),
    ],
)
def test_what_is_no_segmentation_is_refused(tmp_path: Path, name: str, make: Any, words: str) -> None:
    make(tmp_path / name)
    with pytest.raises(VISTA3DError, match=words) as caught:
        read_segmentation(tmp_path / name)
    assert caught.value.fix
