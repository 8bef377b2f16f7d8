"""Placing points by Slicer's own place mode, which works in every slice and 3D view of every layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from VISTA3DScene.signals import Observers


class PlaceMode:
    """Switches place mode on for a list of points, and tells when it ended (right click, another tool)."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        logic = slicer.app.applicationLogic()
        self._interaction, self._selection = logic.GetInteractionNode(), logic.GetSelectionNode()
        self._observers = Observers()
        interaction = self._interaction
        for event in (interaction.InteractionModeChangedEvent, interaction.InteractionModePersistenceChangedEvent):
            self._observers.add(interaction, event, self._onModeChanged)

    def isPlacing(self, node: Any) -> bool:
        """Whether the next click in a view adds a point to this list."""
        placing = self._interaction.GetCurrentInteractionMode() == self._interaction.Place
        return bool(placing and node is not None and self._selection.GetActivePlaceNodeID() == node.GetID())

    def start(self, node: Any) -> None:
        """Every click adds a point to this list until ``stop``."""
        slicer.modules.markups.logic().SetActiveList(node)
        self._interaction.SetPlaceModePersistence(1)
        self._interaction.SetCurrentInteractionMode(self._interaction.Place)

    def stop(self) -> None:
        """Clicks move the views again."""
        if self._interaction.GetCurrentInteractionMode() == self._interaction.Place:
            self._interaction.SetPlaceModePersistence(0)
            self._interaction.SetCurrentInteractionMode(self._interaction.ViewTransform)

    def close(self) -> None:
        """Stop watching."""
        self._observers.close()

    def _onModeChanged(self, _caller: Any, _event: str) -> None:
        self._changed()
