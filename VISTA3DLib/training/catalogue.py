"""The class catalogue of a trained model: what it learned from a base catalogue, and classes of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import ClassError
from VISTA3DLib.structure import ClassStatus, Code, StructureClass, Terminology

_ANATOMY = Code(scheme="SCT", value="123037004", meaning="Anatomical Structure")
_GENERIC = Terminology(category=_ANATOMY, type=_ANATOMY)
_COLOURS = (
    (111, 184, 210),
    (230, 220, 70),
    (221, 130, 101),
    (144, 238, 144),
    (192, 104, 88),
    (188, 65, 28),
    (216, 191, 216),
)


def trained_catalogue(
    base: ClassCatalogue,
    class_ids: Iterable[int],
    new_names: Mapping[int, str] | None = None,
    *,
    keep_base: bool = False,
) -> ClassCatalogue:
    """``base`` with the trained classes supported, and entries for ids that it does not know.

    ``keep_base``: classes that the base model supported stay supported (fine-tuning); else only what was trained is.
    A trained id that the base marks as unsupported, or as a group, becomes an ordinary class. Names of new ids come
    from ``new_names`` (else ``class 140``); a name that the CT+MR catalogue knows takes its colour and codes from
    there. Raises ``ClassError`` when an id that exists would get another name.
    """
    wanted = tuple(dict.fromkeys(class_ids))
    names = dict(new_names or {})
    taken = [i for i, name in names.items() if i in base and name != base[i].name]
    if taken:
        raise ClassError(
            f"The id {taken[0]} is {base[taken[0]].name!r} already and cannot be named {names[taken[0]]!r}.",
            "Give new structures ids that the catalogue does not have.",
        )
    adopted = _with_adopted(base, wanted)
    known = [i for i in wanted if i in base]
    if keep_base:
        known += [c.id for c in adopted if c.status is ClassStatus.SUPPORTED and c.id not in known]
    donor = ClassCatalogue.load("ctmr")
    extra = [_new_class(i, names.get(i, f"class {i}"), donor) for i in wanted if i not in base]
    return adopted.restricted_to(known, extra)


def _with_adopted(base: ClassCatalogue, wanted: Iterable[int]) -> ClassCatalogue:
    """The base with trained groups and unsupported classes turned into ordinary ones."""
    adopted = {i for i in wanted if i in base and base[i].status is not ClassStatus.SUPPORTED}
    if not adopted:
        return base
    classes = tuple(replace(c, status=ClassStatus.SUPPORTED, reason="") if c.id in adopted else c for c in base.classes)
    groups = {g: members for g, members in base.groups.items() if g not in adopted}
    everything = tuple(sorted({*base.sets.get("everything", ()), *adopted}))
    return replace(base, classes=classes, groups=groups, sets={**base.sets, "everything": everything})


def _new_class(class_id: int, name: str, donor: ClassCatalogue) -> StructureClass:
    colour = _COLOURS[class_id % len(_COLOURS)]
    try:
        twin = donor.resolve(name)
    except ClassError:
        return StructureClass(id=class_id, name=name, tree=("Trained here",), color=colour, terminology=_GENERIC)
    return StructureClass(
        id=class_id,
        name=name,
        tree=twin.tree,
        color=twin.color,
        terminology=twin.terminology,
        terminology_note=twin.terminology_note,
    )
