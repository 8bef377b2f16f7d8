"""Every name of a widget, property, signal, slot or function in the panel is one that the real classes have.

The lists are an excerpt of what Python sees in a running Slicer (``Testing/host/slicer_api.json``).
"""

from __future__ import annotations

import ast
import functools
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

ROOT = Path(__file__).resolve().parents[2]
UI = ROOT / "VISTA3D" / "Resources" / "UI" / "VISTA3D.ui"
SOURCES = [ROOT / "VISTA3D" / "VISTA3D.py", *sorted((ROOT / "VISTA3D" / "VISTA3DWidgets").glob("*.py"))]
# Layout classes and values that .ui files may use in Qt 5.
LAYOUTS = {"QVBoxLayout", "QHBoxLayout", "QFormLayout", "QGridLayout"}


def classes() -> dict[str, str]:
    """Name of each widget of the .ui file -> its class."""
    found = {element.get("name", ""): element.get("class", "") for element in ElementTree.parse(UI).iter("widget")}
    assert len(found) == len(list(ElementTree.parse(UI).iter("widget"))), "two widgets have one name"
    return found


def raw_class(name: str) -> type:
    import qt_modules
    import wrap

    return qt_modules.STANDINS[name] if name in qt_modules.STANDINS else wrap.find_class(name)


def members(class_name: str) -> frozenset[str]:
    import wrap

    return wrap.allowed(raw_class(class_name))


@functools.cache
def instance(class_name: str) -> object:
    """An object to ask: PySide loses a class's own ``staticMetaObject`` when widgets of it came and went."""
    return raw_class(class_name)()


def is_property(class_name: str, name: str) -> bool:
    """Whether Python must not call it."""
    import api_lists

    if class_name in api_lists.widget_classes() and name in api_lists.properties(class_name):
        return True
    return bool(instance(class_name).metaObject().indexOfProperty(name) >= 0)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("host")
