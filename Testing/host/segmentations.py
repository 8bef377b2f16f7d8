"""Segmentations for tests: boxes as segments."""

from __future__ import annotations

from typing import Any

import numpy as np


def segmentation(volume: Any, name: str, segments: dict[str, tuple[slice, slice, slice]]) -> Any:
    """A segmentation node with boxes (k, j, i) as segments."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    shape = slicer.util.arrayFromVolume(volume).shape
    for segment_name, box in segments.items():
        segment_id = node.GetSegmentation().AddEmptySegment("", segment_name)
        array = np.zeros(shape, dtype=np.uint8)
        array[box] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segment_id, volume)
    return node
