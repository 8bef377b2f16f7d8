"""What a click would change, shown before it is kept: added and removed parts in two colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import slicer

from VISTA3DScene.lattice import LatticeMask, oriented_image
from VISTA3DScene.segment_masks import LABELMAP
from VISTA3DScene.signals import remove_from_scene

ADDED, REMOVED = "Added", "Removed"
_COLORS = {ADDED: (0.1, 0.9, 0.3), REMOVED: (1.0, 0.25, 0.1)}


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What would change; ``parts`` are the components as the worker lists them (kind, voxels, ml, center ...)."""

    segment_id: str
    added_ml: float
    removed_ml: float
    parts: tuple[Mapping[str, Any], ...]


class PreviewNode:
    """A segmentation node of its own, with the segments ``Added`` and ``Removed``; never saved with the scene."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self.node: Any = None

    def show(self, segmentation: Any, came: LatticeMask, gone: LatticeMask) -> None:
        """Show masks in the frame of a segmentation node."""
        self.hide()
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName("VISTA3D preview")
        node.SetSaveWithScene(False)
        node.SetHideFromEditors(True)
        self._scene.AddNode(node)
        node.SetAndObserveTransformNodeID(segmentation.GetTransformNodeID())
        inner = node.GetSegmentation()
        inner.SetSourceRepresentationName(LABELMAP)
        for name, mask in ((ADDED, came), (REMOVED, gone)):
            segment = slicer.vtkSegment()
            segment.SetName(name)
            segment.SetColor(*_COLORS[name])
            if mask.box.size:
                segment.AddRepresentation(LABELMAP, oriented_image(mask.affine, mask.box, mask.mask))
            inner.AddSegment(segment, name)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        if display is not None:
            display.SetSaveWithScene(False)
            display.SetOpacity2DFill(0.6)
        self.node = node

    def hide(self) -> None:
        """Remove the node from the scene."""
        node, self.node = self.node, None
        remove_from_scene(self._scene, node)
