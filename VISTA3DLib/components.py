"""Connected components of masks and label maps: 26 neighbours, by cc3d."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt

from VISTA3DLib.geometry import Box

BoolArray = npt.NDArray[np.bool_]


def label_components(mask: BoolArray) -> npt.NDArray[np.integer]:
    """Number the 26-connected components of a mask from 1 up; 0 is background."""
    # A border of background: cc3d 4.1 fails on some masks of a few voxels without one ([1, 0, 1], for example).
    labels: npt.NDArray[np.integer] = cc3d.connected_components(np.pad(mask, 1), connectivity=26)
    return labels[1:-1, 1:-1, 1:-1]


def component_sizes(labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Voxels of each label from 0 up; plane by plane, as ``bincount`` copies to int64."""
    sizes = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int64)
    for plane in labels:
        sizes += np.bincount(plane.ravel(), minlength=len(sizes))
    return sizes


def largest_component(mask: BoolArray) -> BoolArray:
    """The largest 26-connected component of a mask, the first of equal ones; empty for an empty mask."""
    labels = label_components(mask)
    sizes = component_sizes(labels)
    if len(sizes) < 2:
        return np.zeros_like(mask)
    return np.asarray(labels == int(sizes[1:].argmax()) + 1)


def keep_largest_components(labels: npt.NDArray[Any], values: Iterable[int]) -> None:
    """Of each of ``values`` leave only the largest component in a label map, in place; the rest becomes 0."""
    for value in values:
        mask = labels == value
        inner = Box.of_mask(mask)
        if inner.size:
            cut = mask[inner.slices]
            labels[inner.slices][cut & ~largest_component(cut)] = 0
