"""Segments of a segmentation node as label maps on the grid of a CT; overlapping ones in several layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer

from VISTA3DLib.errors import VolumeError


def segmentNames(segmentation: Any) -> dict[str, str]:
    """Name of each segment -> its id; of several with one name, the first."""
    inner = segmentation.GetSegmentation()
    found: dict[str, str] = {}
    for segmentId in inner.GetSegmentIDs():
        found.setdefault(inner.GetSegment(segmentId).GetName(), segmentId)
    return found


def labelLayers(segmentation: Any, labels: Mapping[str, int], volume: Any) -> list[np.ndarray]:
    """Label maps [i, j, k] (uint16) in which the segment with the id ``key`` has the label ``labels[key]``.

    Each label is in exactly one of the layers, and segments that overlap are in different ones. There is at least one.
    Raises ``VolumeError`` when the segmentation cannot be brought onto the volume's grid.
    """
    layers: list[np.ndarray] = []
    for segmentId, label in labels.items():
        mask = segmentMask(segmentation, segmentId, volume)
        layer = next((x for x in layers if not x[mask].any()), None)
        if layer is None:
            layer = np.zeros(mask.shape, dtype=np.uint16)
            layers.append(layer)
        layer[mask] = label
    if not layers:
        layers.append(np.zeros(volume.GetImageData().GetDimensions(), dtype=np.uint16))
    return layers


def segmentMask(segmentation: Any, segmentId: str, volume: Any) -> np.ndarray:
    """One segment on the grid of a volume, [i, j, k]. Raises ``VolumeError``."""
    shape = volume.GetImageData().GetDimensions()
    array = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segmentId, volume)
    mask = np.zeros(shape, dtype=bool) if array is None or array.size == 0 else array.transpose(2, 1, 0) != 0
    if mask.shape != tuple(shape):
        raise VolumeError(
            f"The segmentation '{segmentation.GetName()}' does not fit on the CT '{volume.GetName()}'.",
            "Choose the CT that it was drawn on.",
        )
    return np.asarray(mask)
