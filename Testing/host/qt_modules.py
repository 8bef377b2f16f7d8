"""The modules ``qt`` and ``ctk`` as Slicer has them, over PySide6 and the stand-ins."""

from __future__ import annotations

import sys
import types
from typing import Any

import api_lists
import standin_ctk
import standin_mrml
import standin_selector
import standin_table
import wrap
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QWidget

STANDINS: dict[str, type[QWidget]] = {
    cls.__name__: cls
    for cls in (
        standin_ctk.ctkCollapsibleButton,
        standin_ctk.ctkSearchBox,
        standin_mrml.qMRMLWidget,
        standin_selector.qMRMLNodeComboBox,
        standin_table.qMRMLSegmentsTableView,
    )
}


class _Namespace:
    """``qt.Qt``: values only, without the scopes of Qt 6."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(Qt, name)
        if isinstance(value, type):
            raise AttributeError(f"Qt 5 knows no 'qt.Qt.{name}.X'; write 'qt.Qt.X'.")
        return value


class _Dialogs:
    """``qt.QFileDialog``: its static functions return one text, not a pair; tests set the ``answer``."""

    answer = ""

    def __getattr__(self, name: str) -> Any:
        if name not in api_lists.members("QFileDialog", is_object=True, is_widget=True):
            raise AttributeError(f"The real class QFileDialog has no member '{name}'.")
        if name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory"):
            return self._ask
        return getattr(QFileDialog, name)

    def _ask(self, *_: Any) -> str:
        return self.answer


dialogs = _Dialogs()


def install() -> None:
    """Make ``import qt`` and ``import ctk`` work."""
    qt, ctk = types.ModuleType("qt"), types.ModuleType("ctk")
    for name in api_lists.qt_classes():
        setattr(qt, name, wrap.make_class(wrap.find_class(name)))
    qt.Qt, qt.QFileDialog = _Namespace(), dialogs  # type: ignore[attr-defined]
    qt.QWidget = wrap.make_class(QWidget)  # type: ignore[attr-defined]
    for name, raw in STANDINS.items():
        if name.startswith("ctk"):
            setattr(ctk, name, wrap.make_class(raw))
    sys.modules["qt"], sys.modules["ctk"] = qt, ctk
