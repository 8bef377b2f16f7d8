"""The section for setting up: CT, model, device, packages, weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from person import name_python

pytest.importorskip("PySide6")
pytest.importorskip("slicer")


class TestSetUp:
    def test_nothing_is_started_until_there_is_a_ct(self, a_clean_host: Any) -> None:
        from opening import close_widget, open_widget

        widget = open_widget(a_clean_host)
        assert not widget.panel.workbench.busy
        assert not widget.panel.ui.addPointButton.enabled
        assert not widget.panel.ui.runButton.enabled
        close_widget(a_clean_host, widget)

    def test_the_shown_ct_is_chosen_and_the_model_loaded(self, a_panel: Any, a_shown_ct: Any) -> None:
        assert a_panel.workbench.volume is a_shown_ct
        assert a_panel.ui.volumeSelector.currentNode() is a_shown_ct
        assert "Ready: VISTA3D mini on CPU" in a_panel.ui.readyText.text
        assert "GiB free" in a_panel.ui.readyText.text

    def test_defaults_are_sensible(self, a_panel: Any) -> None:
        ui = a_panel.ui
        assert ui.modelSelector.currentText == "VISTA3D mini"
        assert ui.deviceSelector.currentText == "Automatic"
        assert ui.liveCheckBox.checked
        assert not ui.previewCheckBox.checked
        assert ui.policySelector.currentText.startswith("Keep them")
        assert not ui.installButton.visible
        assert not ui.downloadButton.visible

    def test_all_official_models_are_offered(self, a_panel: Any) -> None:
        from VISTA3DLib.weights import WeightsCatalogue

        offered = {a_panel.ui.modelSelector.itemData(i) for i in range(a_panel.ui.modelSelector.count)}
        assert set(WeightsCatalogue.load().ids) <= offered

    def test_weights_that_are_not_here_are_downloaded_after_their_licence_was_shown(
        self, a_clean_host: Any, a_panel: Any
    ) -> None:
        selector = a_panel.ui.modelSelector
        index = selector.findData("vista3d-ct")
        selector.setCurrentIndex(index)
        a_panel.setup.onModelActivated(index)
        assert a_panel.ui.downloadButton.visible
        assert "not on this computer" in a_panel.ui.readyText.text
        a_panel.ui.downloadButton.click()
        assert "NVIDIA Open Model License" in a_clean_host.dialogs[-1]
        assert "872 MB" in a_clean_host.dialogs[-1]
        a_clean_host.process(lambda: "MB/s" in a_panel.ui.progressBar.text)
        a_panel.ui.cancelButton.click()
        a_clean_host.process(lambda: not a_panel.workbench.busy)
        assert a_panel.ui.downloadButton.enabled

    def test_a_click_with_weights_that_are_not_here_says_what_to_do(self, a_panel: Any) -> None:
        a_panel.preferences.set("Model", "vista3d-ct")
        a_panel.refresh()
        a_panel.ui.addPointButton.click()
        assert "Download weights" in a_panel.ui.messageText.text
        assert not a_panel.ui.addPointButton.checked

    def test_a_file_without_weights_is_refused(self, a_clean_host: Any, a_panel: Any, tmp_path: Path) -> None:
        import qt_modules

        path = tmp_path / "broken.safetensors"
        path.write_bytes(b"nothing")
        qt_modules.dialogs.answer = str(path)
        a_panel.ui.modelFileButton.click()
        qt_modules.dialogs.answer = ""
        assert "broken.safetensors" in a_panel.ui.messageText.text
        assert a_panel.setup.weights == "vista3d-mini"

    def test_devices_are_listed_on_request(self, a_clean_host: Any, a_panel: Any) -> None:
        a_panel.ui.findDevicesButton.click()
        selector = a_panel.ui.deviceSelector
        a_clean_host.process(lambda: selector.findText("CPU of the test") >= 0)
        assert selector.currentText == "Automatic"

    def test_findings_about_the_ct_are_shown(self, a_clean_host: Any, a_panel: Any) -> None:
        from vista3d_case import makeVolume

        a_panel.ui.volumeSelector.setCurrentNode(makeVolume("slab", (8, 50, 60)))
        a_clean_host.process(lambda: a_panel.ui.findingsText.visible)
        assert "field of view is small" in a_panel.ui.findingsText.text

    def test_choices_survive_a_restart(self, a_clean_host: Any, a_widget: Any) -> None:
        from opening import close_widget, open_widget

        a_widget.panel.ui.liveCheckBox.checked = False
        a_widget.panel.ui.policySelector.setCurrentIndex(2)
        a_widget.panel.segments.onPolicy(2)
        close_widget(a_clean_host, a_widget)
        widget = open_widget(a_clean_host)
        assert not widget.panel.workbench.live
        assert widget.panel.workbench.policy.name == "OVERWRITE_OTHERS"
        close_widget(a_clean_host, widget)


class TestPackages:
    @pytest.fixture
    def a_bare_slicer(self, a_panel: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Slicer's own Python, without what the network needs."""
        import importlib.util

        real = importlib.util.find_spec
        gone = {"monai", "cc3d"}
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in gone else real(name, *a))
        a_panel.ui.pythonEdit.text = ""
        a_panel.settings.onPython()
        return a_panel

    def test_missing_packages_are_named_and_nothing_is_started(self, a_bare_slicer: Any) -> None:
        assert "monai, cc3d" in a_bare_slicer.ui.readyText.text
        assert a_bare_slicer.ui.installButton.visible
        a_bare_slicer.setup.onLoad()
        assert "Install packages" in a_bare_slicer.ui.messageText.text

    def test_they_are_installed_only_on_request(self, a_clean_host: Any, a_bare_slicer: Any) -> None:
        assert not a_clean_host.packaging.asked
        a_bare_slicer.ui.installButton.click()
        requirements, options = a_clean_host.packaging.asked[-1]
        assert any(line.startswith("monai") for line in requirements)
        assert "torch" in options["skip_packages"]
        assert options["requester"] == "VISTA3D"

    @pytest.mark.skipif(os.name == "nt", reason="shell scripts")
    def test_a_python_of_ones_own_is_asked_and_told_how_to_get_them(
        self, a_clean_host: Any, a_panel: Any, tmp_path: Path
    ) -> None:
        python = name_python(a_panel, tmp_path, 'echo \'["monai", "torch"]\'')
        a_clean_host.process(lambda: "torch, monai" in a_panel.ui.readyText.text)
        assert str(python) in a_panel.ui.readyText.text
        assert not a_panel.ui.installButton.visible  # that is for Slicer's own
        a_panel.setup.onLoad()
        assert f"{python} -m pip install torch -r " in a_panel.ui.messageText.text

    @pytest.mark.skipif(os.name == "nt", reason="shell scripts")
    def test_a_program_that_is_no_python_is_said_to_be_unable_to_start(
        self, a_clean_host: Any, a_panel: Any, tmp_path: Path
    ) -> None:
        name_python(a_panel, tmp_path, "exit 3")
        a_clean_host.process(lambda: "cannot be started (status 3)" in a_panel.ui.messageText.text)
        assert not a_panel.workbench.busy

    def test_declining_leaves_the_panel_usable(self, a_clean_host: Any, a_bare_slicer: Any) -> None:
        a_clean_host.packaging.refuse = True
        a_bare_slicer.ui.installButton.click()
        assert "declined" in a_bare_slicer.ui.messageText.text
        assert a_bare_slicer.ui.installButton.enabled

    def test_an_installation_that_fails_is_told_in_the_panel(self, a_clean_host: Any, a_bare_slicer: Any) -> None:
        a_clean_host.packaging.break_down = True
        a_bare_slicer.ui.installButton.click()
        assert "packages were not installed" in a_bare_slicer.ui.messageText.text
        assert a_bare_slicer.ui.installButton.enabled
