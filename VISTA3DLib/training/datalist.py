"""Lists of training cases in the Decathlon's form, and how their label values map to class ids.

A case names its image and what is known about it: a manual ``label``, a ``pseudo_label`` made by another model, and
``label_sv``, supervoxels. Labels are partial: a class that was not annotated in a case is unknown there, never
background, so each case (or its data set's mapping) says which classes it was annotated for. What cannot be there at
all (no liver in the CT of a head) may be said, too: it is asked for, and the answer is nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import ReadError, SettingsError

DEFAULT = "default"
SPLITS = ("training", "testing")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case. Paths are absolute; ``annotated`` are the local label values that were looked for (None: all mapped).

    ``absent`` are class ids that are known not to be there although no label value stands for them. ``reliable`` says
    whether the pseudo labels may be trusted for sampling supervoxel points (spec 5.5).
    """

    id: str
    image: Path
    label: Path | None = None
    pseudo_label: Path | None = None
    supervoxels: Path | None = None
    reliable: bool = True
    fold: int | None = None
    dataset: str = DEFAULT
    annotated: tuple[int, ...] | None = None
    absent: tuple[int, ...] = ()

    def files(self) -> tuple[Path, ...]:
        """Every file that the case needs."""
        return tuple(p for p in (self.image, self.label, self.pseudo_label, self.supervoxels) if p is not None)


@dataclass(frozen=True, kw_only=True)
class LabelMapping:
    """Pairs (local label value, global class id); several local values may map to one class."""

    pairs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        locals_ = [local for local, _ in self.pairs]
        if len(set(locals_)) != len(locals_):
            twice = next(v for v in locals_ if locals_.count(v) > 1)
            raise SettingsError(f"The label value {twice} is mapped twice.", "Map each label value once.")
        if any(local <= 0 for local, _ in self.pairs):
            raise SettingsError("The label value 0 is mapped.", "0 is background: leave it out of the mapping.")

    @property
    def to_global(self) -> dict[int, int]:
        """Local label value -> class id."""
        return dict(self.pairs)

    def class_ids(self, annotated: Iterable[int] | None = None) -> tuple[int, ...]:
        """Class ids that a case was annotated for, in order, each once."""
        chosen = None if annotated is None else set(annotated)
        return tuple(dict.fromkeys(g for local, g in self.pairs if chosen is None or local in chosen))


