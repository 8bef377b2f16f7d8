"""One structure of a class catalogue: its name, colour, place in the tree and standard codes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from numbers import Integral
from typing import Any, TypeGuard

from VISTA3DLib.errors import ClassError

_SLICER_TYPE_CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
_SLICER_ANATOMY_CONTEXT = "Anatomic codes - DICOM master list"


class ClassStatus(Enum):
    """What may be asked of a class."""

    SUPPORTED = "supported"
    GROUP = "group"  # stands for its members; the network itself never learned it
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, kw_only=True)
class Code:
    """One coded term: ``scheme`` is ``SCT`` (SNOMED CT) or ``DCM`` (DICOM), ``meaning`` the term in English."""

    scheme: str
    value: str
    meaning: str

    def __post_init__(self) -> None:
        parts = (self.scheme, self.value, self.meaning)
        # ^, ~ and | separate fields in Slicer's segment tags: one inside a term would shift all that follow.
        if not all(isinstance(part, str) and part and not set(part) & set("^~|") for part in parts):
            raise ClassError(f"{parts!r} is not a code.", "Give scheme, value and meaning, without ^ ~ and |.")

    def to_list(self) -> list[str]:
        """``[scheme, value, meaning]``, as stored in JSON."""
        return [self.scheme, self.value, self.meaning]

    @classmethod
    def from_list(cls, triple: Sequence[str]) -> Code:
        """The inverse of :meth:`to_list`; raises ClassError unless there are three non-empty texts."""
        scheme, value, meaning = triple
        return cls(scheme=scheme, value=value, meaning=meaning)


@dataclass(frozen=True, kw_only=True)
class Terminology:
    """The standard codes of a segment, as in DICOM SEG and in Slicer; the side is a modifier."""

    category: Code
    type: Code
    type_modifier: Code | None = None
    region: Code | None = None
    region_modifier: Code | None = None

    def to_slicer(self) -> str:
        """Slicer's terminology entry, as in the ``TerminologyEntry`` tag of a segment in a ``.seg.nrrd`` file."""

        def triple(code: Code | None) -> str:
            return "^".join(code.to_list()) if code else "^^"

        structure = [triple(self.category), triple(self.type), triple(self.type_modifier)]
        anatomy = [triple(self.region), triple(self.region_modifier)]
        return "~".join([_SLICER_TYPE_CONTEXT, *structure, _SLICER_ANATOMY_CONTEXT, *anatomy])

    @classmethod
    def from_slicer(cls, entry: str) -> Terminology | None:
        """The inverse of :meth:`to_slicer`; None for an entry that lacks a category or a type."""
        parts = [tuple(part.split("^")) for part in entry.split("~")]
        # Context names stand at 0 and 4; files of old Slicer versions end after the type's modifier.
        wanted = [parts[n] if n < len(parts) else () for n in (1, 2, 3, 5, 6)]
        codes = [Code.from_list(triple) if len(triple) == 3 and all(triple) else None for triple in wanted]
        category, kind, modifier, region, region_modifier = codes
        if category is None or kind is None:
            return None
        return cls(category=category, type=kind, type_modifier=modifier, region=region, region_modifier=region_modifier)

    def to_dict(self) -> dict[str, Any]:
        """The five codes as lists, None where there is no code."""
        codes = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: code.to_list() if code else None for name, code in codes.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Terminology:
        """The inverse of :meth:`to_dict`."""
        codes: dict[str, Any] = {name: Code.from_list(code) if code else None for name, code in data.items()}
        return cls(**codes)


@dataclass(frozen=True, kw_only=True)
class StructureClass:
    """One class of a catalogue.

    ``tree`` is its place in the browsable hierarchy, ``color`` is RGB in 0..255. ``reason`` says why the class is not
    supported, or what a group expands to. ``terminology_note`` is set where only the code of the parent is known.
    """

    id: int
    name: str
    tree: tuple[str, ...]
    color: tuple[int, int, int]
    terminology: Terminology
    aliases: tuple[str, ...] = ()
    status: ClassStatus = ClassStatus.SUPPORTED
    reason: str = ""
    terminology_note: str = ""

    def __post_init__(self) -> None:
        if not self.tree or re.fullmatch(r"[+\d ]*", normal_name(self.name)):  # digits would be read as an id
            raise ClassError(f"Class {self.id} has no place in the tree, or the name {self.name!r}.", "Give it both.")
        if len(self.color) != 3 or not all(is_integer(part) and 0 <= part <= 255 for part in self.color):
            raise ClassError(f"{self.color!r} is not a colour.", "Give red, green and blue from 0 to 255.")

    @property
    def label(self) -> str:
        """Name and id, for messages: ``liver (1)``."""
        return f"{self.name} ({self.id})"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; keys without content are left out."""
        data: dict[str, Any] = {"id": self.id, "name": self.name, "aliases": list(self.aliases)}
        data |= {"tree": list(self.tree), "status": self.status.value, "reason": self.reason, "color": list(self.color)}
        data |= {"terminology": self.terminology.to_dict(), "terminology_note": self.terminology_note}
        return {key: value for key, value in data.items() if value or key not in ("aliases", "terminology_note")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StructureClass:
        """The inverse of :meth:`to_dict`."""
        tuples = {key: tuple(data[key]) for key in ("aliases", "tree", "color") if key in data}
        coded = {"terminology": Terminology.from_dict(data["terminology"])}
        status = {"status": ClassStatus(data.get("status", ClassStatus.SUPPORTED.value))}
        return cls(**{**data, **tuples, **coded, **status})


def normal_name(text: str) -> str:
    """A name as it is compared: lower case, with ``_``, ``-`` and runs of spaces as one space."""
    return re.sub(r"[\s_\-]+", " ", text).strip().casefold()


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number; True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)
