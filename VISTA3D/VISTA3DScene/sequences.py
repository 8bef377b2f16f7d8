"""Sequences: which browser shows a volume, its frames, and where the segmentations of the frames go."""

from __future__ import annotations

from typing import Any

import slicer

from VISTA3DLib.errors import VolumeError


def sequence_browser_of(scene: Any, node: Any) -> Any:
    """The sequence browser whose proxy a node is; None if there is none."""
    if node is None:
        return None
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")):
        browser = scene.GetNthNodeByClass(n, "vtkMRMLSequenceBrowserNode")
        if browser.GetSequenceNode(node) is not None:
            return browser
    return None


class FrameSeries:
    """The frames of a volume in a sequence browser, and a sequence that takes their segmentations.

    Raises ``VolumeError`` if the browser has no frames of the volume.
    """

    def __init__(self, scene: Any, browser: Any, volume: Any) -> None:
        self._scene, self._browser, self._volume = scene, browser, volume
        self._frames = browser.GetSequenceNode(volume)
        if self._frames is None or self._frames.GetNumberOfDataNodes() == 0:
            raise VolumeError(
                f"'{browser.GetName()}' has no frames of '{volume.GetName()}'.",
                "Choose the volume that the sequence browser shows.",
            )

    @property
    def there(self) -> bool:
        """Whether browser and frames are still in the scene."""
        return self._browser.GetScene() is self._scene and self._frames.GetScene() is self._scene

    def __len__(self) -> int:
        return int(self._frames.GetNumberOfDataNodes())

    def frame(self, number: int) -> Any:
        """The volume node of a frame (in the sequence's own scene)."""
        return self._frames.GetNthDataNode(number)

    def keep(self, segmentations: list[Any], name: str) -> Any:
        """Add the frames' segmentations to the browser, in step with the volume; returns the node that shows them."""
        sequence = slicer.vtkMRMLSequenceNode()
        sequence.SetName(self._scene.GenerateUniqueName(name))
        sequence.SetIndexName(self._frames.GetIndexName())
        sequence.SetIndexUnit(self._frames.GetIndexUnit())
        sequence.SetIndexType(self._frames.GetIndexType())
        self._scene.AddNode(sequence)
        for number, segmentation in enumerate(segmentations):
            sequence.SetDataNodeAtValue(segmentation, self._frames.GetNthIndexValue(number))
        self._browser.AddSynchronizedSequenceNode(sequence)
        self._browser.SetSaveChanges(sequence, True)
        proxy = self._browser.GetProxyNode(sequence)
        if proxy is None:
            shown = segmentations[max(0, self._browser.GetSelectedItemNumber())]
            proxy = self._browser.AddProxyNode(shown, sequence, True)
        proxy.SetName(sequence.GetName())
        proxy.SetAndObserveTransformNodeID(self._volume.GetTransformNodeID())
        if proxy.GetDisplayNode() is None:
            proxy.CreateDefaultDisplayNodes()
        return proxy
