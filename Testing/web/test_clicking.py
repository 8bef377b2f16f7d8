"""Clicking in a real browser: the point is where the click was, the overlay is the mask, and every step goes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from browsing import LIVER, Screen, ViewerProcess
from scipy.ndimage import binary_closing

from VISTA3DLib.files.segmentation_read import read_segmentation


def mask_in_view(screen: Screen, file: Path, view: str) -> npt.NDArray[np.bool_]:
    """The mask of the first segment of a file as the view's pixels show it."""
    found = read_segmentation(file)
    full = found.full_mask(found.segments[0])
    values = screen.state(f"slice_{view}")
    width, height = values["size"]
    columns, rows = np.meshgrid(np.arange(width), height - 1 - np.arange(height))
    pixels = np.stack([columns, rows, np.zeros_like(rows), np.ones_like(rows)], axis=-1)
    ras = pixels @ np.asarray(values["matrix"]).T
    index = np.rint(found.grid.to_voxel(ras.reshape(-1, 3))).astype(int).reshape(*ras.shape)
    inside = ((index >= 0) & (index < found.grid.shape)).all(axis=-1)
    shown = np.zeros(inside.shape, dtype=bool)
    shown[inside] = full[tuple(index[inside].T)]
    return shown


def agreement(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """Dice of two pictures whose fine holes were closed: colours are sent at half of the resolution."""
    rows, columns = (min(a, b) for a, b in zip(one.shape, other.shape, strict=True))
    one, other = (binary_closing(part[:rows, :columns], iterations=4) for part in (one, other))
    return 2 * float((one & other).sum()) / max(float(one.sum() + other.sum()), 1.0)


def test_a_click_puts_the_point_on_the_clicked_pixel_and_the_overlay_is_the_mask(
    torso: ViewerProcess, screen: Screen, tmp_path: Path
) -> None:
    screen.open_fresh(torso.address)
    before = screen.coloured("axial")
    assert before.mean() < 0.02  # a grey picture, but for the letters and the ruler
    screen.place_points()
    expected = screen.ras_of("axial", *LIVER)
    screen.put_point("axial", *LIVER)
    assert np.allclose(screen.state("points")[0]["ras"], expected, atol=1e-3)
    assert screen.state("points")[0]["positive"]
    screen.idle()
    screen.until(lambda: screen.coloured("axial").mean() > before.mean() + 0.003, "the overlay")
    assert len(screen.state("segments")) == 1

    file = screen.download("Segments (.seg.nrrd)", tmp_path)
    screen.press("Escape")  # placing ends, so the point under the pointer goes
    screen.wait("!s.placing")
    mask = mask_in_view(screen, file, "axial")
    screen.until(lambda: agreement(screen.coloured("axial"), mask) > 0.8, "the overlay where the mask is")

    screen.press("Control+z")
    screen.wait("!s.segments.length && !s.points.length")
    screen.until(lambda: screen.coloured("axial").mean() < before.mean() + 0.002, "the overlay gone")
    screen.press("Control+y")
    screen.wait("s.segments.length === 1 && s.points.length === 1")
    screen.until(lambda: agreement(screen.coloured("axial"), mask) > 0.8, "the overlay back")


def test_points_are_taken_away_one_by_one_switched_and_the_mask_follows(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    screen.press("p")
    screen.wait("s.placing === 'positive'")
    screen.put_point("axial", *LIVER)
    screen.idle()
    one = screen.state("segments")[0]["ml"]
    screen.press("n")
    screen.wait("s.placing === 'negative'")
    screen.put_point("axial", LIVER[0] + 70, LIVER[1] - 40)
    screen.idle()
    assert [p["positive"] for p in screen.state("points")] == [True, False]
    screen.page.get_by_role("button", name="Switch the sign of point 2").click()
    screen.wait("s.points[1].positive")
    screen.idle()
    screen.page.get_by_role("button", name="Delete point 2").click()
    screen.wait("s.points.length === 1")
    screen.idle()
    assert screen.state("segments")[0]["ml"] == one  # as it would have been without the second point
    while screen.state("segments"):
        name, points = screen.state("undo_name"), screen.state("points")
        screen.press("Control+z")
        screen.wait("s.undo_name !== a[0] || JSON.stringify(s.points) !== JSON.stringify(a[1])", [name, points])
        screen.idle()
    while screen.state("redo_name"):
        name, points = screen.state("redo_name"), screen.state("points")
        screen.press("Control+Shift+Z")
        screen.wait("s.redo_name !== a[0] || JSON.stringify(s.points) !== JSON.stringify(a[1])", [name, points])
        screen.idle()
    assert [p["positive"] for p in screen.state("points")] == [True]
    assert screen.state("segments")[0]["ml"] == one


def test_a_preview_shows_what_a_click_would_change_and_is_kept_or_dropped(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    screen.press("v")
    screen.wait("s.preview_enabled")
    screen.place_points()
    screen.put_point("axial", *LIVER)
    screen.wait("s.preview")
    assert screen.page.get_by_role("button", name="Keep").is_visible()
    assert screen.state("segments")[0]["ml"] == ""  # nothing is written yet
    screen.until(lambda: screen.coloured("axial").mean() > 0.003, "the preview in the view")
    screen.press("Escape")
    screen.wait("!s.preview && !s.points.length")
    assert all(segment["ml"] == "" for segment in screen.state("segments"))
    screen.put_point("axial", *LIVER)
    screen.wait("s.preview")
    screen.press("Enter")
    screen.wait("!s.preview && s.segments[0].ml")
    screen.press("Control+z")
    screen.wait("!s.segments.length || !s.segments[0].ml")


def test_without_live_clicks_wait_until_they_are_run(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    screen.press("l")
    screen.wait("!s.live")
    screen.place_points()
    screen.put_point("axial", *LIVER)
    screen.put_point("axial", LIVER[0] + 30, LIVER[1])
    assert screen.state("points_pending")
    assert screen.state("segments")[0]["ml"] == ""
    screen.page.get_by_role("button", name="Run points").click()
    screen.wait("!s.points_pending && s.segments[0].ml")


def test_a_newer_click_supersedes_an_older_one_and_both_points_count(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    screen.place_points()
    for n in range(4):
        screen.put_point("axial", LIVER[0] + 12 * n, LIVER[1] - 20 * n)  # not waiting for answers
    screen.idle()
    assert len(screen.state("points")) == 4
    assert screen.state("segments")[0]["ml"]
    assert not screen.state("messages")


@pytest.mark.parametrize(
    ("policy", "second", "first_stays"),
    [("KEEP_OTHERS", True, True), ("ONLY_EMPTY", False, True), ("OVERWRITE_OTHERS", True, False)],
)
def test_what_happens_to_other_segments_is_what_was_chosen_and_undo_takes_it_back(
    torso: ViewerProcess, screen: Screen, policy: str, second: bool, first_stays: bool
) -> None:
    screen.open_fresh(torso.address)
    screen.place_points()
    screen.put_point("axial", *LIVER)
    screen.idle()
    whole = screen.state("segments")[0]["ml"]
    screen.page.locator("summary", has_text="Options").click()
    screen.page.get_by_label("Other segments").select_option(policy)
    screen.wait("s.policy === a", policy)
    screen.press("Shift+E")
    screen.wait("s.segments.length === 2 && !s.points.length")
    screen.put_point("axial", *LIVER)  # the same click: the same mask
    screen.idle()
    assert [row["ml"] for row in screen.state("segments")] == [whole if first_stays else "", whole if second else ""]
    screen.press("Control+z")
    screen.wait("s.segments[0].ml === a && (s.segments.length < 2 || !s.segments[1].ml)", whole)


def test_a_reload_brings_everything_back(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    screen.place_points()
    screen.put_point("axial", *LIVER)
    screen.idle()
    names = ("points", "segments", "selected", "undo_name", "placing", "slice_axial")
    before = {name: screen.state(name) for name in names}
    screen.page.reload()
    screen.wait("s.my_tab !== '-' && s.active_tab === s.my_tab")
    assert {name: screen.state(name) for name in names} == before
    screen.until(lambda: screen.coloured("axial").mean() > 0.003, "the overlay")
    screen.put_point("axial", LIVER[0] + 40, LIVER[1])  # and one goes on where one was
    screen.idle()
    assert screen.state("segments")[0]["points"] == 2


def test_a_tab_that_is_closed_in_the_middle_of_a_run_loses_nothing(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    screen.place_points()
    screen.put_point("axial", *LIVER)
    context = screen.page.context
    screen.page.close()
    again = Screen(context.new_page())
    again.open(torso.address)
    again.idle()
    assert len(again.state("points")) == 1
    assert again.state("segments")[0]["ml"]
