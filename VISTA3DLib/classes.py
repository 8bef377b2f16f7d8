"""The structures that a model can segment: names, groups, sets, colours, standard codes.

A :class:`ClassCatalogue` answers every question about class ids. It is a value: nothing here keeps state, an unknown
name never becomes a new class, and :meth:`ClassCatalogue.to_dict` is what a checkpoint stores about its classes.
``docs/classes.md`` says where the data comes from.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from types import MappingProxyType
from typing import Any

from VISTA3DLib.errors import ClassError
from VISTA3DLib.structure import ClassStatus, StructureClass, is_integer, normal_name

CATALOGUE_FILES: Mapping[str, str] = MappingProxyType({"ct": "labels.json", "ctmr": "labels_ctmr.json"})

_NOT_TRAINED = "This model was not trained on it."
_LONGEST_QUERY = 80  # characters; no name is longer, and likeness gets slow with the length
_NO_RANK = 5  # of a class that a search text does not match
_ALIKE = 0.65  # smallest similarity of a misspelt name, 0..1: "kidny" has 0.91 with kidney, unrelated names below 0.6


@dataclass(frozen=True, kw_only=True)
class TreeNode:
    """A branch of the hierarchy; ``class_ids`` sit directly in it, both in reading order (head to foot, left first)."""

    name: str
    children: tuple[TreeNode, ...] = ()
    class_ids: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ClassCatalogue:
    """The classes of one model.

    ``classes`` are in reading order of the tree; iterating goes by id. ``sets`` are named lists of ids for a person to
    pick (``everything``, ``organs``, ...), ``groups`` expand to their members, ``contains`` names the classes whose
    voxels also count as the key's in the training data. Classes in ``point_special`` take the point labels 2 and 3. Of
    a class in ``single_piece`` only the largest connected component of an automatic answer is kept. Ids above
    ``last_supported`` are new structures for points; ``table_size`` is the length of the network's class table.
    """

    id: str
    title: str
    classes: tuple[StructureClass, ...]
    table_size: int = 512
    last_supported: int = 132
    point_special: tuple[int, ...] = ()
    single_piece: tuple[int, ...] = ()
    groups: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    contains: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    sets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    _by_id: dict[int, StructureClass] = field(init=False, repr=False, compare=False)
    _by_name: dict[str, StructureClass] = field(init=False, repr=False, compare=False)
    _set_names: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("groups", "contains", "sets"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        if not self.classes:
            raise ClassError(f"The class catalogue {self.title!r} is empty.", "Give it at least one class.")
        for name in ("_by_id", "_by_name"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_set_names", {normal_name(name): name for name in self.sets})
        for item in self.classes:
            self._check_table(item.id)
            if self._by_id.setdefault(item.id, item) is not item:
                raise ClassError(f"The id {item.id} of {item.name!r} is used twice.", "Give each class its own id.")
            for text in (item.name, *item.aliases):
                if self._by_name.setdefault(normal_name(text), item) is not item:
                    raise ClassError(f"{text!r} names two classes of {self.title}.", "Give each its own name.")
        self._check_lists()

    def _check_lists(self) -> None:
        for name, ids in self.sets.items():
            if normal_name(name) in self._by_name:
                raise ClassError(f"{name!r} names a class and a set of {self.title}.", "Rename the set.")
            self._check_members(f"Set {name!r}", ids)
        for group, ids in self.groups.items():
            if group not in self._by_id or self._by_id[group].status is not ClassStatus.GROUP:
                raise ClassError(f"Class {group!r} has members but is no group.", "Give it the status 'group'.")
            self._check_members(f"Group {group}", ids)
        for item in self.classes:
            if item.status is ClassStatus.GROUP and item.id not in self.groups:
                raise ClassError(f"Group {item.label} has no members.", "List them under 'groups'.")
        if lost := [i for i in self.single_piece if i not in self._by_id]:
            fix = "Take them out of 'single_piece'."
            raise ClassError(f"{self.title} has no classes {lost} that could be of a single piece.", fix)

    def _check_members(self, owner: str, ids: tuple[int, ...]) -> None:
        wrong = [i for i in ids if i not in self._by_id or self._by_id[i].status is not ClassStatus.SUPPORTED]
        if wrong or not ids:
            raise ClassError(f"{owner} of {self.title} has members that it cannot have: {wrong}.", "Take them out.")

    @classmethod
    def load(cls, id: str = "ct") -> ClassCatalogue:
        """The catalogue of an official model: ``ct`` (132 classes) or ``ctmr`` (345); ClassError for another id."""
        if id not in CATALOGUE_FILES:
            raise ClassError(f"There is no class catalogue {id!r}.", f"Choose one of {', '.join(CATALOGUE_FILES)}.")
        path = resources.files("VISTA3DLib") / "data" / CATALOGUE_FILES[id]
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ClassCatalogue:
        """A catalogue from JSON data, such as a checkpoint's metadata; raises ClassError when it is malformed."""
        try:
            values = dict(data)
            values["classes"] = tuple(StructureClass.from_dict(item) for item in data["classes"])
            for name in ("point_special", "single_piece"):
                values[name] = tuple(data.get(name, ()))
            for name in ("groups", "contains"):
                values[name] = {int(key): tuple(ids) for key, ids in data.get(name, {}).items()}
            values["sets"] = {key: tuple(ids) for key, ids in data.get("sets", {}).items()}
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            fix = "Use a catalogue that was written by ClassCatalogue.to_dict."
            raise ClassError(f"The class catalogue cannot be read: {problem!r}.", fix) from problem

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; ``from_dict(c.to_dict()) == c``."""
        lists: dict[str, Mapping[Any, tuple[int, ...]]] = {}
        lists |= {"groups": self.groups, "contains": self.contains, "sets": self.sets}
        data: dict[str, Any] = {"id": self.id, "title": self.title, "table_size": self.table_size}
        data |= {"last_supported": self.last_supported, "point_special": list(self.point_special)}
        data |= {"single_piece": list(self.single_piece)}
        data |= {name: {str(key): list(ids) for key, ids in entry.items()} for name, entry in lists.items()}
        return data | {"classes": [item.to_dict() for item in self.classes]}

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], ClassCatalogue], tuple[dict[str, Any]]]:
        return ClassCatalogue.from_dict, (self.to_dict(),)  # read-only mappings do not pickle

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[StructureClass]:
        return iter(sorted(self.classes, key=lambda item: item.id))

    def __contains__(self, class_id: object) -> bool:
        return is_integer(class_id) and class_id in self._by_id

    def __getitem__(self, class_id: int) -> StructureClass:
        """The class with this id; ClassError for an id that the catalogue does not have."""
        if class_id not in self:
            fix = f"Give an id from {min(self._by_id)} to {max(self._by_id)}, or a name: {self.classes[0].name!r}, say."
            raise ClassError(f"{_show(class_id)} is not a class of {self.title}.", fix)
        return self._by_id[class_id]

    def resolve(self, item: int | str) -> StructureClass:
        """The class meant by an id, digits, a name or an alias; case, spaces, ``_`` and ``-`` do not matter.

        Groups and unsupported classes resolve too. Raises ClassError, with the nearest names, for anything else.
        """
        found = self._found(item)
        if found is None:
            raise self._unknown(str(item))
        return found

    def _found(self, item: int | str) -> StructureClass | None:
        if not isinstance(item, str):
            return self[item]
        if re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", item):
            return self[int(item)]
        return self._by_name.get(normal_name(item))

    def _unknown(self, text: str, near_sets: Sequence[str] = (), other: str = "") -> ClassError:
        if not normal_name(text):
            return ClassError(f"{_show(text)} is not a class of {self.title}: it is empty.", "Give a class name or id.")
        if (name := self._set_names.get(normal_name(text))) is not None:
            fix = f"Choose one of them, such as {self._by_id[self.sets[name][0]].label}."
            return ClassError(f"{name!r} is a set of {len(self.sets[name])} classes, not one class.", fix)
        near = [*near_sets, *(item.label for item in self.search(text, hide_unsupported=True)[:5])]
        search = f"Search the list of classes with a part of the name{other}."
        fix = f"Did you mean: {', '.join(near)}?" if near else search
        return ClassError(f"{_show(text)} is not a class of {self.title}.", fix)

    def resolve_many(self, items: Sequence[int | str] | str, *, expand_groups: bool = True) -> tuple[int, ...]:
        """The ids to segment for names, ids and set names: in the order given, each once.

        Groups become their members (``expand_groups=False`` leaves them). Raises ClassError for an unknown name, for a
        class that the model does not support (with the reason) and for an empty list. One text counts as one item.
        """
        if isinstance(items, str):
            items = [items]
        if not isinstance(items, Iterable):
            raise ClassError(f"{_show(items)} is not a list of classes.", "Give a list of names, ids or set names.")
        found: dict[int, None] = {}
        for item in items:
            for class_id in self._meant(item):
                found |= dict.fromkeys(self.members(class_id) if expand_groups else (class_id,))
        if not found:
            raise ClassError("No class was chosen.", f"Choose classes or a set: {', '.join(self.sets) or 'none'}.")
        return tuple(found)

    def is_set(self, text: str) -> bool:
        """Whether a text names a set; case, spaces, ``_`` and ``-`` do not matter."""
        return normal_name(text) in self._set_names

    def _meant(self, item: int | str) -> tuple[int, ...]:
        """The ids of a set, or of one class."""
        if isinstance(item, str) and self.is_set(item):
            return self.sets[self._set_names[normal_name(item)]]
        found = self._found(item)
        if found is None:
            raise self._unknown(str(item), self._near_sets(str(item)), f", or choose a set: {', '.join(self.sets)}")
        return (self._usable(found).id,)

    def _near_sets(self, text: str) -> list[str]:
        """Sets whose name is like a text, or has it as a word, best first, as a person reads them."""
        query = normal_name(text)[:_LONGEST_QUERY]
        near = difflib.get_close_matches(query, self._set_names, cutoff=_ALIKE)
        near += [name for name in self._set_names if query in name.split()]
        names = [self._set_names[name] for name in dict.fromkeys(near)]
        return [f"{name} (a set of {len(self.sets[name])} classes)" for name in names]

    def _usable(self, item: StructureClass) -> StructureClass:
        if item.status is ClassStatus.UNSUPPORTED:
            raise ClassError(f"{item.label} cannot be segmented with {self.title}.", item.reason)
        return item

    def members(self, class_id: int) -> tuple[int, ...]:
        """What a class expands to: the members of a group, else the class itself."""
        item = self[class_id]
        return self.groups.get(item.id, (item.id,))

    def group_of(self, class_id: int) -> int | None:
        """The group that expands to this class and others, if there is one."""
        return next((group for group, ids in self.groups.items() if class_id in ids), None)

    def search(self, text: str, *, hide_unsupported: bool = False) -> list[StructureClass]:
        """Classes for a search box, best first: exact, prefix, word start, substring, alias; misspelt only if none is.

        An empty text gives all classes in reading order.
        """
        classes = self._shown(hide_unsupported)
        query = normal_name(text)[:_LONGEST_QUERY]
        if not query:
            return classes
        ranks = {item.id: _rank(query, item) for item in classes}
        if found := [item for item in classes if ranks[item.id] < _NO_RANK]:
            return sorted(found, key=lambda item: (ranks[item.id], len(item.name)))
        likeness = {item.id: _likeness(query, item) for item in classes}
        found = [item for item in classes if likeness[item.id] > _ALIKE]
        return sorted(found, key=lambda item: (-likeness[item.id], len(item.name)))[:10]

    def _shown(self, hide_unsupported: bool) -> list[StructureClass]:
        hidden = ClassStatus.UNSUPPORTED if hide_unsupported else None
        return [item for item in self.classes if item.status is not hidden]

    def point_label(self, class_id: int | None, positive: bool) -> int:
        """The network's label of a point: 1 or 0, and 3 or 2 for the special (ambiguous, nested) classes.

        None (points without a class) and ids above ``last_supported`` (new structures) take 1 or 0.
        """
        if class_id is not None:
            self._check_table(class_id)
        return int(positive) + (2 if class_id in self.point_special else 0)

    def check_for_points(self, class_id: int) -> None:
        """Raise ClassError if points cannot have this class: a group, an unsupported class, no class at all.

        An id above ``last_supported`` that the catalogue does not name is a new structure and passes.
        """
        self._check_table(class_id)
        if class_id not in self and class_id > self.last_supported:
            return
        item = self._usable(self[class_id])
        if item.status is ClassStatus.GROUP:
            labels = [self._by_id[i].label for i in self.groups[class_id]]
            choice = ", ".join(labels[:6]) + (f" or another of its {len(labels)}" if len(labels) > 6 else "")
            raise ClassError(f"{item.label} is a group; points need one structure.", f"Choose one: {choice}.")

    def _check_table(self, class_id: object) -> None:
        if not is_integer(class_id) or not 0 < class_id < self.table_size:
            fix = f"Give a class id from 1 to {self.table_size - 1}."
            raise ClassError(f"{_show(class_id)} is not a class id of {self.title}.", fix)

    def tree(self, *, hide_unsupported: bool = False) -> TreeNode:
        """The hierarchy for a browser; every class is in exactly one node. The root has the catalogue's title."""
        return _branch(self.title, self._shown(hide_unsupported), 0)

    def restricted_to(self, ids: Iterable[int | str], extra: Iterable[StructureClass] = ()) -> ClassCatalogue:
        """The catalogue of a smaller or fine-tuned model.

        Only ``ids`` (groups and set names expand) stay supported; the others remain visible and say that the model was
        not trained on them. ``extra`` classes are appended, with ids above ``last_supported``, and join the set
        ``everything``. Sets shrink and empty ones disappear; so does a group that lacks a member. Raises ClassError if
        nothing remains, if an id is not supported here, or if an extra class has an id or a name that is taken.
        """
        wanted, added = [ids] if isinstance(ids, str) else list(ids), tuple(extra)
        kept = set(self.resolve_many(wanted)) if wanted or not added else set()
        for item in added:
            if not is_integer(item.id) or item.id <= self.last_supported:
                fix = f"Give new classes ids from {self.last_supported + 1} to {self.table_size - 1}."
                raise ClassError(f"{_show(item.name)} cannot have the id {item.id!r}.", fix)
        groups = {group: members for group, members in self.groups.items() if kept.issuperset(members)}
        sets = {name: tuple(i for i in members if i in kept) for name, members in self.sets.items()}
        new = tuple(item.id for item in added if item.status is ClassStatus.SUPPORTED)
        sets["everything"] = sets.get("everything", ()) + new
        classes = tuple(item if item.id in kept or item.id in groups else _dropped(item) for item in self.classes)
        sets = {name: members for name, members in sets.items() if members}
        return replace(self, classes=classes + added, groups=groups, sets=sets)


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _rank(query: str, item: StructureClass) -> int:
    name = normal_name(item.name)
    words = name.split()
    aliases = [normal_name(alias) for alias in item.aliases]
    matches = (
        query in (name, str(item.id), *aliases),
        name.startswith(query),
        all(any(word.startswith(part) for word in words) for part in query.split()),
        query in name,
        any(query in alias for alias in aliases),
    )
    return matches.index(True) if True in matches else _NO_RANK


def _likeness(query: str, item: StructureClass) -> float:
    def best(one: Iterable[str], other: Iterable[str]) -> float:
        return max((difflib.SequenceMatcher(None, a, b).ratio() for a in one for b in other), default=0.0)

    names = {normal_name(text) for text in (item.name, *item.aliases)}
    words = {word for name in names for word in name.split() if len(word) > 3}
    # A word alone counts less than the whole name, and a short one says nothing.
    return max(best([query], names), 0.85 * best([word for word in query.split() if len(word) > 3], words))


def _branch(name: str, items: Sequence[StructureClass], depth: int) -> TreeNode:
    deeper: dict[str, list[StructureClass]] = {}
    for item in items:
        if len(item.tree) > depth:
            deeper.setdefault(item.tree[depth], []).append(item)
    children = tuple(_branch(child, below, depth + 1) for child, below in deeper.items())
    return TreeNode(name=name, children=children, class_ids=tuple(item.id for item in items if len(item.tree) == depth))


def _dropped(item: StructureClass) -> StructureClass:
    if item.status is ClassStatus.UNSUPPORTED:
        return item  # its own reason says more
    return replace(item, status=ClassStatus.UNSUPPORTED, reason=_NOT_TRAINED)
