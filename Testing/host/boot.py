"""Boots what stands in for the Slicer application: real MRML and logics, ``slicer.app``, ``slicer.util``, ``qt``.

``Host`` is made once a process. See ``docs/testing.md`` for what it can show and what it cannot.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import stat
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import api_lists
import module_base
import qt_modules
import slicer
import ui_loader
import views
import vtk
import wrap
from PySide6.QtCore import QCoreApplication, QProcessEnvironment, QSettings, Qt
from PySide6.QtWidgets import QApplication, QGridLayout, QHBoxLayout, QMainWindow, QScrollArea, QWidget

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "VISTA3D" / "VISTA3D.py"


_made: list[Host] = []


def the_host() -> Host:
    """The host of this process, made when it is first asked for."""
    if not _made:
        _made.append(Host())
        _made[0].window.show()
    return _made[0]


def close_the_host() -> None:
    """Take the host apart, if there is one."""
    while _made:
        _made.pop().close()


class Host:
    """The application: ``scene``, ``window``, ``views`` and the messages that would have been dialogs."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="vista3d-host-"))
        QCoreApplication.setOrganizationName("VISTA3D-host")
        QSettings.setDefaultFormat(QSettings.Format.IniFormat)
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(self.home / "settings"))
        self.application = QApplication.instance() or QApplication(["host"])
        qt_modules.install()
        self.dialogs: list[str] = []
        self.widget: Any = None  # the module's, once somebody asked for it
        self.scene = slicer.vtkMRMLScene()
        self._boot_scene()
        self._fake_python()
        self.window = QMainWindow()
        self._boot_views()
        self._boot_slicer()

    def _boot_scene(self) -> None:
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)
        self.logic = slicer.vtkSlicerApplicationLogic()
        self.logic.SetMRMLScene(self.scene)
        self._boot_data_io()
        self.logic.GetColorLogic().SetMRMLScene(self.scene)
        self.logic.GetColorLogic().AddDefaultColorNodes()
        self.logic.SetModuleLogic("Colors", self.logic.GetColorLogic())
        self.logic.SetSliceLogics(vtk.vtkCollection())
        self.logic.SetViewLogics(vtk.vtkCollection())
        for factory in (
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
            slicer.vtkMRMLSliceViewDisplayableManagerFactory,
        ):
            factory.GetInstance().SetMRMLApplicationLogic(self.logic)
        self.logics = {
            "volumes": self._module_logic(slicer.vtkSlicerVolumesLogic, "Volumes"),
            "segmentations": self._module_logic(slicer.vtkSlicerSegmentationsModuleLogic, "Segmentations"),
            "markups": self._module_logic(slicer.vtkSlicerMarkupsLogic, "Markups"),
            "sequences": self._module_logic(slicer.vtkSlicerSequencesLogic, "Sequences"),
            "plots": self._module_logic(slicer.vtkSlicerPlotsLogic, "Plots"),
        }
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)

    def _boot_data_io(self) -> None:
        """What reading scenes needs: a cache folder, and the logic that copies files."""
        cache = slicer.vtkCacheManager()
        cache.SetRemoteCacheDirectory(str(self.home / "cache"))
        manager = slicer.vtkDataIOManager()
        manager.SetCacheManager(cache)
        self.scene.SetCacheManager(cache)
        self.scene.SetDataIOManager(manager)

    def _module_logic(self, cls: Any, name: str) -> Any:
        logic = cls()
        logic.SetMRMLScene(self.scene)
        logic.SetMRMLApplicationLogic(self.logic)
        self.logic.SetModuleLogic(name, logic)
        return logic

    def _fake_python(self) -> None:
        """A ``PythonSlicer`` beside the application's home that runs this Python."""
        path = self.home / "bin" / "PythonSlicer"
        path.parent.mkdir()
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def _boot_views(self) -> None:
        self.views = {name: views.SliceView(name, self.scene, self.logic) for name in ("Red", "Yellow", "Green")}
        central = QWidget()
        layout = QHBoxLayout(central)
        layout.setContentsMargins(0, 0, 0, 0)
        self.panel_area = QScrollArea()
        self.panel_area.setWidgetResizable(True)
        self.panel_area.setMinimumWidth(430)
        layout.addWidget(self.panel_area)
        grid = QGridLayout()
        grid.addWidget(self.views["Red"], 0, 0, 1, 2)
        grid.addWidget(self.views["Yellow"], 1, 0)
        grid.addWidget(self.views["Green"], 1, 1)
        grid.setRowStretch(0, 5)
        grid.setRowStretch(1, 4)
        layout.addLayout(grid, 1)
        self.window.setCentralWidget(central)
        self.window.resize(1280, 860)

    def _boot_slicer(self) -> None:
        slicer.mrmlScene = self.scene
        slicer.app = Application(self)
        slicer.modules = types.SimpleNamespace(
            **{name: types.SimpleNamespace(logic=lambda logic=logic: logic) for name, logic in self.logics.items()}
        )
        for name, module in module_base.modules().items():
            sys.modules[name] = module
            setattr(slicer, name.rpartition(".")[2], module)
        packaging = Packaging(self)
        sys.modules["slicer.packaging"] = packaging.module
        slicer.packaging = packaging.module
        self.packaging = packaging
        _Util(self).install()

    def process(self, until: Any = None, seconds: float = 180.0) -> None:
        """Let the event loop run: once, or until a condition holds (AssertionError after ``seconds``)."""
        import time

        limit = time.monotonic() + seconds
        self.application.processEvents()
        while until is not None and not until():
            if time.monotonic() > limit:
                raise AssertionError("what the test waits for did not happen")
            self.application.processEvents()
            time.sleep(0.005)

    def close(self) -> None:
        """Take everything apart in the order that ends without a crash."""
        if self.widget is not None:
            from opening import close_widget

            close_widget(self, self.widget)
            self.widget = None
        for view in self.views.values():
            view.close_view()
        self.views.clear()
        self.window.close()
        self.scene.Clear(1)
        gc.collect()
        import shutil

        shutil.rmtree(self.home, ignore_errors=True)


