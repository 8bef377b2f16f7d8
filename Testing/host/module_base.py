"""Stand-ins for ``slicer.ScriptedLoadableModule``: the base classes of the module's four classes."""

from __future__ import annotations

import types
import unittest
from pathlib import Path
from typing import Any

import slicer
import wrap
from PySide6.QtWidgets import QVBoxLayout, QWidget


def tr(text: str) -> str:
    """``slicer.i18n.tr``: the host speaks English."""
    return text


def translate(_context: str, text: str) -> str:
    """``slicer.i18n.translate``."""
    return text


class ModuleParent:
    """What Slicer hands to the module class."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.title = Path(path).stem
        self.categories: list[str] = []
        self.dependencies: list[str] = []
        self.contributors: list[str] = []
        self.helpText = self.acknowledgementText = ""
        self.hidden = False

    def defaultDocumentationLink(self) -> str:
        return ""


class WidgetParent(QWidget):
    """The widget of the module panel, with what ``qSlicerScriptedLoadableModuleWidget`` adds."""

    def __init__(self) -> None:
        super().__init__()
        QVBoxLayout(self)


class ParentProxy:
    """``self.parent`` of a module widget: the panel's widget, and whether the module is entered."""

    def __init__(self, raw: QWidget) -> None:
        self.raw = raw
        self.isEntered = False

    def layout(self) -> Any:
        return self.raw.layout()


class ScriptedLoadableModule:
    """The module: title, categories and so on."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__

    def resourcePath(self, name: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / name)


class ScriptedLoadableModuleWidget:
    """The panel's base."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent
        self.layout = _Layout(parent.raw)

    def resourcePath(self, name: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / name)

    def setup(self) -> None:
        pass

    def cleanup(self) -> None:
        pass

    def enter(self) -> None:
        pass

    def exit(self) -> None:
        pass

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)


class _Layout:
    """``self.layout``: widgets are added to it."""

    def __init__(self, raw: QWidget) -> None:
        self._raw = raw

    def addWidget(self, widget: Any) -> None:
        self._raw.layout().addWidget(wrap.unwrap(widget))

    def addStretch(self, stretch: int) -> None:
        self._raw.layout().addStretch(stretch)  # type: ignore[union-attr]


class ScriptedLoadableModuleLogic:
    """The logic's base: the parameter node."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetModuleName(self.moduleName)
            node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
            slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The test's base."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def delayDisplay(self, message: str) -> None:
        pass

    def runTest(self) -> None:
        pass


def modules() -> dict[str, types.ModuleType]:
    """``slicer.ScriptedLoadableModule`` and ``slicer.i18n``."""
    base, i18n = types.ModuleType("slicer.ScriptedLoadableModule"), types.ModuleType("slicer.i18n")
    for cls in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(base, cls.__name__, cls)
    base.__all__ = [  # type: ignore[attr-defined]
        "ScriptedLoadableModule", "ScriptedLoadableModuleWidget", "ScriptedLoadableModuleLogic",
        "ScriptedLoadableModuleTest",
    ]  # fmt: skip
    i18n.tr, i18n.translate = tr, translate  # type: ignore[attr-defined]
    return {"slicer.ScriptedLoadableModule": base, "slicer.i18n": i18n}
