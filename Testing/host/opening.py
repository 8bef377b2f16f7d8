"""Opens the module on the host as Slicer does, and closes it."""

from __future__ import annotations

import importlib
from typing import Any

import module_base
import slicer


def open_widget(host: Any, *, enter: bool = True) -> Any:
    """Make the module and its widget, set it up, show it in the host's window, and enter it."""
    from boot import MODULE

    if host.widget is not None:  # Slicer has one widget of a module
        old, host.widget = host.widget, None
        close_widget(host, old)
    module = importlib.import_module("VISTA3D")
    parent = module_base.ModuleParent(str(MODULE))
    module.VISTA3D(parent)
    raw = module_base.WidgetParent()
    proxy = module_base.ParentProxy(raw)
    host.panel_area.setWidget(raw)
    widget = slicer.modules.VISTA3DWidget = module.VISTA3DWidget(proxy)
    widget.setup()
    if enter:
        proxy.isEntered = True
        widget.enter()
    host.process()
    return widget


def close_widget(host: Any, widget: Any) -> None:
    """Leave the module and take its widget apart."""
    if widget.panel is not None:
        widget.exit()
    widget.cleanup()
    slicer.modules.VISTA3DWidget = None
    raw = host.panel_area.takeWidget()
    if raw is not None:
        raw.deleteLater()
    host.process()
