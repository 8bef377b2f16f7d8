"""The section that teaches weights from segmentations of the scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from segmentations import segmentation

ORGAN = (slice(5, 25), slice(10, 30), slice(10, 30))
LESION = (slice(5, 15), slice(10, 30), slice(10, 30))
LIVER = 1


@pytest.fixture
def a_drawn_ct(a_clean_host: Any, a_panel: Any, a_shown_ct: Any) -> Any:
    """A segmentation of the CT, with the section open."""
    node = segmentation(a_shown_ct, "drawn", {"liver": ORGAN, "my lesion": LESION})
    a_panel.ui.finetuneButton.collapsed = False
    a_clean_host.process()
    return node


def check(panel: Any, *rows: int) -> None:
    import qt

    top = panel.ui.finetuneTree.topLevelItem(0)
    for row in rows:
        top.child(row).setCheckState(0, qt.Qt.Checked)


def test_segments_of_the_scene_are_offered_with_the_classes_that_they_are(a_panel: Any, a_drawn_ct: Any) -> None:
    tree = a_panel.ui.finetuneTree
    assert tree.topLevelItemCount == 1
    top = tree.topLevelItem(0)
    assert (top.text(0), top.text(1)) == ("drawn", "on CT")
    assert [top.child(n).text(1) for n in range(2)] == ["liver", "my lesion"]


def test_training_plots_and_then_uses_the_new_model(a_clean_host: Any, a_panel: Any, a_drawn_ct: Any) -> None:
    check(a_panel, 0, 1)
    a_panel.ui.finetuneNameEdit.text = "mine-1"
    a_panel.ui.finetuneRunButton.click()
    assert a_panel.ui.finetuneRunButton.text == "Cancel"
    a_clean_host.process(lambda: a_panel.ui.finetuneText.text.startswith("'mine-1' is trained"))
    assert "Mean Dice 0.250 before, 0.750 after" in a_panel.ui.finetuneText.text
    assert "learned from" in a_panel.ui.finetuneText.text
    table = a_clean_host.scene.GetFirstNodeByClass("vtkMRMLTableNode")
    assert table.GetNumberOfRows() == 3
    losses = [table.GetTable().GetColumnByName("Loss").GetValue(row) for row in range(3)]
    assert losses == pytest.approx([1.0, 1 / 2, 1 / 3])
    assert a_clean_host.scene.GetFirstNodeByClass("vtkMRMLPlotChartNode").GetNumberOfPlotSeriesNodes() == 2
    assert a_panel.setup.weights == "mine-1"
    assert a_panel.ui.modelSelector.currentText == "mine-1"
    assert a_panel.ui.finetuneRunButton.text == "Train"


def test_clicks_go_on_while_it_trains(a_clean_host: Any, a_panel: Any, a_drawn_ct: Any) -> None:
    from vista3d_case import rasOf

    check(a_panel, 0)
    a_panel.ui.finetuneRunButton.click()
    workbench = a_panel.workbench
    workbench.new_segment(name="a")
    workbench.add_point(rasOf(workbench.volume, (30, 25, 20)), True)
    a_clean_host.process(lambda: not workbench.points_pending)
    assert workbench.volume_ml(workbench.selected) > 0.0


def test_cancel_ends_the_process(a_clean_host: Any, a_panel: Any, a_drawn_ct: Any) -> None:
    check(a_panel, 0)
    a_panel.ui.finetuneRunButton.click()
    process = a_panel.finetune.worker._transport._process
    a_panel.ui.finetuneRunButton.click()
    assert "Cancelled" in a_panel.ui.finetuneText.text
    assert a_panel.ui.finetuneRunButton.text == "Train"
    a_clean_host.process(lambda: process.state().value == 0)
    assert a_panel.setup.weights == "vista3d-mini"


def test_what_cannot_be_trained_is_said(a_panel: Any, a_drawn_ct: Any) -> None:
    a_panel.ui.finetuneRunButton.click()
    assert "No segment is checked" in a_panel.ui.messageText.text
    check(a_panel, 0)
    a_panel.ui.finetuneNameEdit.text = "../escape"
    a_panel.ui.finetuneRunButton.click()
    assert "cannot be the name" in a_panel.ui.messageText.text
    a_panel.ui.finetuneNameEdit.text = ""
    a_panel.ui.finetuneTree.topLevelItem(0).child(0).setText(1, "kidney")
    a_panel.ui.finetuneRunButton.click()
    assert "stands for several classes" in a_panel.ui.messageText.text
    assert a_panel.ui.finetuneRunButton.text == "Train"


@pytest.mark.parametrize("single", [False, True])
def test_the_structures_are_of_a_single_piece_when_a_person_says_so(
    a_panel: Any, a_drawn_ct: Any, monkeypatch: pytest.MonkeyPatch, single: bool
) -> None:
    from VISTA3DWidgets.sideWorker import SideWorker

    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(SideWorker, "ask", lambda _self, _operation, arguments, _handlers: asked.append(arguments))
    assert not a_panel.ui.finetuneSinglePiece.checked
    a_panel.ui.finetuneSinglePiece.checked = single
    check(a_panel, 0, 1)
    a_panel.ui.finetuneRunButton.click()
    a_panel.ui.finetuneRunButton.click()
    assert [arguments["single_piece"] for arguments in asked] == [[LIVER, 133] if single else []]


def test_the_smaller_of_two_overlapping_segments_counts(a_panel: Any, a_drawn_ct: Any) -> None:
    from VISTA3DWidgets.trainingCases import Labels, labelMap

    check(a_panel, 0, 1)
    labels = Labels(catalogue=a_panel.automatic.catalogue())
    found = labelMap(a_panel.finetune.chosen()[0], labels).transpose(2, 1, 0)
    assert labels.mapping == [[1, LIVER], [2, 133]]
    assert labels.names == {133: "my lesion"}
    assert (found[LESION] == 2).all()
    assert np.count_nonzero(found == 1) == 10 * 20 * 20


def test_one_class_has_one_label_over_all_cases() -> None:
    from VISTA3DWidgets.trainingCases import Labels

    from VISTA3DLib.classes import ClassCatalogue

    labels = Labels(catalogue=ClassCatalogue.load())
    assert [labels.label(text) for text in ("liver", "new", "Liver ", "1", "other", "new")] == [1, 2, 1, 1, 3, 2]
    assert 255 not in labels.classIds
