"""Loads ``.ui`` files with the stand-ins in them, and makes their connections in Python."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import api_lists
import qt_modules
import wrap
from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QObject
from PySide6.QtUiTools import QUiLoader
from PySide6.QtWidgets import QWidget


class _Loader(QUiLoader):
    def __init__(self) -> None:
        super().__init__()
        self.made: list[QWidget] = []  # the top widget has no parent that keeps it

    def createWidget(self, class_name: str, parent: QWidget | None = None, name: str = "") -> QWidget:
        if class_name in qt_modules.STANDINS:
            widget = qt_modules.STANDINS[class_name](parent)
            widget.setObjectName(name)
        elif class_name in self.availableWidgets():
            widget = super().createWidget(class_name, parent, name)
        else:
            raise ValueError(f"The host has no stand-in for the class {class_name} of the .ui file.")
        self.made.append(widget)
        return widget


def load_ui(path: str) -> Any:
    """``slicer.util.loadUI``. Raises ``RuntimeError`` for a missing file, ``ValueError`` for wrong connections."""
    if not Path(path).is_file():
        raise RuntimeError(f"Could not load UI file: file not found {path}")
    tree = ElementTree.parse(path)
    root = tree.getroot()
    connections = root.find("connections")
    if connections is not None:
        root.remove(connections)
    loader = _Loader()
    data = QByteArray(ElementTree.tostring(root))
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.ReadOnly)
    top = loader.load(buffer)
    if top is None:
        raise RuntimeError(f"Could not load UI file: {path}: {loader.errorString()}")
    for connection in connections if connections is not None else ():
        _connect(top, {child.tag: child.text or "" for child in connection})
    top.setProperty("made", len(loader.made))
    _kept.append(loader)
    return wrap.wrap(top)


_kept: list[_Loader] = []


def _connect(top: QWidget, parts: dict[str, str]) -> None:
    sender, receiver = (_object(top, parts[key]) for key in ("sender", "receiver"))
    shown = wrap.public_class(type(receiver)).__name__
    if shown in api_lists.widget_classes():
        ancestors = [shown, *_bases(shown)]
        if not any(parts["slot"] in api_lists.slots(name) for name in ancestors):
            raise ValueError(f"{shown} has no slot {parts['slot']}.")
    signal = wrap._Connector(sender)._signal(parts["signal"])
    target = getattr(receiver, parts["slot"].partition("(")[0])
    if isinstance(signal, str):
        QObject.connect(sender, wrap.SIGNAL(signal), target)
    else:
        signal.connect(target)


def _bases(name: str) -> list[str]:
    found = []
    while name in api_lists.widget_classes():
        name = api_lists.base(name)
        found.append(name)
    return found


def _object(top: QWidget, name: str) -> QObject:
    found = top if top.objectName() == name else top.findChild(QObject, name)
    if found is None:
        raise ValueError(f"The .ui file connects '{name}', which it does not have.")
    return found
