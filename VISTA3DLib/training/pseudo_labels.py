"""Which pseudo labels may be trusted: a discrepancy filter based on the largest component of each class (spec 5.1).

An organ is one piece. A model that is out of its depth leaves it in pieces, or contradicts the manual label where there
is one. Both are cheap to measure, and neither proves anything: the filter decides only whether points are sampled from
the pseudo label and its supervoxels (``pseudo_label_reliability``), and nothing is deleted or changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.components import largest_component
from VISTA3DLib.errors import ReadError, SettingsError
from VISTA3DLib.files.atomic import written_atomically
from VISTA3DLib.files.read import read_volume
from VISTA3DLib.progress import Cancel, ProgressCallback, Tracker
from VISTA3DLib.training.datalist import Case, DataList, LabelMapping, read_datalist
from VISTA3DLib.training.patches import map_labels
from VISTA3DLib.volume import Volume

IntArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class PseudoLabelRule:
    """When a class is discrepant, and when a case is. Raises ``SettingsError`` for values that cannot work.

    ``least_share``: of a class's voxels that must lie in its largest component; ``least_dice`` between that component
    and the manual label of the same class, where there is one; ``least_ml``: smaller structures are not judged, as the
    edge of the scan cuts them to pieces; ``most_discrepant``: share of the judged classes that may be discrepant in a
    case that is still reliable.
    """

    least_share: float = 0.8
    least_dice: float = 0.5
    least_ml: float = 1.0
    most_discrepant: float = 0.1

    def __post_init__(self) -> None:
        for name in ("least_share", "least_dice", "most_discrepant"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SettingsError(f"{name} is {getattr(self, name)}.", "Give a share from 0 to 1.")
        if not 0.0 <= self.least_ml < float("inf"):
            raise SettingsError(f"least_ml is {self.least_ml}.", "Give 0 or more millilitres.")


@dataclass(frozen=True, kw_only=True)
class ClassCheck:
    """One class of one pseudo label: its volume, how much of it is in one piece, how well it fits the manual label."""

    class_id: int
    ml: float
    largest_share: float
    dice: float | None
    discrepant: bool


@dataclass(frozen=True, kw_only=True)
class CaseCheck:
    """One pseudo label: the classes that were judged and the verdict; without any class there is nothing to trust."""

    case: str
    classes: tuple[ClassCheck, ...]
    reliable: bool

    @property
    def discrepant(self) -> tuple[int, ...]:
        """Ids of the classes that spoke against it."""
        return tuple(c.class_id for c in self.classes if c.discrepant)


def check_classes(
    pseudo: IntArray,
    catalogue: ClassCatalogue,
    voxel_ml: float,
    *,
    manual: IntArray | None = None,
    annotated: Sequence[int] = (),
    rule: PseudoLabelRule | None = None,
) -> tuple[ClassCheck, ...]:
    """Judge each class of ``pseudo`` (class ids, [I, J, K]) that has at least ``rule.least_ml``.

    ``manual`` (class ids on the same grid) is compared for the ids in ``annotated``; a class that was not annotated is
    unknown, not absent. Lesions are not judged: several are no discrepancy.
    """
    rule = rule or PseudoLabelRule()
    several = set(catalogue.sets.get("lesions", ()))
    checks = []
    for class_id, count in zip(*np.unique(pseudo[pseudo > 0], return_counts=True), strict=True):
        ml = float(count) * voxel_ml
        if class_id in several or ml < rule.least_ml:
            continue
        largest = largest_component(pseudo == class_id)
        share = float(np.count_nonzero(largest) / count)
        dice = _dice(largest, manual == class_id) if manual is not None and class_id in annotated else None
        wrong = share < rule.least_share or (dice is not None and dice < rule.least_dice)
        checks.append(
            ClassCheck(class_id=int(class_id), ml=ml, largest_share=share, dice=dice, discrepant=wrong),
        )
    return tuple(checks)


def check_case(
    case: Case, data: DataList, catalogue: ClassCatalogue, rule: PseudoLabelRule | None = None
) -> CaseCheck | None:
    """Judge the pseudo label of a case; None if it has none. ``ReadError`` if its maps lie on different grids."""
    rule = rule or PseudoLabelRule()
    if case.pseudo_label is None:
        return None
    volume = read_volume(case.pseudo_label)
    pseudo = _class_ids(volume, data.pseudo_mapping_of(case))
    manual = None
    if case.label is not None:
        other = read_volume(case.label)
        if not other.grid.same_as(volume.grid, tolerance=0.1):
            raise ReadError(
                f"The label and the pseudo label of case {case.id} lie on different grids.", "Resample one of them."
            )
        manual = _class_ids(other, data.mapping_of(case))
    checks = check_classes(
        pseudo,
        catalogue,
        volume.grid.voxel_ml,
        manual=manual,
        annotated=data.class_ids_of(case),
        rule=rule,
    )
    wrong = sum(c.discrepant for c in checks)
    return CaseCheck(
        case=case.id, classes=checks, reliable=bool(checks) and wrong <= rule.most_discrepant * len(checks)
    )


def flag_datalist(
    path: Path,
    output: Path,
    catalogue: ClassCatalogue,
    *,
    rule: PseudoLabelRule | None = None,
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
) -> tuple[CaseCheck, ...]:
    """Judge all pseudo labels of a data list and write it with ``pseudo_label_reliability`` 0 or 1 in each such case.

    Everything else in the list stays as it is; paths are rewritten if ``output`` lies in another folder. Raises
    ``ReadError`` for a list without pseudo labels.
    """
    data = read_datalist(path)
    if not any(case.pseudo_label for case in data.training):
        raise ReadError(f"No training case of {path} has a pseudo label.", "Give cases the field pseudo_label.")
    document = json.loads(path.read_text(encoding="utf-8"))
    tracker = Tracker("pseudo labels", len(data.training), progress, cancel)
    checks = []
    for case, entry in zip(data.training, document["training"], strict=True):
        check = check_case(case, data, catalogue, rule)
        if check is not None:
            entry["pseudo_label_reliability"] = int(check.reliable)
            checks.append(check)
        tracker.step()
    if output.parent.resolve() != path.parent.resolve():
        _move_paths((*document["training"], *document.get("testing", ())), path.parent, output.parent)
    with written_atomically(output) as temporary:
        temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return tuple(checks)


def _class_ids(volume: Volume, mapping: LabelMapping | None) -> IntArray:
    labels = np.rint(volume.finite).astype(np.int32)
    return labels if mapping is None else map_labels(labels, mapping.to_global)


def _dice(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float(2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def _move_paths(entries: Iterable[dict[str, Any]], old: Path, new: Path) -> None:
    for entry in entries:
        for key in ("image", "label", "pseudo_label", "label_sv"):
            if entry.get(key) and not Path(entry[key]).is_absolute():
                entry[key] = os.path.relpath((old / entry[key]).resolve(), new.resolve())
