"""A section of the panel: connects widgets to slots, and keeps the panel usable whatever a slot runs into."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from VISTA3DScene.workbench import Workbench

    from VISTA3DWidgets.panel import Panel

# Signals of a selector of nodes. The first one comes only where the text changes, and two nodes may have one name.
CHOSEN = ("currentNodeChanged(vtkMRMLNode*)", "nodeActivated(vtkMRMLNode*)")


class Part:
    """Base of the sections. ``refresh`` shows what is true now; slots do something and never fail the panel."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.ui = panel.ui
        self._connections: list[tuple[Any, str, Any]] = []

    @property
    def workbench(self) -> Workbench:
        """The scene layer."""
        return self.panel.workbench

    @property
    def listening(self) -> bool:
        """False where no person did it: slots do nothing then. That is while the panel itself sets its widgets, after
        it was closed, and while selectors are emptied and filled anew because a scene is loaded or closed."""
        panel = self.panel
        return not (panel.refreshing or panel.closed or panel.loading or panel.scene.IsClosing())

    def connect(self, widget: Any, signal: str, slot: Any) -> None:
        """Connect by the full signature; ``close`` disconnects."""
        widget.connect(signal, slot)
        self._connections.append((widget, signal, slot))

    @contextlib.contextmanager
    def usable(self) -> Iterator[None]:
        """The body of every slot: whatever happens in it, the panel shows what is true afterwards and can be used."""
        try:
            with self.panel.faults():
                yield
        finally:
            self.panel.refresh()

    def refresh(self) -> None:
        """Show what is true now."""

    def close(self) -> None:
        """Disconnect everything. A widget that Qt destroyed already, as when Slicer quits, is false."""
        for widget, signal, slot in self._connections:
            if widget:
                widget.disconnect(signal, slot)
        self._connections.clear()
