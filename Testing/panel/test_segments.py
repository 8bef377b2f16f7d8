"""The table of segments, and what can be done with the selected one."""

from __future__ import annotations

from typing import Any

import pytest
from person import choose, choose_entry, choose_row

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

LIVER, SPLEEN = 1, 3


class TestSegments:
    def test_a_class_is_picked_by_name(self, a_panel: Any) -> None:
        a_panel.ui.classSelector.currentText = "spleen"
        a_panel.ui.newSegmentButton.click()
        (info,) = a_panel.workbench.segments
        assert (info.name, info.class_id) == ("spleen", SPLEEN)

    def test_another_text_names_a_new_structure(self, a_panel: Any) -> None:
        a_panel.ui.classSelector.currentText = "lesion A"
        a_panel.ui.newSegmentButton.click()
        (info,) = a_panel.workbench.segments
        assert (info.name, info.class_id) == ("lesion A", None)

    def test_next_goes_around(self, a_panel: Any) -> None:
        for name in ("a", "b"):
            a_panel.workbench.new_segment(name=name)
        ids = [info.id for info in a_panel.workbench.segments]
        a_panel.ui.nextSegmentButton.click()
        assert a_panel.workbench.selected == ids[0]
        assert list(a_panel.ui.segmentsTable.selectedSegmentIDs()) == [ids[0]]
        a_panel.ui.previousSegmentButton.click()
        assert a_panel.workbench.selected == ids[1]

    def test_a_segment_that_is_removed_comes_back(self, a_panel: Any) -> None:
        a_panel.workbench.new_segment(name="a")
        a_panel.ui.removeSegmentButton.click()
        assert not a_panel.workbench.segments
        a_panel.ui.undoButton.click()
        assert [info.name for info in a_panel.workbench.segments] == ["a"]

    def test_opacity_follows_the_slider(self, a_panel: Any) -> None:
        a_panel.workbench.new_segment(name="a")
        a_panel.ui.opacitySlider.value = 40
        assert a_panel.workbench.segments[0].opacity == pytest.approx(0.4)

    def test_3d_is_shown_on_request(self, a_clean_host: Any, a_panel: Any) -> None:
        choose(a_panel, LIVER)
        a_panel.ui.runButton.click()
        a_clean_host.process(lambda: a_panel.workbench.segments and not a_panel.workbench.busy)
        inner = a_panel.workbench.segmentation.GetSegmentation()
        assert not inner.ContainsRepresentation("Closed surface")
        a_panel.ui.show3DButton.click()
        assert inner.ContainsRepresentation("Closed surface")
        a_panel.ui.show3DButton.click()
        assert not inner.ContainsRepresentation("Closed surface")

    def test_any_segmentation_can_be_chosen(self, a_panel: Any) -> None:
        import slicer

        other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "from elsewhere")
        other.CreateDefaultDisplayNodes()
        other.GetSegmentation().AddEmptySegment("s", "lesion")
        a_panel.ui.segmentationSelector.setCurrentNode(other)
        assert [info.name for info in a_panel.workbench.segments] == ["lesion"]
        assert a_panel.ui.segmentsTable.segmentationNode() is other

    def test_a_new_segmentation_is_shown_and_lies_on_the_ct(self, a_panel: Any) -> None:
        """Slicer's selector makes one without a display node and without a grid."""
        choose_entry(a_panel.ui.segmentationSelector, -1)
        made = a_panel.workbench.segmentation
        assert made is a_panel.ui.segmentationSelector.currentNode()
        assert made.GetDisplayNode() is not None
        a_panel.ui.newSegmentButton.click()
        role = made.GetReferenceImageGeometryReferenceRole()
        assert made.GetNodeReference(role) is a_panel.workbench.volume

    def test_a_click_on_a_row_selects_the_segment(self, a_panel: Any) -> None:
        ids = [a_panel.workbench.new_segment(name=name) for name in ("a", "b", "c")]
        choose_row(a_panel.ui.segmentsTable, 1)
        assert a_panel.workbench.selected == ids[1]
        assert list(a_panel.ui.segmentsTable.selectedSegmentIDs()) == [ids[1]]

    def test_the_table_does_not_choose_a_row_while_segments_come_and_go(self, a_panel: Any) -> None:
        """Qt chooses the next row when the current one goes, in the middle of the undo that takes it away."""
        for name in ("a", "b"):
            a_panel.workbench.new_segment(name=name)
        choose_row(a_panel.ui.segmentsTable, 1)
        a_panel.ui.undoButton.click()
        assert [info.name for info in a_panel.workbench.segments] == ["a"]
        assert a_panel.workbench.selected is None
        assert not a_panel.ui.segmentsTable.selectedSegmentIDs()