@dataclass(frozen=True, kw_only=True)
class DataList:
    """Training and testing cases with the label mappings of their data sets."""

    name: str
    training: tuple[Case, ...]
    testing: tuple[Case, ...] = ()
    mappings: Mapping[str, LabelMapping] = field(default_factory=dict)
    pseudo_mappings: Mapping[str, LabelMapping] = field(default_factory=dict)

    def mapping_of(self, case: Case) -> LabelMapping:
        """The mapping of a case's data set. Raises ``SettingsError`` if it has none."""
        found = self.mappings.get(case.dataset) or self.mappings.get(DEFAULT)
        if found is None:
            raise SettingsError(
                f"The data set '{case.dataset}' of case {case.id} has no label mapping.",
                "Add label_mapping to the list, or give --map local=class.",
            )
        return found

    def pseudo_mapping_of(self, case: Case) -> LabelMapping | None:
        """The mapping of a case's pseudo labels; None if their values are class ids already."""
        return self.pseudo_mappings.get(case.dataset) or self.pseudo_mappings.get(DEFAULT)

    def annotated_ids_of(self, case: Case) -> tuple[int, ...]:
        """Class ids that somebody looked for in this case; none if it has no manual label."""
        return () if case.label is None else self.mapping_of(case).class_ids(case.annotated)

    def class_ids_of(self, case: Case) -> tuple[int, ...]:
        """Class ids that can be asked for in this case: those that are annotated or known to be absent."""
        return () if case.label is None else (*self.annotated_ids_of(case), *case.absent)

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds that cases are dealt to, in order; empty if the list has none."""
        return tuple(sorted({c.fold for c in (*self.training, *self.testing) if c.fold is not None}))

    def split(self, fold: int | None) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
        """Training cases and held-back cases: those of ``fold`` are held back, or none.

        Raises ``SettingsError`` for a fold that a list with folds does not have.
        """
        if fold is not None and self.folds and fold not in self.folds:
            raise no_such_fold(fold, self)
        held = tuple(c for c in self.training if fold is not None and c.fold == fold)
        return tuple(c for c in self.training if c not in held), held

    @property
    def digest(self) -> str:
        """SHA-256 of what the list says (not of the images): written into checkpoints."""
        plain: dict[str, Any] = {
            "training": [_plain(c) for c in self.training],
            "mappings": {k: v.pairs for k, v in sorted(self.mappings.items())},
        }
        if self.pseudo_mappings:
            plain["pseudo_mappings"] = {k: v.pairs for k, v in sorted(self.pseudo_mappings.items())}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def no_such_fold(fold: int, data: DataList) -> SettingsError:
    """What to say of a fold that no case has."""
    there = ", ".join(map(str, data.folds)) or "none is given in the list"
    return SettingsError(f"No case of {data.name} has the fold {fold}.", f"Give one of these: {there}.")


def read_datalist(path: Path, *, mapping: LabelMapping | None = None) -> DataList:
    """Read ``{"training": [...], "testing": [...], "label_mapping": {...}}``; paths are relative to the list.

    Entries have ``image`` and may have ``id``, ``label``, ``pseudo_label``, ``pseudo_label_reliability`` (0 or 1),
    ``label_sv``, ``fold``, ``dataset``, ``annotated``, ``absent``. ``label_mapping`` is a list of pairs (local,
    global), or one such list per data set. ``mapping`` overrides it. ``pseudo_label_mapping`` has the same form, for
    the values of pseudo labels; without it they are class ids. ``absent``, a list of class ids, may also be given for
    all labelled cases or for those of a data set, beside the mapping. Raises ``ReadError`` for files that are missing,
    and when a class is both annotated and absent.
    """
    document, _ = read_list_document(path)
    return parse_datalist(document, path, mapping=mapping)


def read_list_document(path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON object in a data list's file, and the file's bytes.

    ``training`` and ``testing`` are lists or not there, and have a case together; ``ReadError`` otherwise.
    """
    form = 'Give a file like {"training": [{"image": "ct.nii.gz", "label": "label.nii.gz"}]}'
    try:
        content = path.read_bytes()
        document = json.loads(content.decode("utf-8-sig"))  # as some editors of Windows write it
    except OSError as error:
        raise ReadError(f"The data list {path} cannot be read: {error.strerror}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise ReadError(f"The data list {path} is no text.", f"{form}, not a CT itself.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise ReadError(f"The data list {path} is no JSON: {error}.", f"{form}.") from error
    lists = [document.get(n, []) for n in SPLITS] if isinstance(document, dict) else [None]
    if not all(isinstance(entries, list) for entries in lists) or not any(lists):
        raise ReadError(f"The data list {path} has no cases under 'training' or 'testing'.", f"{form}.")
    return document, content


def parse_datalist(document: Mapping[str, Any], path: Path, *, mapping: LabelMapping | None = None) -> DataList:
    """What the document of a list says, ``path`` being where it came from; as ``read_datalist``."""
    base = path.parent.absolute()
    absent = _read_absent(document, path)
    lists = {k: [_read_case(e, base, path, absent) for e in document.get(k, [])] for k in SPLITS}
    mappings = {DEFAULT: mapping} if mapping else _read_mappings("label_mapping", document, path)
    result = DataList(
        name=str(document.get("name", path.stem)),
        training=tuple(lists["training"]),
        testing=tuple(lists["testing"]),
        mappings=mappings,
        pseudo_mappings=_read_mappings("pseudo_label_mapping", document, path),
    )
    _check(result, path)
    return result


def parse_mapping(texts: Sequence[str], catalogue: ClassCatalogue) -> LabelMapping:
    """Read ``local=global`` texts; the global side is an id or a class name, also a new id above the catalogue's."""
    pairs = []
    for text in texts:
        local, _, target = text.partition("=")
        if not local.strip().isdigit() or not target.strip():
            raise SettingsError(f"'{text}' is no mapping.", "Write local=class, for example 1=liver or 2=140.")
        name = target.strip()
        beyond = name.isdigit() and int(name) not in catalogue
        pairs.append((int(local), int(name) if beyond else catalogue.resolve(name).id))
    return LabelMapping(pairs=tuple(pairs))


def mapping_warnings(mapping: LabelMapping, catalogue: ClassCatalogue) -> tuple[str, ...]:
    """The known traps of fine-tuning (spec 6.2): ids 0 and 255, groups, unsupported ids, one id for several labels."""
    found = []
    targets = [g for _, g in mapping.pairs]
    for class_id in dict.fromkeys(targets):
        if class_id == 0:
            found.append("A label is mapped to class 0, which is background: it will never be segmented.")
        if class_id == 255:
            found.append("Class 255 marks 'not computed' in the reference's files; choose another id to be compatible.")
        if class_id >= catalogue.table_size:
            found.append(f"Class {class_id} is beyond the model's table of {catalogue.table_size}.")
        if class_id in catalogue.groups:
            name = catalogue[class_id].name
            found.append(f"Class {class_id} ({name}) is a group: asking for it gives its members, not what is trained.")
        if targets.count(class_id) > 1:
            sources = [local for local, g in mapping.pairs if g == class_id]
            found.append(f"The labels {sources} are all mapped to class {class_id} and become one structure.")
    return tuple(found)


def _read_mappings(key: str, document: Mapping[str, Any], path: Path) -> dict[str, LabelMapping]:
    plain = document.get(key, {})
    groups = {DEFAULT: plain} if isinstance(plain, list) else plain
    if not isinstance(groups, dict):
        raise ReadError(f"{key} in {path} is neither a list nor an object.", "Write [[local, global], ...].")
    try:
        return {
            str(name): LabelMapping(pairs=tuple((int(a), int(b)) for a, b in pairs)) for name, pairs in groups.items()
        }
    except (TypeError, ValueError) as error:
        raise ReadError(f"{key} in {path} cannot be read: {error}.", "Write [[local, global], ...].") from error


def _read_absent(document: Mapping[str, Any], path: Path) -> dict[str, tuple[int, ...]]:
    plain = document.get("absent", {})
    groups = {DEFAULT: plain} if isinstance(plain, list) else plain
    if not isinstance(groups, dict):
        raise ReadError(f"absent in {path} is neither a list nor an object.", "Write [class id, ...].")
    return {str(name): _class_ids(ids, path) for name, ids in groups.items()}


def _class_ids(plain: Any, path: Path) -> tuple[int, ...]:
    if not isinstance(plain, list) or not all(type(v) is int and v > 0 for v in plain):
        raise ReadError(f"absent in {path} is no list of class ids: {plain!r}.", "Write whole numbers above 0.")
    return tuple(dict.fromkeys(plain))


def _read_case(entry: Any, base: Path, path: Path, absent: Mapping[str, tuple[int, ...]]) -> Case:
    if not isinstance(entry, dict) or "image" not in entry:
        raise ReadError(f"An entry of {path} has no image: {entry!r}.", 'Write {"image": "ct.nii.gz", ...}.')
    image = base / str(entry["image"])
    dataset = str(entry.get("dataset", DEFAULT))
    of_dataset = absent.get(dataset, absent.get(DEFAULT, ())) if entry.get("label") else ()
    return Case(
        id=str(entry.get("id") or _case_name(image)),
        image=image,
        label=_optional(base, entry.get("label")),
        pseudo_label=_optional(base, entry.get("pseudo_label")),
        supervoxels=_optional(base, entry.get("label_sv")),
        reliable=_whole("pseudo_label_reliability", entry, path) != 0,
        fold=_whole("fold", entry, path),
        dataset=dataset,
        annotated=_label_values(entry, path),
        absent=tuple(dict.fromkeys((*of_dataset, *_class_ids(entry.get("absent", []), path)))),
    )


def _whole(key: str, entry: Mapping[str, Any], path: Path) -> int | None:
    value = entry.get(key)
    number = _as_whole(value)
    if value is not None and number is None:
        raise ReadError(f"{key} in {path} is no whole number: {value!r}.", "Write for example 0.")
    return number


def _label_values(entry: Mapping[str, Any], path: Path) -> tuple[int, ...] | None:
    values = entry.get("annotated")
    if values is None:
        return None
    numbers = [_as_whole(v) for v in values] if isinstance(values, list) else [None]
    if None in numbers:
        raise ReadError(f"annotated in {path} is no list of label values: {values!r}.", "Write [1, 2, ...].")
    return tuple(n for n in numbers if n is not None)


def _as_whole(value: Any) -> int | None:
    """Also of 1.0 and "1", which other programs write; None of anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if number.is_integer() else None


def _check(data: DataList, path: Path) -> None:
    cases = (*data.training, *data.testing)
    missing = [f for c in cases for f in c.files() if not f.exists()]
    if missing:
        shown = ", ".join(str(f) for f in missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise ReadError(f"{len(missing)} files of {path} are missing: {shown}", "Check the paths in the list.")
    for case in cases:
        _check_absent(data, case, path)


def _check_absent(data: DataList, case: Case, path: Path) -> None:
    if case.label is None and case.absent:
        raise ReadError(
            f"Case {case.id} of {path} has absent classes but no label.",
            "Give it a label map, an empty one if need be.",
        )
    both = [i for i in data.annotated_ids_of(case) if i in case.absent]
    if both:
        raise ReadError(
            f"Class {both[0]} is annotated in case {case.id} of {path} and said to be absent.",
            "Take it out of absent, or its label value out of annotated.",
        )


def _case_name(image: Path) -> str:
    stem = image.name.split(".")[0]
    return image.parent.name if stem in {"ct", "image", "img"} else stem


def _optional(base: Path, value: Any) -> Path | None:
    return base / str(value) if value else None


def _plain(case: Case) -> dict[str, Any]:
    plain = {
        "id": case.id,
        "label": case.label is not None,
        "pseudo": case.pseudo_label is not None,
        "supervoxels": case.supervoxels is not None,
        "dataset": case.dataset,
        "annotated": case.annotated,
        "fold": case.fold,
    }
    return {**plain, "absent": case.absent} if case.absent else plain  # lists without it keep the digest that they had
