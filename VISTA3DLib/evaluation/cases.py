"""Cases of a data list as an evaluation needs them: which there are, and one of them read and checked.

Only the image and the manual label of a case count here, and a case that is broken must not stop the others. So the
list is read entry by entry: entries whose files are missing become failures, and whatever serves training alone
(pseudo labels, supervoxels) need not be there at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from VISTA3DLib.errors import ReadError, SettingsError
from VISTA3DLib.evaluation.failures import Failure
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.files.read import read_volume
from VISTA3DLib.files.segmentation_read import read_segmentation
from VISTA3DLib.files.segments import SegmentationFile
from VISTA3DLib.geometry import Grid, format_shape, format_vector
from VISTA3DLib.training.datalist import (
    DEFAULT,
    SPLITS,
    Case,
    DataList,
    LabelMapping,
    no_such_fold,
    parse_datalist,
    read_list_document,
)
from VISTA3DLib.volume import Volume, inspect_volume

Split = Literal["training", "testing", "all"]
Pairs = tuple[tuple[int, int], ...]

_GRID_TOLERANCE_MM = 0.1  # between the voxels of an image and of its label, as in training


@dataclass(frozen=True, kw_only=True)
class EvaluationCase:
    """One case: its files, the classes it was annotated for, and which classes to cut out of which.

    ``subtract`` are pairs (organ, tumour): what is predicted as tumour is taken from the organ before it is scored,
    for data sets whose organ label has a hole there (the rule for Task03 and Task07, spec 7.1).
    """

    id: str
    image: Path
    label: Path
    dataset: str
    class_ids: tuple[int, ...]
    mapping: LabelMapping
    fold: int | None = None
    subtract: Pairs = ()

    @property
    def fingerprint(self) -> str:
        """Changes with everything that decides the result: paths, the files' size and date, classes, mapping."""
        files = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in (self.image, self.label)]
        plain = [self.id, self.dataset, files, self.class_ids, self.mapping.pairs, self.fold, self.subtract]
        return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class CaseList:
    """The cases to evaluate, in the order of the list; ``sha256`` is of the list's file; ``failures`` what is not."""

    name: str
    path: Path
    sha256: str
    cases: tuple[EvaluationCase, ...]
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedCase:
    """A case in memory. ``truths``: every annotated class on the volume's grid, without voxels where it is absent.

    ``names`` are the label file's own names of classes; ``notes`` are not fatal. ``unscored`` are true tumours that are
    not scored but cut out of their organs.
    """

    volume: Volume
    truths: Mapping[int, BoxedMask]
    names: Mapping[int, str]
    subtract: Pairs = ()
    notes: tuple[Failure, ...] = ()
    unscored: Mapping[int, BoxedMask] = field(default_factory=dict)

    def scoring(self, class_ids: Collection[int]) -> LoadedCase:
        """The case with only these classes to score."""
        every = {**self.unscored, **self.truths}
        truths = {i: truth for i, truth in self.truths.items() if i in class_ids}
        tumours = {tumour for organ, tumour in self.subtract if organ in truths and tumour not in truths}
        return replace(self, truths=truths, unscored={i: truth for i, truth in every.items() if i in tumours})

    @property
    def with_tumours(self) -> tuple[int, ...]:
        """The classes to score, and those that are cut out of them."""
        tumours = (tumour for organ, tumour in self.subtract if organ in self.truths)
        return tuple(dict.fromkeys((*self.truths, *tumours)))


def read_cases(
    path: Path,
    *,
    mapping: LabelMapping | None = None,
    split: str = "all",
    fold: int | None = None,
    limit: int | None = None,
) -> CaseList:
    """The labelled cases of a data list (``training.datalist`` describes the form) that are there.

    ``split``: which of its two lists; ``fold``: only the cases of this fold (those that a training with the same
    number held back); ``limit``: the first so many. ``"subtract": [[organ, tumour], ...]`` in the list, or such a
    list per data set, is described at ``EvaluationCase``. Raises ``ReadError`` for a list that cannot be read and
    ``SettingsError`` for one without a mapping.
    """
    if split not in get_args(Split):
        raise SettingsError(f"There is no split '{split}'.", "Use training, testing or all.")
    if limit is not None and limit < 1:
        raise SettingsError(f"The limit is {limit} cases.", "Give 1 or more.")
    document, content = read_list_document(path)
    failures: list[Failure] = []
    names = [n for n in SPLITS if split in ("all", n)]
    chosen = {n: _present(document.get(n, []), path, failures) if n in names else [] for n in SPLITS}
    data = parse_datalist({**document, **chosen}, path, mapping=mapping)
    subtract = _subtract_of(document.get("subtract", []), path)
    cases: list[EvaluationCase] = []
    for case in (*data.training, *data.testing):
        if case.label is None or (fold is not None and case.fold != fold):
            continue
        if any(case.id == c.id for c in cases):
            failures.append(_not_used(case.id, "Two cases of the list have this name.", "Give each its own id."))
            continue
        cases.append(_prepared(case, data, subtract))
    listed = {str(e.get("fold")) for n in names for e in document.get(n, []) if isinstance(e, dict)}
    if fold is not None and not cases and str(fold) not in listed:
        raise no_such_fold(fold, data)
    return CaseList(
        name=data.name,
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        cases=tuple(cases[:limit]),
        failures=tuple(failures),
    )