class _Listed:
    """An object that shows the members which the lists name and the host implements."""

    listed = ""

    def __getattr__(self, name: str) -> Any:
        if name not in api_lists.namespace(self.listed):
            raise AttributeError(f"The real {self.listed} has no member '{name}'.")
        raise AttributeError(f"The host does not implement {self.listed}.{name}.")


class Application(_Listed):
    """``slicer.app``."""

    listed = "slicer.app"

    def __init__(self, host: Host) -> None:
        self._host = host
        self.slicerHome = str(host.home)
        self.temporaryPath = tempfile.gettempdir()
        self._layout = LayoutManager(host)
        self._connected: list[tuple[str, Any]] = []

    def applicationLogic(self) -> Any:
        return self._host.logic

    def layoutManager(self) -> Any:
        return self._layout

    def testingEnabled(self) -> bool:
        return True

    def settings(self) -> Any:
        return wrap.wrap(QSettings())

    def userSettings(self) -> Any:
        return wrap.wrap(QSettings())

    def startupEnvironment(self) -> Any:
        return wrap.wrap(QProcessEnvironment.systemEnvironment())

    def processEvents(self) -> None:
        self._host.application.processEvents()

    def setOverrideCursor(self, _: Any) -> None:
        pass

    def restoreOverrideCursor(self) -> None:
        pass

    def mrmlScene(self) -> Any:
        return self._host.scene

    def connect(self, signature: str, slot: Any) -> bool:
        """Remembered; ``tell`` calls the slots."""
        if signature.partition("(")[0] not in api_lists.namespace(self.listed):
            raise ValueError(f"slicer.app has no signal '{signature}'.")
        wrap.check_slot(slot)
        self._connected.append((signature, slot))
        return True

    def disconnect(self, signature: str, slot: Any) -> bool:
        self._connected.remove((signature, slot))
        return True

    def tell(self, signature: str) -> None:
        """Emit one of the application's signals."""
        for connected, slot in list(self._connected):
            if connected == signature:
                wrap.run_slot(slot, ())


class LayoutManager(_Listed):
    """``slicer.app.layoutManager()``."""

    listed = "layoutManager"

    def __init__(self, host: Host) -> None:
        self._host = host

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._host.views)

    def setLayout(self, layout: int) -> None:
        self.layout = layout


