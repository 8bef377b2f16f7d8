"""Opening and saving in the page: what a person drops, what comes back, and what is no CT."""

from __future__ import annotations

import gzip
import os
import signal
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import slicerio
from browsing import PATIENCE, Screen, ViewerProcess
from test_files_maker import SeriesMaker

from VISTA3DLib.files.segmentation_read import read_segmentation
from VISTA3DLib.geometry import reverse_axes
from VISTA3DLib.volume import Volume

EXPORT = """() => {
  const state = window.trame.state;
  state.addListener(() => { if (state.get('activity') === 'Writing the file') window.__writing = true; });
  window.trame.trigger('export', ['mrb']);
}"""
UPLOAD = """() => { window.vista3d.upload([{ path: 'a.nii', file: new File([new Uint8Array(15e6)], 'a.nii') }]); }"""


def clicked(screen: Screen) -> None:
    """Make a segment by a click."""
    screen.place_points()
    screen.put_point("axial", 234, 190)
    screen.idle()
    screen.press("Escape")
    screen.wait("s.segments[0].ml && !s.placing")


def test_nothing_is_open_at_first_and_the_page_says_what_to_do(screen: Screen, tmp_path: Path) -> None:
    viewer = ViewerProcess(tmp_path)
    try:
        screen.open(viewer.address)
        screen.page.get_by_text("Drop a file or a DICOM folder here").wait_for()
        assert screen.page.get_by_role("button", name="Add P").is_disabled()
        assert screen.state("volume") is None
    finally:
        viewer.kill()


def test_what_is_no_ct_is_a_message_and_what_is_open_stays(
    empty: ViewerProcess, screen: Screen, small_ct: Path, tmp_path: Path
) -> None:
    name = screen.open_in_place_of_all(empty.address, small_ct)
    clicked(screen)
    before = screen.state("segments")
    text = tmp_path / "letter.txt"
    text.write_text("Dear colleague")
    screen.upload(text)
    assert str(empty.place) not in screen.message("letter.txt")  # the name that the person knows, not our folder
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(small_ct.read_bytes()[:20_000])
    screen.upload(cut)
    screen.message("cut.nii.gz")
    colour = tmp_path / "colour.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 8, 7, 3), np.int16), np.eye(4)), colour)
    screen.upload(colour)
    screen.message("3 frames or channels")
    scene = tmp_path / "scene.mrb"
    with zipfile.ZipFile(scene, "w") as archive:
        archive.writestr("readme.txt", "no scene")
    screen.upload(scene)
    screen.message("holds no scene")
    screen.upload(text, small_ct)
    screen.message("do not belong together")
    assert screen.state("segments") == before
    assert screen.state("volume")["name"] == name


def test_what_is_too_large_is_refused_with_the_limit(empty: ViewerProcess, screen: Screen, tmp_path: Path) -> None:
    screen.open(empty.address)
    large = tmp_path / "large.nii"
    large.write_bytes(bytes(30 * 2**20))
    screen.upload(large)
    whole = screen.message("larger than the limit")
    assert "20.5 MB" in whole
    assert "--upload-limit" in whole
    assert not list((empty.place / "tmp").rglob("in_*"))