def load_case(case: EvaluationCase) -> LoadedCase:
    """Read image and label; the truth of each annotated class in its box.

    Raises ``ReadError`` or ``VolumeError`` for files that cannot be read, and for a label on another grid.
    """
    volume = read_volume(case.image)
    file = read_segmentation(case.label)
    if not file.grid.same_as(volume.grid, tolerance=_GRID_TOLERANCE_MM):
        raise ReadError(
            f"{case.label} has another grid than its image: {_described(file.grid)} against "
            f"{_described(volume.grid)}, or it lies elsewhere.",
            "Resample the label to the image.",
        )
    to_global = case.mapping.to_global
    _check_unambiguous(case, file)
    truths = {class_id: BoxedMask.nothing() for class_id in case.class_ids}
    names: dict[int, str] = {}
    for segment in file.segments:
        target = to_global.get(segment.label)
        if target in truths:
            truths[target] = truths[target] | BoxedMask.of(segment.mask, segment.box.start)
            if segment.name != f"label {segment.label}":
                names.setdefault(target, segment.name)
    values = sorted({s.label for s in file.segments} - set(to_global))
    return LoadedCase(
        volume=volume, truths=truths, names=names, subtract=case.subtract, notes=_notes(case, volume, values)
    )


def _check_unambiguous(case: EvaluationCase, file: SegmentationFile) -> None:
    """Refuse two segments of one label value (in layers) where the mapping says what that value is."""
    seen: dict[int, str] = {}
    for segment in file.segments:
        if case.mapping.to_global.get(segment.label) not in case.class_ids:
            continue
        if segment.label in seen:
            raise ReadError(
                f"{case.label} has two segments with the label value {segment.label}: {seen[segment.label]!r} and "
                f"{segment.name!r}.",
                "Save it with a label value of its own for each segment, for example as a label map.",
            )
        seen[segment.label] = segment.name


def _present(entries: Sequence[Any], path: Path, failures: list[Failure]) -> list[dict[str, Any]]:
    """The entries whose image and label exist, with absolute paths and without what only training needs."""
    base = path.parent.absolute()
    kept, unlabelled = [], 0
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not entry.get("image"):
            failures.append(_not_used(f"entry {number}", f"Entry {number} of {path} has no image.", "Repair the list."))
            continue
        if not entry.get("label"):
            unlabelled += 1
            continue
        files = {key: base / str(entry[key]) for key in ("image", "label")}
        missing = [str(f) for f in files.values() if not f.exists()]
        if missing:
            name = str(entry.get("id") or files["image"].name)
            failures.append(_not_used(name, f"There is no file {' and no '.join(missing)}.", "Check the list's paths."))
            continue
        plain = {k: v for k, v in entry.items() if k not in {"pseudo_label", "label_sv"}}
        kept.append({**plain, **{k: str(f) for k, f in files.items()}})
    if unlabelled:
        text = f"{unlabelled} {'case has' if unlabelled == 1 else 'cases have'} no manual label in {path}."
        failures.append(replace(_not_used("", text, ""), fatal=False))
    return kept


def _prepared(case: Case, data: DataList, subtract: Mapping[str, Pairs]) -> EvaluationCase:
    assert case.label is not None
    return EvaluationCase(
        id=case.id,
        image=case.image,
        label=case.label,
        dataset=data.name if case.dataset == DEFAULT else case.dataset,
        class_ids=data.class_ids_of(case),
        mapping=data.mapping_of(case),
        fold=case.fold,
        subtract=subtract.get(case.dataset, subtract.get(DEFAULT, ())),
    )


def _subtract_of(plain: Any, path: Path) -> dict[str, Pairs]:
    groups = {DEFAULT: plain} if isinstance(plain, list) else plain
    try:
        return {str(k): tuple((int(organ), int(tumour)) for organ, tumour in pairs) for k, pairs in groups.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ReadError(f"'subtract' in {path} cannot be read: {error}.", "Write [[organ, tumour], ...].") from error


def _notes(case: EvaluationCase, volume: Volume, unmapped: Sequence[int]) -> tuple[Failure, ...]:
    causes = [f.message for f in inspect_volume(volume, hounsfield=False) if f.code == "not-finite"]
    if unmapped:
        shown = ", ".join(str(v) for v in unmapped[:10]) + (", ..." if len(unmapped) > 10 else "")
        causes.append(f"The label has values that are not mapped to a class and are not scored: {shown}.")
    return tuple(Failure(case=case.id, cause=c, kind="Note", fatal=False) for c in causes)


def _not_used(case: str, cause: str, fix: str) -> Failure:
    return Failure(case=case, cause=cause, fix=fix, kind="ReadError")


def _described(grid: Grid) -> str:
    return f"{format_shape(grid.shape)} voxels of {format_vector(grid.spacing)} mm"
