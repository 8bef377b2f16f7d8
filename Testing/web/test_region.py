"""The box of automatic runs: shown in the views, typed in mm."""

from __future__ import annotations

from browsing import Screen, ViewerProcess


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