class TestUiFile:
    def test_each_class_is_known(self) -> None:
        import api_lists

        known = api_lists.qt_classes() | api_lists.widget_classes() | {"QWidget"}
        assert set(classes().values()) <= known
        assert {layout.get("class") for layout in ElementTree.parse(UI).iter("layout")} <= LAYOUTS

    def test_each_property_is_one_of_its_class(self) -> None:
        for element in ElementTree.parse(UI).iter("widget"):
            for item in element.findall("property"):
                assert is_property(element.get("class", ""), item.get("name", "")), (element.attrib, item.attrib)

    def test_enumerations_are_written_as_in_qt_5(self) -> None:
        for element in ElementTree.parse(UI).iter():
            if element.tag in ("enum", "set"):
                assert (element.text or "").count("::") == 1, element.text

    def test_each_custom_class_is_declared(self) -> None:
        declared = {element.findtext("class") for element in ElementTree.parse(UI).iter("customwidget")}
        assert declared == {name for name in classes().values() if not name.startswith("Q")}

    def test_connections_name_real_signals_and_slots(self) -> None:
        import api_lists

        named = classes()
        connections = list(ElementTree.parse(UI).iter("connection"))
        assert connections
        for connection in connections:
            parts = {child.tag: child.text or "" for child in connection}
            assert parts["signal"] in api_lists.signals(named[parts["sender"]])
            receiver = named[parts["receiver"]]
            bases = [receiver, api_lists.base(receiver)]
            assert any(parts["slot"] in api_lists.slots(base) for base in bases), parts

    def test_every_node_selector_gets_the_scene(self) -> None:
        named = classes()
        connected = {connection.findtext("receiver") for connection in ElementTree.parse(UI).iter("connection")}
        assert connected == {name for name, kind in named.items() if kind.startswith("qMRML") and kind != "qMRMLWidget"}

    def test_every_control_has_a_tool_tip_and_a_label(self) -> None:
        for element in ElementTree.parse(UI).iter("widget"):
            kind, name = element.get("class", ""), element.get("name")
            given = {item.get("name") for item in element.findall("property")}
            if kind in ("QPushButton", "QToolButton", "QCheckBox"):
                assert {"text", "toolTip"} <= given, name
            elif kind in ("QComboBox", "QSlider", "QSpinBox", "QLineEdit", "QTreeWidget", "qMRMLNodeComboBox"):
                assert "toolTip" in given, name


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in SOURCES:
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def dotted(node: ast.expr) -> list[str]:
    """``self.ui.runButton.text`` as a list; empty for anything but names and attributes."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [*reversed([*parts, node.id])] if isinstance(node, ast.Name) else []


def ui_uses() -> Iterator[tuple[str, str, str, bool]]:
    """Where, widget, member, and whether it is called, of every use of a widget of the .ui file."""
    for path, tree in trees():
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            parts = dotted(node) if isinstance(node, ast.Attribute) else []
            if "ui" in parts[:3] and len(parts) - parts.index("ui") == 3:
                yield f"{path.name}:{node.lineno}", parts[-2], parts[-1], id(node) in called


@pytest.mark.usefixtures("host")
class TestPythonCode:
    def test_widgets_are_in_the_ui_file(self) -> None:
        named = classes()
        uses = list(ui_uses())
        assert len(uses) > 90
        for where, widget, _, _ in uses:
            assert widget in named, (where, widget)

    def test_members_are_those_of_the_real_classes(self) -> None:
        named = classes()
        for where, widget, member, _ in ui_uses():
            assert member in members(named[widget]), (where, widget, member)

    def test_properties_are_read_and_methods_are_called(self) -> None:
        named = classes()
        for where, widget, member, called in ui_uses():
            assert called != is_property(named[widget], member), (where, widget, member)

    def test_names_of_qt_ctk_and_slicer_exist(self) -> None:
        import api_lists
        from PySide6.QtCore import Qt

        seen = 0
        for path, tree in trees():
            for node in ast.walk(tree):
                parts = dotted(node) if isinstance(node, ast.Attribute) else []
                where = f"{path.name}:{getattr(node, 'lineno', 0)} {'.'.join(parts)}"
                if parts[:2] == ["qt", "Qt"] and len(parts) > 2:
                    assert hasattr(Qt, parts[2]), where
                    assert not isinstance(getattr(Qt, parts[2]), type), f"Qt 6 only: {where}"
                    assert len(parts) == 3, where
                elif parts[:1] == ["qt"] and len(parts) > 1:
                    seen += 1
                    assert parts[1] in api_lists.qt_classes() | {"Qt", "QWidget"}, where
                    if len(parts) > 2:
                        assert parts[2] in members(parts[1]), where
                elif parts[:1] == ["slicer"] and len(parts) == 3 and parts[1] in ("app", "util", "packaging"):
                    seen += 1
                    own = api_lists.namespace("QObject") if parts[1] == "app" else frozenset()
                    assert parts[2] in api_lists.namespace(f"slicer.{parts[1]}") | own, where
        assert seen > 30

    def test_connections_are_full_signatures_of_real_signals(self) -> None:
        import api_lists

        named, seen = classes(), 0
        for path, tree in trees():
            for call in ast.walk(tree):
                if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                    continue
                texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                if call.func.attr not in ("connect", "disconnect") or not texts:
                    continue
                seen += 1
                signature, where = texts[0], f"{path.name}:{call.lineno} {texts[0]}"
                assert signature.endswith(")"), where
                parts = dotted(call.args[0])
                if "ui" in parts:
                    kind = named[parts[-1]]
                    if signature not in api_lists.signals(kind):
                        assert instance(kind).metaObject().indexOfSignal(signature) >= 0, where  # type: ignore[attr-defined]
                        assert signature.partition("(")[0] in members(kind), where
        assert seen > 40

    def test_slots_have_no_optional_parameters(self) -> None:
        """PythonQt would hand a signal's arguments to them."""
        for path, tree in trees():
            named = {
                dotted(argument)[-1]
                for call in ast.walk(tree)
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "connect"
                for argument in call.args
                if dotted(argument)[:1] == ["self"] and "ui" not in dotted(argument)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef) and node.name in named:
                    assert not node.args.defaults, f"{path.name}:{node.lineno} {node.name}"

    def test_no_lambda_is_connected_and_no_event_loop_is_entered(self) -> None:
        for path, tree in trees():
            for node in ast.walk(tree):
                assert not isinstance(node, ast.Lambda), f"{path.name}:{node.lineno}"
                if isinstance(node, ast.Attribute):
                    assert node.attr not in ("processEvents", "exec_", "exec"), f"{path.name}:{node.lineno}"

    def test_nothing_heavy_is_imported(self) -> None:
        forbidden = {"torch", "monai", "SimpleITK", "scipy", "trame", "PySide6"}
        for path, tree in trees():
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    assert not {alias.name.partition(".")[0] for alias in node.names} & forbidden, path
                elif isinstance(node, ast.ImportFrom):
                    assert (node.module or "").partition(".")[0] not in forbidden, path


def test_lists_say_where_they_come_from() -> None:
    import api_lists

    assert "Slicer 5.13" in api_lists.source()


def signatures() -> list[tuple[str, str]]:
    return [
        ("void setCurrentNode(vtkMRMLNode* node)", "setCurrentNode(vtkMRMLNode*)"),
        ("void currentNodeIDChanged(const QString& id)", "currentNodeIDChanged(QString)"),
        ("bool f() const", "f()"),
        ("void setSelectedSegmentsStatus(int status = -1)", "setSelectedSegmentsStatus(int)"),
    ]


@pytest.mark.parametrize(("declaration", "expected"), signatures())
def test_declarations_become_signatures(declaration: str, expected: str) -> None:
    import api_lists

    found: Any = api_lists.signature(declaration)
    assert found == expected