def test_what_was_downloaded_is_what_comes_back(
    empty: ViewerProcess, screen: Screen, small_ct: Path, small_volume: Volume, tmp_path: Path
) -> None:
    name = screen.open_in_place_of_all(empty.address, small_ct)
    clicked(screen)
    ml, points = screen.state("segments")[0]["ml"], screen.state("points")
    seg = screen.download("Segments (.seg.nrrd)", tmp_path)
    labels = screen.download("Label map (.nii.gz)", tmp_path)
    scene = screen.download("Scene (.mrb)", tmp_path)
    assert (seg.name, labels.name, scene.name) == (f"{name}.seg.nrrd", f"{name}.nii.gz", f"{name}.mrb")
    one, other = read_segmentation(seg, small_volume.grid), read_segmentation(labels, small_volume.grid)
    mask = one.full_mask(one.segments[0])
    assert mask.any()
    assert (other.full_mask(other.segments[0]) == mask).all()
    image = SimpleITK.ReadImage(str(labels))  # what other programs see
    assert image.GetSize() == small_volume.grid.shape
    assert int((SimpleITK.GetArrayFromImage(image) > 0).sum()) == mask.sum()
    seen = slicerio.read_segmentation(str(seg))
    assert [part["name"] for part in seen["segments"]] == ["structure"]
    assert int((seen["voxels"] == seen["segments"][0]["labelValue"]).sum()) == mask.sum()

    def emptied() -> None:
        screen.page.get_by_role("button", name="Delete structure").click()
        screen.wait("!s.segments.length && !s.points.length")

    emptied()
    screen.upload(seg)  # with its points, to be gone on with
    screen.wait("s.segments.length === 1")
    screen.trigger("select", screen.state("segments")[0]["id"])
    screen.wait("s.points.length === a", len(points))
    assert screen.state("segments")[0]["ml"] == ml
    assert np.allclose(screen.state("points")[0]["ras"], points[0]["ras"], atol=1e-3)
    emptied_name = screen.state("segments")[0]["name"]
    screen.page.get_by_role("button", name=f"Delete {emptied_name}").click()
    screen.wait("!s.segments.length")
    screen.upload(labels)  # whole numbers on the grid of the CT: its segments
    screen.wait("s.segments.length === 1")
    assert screen.state("segments")[0]["ml"] == ml
    screen.upload(scene)
    dialog = screen.page.get_by_role("alertdialog", name="Open another CT")
    dialog.get_by_role("button", name="Keep what is open").click()
    screen.wait("!s.dialog && s.segments.length === 1")
    screen.upload(scene)
    dialog.get_by_role("button", name="Open", exact=True).click()
    screen.wait("!s.dialog && s.volume && s.segments.length === 1 && s.segments[0].name === 'structure'")
    screen.wait_ready()
    assert screen.state("segments")[0]["ml"] == ml
    screen.trigger("select", screen.state("segments")[0]["id"])
    screen.wait("s.points.length === a", len(points))
    screen.place_points()
    screen.put_point("axial", 250, 190)  # and clicking goes on
    screen.idle()
    assert screen.state("segments")[0]["points"] == 2


def test_dicom_seg_needs_a_ct_from_dicom_and_then_is_written(
    empty: ViewerProcess, screen: Screen, small_ct: Path, small_volume: Volume, tmp_path: Path
) -> None:
    screen.open_in_place_of_all(empty.address, small_ct)
    clicked(screen)
    screen.page.locator("summary", has_text="Download").click()
    screen.page.get_by_role("menuitem", name="DICOM SEG (.dcm)").click()
    screen.message("DICOM")
    axes = small_volume.affine[:3, :3] * np.array([[-1.0], [-1.0], [1.0]])
    origin = small_volume.affine[:3, 3] * np.array([-1.0, -1.0, 1.0])
    SeriesMaker(hu=reverse_axes(small_volume.array), axes=axes, origin=origin, description="askew").write(
        tmp_path / "ct"
    )
    screen.upload_folder(tmp_path / "ct")
    screen.page.get_by_role("alertdialog").get_by_role("button", name="Open", exact=True).click()
    screen.wait("!s.segments.length && s.volume")
    screen.wait_ready()
    clicked(screen)
    file = screen.download("DICOM SEG (.dcm)", tmp_path)
    found = read_segmentation(file, small_volume.grid)
    assert found.full_mask(found.segments[0]).any()


def test_of_several_series_in_a_folder_the_person_chooses_one(
    empty: ViewerProcess, screen: Screen, small_ct: Path, small_volume: Volume, tmp_path: Path
) -> None:
    screen.open_in_place_of_all(empty.address, small_ct)
    hu = reverse_axes(small_volume.array)
    for n, (description, part) in enumerate((("thin", hu), ("short", hu[:-5]))):
        SeriesMaker(hu=part, description=description, number=n + 2).write(tmp_path / "study" / description)
    screen.upload_folder(tmp_path / "study")
    dialog = screen.page.get_by_role("dialog", name="Choose a series")
    dialog.get_by_role("button", name="Open none of them").click()
    screen.wait("!s.dialog")
    assert screen.state("volume")["name"].startswith("askew_")
    screen.until(lambda: not list((empty.place / "tmp").rglob("in_*")), "the upload removed")
    screen.upload_folder(tmp_path / "study")
    assert dialog.get_by_role("listitem").count() == 2 or dialog.get_by_role("listitem").nth(1).wait_for() is None
    dialog.get_by_role("button", name="short").click()
    screen.wait("s.volume?.name === 'short'")
    screen.wait_ready()
    assert not screen.state("messages")