class Packaging:
    """``slicer.packaging``: remembers what it was asked to install; installs nothing, as Slicer does in tests."""

    def __init__(self, host: Host) -> None:
        self.asked: list[Any] = []
        self.refuse = False
        self.break_down = False
        self.module = types.ModuleType("slicer.packaging")
        self.module.pip_ensure = self._ensure  # type: ignore[attr-defined]
        self.module.load_requirements = self._load  # type: ignore[attr-defined]

    def _ensure(self, requirements: Any, **options: Any) -> None:
        if self.refuse:
            raise RuntimeError("User declined package installation")
        if self.break_down:
            raise subprocess.CalledProcessError(1, ["PythonSlicer", "-m", "pip", "install"])
        self.asked.append((list(requirements), options))

    def _load(self, path: str) -> list[str]:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line and not line.startswith("#")]


class _Util:
    """What ``slicer.util`` of the wheel cannot do without the application."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def install(self) -> None:
        for name in dir(self):
            if not name.startswith("_") and name != "install":
                if name not in api_lists.namespace("slicer.util"):
                    raise AttributeError(f"The real slicer.util has no '{name}'.")
                setattr(slicer.util, name, getattr(self, name))

    def loadUI(self, path: str) -> Any:
        return ui_loader.load_ui(path)

    def childWidgetVariables(self, widget: Any) -> Any:
        raw = wrap.unwrap(widget)
        named = {w.objectName(): wrap.wrap(w) for w in raw.findChildren(QWidget) if w.objectName()}
        return types.SimpleNamespace(**named)

    def mainWindow(self) -> Any:
        return wrap.wrap(self._host.window)

    def modulePath(self, name: str) -> str:
        return str(MODULE.with_name(f"{name}.py"))

    def errorDisplay(self, text: str, *_: Any, **__: Any) -> None:
        self._host.dialogs.append(f"error: {text}")

    def infoDisplay(self, text: str, *_: Any, **__: Any) -> None:
        self._host.dialogs.append(f"info: {text}")

    def confirmOkCancelDisplay(self, text: str, *_: Any, **__: Any) -> bool:
        self._host.dialogs.append(f"confirm: {text}")
        return True

    def confirmYesNoDisplay(self, text: str, *_: Any, **__: Any) -> bool:
        self._host.dialogs.append(f"confirm: {text}")
        return True

    def setSliceViewerLayers(self, background: Any = None, **_: Any) -> None:
        for view in self._host.views.values():
            composite = view.logic.GetSliceCompositeNode()
            composite.SetBackgroundVolumeID(background.GetID() if background is not None else None)

    def resetSliceViews(self) -> None:
        for view in self._host.views.values():
            view.logic.FitSliceToAll()

    def getModuleWidget(self, name: str) -> Any:
        if self._host.widget is None:
            from opening import open_widget

            self._host.widget = open_widget(self._host, enter=False)
        return self._host.widget

    def saveScene(self, path: str) -> bool:
        self._host.scene.SetRootDirectory(str(Path(path).parent))
        return bool(self._host.scene.WriteToMRB(path, None, None))

    def loadScene(self, path: str) -> bool:
        return bool(self._host.scene.ReadFromMRB(path, False, None))  # adds to what is there, as Slicer does

    def reloadScriptedModule(self, name: str) -> None:
        """Run the module's file again, take its widget apart and make a new one in the same place, as Slicer does."""
        spec = importlib.util.spec_from_file_location(name, self.modulePath(name))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        old = slicer.modules.VISTA3DWidget
        for child in old.parent.raw.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly):
            child.hide()
        old.cleanup()
        slicer.modules.VISTA3DWidget = module.VISTA3DWidget(old.parent)
        slicer.modules.VISTA3DWidget.setup()

    def startupEnvironment(self) -> dict[str, str]:
        return dict(os.environ)

    @contextlib.contextmanager
    def tryWithErrorDisplay(self, message: str = "", show: bool = True, waitCursor: bool = False) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._host.dialogs.append(f"error: {message} {error}")
            raise
