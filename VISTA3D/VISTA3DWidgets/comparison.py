"""Comparing two segmentations: which segments are paired, what the worker is asked, and the rows that come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from VISTA3DScene.frames import volume_grid

from VISTA3DLib.errors import VolumeError
from VISTA3DWidgets.labelLayers import labelLayers, segmentNames

COLUMNS = (
    ("Segment", ""),
    ("Outcome", "outcome"),
    ("Dice", "dice"),
    ("NSD", "nsd"),
    ("HD95 (mm)", "hd95_mm"),
    ("Reference (ml)", "truth_ml"),
    ("Compared (ml)", "predicted_ml"),
    ("Difference (ml)", "volume_error_ml"),
    ("Difference (%)", "volume_error_percent"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """One request: label maps of both sides, [i, j, k], and the labels to compare in them."""

    truth: np.ndarray
    predicted: np.ndarray
    labels: tuple[int, ...]
    affine: list[list[float]]


def questions(reference: Any, compared: Any, volume: Any) -> tuple[list[str], list[Question]]:
    """The names that are compared (label n is name n - 1), and what to ask. Segments are paired by their names.

    A name that only one side has is compared with nothing. Raises ``VolumeError`` when there is nothing to compare.
    """
    truth, predicted = segmentNames(reference), segmentNames(compared)
    names = list(truth) + [name for name in predicted if name not in truth]
    if not names:
        raise VolumeError("Neither segmentation has a segment.", "Choose others.")
    sides = []
    for node, ids in ((reference, truth), (compared, predicted)):
        labels = {ids[name]: number for number, name in enumerate(names, start=1) if name in ids}
        sides.append(labelLayers(node, labels, volume))
    affine = volume_grid(volume).affine.tolist()
    asked: list[Question] = []
    for truthNumber, truthLayer in enumerate(sides[0]):
        for predictedNumber, predictedLayer in enumerate(sides[1]):
            here = [
                number
                for number in range(1, len(names) + 1)
                if layerOf(sides[0], number) == truthNumber and layerOf(sides[1], number) == predictedNumber
            ]
            if here:
                asked.append(Question(truth=truthLayer, predicted=predictedLayer, labels=tuple(here), affine=affine))
    return names, asked


def layerOf(layers: Sequence[np.ndarray], label: int) -> int:
    """The number of the layer that a label is in; 0 when it is in none."""
    return next((number for number, layer in enumerate(layers) if (layer == label).any()), 0)


def rows(names: Sequence[str], answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a name, in order: the scores as the worker sent them, with the name under ``name``."""
    found = {int(entry["truth_label"]): entry for answer in answers for entry in answer["segments"]}
    return [{"name": name, **found[number]} for number, name in enumerate(names, start=1) if number in found]


def summary(table: Sequence[Mapping[str, Any]]) -> str:
    """One line: how many segments, and their mean Dice and NSD."""
    parts = [f"{len(table)} segment{'' if len(table) == 1 else 's'} compared"]
    for label, key in (("mean Dice", "dice"), ("mean NSD", "nsd")):
        values = [float(row[key]) for row in table if row.get(key) is not None]
        if values:
            parts.append(f"{label} {sum(values) / len(values):.3f}")
    return ", ".join(parts) + "."
