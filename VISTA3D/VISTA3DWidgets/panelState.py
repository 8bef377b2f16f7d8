"""What was chosen in the panel, kept in the module's parameter node and so saved with the scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

VOLUME, SEGMENTATION, REGION = "InputVolume", "Segmentation", "Region"
CLASSES, SEGMENT = "Classes", "SelectedSegment"


@dataclass(frozen=True, kw_only=True)
class RunChoice:
    """The region (a node or None) and the structures of an automatic run."""

    region: Any
    classes: tuple[int, ...]


class PanelState:
    """Reads and writes the parameter node; ``node`` gives it (another one after the scene was closed)."""

    def __init__(self, logic: Any) -> None:
        self._logic = logic

    def reference(self, role: str) -> Any:
        """The node that was chosen for a role, or None."""
        return self._logic.getParameterNode().GetNodeReference(role)

    def setReference(self, role: str, node: Any) -> None:
        """Remember a chosen node; None forgets it."""
        parameters = self._logic.getParameterNode()
        if node is None:
            parameters.RemoveNodeReferenceIDs(role)
        else:
            parameters.SetNodeReferenceID(role, node.GetID())

    @property
    def classes(self) -> tuple[int, ...]:
        """The structures that were checked for an automatic run."""
        text = self._logic.getParameterNode().GetParameter(CLASSES) or ""
        return tuple(int(part) for part in text.split(",") if part.isdigit())

    @classes.setter
    def classes(self, ids: tuple[int, ...]) -> None:
        self._logic.getParameterNode().SetParameter(CLASSES, ",".join(map(str, ids)))

    def runChoice(self) -> RunChoice:
        """What an automatic run would take now."""
        return RunChoice(region=self.reference(REGION), classes=self.classes)

    def putBack(self, choice: RunChoice) -> None:
        """Choose again what a scene that was added overwrote: its own parameter node wins over the one there is."""
        if choice.region is not None and choice.region.GetScene() is not None:
            self.setReference(REGION, choice.region)
        if choice.classes:
            self.classes = choice.classes

    @property
    def segment(self) -> str:
        """The id of the segment that was selected, or an empty text."""
        return str(self._logic.getParameterNode().GetParameter(SEGMENT) or "")

    @segment.setter
    def segment(self, segmentId: str) -> None:
        if segmentId != self.segment:
            self._logic.getParameterNode().SetParameter(SEGMENT, segmentId)
