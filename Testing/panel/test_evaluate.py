"""The section that compares two segmentations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from segmentations import segmentation

BIG = (slice(5, 25), slice(10, 30), slice(10, 30))
HALF = (slice(5, 15), slice(10, 30), slice(10, 30))
ELSEWHERE = (slice(30, 35), slice(10, 20), slice(40, 50))


def test_segments_are_paired_by_name_and_scored(a_clean_host: Any, a_panel: Any, a_shown_ct: Any) -> None:
    reference = segmentation(a_shown_ct, "truth", {"liver": BIG, "spleen": ELSEWHERE})
    compared = segmentation(a_shown_ct, "mine", {"spleen": ELSEWHERE, "liver": HALF})
    ui = a_panel.ui
    assert not ui.compareButton.enabled
    ui.referenceSelector.setCurrentNode(reference)
    ui.comparedSelector.setCurrentNode(compared)
    ui.compareButton.click()
    assert ui.compareButton.text == "Cancel"
    a_clean_host.process(lambda: "mean Dice" in ui.evaluateText.text)
    assert "2 segments compared, mean Dice 0.833." in ui.evaluateText.text
    table = a_clean_host.scene.GetFirstNodeByClass("vtkMRMLTableNode")
    names = [table.GetTable().GetColumnByName("Segment").GetValue(row) for row in range(2)]
    scores = [table.GetTable().GetColumnByName("Dice").GetValue(row) for row in range(2)]
    assert dict(zip(names, scores, strict=True)) == pytest.approx({"liver": 2 / 3, "spleen": 1.0})
    chart = a_clean_host.scene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    assert chart.GetNumberOfPlotSeriesNodes() == 1


def test_overlapping_segments_are_compared_whole(a_clean_host: Any, a_panel: Any, a_shown_ct: Any) -> None:
    reference = segmentation(a_shown_ct, "truth", {"organ": BIG, "lesion": HALF})
    compared = segmentation(a_shown_ct, "mine", {"organ": BIG, "lesion": HALF})
    a_panel.ui.referenceSelector.setCurrentNode(reference)
    a_panel.ui.comparedSelector.setCurrentNode(compared)
    a_panel.ui.compareButton.click()
    a_clean_host.process(lambda: "mean Dice" in a_panel.ui.evaluateText.text)
    assert "mean Dice 1.000" in a_panel.ui.evaluateText.text


def test_layers_hold_every_label_once() -> None:
    from VISTA3DWidgets.comparison import layerOf, rows, summary

    layers = [np.array([[[1, 2]]]), np.array([[[3, 0]]])]
    assert [layerOf(layers, label) for label in (1, 2, 3)] == [0, 0, 1]
    found = rows(["a", "b"], [{"segments": [{"truth_label": 2, "dice": 0.5, "nsd": None}]}])
    assert found == [{"name": "b", "truth_label": 2, "dice": 0.5, "nsd": None}]
    assert summary(found) == "1 segment compared, mean Dice 0.500."


def test_cancel_leaves_no_table(a_clean_host: Any, a_panel: Any, a_shown_ct: Any) -> None:
    reference = segmentation(a_shown_ct, "truth", {"a": BIG})
    compared = segmentation(a_shown_ct, "mine", {"a": HALF})
    a_panel.ui.referenceSelector.setCurrentNode(reference)
    a_panel.ui.comparedSelector.setCurrentNode(compared)
    a_panel.ui.compareButton.click()
    a_panel.ui.compareButton.click()
    assert a_panel.ui.compareButton.text == "Compare"
    for _ in range(30):
        a_clean_host.process()
    assert a_clean_host.scene.GetFirstNodeByClass("vtkMRMLTableNode") is None


def test_two_segmentations_without_segments_say_so(a_panel: Any, a_shown_ct: Any) -> None:
    a_panel.ui.referenceSelector.setCurrentNode(segmentation(a_shown_ct, "a", {}))
    a_panel.ui.comparedSelector.setCurrentNode(segmentation(a_shown_ct, "b", {}))
    a_panel.ui.compareButton.click()
    assert "Neither segmentation has a segment" in a_panel.ui.messageText.text


def test_a_full_disk_ends_the_comparison_in_words(
    a_panel: Any, a_shown_ct: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    a_panel.ui.referenceSelector.setCurrentNode(segmentation(a_shown_ct, "truth", {"a": BIG}))
    a_panel.ui.comparedSelector.setCurrentNode(segmentation(a_shown_ct, "mine", {"a": HALF}))
    monkeypatch.setattr(np, "save", full)
    a_panel.ui.compareButton.click()
    assert "No space left" in a_panel.ui.messageText.text
    assert a_panel.ui.compareButton.text == "Compare"
    assert not a_panel.evaluate.running
