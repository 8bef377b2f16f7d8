"""Looking at a few labelled cases before they are trained on: what stops the run, and what a person should know."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import TrainingError
from VISTA3DLib.files.read import read_volume
from VISTA3DLib.progress import Cancel, ProgressCallback, Tracker
from VISTA3DLib.training.datalist import Case, DataList, mapping_warnings
from VISTA3DLib.training.patches import check_same_grid

_SHOWN = 8


def check_cases(
    data: DataList,
    catalogue: ClassCatalogue,
    *,
    names: Mapping[int, str] | None = None,
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
) -> tuple[str, ...]:
    """Read every case of a short list; returns remarks.

    Remarks: the traps of the mapping (spec 6.2), label values that are not mapped, a class that a case lacks, one case
    only. Raises ``ReadError`` for a label on another grid, ``TrainingError`` for a class that no training case shows.
    """
    cases = tuple(dict.fromkeys((*data.training, *data.testing)))
    tracker = Tracker("looking at the cases", len(cases), progress, cancel)
    notes: list[str] = []
    for mapping in dict.fromkeys(data.mapping_of(c) for c in cases if c.label is not None):
        notes += mapping_warnings(mapping, catalogue)
    seen: set[int] = set()
    for case in cases:
        if case.label is not None:
            present, remarks = _look_at(case, data)
            notes += remarks
            if case in data.training:
                seen |= present
        tracker.step()
    wanted = {i for c in data.training for i in data.annotated_ids_of(c)}
    if missing := sorted(wanted - seen):
        name = (names or {}).get(missing[0]) or (
            catalogue[missing[0]].name if missing[0] in catalogue else f"class {missing[0]}"
        )
        raise TrainingError(
            f"No training case shows the {name} (class {missing[0]}): there is nothing to learn from.",
            "Draw it in at least one case, or leave it out of the mapping.",
        )
    if len(data.training) == 1:
        notes.append("There is one training case: the result will know this anatomy and this scanner only.")
    return tuple(dict.fromkeys(notes))


def _look_at(case: Case, data: DataList) -> tuple[set[int], list[str]]:
    """Classes that a case shows, and remarks about its label."""
    assert case.label is not None
    image, labels = read_volume(case.image), read_volume(case.label)
    check_same_grid(case.id, case.label, labels.grid, image.grid)
    values = [int(v) for v in np.unique(np.rint(labels.array)) if v > 0]
    mapping = data.mapping_of(case).to_global
    notes = []
    if unmapped := [v for v in values if v not in mapping]:
        listed = ", ".join(str(v) for v in unmapped[:_SHOWN]) + (" ..." if len(unmapped) > _SHOWN else "")
        notes.append(f"Case {case.id} has label values that are not mapped and count as background: {listed}.")
    present = {mapping[v] for v in values if v in mapping}
    annotated = set(data.annotated_ids_of(case))
    if absent := sorted(annotated - present):
        notes.append(f"Case {case.id} is labelled for class {absent[0]} but does not show it: it counts as absent.")
    return present & annotated, notes
