"""From checked segments of the scene to the cases that the worker learns from."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from VISTA3DScene.frames import volume_grid
from VISTA3DScene.styles import class_of
from VISTA3DScene.volumes import voxels_of

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import ClassError, VISTA3DError
from VISTA3DLib.structure import ClassStatus
from VISTA3DWidgets.labelLayers import segmentMask

FORBIDDEN = 255  # the training data's label of what is unknown


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The segments of one segmentation to learn from: segment id -> what it stands for, in the person's words."""

    segmentation: Any
    volume: Any
    classes: Mapping[str, str]


@dataclass(kw_only=True)
class Labels:
    """The numbering of classes over all cases: label n + 1 stands for ``classIds[n]``; ``names`` of new ones."""

    catalogue: ClassCatalogue
    classIds: list[int] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)

    @property
    def mapping(self) -> list[list[int]]:
        """``[[label, class id], ...]``."""
        return [[label, classId] for label, classId in enumerate(self.classIds, start=1)]

    def label(self, text: str) -> int:
        """The label of a class that is named; an unknown name is a new structure."""
        classId = self._classId(text.strip())
        if classId not in self.classIds:
            self.classIds.append(classId)
        return self.classIds.index(classId) + 1

    def _classId(self, text: str) -> int:
        if not text:
            raise ClassError("A checked segment has no class.", "Write a class or a new name beside it.")
        try:
            found = self.catalogue.resolve(text)
        except ClassError:
            return self._new(text)
        if found.status is ClassStatus.GROUP:
            raise ClassError(f"{found.name} stands for several classes.", "Write one of its members instead.")
        return int(found.id)

    def _new(self, text: str) -> int:
        known = next((number for number, name in self.names.items() if name == text), None)
        if known is not None:
            return known
        taken = {item.id for item in self.catalogue.classes} | set(self.names) | {FORBIDDEN}
        number = next(n for n in range(self.catalogue.last_supported + 1, self.catalogue.table_size) if n not in taken)
        self.names[number] = text
        return number


def volumeOf(segmentation: Any, otherwise: Any) -> Any:
    """The CT that a segmentation was drawn on; ``otherwise`` where it does not say."""
    role = segmentation.GetReferenceImageGeometryReferenceRole()
    return segmentation.GetNodeReference(role) or otherwise


def suggestedClass(segment: Any, catalogue: ClassCatalogue) -> str:
    """What a segment probably stands for: the class that it was made as, else its name."""
    classId = class_of(segment, catalogue)
    known = classId is not None and classId in catalogue
    return str(catalogue[classId].name) if known else str(segment.GetName())  # type: ignore[index]


def labelMap(chosen: Chosen, labels: Labels) -> np.ndarray:
    """The segments of one case as a label map [i, j, k] (int16); where they overlap the smaller one counts.

    Raises ``VISTA3DError`` children for a class that cannot be learned and for a segmentation that does not fit.
    """
    masks = []
    for segmentId, text in chosen.classes.items():
        mask = segmentMask(chosen.segmentation, segmentId, chosen.volume)
        masks.append((int(np.count_nonzero(mask)), labels.label(text), mask))
    found = np.zeros(chosen.volume.GetImageData().GetDimensions(), dtype=np.int16)
    for _, label, mask in sorted(masks, key=operator.itemgetter(0), reverse=True):
        found[mask] = label
    return found


def caseName(number: int, chosen: Chosen) -> str:
    """A name for one case, of letters, digits and dashes."""
    return f"{number}-{re.sub(r'[^A-Za-z0-9]+', '-', chosen.volume.GetName() or 'CT').strip('-') or 'CT'}"


def caseArrays(chosen: Chosen, labels: Labels) -> tuple[np.ndarray, np.ndarray, list[list[float]]]:
    """Voxels, label map and affine of one case."""
    return np.asarray(voxels_of(chosen.volume)), labelMap(chosen, labels), volume_grid(chosen.volume).affine.tolist()


def checkName(name: str) -> str:
    """A name that new weights can have. Raises ``VISTA3DError``."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise VISTA3DError(f"'{name}' cannot be the name of weights.", "Use letters, digits, - and _.")
    return name


def checkCases(cases: Sequence[Chosen]) -> None:
    """Raise ``VISTA3DError`` when there is nothing to learn from, or too much."""
    if not cases:
        raise VISTA3DError("No segment is checked.", "Check the segments to learn from.")
    if len(cases) > 10:
        raise VISTA3DError(
            f"{len(cases)} segmentations are checked.", "Use ten at most here; 'vista3d finetune' takes more."
        )
    for case in cases:
        if case.volume is None:
            raise VISTA3DError(
                f"'{case.segmentation.GetName()}' does not say on which CT it was drawn.", "Choose the CT in 'Set up'."
            )
