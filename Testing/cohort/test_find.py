"""What is found in a folder, in a tree of studies and in a table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import XRayRadiationDoseSRStorage
from test_files_maker import SeriesMaker, ct_values

from VISTA3DLib.cohort.find import find_scans
from VISTA3DLib.cohort.scan import Found, folder_id, id_of, unique_id
from VISTA3DLib.errors import ReadError

SAGITTAL = np.array([[0, 0, 2.5], [0.8, 0, 0], [0, -0.7, 0]])


def series(**values: object) -> SeriesMaker:
    return SeriesMaker(hu=ct_values(), **values)  # type: ignore[arg-type]


def left_out(found: Found) -> dict[str, str]:
    return {item.description or Path(item.path).name: item.reason for item in found.left_out}


def test_images_of_a_folder_are_found_with_their_odd_names(tmp_path: Path) -> None:
    for name in (
        "a.nii.gz",
        "Müller, Åsa/ct 1.NRRD",
        "患者/b.mha",
        "x.seg.nrrd",
        "notes.txt",
        ".hidden.nii",
        "x.mhd",
        "x.raw",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"something")
    found = find_scans(tmp_path)
    assert [scan.id for scan in found.scans] == ["Müller, Åsa/ct 1", "a", "x", "患者/b"]
    assert left_out(found) == {"x.seg.nrrd": "a segmentation, no scan"}


def test_files_of_one_name_in_two_formats_are_two_scans(tmp_path: Path) -> None:
    for name in ("ct.nii.gz", "ct.nrrd", "CT.mha"):
        (tmp_path / name).write_bytes(b"x")
    ids = [scan.id for scan in find_scans(tmp_path).scans]
    assert len({scan_id.casefold() for scan_id in ids}) == 3


def test_only_what_matches_is_found(tmp_path: Path) -> None:
    for name in ("p1/ct.nii.gz", "p1/seg.nii.gz", "p2/ct.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [scan.id for scan in find_scans(tmp_path, match="*/ct.nii.gz").scans] == ["p1/ct", "p2/ct"]


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_place_without_scans_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReadError):
        find_scans(tmp_path / name)


def test_of_a_study_the_ct_is_taken_and_the_rest_is_listed(tmp_path: Path) -> None:
    study = tmp_path / "patient ä" / "study"
    series(description="abdomen").write(study / "ct")
    series(description="sagittal", axes=SAGITTAL).write(study / "reformation")
    series(description="scout", extra={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}).write(study / "scout")
    series(description="mr", extra={"Modality": "MR"}).write(study / "mr")
    dose = series(description="dose").dataset(0)
    dose.SOPClassUID = dose.file_meta.MediaStorageSOPClassUID = XRayRadiationDoseSRStorage
    dose.save_as(study / "dose.dcm")
    bolus = SeriesMaker(hu=ct_values()[:2], description="bolus")
    bolus.write(study / "bolus")

    found = find_scans(tmp_path)

    assert [(scan.id, scan.problem) for scan in found.scans] == [("patient ä/study/ct", "")]
    reasons = left_out(found)
    assert set(reasons) == {"sagittal", "scout", "mr", "dose", "bolus"}
    assert "not axial" in reasons["sagittal"]
    assert "localizer" in reasons["scout"]
    assert "MR" in reasons["mr"]
    assert "Dose" in reasons["dose"]
    assert "fewer than" in reasons["bolus"]


def test_a_tilted_gantry_is_axial(tmp_path: Path) -> None:
    series(axes=np.array([[0.8, 0, 0], [0, 0.7, -0.9], [0, 0, 2.5]])).write(tmp_path)
    assert len(find_scans(tmp_path).scans) == 1


def test_two_series_in_one_folder_are_two_scans(tmp_path: Path) -> None:
    makers = [series(description="one"), series(description="two")]
    for number, maker in enumerate(makers):
        maker.write(tmp_path / "study", prefix=f"{number}")
    found = find_scans(tmp_path)
    assert {scan.id for scan in found.scans} == {f"study/{maker.uid}" for maker in makers}


def test_of_several_series_of_a_study_the_largest_can_be_taken(tmp_path: Path) -> None:
    large, small = SeriesMaker(hu=ct_values()), SeriesMaker(hu=ct_values()[:6], description="few")
    large.write(tmp_path / "a")
    small.write(tmp_path / "b")
    found = find_scans(tmp_path, one_per_study=True)
    assert [scan.series for scan in found.scans] == [large.uid]
    assert "more images" in left_out(found)["few"]


def test_damaged_series_are_scans_with_a_problem(tmp_path: Path) -> None:
    for name, size in (("truncated", 700), ("truncated early", 200)):
        last = series().write(tmp_path / name)[8]
        last.write_bytes(last.read_bytes()[:size])
    series(extra={"EncryptedAttributesSequence": []}).write(tmp_path / "encrypted")
    series().write(tmp_path / "gap", leave_out=[4])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.dcm").touch()
    problems = {scan.id: scan.problem for scan in find_scans(tmp_path).scans}
    assert "truncated" in problems["truncated"]
    assert "truncated" in problems["truncated early"]  # the file may be the last slice: without it nobody would notice
    assert "encrypted" in problems["encrypted"]
    assert "not evenly spaced" in problems["gap"]
    assert "0 bytes" in problems["empty"]


def test_two_series_with_one_uid_are_both_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        series(uid="1.2.3.4").write(tmp_path / name)  # other instances: their UIDs are made anew
    scans = find_scans(tmp_path).scans
    assert len(scans) == 2
    for scan in scans:
        assert scan.problem.startswith("Two series with one UID: 1.2.3.4")
        assert scan.fix


def test_a_file_that_is_neither_scan_nor_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("{}")
    with pytest.raises(ReadError, match=r"list\.json is no scan"):
        find_scans(tmp_path / "list.json")


def test_a_copied_series_is_a_duplicate(tmp_path: Path) -> None:
    for path in series().write(tmp_path / "a").values():
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
    first, second = find_scans(tmp_path).scans
    assert (first.id, first.same_as, second.id, second.same_as) == ("a", "", "b", "a")


@pytest.mark.parametrize("kind", ["csv", "excel", "parquet"])
def test_a_table_lists_scans(tmp_path: Path, kind: str) -> None:
    elsewhere = str(tmp_path / "elsewhere" / "b.nrrd")
    rows = [
        {"ID": "first", "Path": "in here/a ä.nii.gz", "series": ""},
        {"ID": "", "Path": elsewhere, "series": "1.2.3"},
        {"ID": "", "Path": "", "series": ""},
        {"ID": "again", "Path": "in here/a ä.nii.gz", "series": ""},
    ]
    path = tmp_path / ("list.parquet" if kind == "parquet" else "list.csv")
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        encoding, delimiter = ("utf-8-sig", ";") if kind == "excel" else ("utf-8", ",")
        with path.open("w", encoding=encoding, newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)

    scans = {scan.id: scan for scan in find_scans(path).scans}

    assert scans["first"].address == str(tmp_path / "in here/a ä.nii.gz")
    assert (scans["b"].address, scans["b"].series) == (elsewhere, "1.2.3")
    assert "names no file" in scans["row 3"].problem
    assert scans["again"].same_as == "first"


@pytest.mark.parametrize("text", ["", "name,age\nx,3\n"])
def test_a_table_without_paths_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ReadError):
        find_scans(tmp_path / "list.csv")


@given(st.lists(st.text(min_size=1, max_size=300), min_size=1, max_size=8))
def test_ids_are_unique_and_name_folders_below_the_output(names: list[str]) -> None:
    taken: set[str] = set()
    ids = [unique_id(maker(name), taken) for name in names for maker in (id_of, folder_id)]
    assert len({scan_id.casefold() for scan_id in ids}) == len(ids)
    for scan_id in ids:
        parts = scan_id.split("/")
        assert all(part and part not in {".", ".."} and len(part) <= 130 for part in parts)
        assert not set(scan_id) & set('<>:"|?*\\\0')
