"""What the worker can measure: two segmentations of one image, segment by segment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.errors import VolumeError
from VISTA3DLib.geometry import Box, Grid, format_shape
from VISTA3DLib.progress import Cancel, ProgressCallback, Tracker
from VISTA3DLib.protocol import ProtocolError

ReadArray = Callable[[Any], npt.NDArray[Any]]
Pair = tuple[int, int]

_LARGEST_LABEL = 65535


def compare_segmentations(
    arguments: Mapping[str, Any], read: ReadArray, progress: ProgressCallback, cancel: Cancel
) -> dict[str, Any]:
    """Compare the label maps ``truth`` and ``predicted`` (array names, integers [i, j, k], 0 is background).

    ``affine`` (4x4, voxel->RAS mm) or ``spacing`` (mm) says how large voxels are. ``pairs``: [[truth label, predicted
    label], ...], all labels of both maps with themselves if it is not given. ``tolerance_mm``: of the NSD. Replies
    ``segments``: one entry a pair, with the scores of ``evaluation.metrics.MaskComparison``. Raises ``VolumeError``
    for maps that do not fit together.
    """
    from VISTA3DLib.evaluation.masks import BoxedMask
    from VISTA3DLib.evaluation.metrics import TOLERANCE_MM, compare_boxed

    truth, predicted = (_label_map(read(arguments[name]), name) for name in ("truth", "predicted"))
    if truth.shape != predicted.shape:
        raise VolumeError(
            f"The segmentations have {format_shape(truth.shape)} and {format_shape(predicted.shape)} voxels.",
            "Resample one to the other's image.",
        )
    grid = _grid(arguments, truth.shape)
    tolerance = float(arguments.get("tolerance_mm", TOLERANCE_MM))
    boxes = _boxes(truth), _boxes(predicted)
    pairs = _pairs(arguments.get("pairs"), *boxes)
    tracker = Tracker("segments", len(pairs), progress, cancel)
    segments = []
    for pair in pairs:
        masks = [
            BoxedMask(box=box, mask=labels[box.slices] == label) if box is not None else BoxedMask.nothing()
            for labels, label, box in (
                (truth, pair[0], boxes[0].get(pair[0])),
                (predicted, pair[1], boxes[1].get(pair[1])),
            )
        ]
        scores = compare_boxed(masks[0], masks[1], grid.spacing, tolerance_mm=tolerance, voxel_ml=grid.voxel_ml)
        segments.append({"truth_label": pair[0], "predicted_label": pair[1], **scores.to_dict()})
        tracker.step()
    return {"tolerance_mm": tolerance, "segments": segments}


def _label_map(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if array.ndim != 3 or array.dtype.kind not in "biu":
        raise VolumeError(
            f"'{name}' is no label map: {array.ndim} dimensions of {array.dtype}.", "Send whole numbers [i, j, k]."
        )
    if array.size and not 0 <= int(array.min()) <= int(array.max()) <= _LARGEST_LABEL:
        raise VolumeError(
            f"'{name}' has labels from {array.min()} to {array.max()}.", f"Number the segments 1 to {_LARGEST_LABEL}."
        )
    return array.astype(np.uint16)


def _grid(arguments: Mapping[str, Any], shape: Sequence[int]) -> Grid:
    if "affine" in arguments:
        affine = np.asarray(arguments["affine"], dtype=np.float64)
    elif "spacing" in arguments:
        affine = np.diag([*(float(v) for v in arguments["spacing"]), 1.0])
    else:
        raise ProtocolError("There is neither 'affine' nor 'spacing'.", "Send one of them.")
    return Grid(shape=(shape[0], shape[1], shape[2]), affine=affine)


def _boxes(labels: npt.NDArray[Any]) -> dict[int, Box]:
    """Each label that is there, with the box around it, in one pass."""
    from scipy import ndimage

    return {
        label: Box(start=tuple(s.start for s in spans), stop=tuple(s.stop for s in spans))
        for label, spans in enumerate(ndimage.find_objects(labels), start=1)
        if spans is not None
    }


def _pairs(given: Any, truth: Mapping[int, Box], predicted: Mapping[int, Box]) -> list[Pair]:
    if given is None:
        return [(label, label) for label in sorted({*truth, *predicted})]
    try:
        return [(int(a), int(b)) for a, b in given]
    except (TypeError, ValueError) as error:
        raise ProtocolError(
            f"'pairs' cannot be read: {error}.", "Send [[truth label, predicted label], ...]."
        ) from error