def test_an_automatic_run_brings_its_segments_in_one_step(empty: ViewerProcess, screen: Screen, small_ct: Path) -> None:
    screen.open_in_place_of_all(empty.address, small_ct)
    screen.page.get_by_role("button", name="everything", exact=True).click()
    screen.wait("s.chosen.length > 10")
    screen.press("r")
    screen.wait("s.segments.length > 0")
    screen.idle()
    count = len(screen.state("segments"))
    assert screen.state("selected") is None
    assert all(" ml" in segment["ml"] for segment in screen.state("segments"))
    screen.press("Control+z")
    screen.wait("!s.segments.length")
    screen.press("Control+y")
    screen.wait("s.segments.length === a", count)


def test_a_worker_that_dies_is_replaced_and_the_click_is_answered(
    empty: ViewerProcess, screen: Screen, small_ct: Path
) -> None:
    screen.open_in_place_of_all(empty.address, small_ct)
    screen.place_points()
    worker = empty.worker_pids()[0]
    screen.put_point("axial", 234, 190)
    os.kill(worker, signal.SIGKILL)
    screen.idle()
    screen.wait("s.segments[0]?.ml")
    assert empty.worker_pids() != [worker]


def test_a_full_disk_is_a_message_and_the_segments_stay(
    empty: ViewerProcess, screen: Screen, small_ct: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen.open_in_place_of_all(empty.address, small_ct)
    clicked(screen)
    session = next((empty.place / "tmp").glob("vista3d_*"))
    exchange = session / "exchange"
    exchange.rename(session / "away")
    exchange.write_bytes(b"")  # what cannot be written to, whoever runs the tests
    try:
        screen.page.locator("summary", has_text="Download").click()
        screen.page.get_by_role("menuitem", name="Segments (.seg.nrrd)").click()
        assert "disk" in screen.message("cannot be stored")
    finally:
        exchange.unlink()
        (session / "away").rename(exchange)
    assert screen.state("segments")[0]["ml"]


def test_files_are_dropped_on_the_page(
    empty: ViewerProcess, screen: Screen, small_volume: Volume, tmp_path: Path
) -> None:
    screen.open(empty.address)
    screen.wait("!s.activity && s.model")
    screen.remove_segments()
    image = nibabel.Nifti1Image(small_volume.array, small_volume.affine)
    data = list(gzip.compress(image.to_bytes(), 1))
    drop = """(data) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([new Uint8Array(data)], "dropped.nii.gz"));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    }"""
    screen.page.evaluate(drop, data)
    screen.wait("s.volume?.name === 'dropped'")


def test_a_tab_that_is_closed_while_a_file_is_written_loses_nothing(
    empty: ViewerProcess, screen: Screen, small_ct: Path, tmp_path: Path
) -> None:
    screen.open_in_place_of_all(empty.address, small_ct)
    clicked(screen)
    before = screen.state("segments")
    screen.page.evaluate(EXPORT)
    screen.page.wait_for_function("window.__writing", timeout=PATIENCE)
    context = screen.page.context
    screen.page.close()
    screen.page = context.new_page()
    screen.open(empty.address)
    screen.wait("!s.activity")
    assert screen.state("segments") == before
    assert not screen.state("messages")
    assert screen.download("Scene (.mrb)", tmp_path).stat().st_size > 1000


def test_a_tab_that_is_closed_while_it_uploads_leaves_nothing_and_what_was_open_stays(
    empty: ViewerProcess, screen: Screen, small_ct: Path
) -> None:
    name = screen.open_in_place_of_all(empty.address, small_ct)
    context = screen.page.context
    with empty.stopped():  # so that the upload cannot end before the page is closed
        screen.page.evaluate(UPLOAD)
        screen.page.close()
    screen.page = context.new_page()
    screen.open(empty.address)
    screen.wait("!s.activity")
    assert screen.state("volume")["name"] == name
    screen.until(lambda: not list((empty.place / "tmp").rglob("in_*")), "the upload removed")
    screen.replace_all(small_ct)  # and the next one works
