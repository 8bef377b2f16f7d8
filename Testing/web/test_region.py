"""The box of automatic runs: shown in the views, dragged there, typed in mm; nothing is segmented outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from browsing import Screen, ViewerProcess

from VISTA3DLib.files.segmentation_read import read_segmentation


def with_box(screen: Screen) -> list[list[float]]:
    """Ask for a box; from and to along R, A and S."""
    screen.page.get_by_role("checkbox", name="Only inside a box").check()
    screen.wait("s.region")
    return screen.state("region")


def without_box(screen: Screen) -> None:
    screen.page.get_by_role("checkbox", name="Only inside a box").uncheck()
    screen.wait("!s.region")


def test_the_box_is_seen_and_its_faces_are_where_one_types_them(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    before = screen.coloured("axial").mean()
    (left, right), (back, front), (bottom, top) = with_box(screen)
    assert left < right
    assert back < front
    assert bottom < top
    screen.until(lambda: screen.coloured("axial").mean() > before + 0.001, "the box in the view")
    field = screen.page.get_by_label("I to S: to (mm)")
    field.fill(str(bottom + 40))
    field.press("Enter")
    screen.wait("Math.abs(s.region[2][1] - a) < 0.2", bottom + 40)
    field.fill(str(bottom - 100))  # a face cannot pass the other
    field.press("Enter")
    screen.wait("s.region[2][1] > s.region[2][0] && s.region[2][1] < s.region[2][0] + 2")
    without_box(screen)
    screen.until(lambda: screen.coloured("axial").mean() < before + 0.001, "the box gone")


def test_a_face_is_dragged_with_the_mouse_and_nothing_is_segmented_outside(
    torso: ViewerProcess, screen: Screen, tmp_path: Path
) -> None:
    screen.open_fresh(torso.address)
    plain = screen.coloured("axial").mean()
    (left, right), (back, front), (bottom, top) = with_box(screen)
    screen.until(lambda: screen.coloured("axial").mean() > plain + 0.001, "the box in the view")
    drag_face(screen, "axial", axis=0, by=-110)
    screen.wait("s.region[0][1] < a", right - 100)
    drag_face(screen, "coronal", axis=2, by=-120)
    screen.wait("s.region[2][1] < a", top - 110)
    dragged = screen.state("region")
    assert [dragged[0][0], *dragged[1], dragged[2][0]] == [left, back, front, bottom]  # the other faces stay
    assert abs(dragged[0][1] - (right - 110)) < 4
    assert abs(dragged[2][1] - (top - 120)) < 4

    screen.page.get_by_role("button", name="organs", exact=True).click()
    screen.wait("s.chosen.length > 3")
    screen.press("r")
    screen.wait("s.running")
    screen.wait("!s.running && s.segments.length")
    screen.idle()
    found = read_segmentation(screen.download("Segments (.seg.nrrd)", tmp_path))
    low, high = (np.array(ends) for ends in zip(*dragged, strict=True))
    slack = np.max(np.abs(found.grid.affine[:3, :3]), axis=1) / 2 + 0.1  # a voxel whose middle is inside counts whole
    voxels = 0
    for segment in found.segments:
        places = found.grid.to_world(np.argwhere(found.full_mask(segment)))
        voxels += len(places)
        assert (places > low - slack).all()
        assert (places < high + slack).all()
    assert voxels > 1000
    without_box(screen)


def drag_face(screen: Screen, view: str, *, axis: int, by: float) -> None:
    """Take the handle in the middle of a face (the upper one along R, A or S) and move it by some mm."""
    low, high = np.array(screen.state("region")).T
    start = (low + high) / 2
    start[axis] = high[axis]
    end = start + by * np.eye(3)[axis]
    here, there = (np.array(screen.place(view, *screen.pixel_of(view, place))) for place in (start, end))
    beside = 4 * (here - there) / np.linalg.norm(here - there)  # on the handle, not on the outline that runs through it
    screen.page.mouse.move(*(here + beside))
    screen.page.mouse.down()
    screen.page.mouse.move(*(there + beside), steps=10)
    screen.page.mouse.up()
