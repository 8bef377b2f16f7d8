"""Which members the classes of Qt, CTK and Slicer really have in Python: answers from ``slicer_api.json``."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

# Value types that come out of listed members. What is used of them was seen to work in a running Slicer.
PLAIN_CLASSES = {
    "QByteArray": frozenset({"data", "size"}),
    "QItemSelection": frozenset[str](),
}


@functools.cache
def _lists() -> dict[str, Any]:
    return dict(json.loads(Path(__file__).with_name("slicer_api.json").read_text(encoding="utf-8")))


def source() -> str:
    """Where the lists come from."""
    return str(_lists()["source"])


def qt_classes() -> frozenset[str]:
    """The classes of the module ``qt`` that may be used."""
    return frozenset(_lists()["qt"])


def widget_classes() -> frozenset[str]:
    """Slicer's and CTK's own widgets that may be used."""
    return frozenset(_lists()["widgets"])


@functools.cache
def members(class_name: str, *, is_object: bool, is_widget: bool) -> frozenset[str]:
    """Every name that an object of the class has; raises ``KeyError`` for a class that nobody has looked up."""
    lists = _lists()
    if class_name in PLAIN_CLASSES:
        own: frozenset[str] = PLAIN_CLASSES[class_name]
    elif class_name in lists["widgets"]:
        own = frozenset(lists["widgets"][class_name]["members"])
    elif class_name in ("QWidget", "QObject", "QFrame"):
        own = frozenset()
    else:
        own = frozenset(lists["qt"][class_name])
    if is_widget:
        return own | frozenset(lists["namespaces"]["QWidget"])
    return own | frozenset(lists["namespaces"]["QObject"]) if is_object else own


@functools.cache
def signals(class_name: str) -> frozenset[str]:
    """Signatures of the signals that one of Slicer's own widgets declares, without names and ``const &``."""
    found = _lists()["widgets"].get(class_name, {"signals": []})["signals"]
    return frozenset(signature(text) for text in found)


@functools.cache
def slots(class_name: str) -> frozenset[str]:
    """Signatures of the slots that one of Slicer's own widgets declares."""
    found = _lists()["widgets"].get(class_name, {"slots": []})["slots"]
    return frozenset(signature(text) for text in found)


def properties(class_name: str) -> frozenset[str]:
    """Properties that one of Slicer's own widgets declares."""
    return frozenset(_lists()["widgets"][class_name]["properties"])


def base(class_name: str) -> str:
    """The class that one of Slicer's own widgets inherits."""
    return str(_lists()["widgets"][class_name]["base"])


def namespace(name: str) -> frozenset[str]:
    """The names of ``slicer.app``, ``slicer.util``, ``slicer.packaging`` or ``layoutManager``."""
    return frozenset(_lists()["namespaces"][name])


def signature(declaration: str) -> str:
    """``void f(const QString& id, int n = 0) const`` as ``f(QString,int)``."""
    match = re.fullmatch(r"(?:.*?[\s*&])??(\w+)\((.*)\)(?:\s*const)?", declaration.strip())
    if match is None:
        raise ValueError(f"{declaration!r} is no declaration")
    name, arguments = match.groups()
    kinds = []
    for argument in filter(None, (a.strip() for a in arguments.split(","))):
        text = argument.split("=")[0].replace("const ", "").replace("&", " ")
        text = re.sub(r"\s*\*\s*", "* ", text).strip()
        kinds.append(text.split(" ")[0])
    return f"{name}({','.join(kinds)})"
