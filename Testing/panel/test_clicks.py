"""Real mouse clicks in slice and 3D views: they land where the cursor is, make segments, repair them, are undone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

HALF_A_VOXEL = 0.5


def idle(host: Any, panel: Any) -> None:
    workbench = panel.workbench
    host.process(lambda: not workbench.busy and (workbench.preview is not None or not workbench.points_pending))


def place(host: Any, panel: Any, view_name: str, dx: int = 0, dy: int = 0, *, positive: bool = True) -> Any:
    """Press + or -, click beside the middle of a view; returns the world position under the pixel."""
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest

    view = host.views[view_name]
    pixel = QPoint(view.width() // 2 + dx, view.height() // 2 + dy)
    button = panel.ui.addPointButton if positive else panel.ui.removePointButton
    if not button.checked:
        button.click()
    host.process()
    QTest.mouseMove(view, pixel)
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, pixel)
    host.process(lambda: panel.workbench.points)
    idle(host, panel)
    return view.ras_of(pixel)


def mask(panel: Any) -> Any:
    """The selected segment on the CT's grid."""
    found = panel.workbench.mask_on_volume(panel.workbench.selected)
    assert found is not None
    return found


def voxel(panel: Any, ras: Any) -> Any:
    """The voxel that a world point lies in, as fractions."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    panel.workbench.volume.GetRASToIJKMatrix(matrix)
    return np.array(matrix.MultiplyPoint((*ras, 1.0))[:3])


@pytest.mark.parametrize("view_name", ["Red", "Yellow", "Green"])
def test_a_click_lands_under_the_cursor(a_clean_host: Any, a_panel: Any, view_name: str) -> None:
    ras = place(a_clean_host, a_panel, view_name, 7, -11)
    assert len(a_panel.workbench.points) == 1
    distance = voxel(a_panel, a_panel.workbench.points[0].ras) - voxel(a_panel, ras)
    assert np.abs(distance).max() <= HALF_A_VOXEL
    i, j, k = np.round(voxel(a_panel, ras)).astype(int)
    assert mask(a_panel)[i, j, k]


def test_the_overlay_is_drawn(a_clean_host: Any, a_panel: Any) -> None:
    place(a_clean_host, a_panel, "Red")
    a_panel.points.placeMode.stop()
    view = a_clean_host.views["Red"]
    image = view.render_now()
    bits = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    pixels = bits[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)
    coloured = np.abs(pixels[..., 0] - pixels[..., 2]) > 30
    assert np.count_nonzero(coloured) > 100


def test_clicks_of_both_signs_make_one_segment(a_clean_host: Any, a_panel: Any) -> None:
    place(a_clean_host, a_panel, "Red")
    before = np.count_nonzero(mask(a_panel))
    place(a_clean_host, a_panel, "Red", 12, positive=False)
    assert 0 < np.count_nonzero(mask(a_panel)) < before
    assert len(a_panel.workbench.segments) == 1
    assert [point.positive for point in a_panel.workbench.points] == [True, False]
    assert a_panel.ui.pointsTree.topLevelItemCount == 2


def test_undo_and_redo_take_mask_and_points_together(a_clean_host: Any, a_panel: Any) -> None:
    place(a_clean_host, a_panel, "Red")
    one = mask(a_panel).copy()
    place(a_clean_host, a_panel, "Red", 25)
    two = mask(a_panel).copy()
    a_panel.ui.undoButton.click()
    np.testing.assert_array_equal(mask(a_panel), one)
    assert len(a_panel.workbench.points) == a_panel.workbench.positive_node.GetNumberOfControlPoints() == 1
    a_panel.ui.redoButton.click()
    np.testing.assert_array_equal(mask(a_panel), two)
    assert a_panel.ui.pointsTree.topLevelItemCount == 2


def test_a_point_that_is_deleted_in_the_list_is_gone_from_the_mask(a_clean_host: Any, a_panel: Any) -> None:
    place(a_clean_host, a_panel, "Red")
    one = mask(a_panel).copy()
    place(a_clean_host, a_panel, "Red", 25)
    tree = a_panel.ui.pointsTree
    tree.setCurrentItem(tree.topLevelItem(1))
    a_panel.ui.deletePointButton.click()
    idle(a_clean_host, a_panel)
    np.testing.assert_array_equal(mask(a_panel), one)


def test_a_point_can_switch_its_sign(a_clean_host: Any, a_panel: Any) -> None:
    place(a_clean_host, a_panel, "Red")
    place(a_clean_host, a_panel, "Red", 10)
    before = np.count_nonzero(mask(a_panel))
    tree = a_panel.ui.pointsTree
    tree.setCurrentItem(tree.topLevelItem(1))
    a_panel.ui.flipPointButton.click()
    idle(a_clean_host, a_panel)
    assert [point.positive for point in a_panel.workbench.points] == [True, False]
    assert np.count_nonzero(mask(a_panel)) < before


def test_a_point_that_is_dragged_moves_the_mask(a_clean_host: Any, a_panel: Any) -> None:
    place(a_clean_host, a_panel, "Red")
    before = mask(a_panel).copy()
    r, a, s = a_panel.workbench.points[0].ras
    a_panel.points.placeMode.stop()
    a_panel.workbench.positive_node.SetNthControlPointPositionWorld(0, r + 10.0, a, s)
    a_clean_host.process(lambda: abs(a_panel.workbench.points[0].ras[0] - r - 10.0) < 1e-6)
    idle(a_clean_host, a_panel)
    assert not np.array_equal(mask(a_panel), before)


def test_without_live_points_wait_for_the_button(a_clean_host: Any, a_panel: Any) -> None:
    a_panel.ui.liveCheckBox.checked = False
    a_panel.workbench.new_segment(name="lesion")
    a_panel.workbench.add_point((20.0, -80.0, 60.0), True)
    a_clean_host.process()
    assert a_panel.workbench.points_pending
    assert a_panel.ui.runPointsButton.enabled
    a_panel.ui.runPointsButton.click()
    idle(a_clean_host, a_panel)
    assert not a_panel.ui.runPointsButton.enabled


def test_switching_segments_switches_points(a_clean_host: Any, a_panel: Any) -> None:
    place(a_clean_host, a_panel, "Red")
    first = a_panel.workbench.selected
    a_panel.ui.newSegmentButton.click()
    assert a_panel.ui.pointsTree.topLevelItemCount == 0
    assert a_panel.workbench.positive_node.GetNumberOfDefinedControlPoints() == 0
    a_panel.ui.segmentsTable.setSelectedSegmentIDs([first])
    assert a_panel.workbench.selected == first
    assert a_panel.ui.pointsTree.topLevelItemCount == 1


def test_preview_waits_in_the_views_and_is_kept_or_dropped(a_clean_host: Any, a_panel: Any) -> None:
    place(a_clean_host, a_panel, "Red")
    before = mask(a_panel).copy()
    a_panel.ui.previewCheckBox.checked = True
    place(a_clean_host, a_panel, "Red", 25)
    np.testing.assert_array_equal(mask(a_panel), before)
    assert a_panel.ui.previewBox.visible
    assert "ml</b> added" in a_panel.ui.previewText.text
    a_panel.ui.dropButton.click()
    assert not a_panel.ui.previewBox.visible
    np.testing.assert_array_equal(mask(a_panel), before)
    place(a_clean_host, a_panel, "Red", 25)
    a_panel.ui.keepButton.click()
    assert np.count_nonzero(mask(a_panel)) > np.count_nonzero(before)
    a_panel.ui.undoButton.click()
    np.testing.assert_array_equal(mask(a_panel), before)


def test_right_click_ends_placing_and_the_button_shows_it(a_clean_host: Any, a_panel: Any) -> None:
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    a_panel.ui.addPointButton.click()
    assert a_panel.ui.addPointButton.checked
    view = a_clean_host.views["Red"]
    QTest.mouseMove(view)
    QTest.mouseClick(view, Qt.MouseButton.RightButton)
    a_clean_host.process()
    assert not a_panel.ui.addPointButton.checked
    assert not a_panel.workbench.points


def test_plus_and_minus_exclude_each_other(a_clean_host: Any, a_panel: Any) -> None:
    a_panel.ui.addPointButton.click()
    a_panel.ui.removePointButton.click()
    assert (a_panel.ui.addPointButton.checked, a_panel.ui.removePointButton.checked) == (False, True)
    a_panel.ui.removePointButton.click()
    assert not a_panel.ui.removePointButton.checked
    interaction = a_clean_host.logic.GetInteractionNode()
    assert interaction.GetCurrentInteractionMode() != interaction.Place


def test_a_click_outside_of_the_image_changes_nothing(a_clean_host: Any, a_panel: Any) -> None:
    a_panel.ui.addPointButton.click()
    a_panel.workbench.add_point((5000.0, 0.0, 0.0), True)
    a_clean_host.process(lambda: "outside" in a_panel.ui.messageText.text)
    assert not a_panel.workbench.points
    assert a_panel.ui.addPointButton.enabled


@pytest.fixture
def a_3d_view(a_clean_host: Any) -> Iterator[Any]:
    from view3d import ThreeDView

    view = ThreeDView(a_clean_host.scene, a_clean_host.logic)
    yield view
    view.close()


def test_a_negative_click_on_the_surface_takes_a_part_away(a_clean_host: Any, a_panel: Any, a_3d_view: Any) -> None:
    from view3d import SIZE

    place(a_clean_host, a_panel, "Red")
    before = mask(a_panel).copy()
    a_panel.ui.show3DButton.click()
    a_3d_view.look_at(a_panel.workbench.center(a_panel.workbench.selected))
    a_panel.ui.removePointButton.click()
    a_3d_view.click(SIZE // 2, SIZE // 2)
    a_clean_host.process(lambda: len(a_panel.workbench.points) == 2)
    idle(a_clean_host, a_panel)
    point = a_panel.workbench.points[1]
    assert not point.positive
    nearest = np.abs(np.argwhere(before) - voxel(a_panel, point.ras)).max(axis=1).min()
    assert nearest <= 1.0  # the surface runs along the border of the voxels
    assert not before[tuple(np.round(voxel(a_panel, point.ras) + outwards(a_panel)).astype(int))]
    assert 0 < np.count_nonzero(mask(a_panel)) < np.count_nonzero(before)
    a_panel.ui.undoButton.click()
    np.testing.assert_array_equal(mask(a_panel), before)


def outwards(panel: Any) -> Any:
    """Four millimetres towards the viewer, in voxels."""
    return voxel(panel, (0.0, 4.0, 0.0)) - voxel(panel, (0.0, 0.0, 0.0))
