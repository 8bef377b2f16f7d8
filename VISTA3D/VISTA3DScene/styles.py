"""How a segment of a class looks: name, colour, SNOMED terminology."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import ClassError
from VISTA3DLib.structure import StructureClass, Terminology
from VISTA3DScene.prompts import Prompts, prompts_of
from VISTA3DScene.tags import PROMPTS_TAG, TERMINOLOGY_TAG, get_tag

# Easily told apart, none of them near the colours of organs: for structures without a class.
_NEW_COLORS = ((0.0, 0.75, 1.0), (1.0, 0.55, 0.0), (0.75, 0.3, 1.0), (0.95, 0.9, 0.1), (1.0, 0.4, 0.7), (0.2, 1.0, 0.8))


@dataclass(frozen=True, kw_only=True)
class Style:
    """Id to begin with, name, colour (0 to 1) and tags of a segment that is to come."""

    segment_id: str
    name: str
    color: tuple[float, float, float]
    tags: dict[str, str] = field(default_factory=dict)


def class_style(item: StructureClass, prompts: Prompts, taken: Collection[str]) -> Style:
    """The style of a class; ``taken`` are names that are used already."""
    r, g, b = (part / 255 for part in item.color)
    tags = {TERMINOLOGY_TAG: item.terminology.to_slicer(), PROMPTS_TAG: prompts.to_text()}
    name = unique_name(item.name, taken)
    return Style(segment_id=f"vista3d_{item.id:03d}", name=name, color=(r, g, b), tags=tags)


def new_style(name: str, prompts: Prompts, taken: Collection[str]) -> Style:
    """The style of a structure without a class."""
    color = _NEW_COLORS[len(taken) % len(_NEW_COLORS)]
    tags = {PROMPTS_TAG: prompts.to_text()}
    return Style(segment_id="vista3d_new", name=unique_name(name or "structure", taken), color=color, tags=tags)


def unique_name(name: str, taken: Collection[str]) -> str:
    """The name, with a number behind it if it is used already."""
    if name not in taken:
        return name
    return next(f"{name} {n}" for n in range(2, len(taken) + 3) if f"{name} {n}" not in taken)


def names_in(segmentation: Any) -> set[str]:
    """Names of all segments."""
    inner = segmentation.GetSegmentation()
    return {str(inner.GetSegment(i).GetName()) for i in inner.GetSegmentIDs()}


def class_of(segment: Any, catalogue: ClassCatalogue) -> int | None:
    """What a segment is: as its prompts say, else by its SNOMED code, else by its name; None if nothing tells."""
    if get_tag(segment, PROMPTS_TAG) is not None:
        prompts = prompts_of(segment)
        if prompts.class_id is not None or prompts.new_structure:
            return prompts.class_id
    entry = get_tag(segment, TERMINOLOGY_TAG)
    try:
        coded = Terminology.from_slicer(entry) if entry else None
    except ClassError:  # codes of somebody else's making
        coded = None
    if coded is not None:
        same = [c for c in catalogue if not c.terminology_note and _codes(c.terminology) == _codes(coded)]
        if len(same) == 1:
            return same[0].id
    try:
        return catalogue.resolve(str(segment.GetName()).replace(".nii.gz", "")).id
    except ClassError:
        return None


def _codes(entry: Terminology) -> tuple[str | None, ...]:
    return entry.type.value, entry.type_modifier.value if entry.type_modifier else None
