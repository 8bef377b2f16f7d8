"""What a person should look at: rules on the finished table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from VISTA3DLib.cohort.population import Usual, ml_text
from VISTA3DLib.cohort.settings import FlagRules

BORDER, EMPTY, PARTS, VOLUME, HU, INPUT = "border", "empty", "components", "volume", "hu", "input"
# How much each says about a wrong result. Contact with the border is usual where a scan ends in the body.
WEIGHTS: Mapping[str, int] = {EMPTY: 6, VOLUME: 5, HU: 5, INPUT: 4, PARTS: 3, BORDER: 1}
MEANINGS: Mapping[str, str] = {
    EMPTY: "a structure that should be there was not found",
    VOLUME: "a volume outside the cohort's usual range",
    HU: "Hounsfield units that such tissue does not have",
    INPUT: "the scan itself looks unusual",
    PARTS: "more connected parts than allowed",
    BORDER: "it reaches the border of the scan, so its volume is a part of the true one",
}
_USUALLY_THERE = 0.9  # of the cohort's scans: a structure that is missing elsewhere is remarkable
_MOST_NAMED = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """One remark on one scan: its code, what it is about, and a sentence."""

    code: str
    text: str
    class_id: int = 0


def structure_flags(
    structure: Mapping[str, Any], usual: Usual | None, rules: FlagRules, named: Collection[int]
) -> list[Flag]:
    """The flags of one structure (``measures.Structure`` as plain values). ``named``: ids asked for by name."""
    class_id, name, ml = structure["class_id"], structure["name"], structure["ml"]

    def flag(code: str, text: str) -> Flag:
        return Flag(code=code, text=text, class_id=class_id)

    if not structure["voxels"]:
        expected = usual is not None and usual.asked >= rules.population and usual.share >= _USUALLY_THERE
        if class_id in named or expected:
            return [flag(EMPTY, f"{name}: not found")]
        return []
    flags = []
    if structure["border"]:
        flags.append(flag(BORDER, f"{name}: reaches the border of the scan"))
    if structure["components"] > rules.most_components:
        flags.append(flag(PARTS, f"{name}: {structure['components']} parts"))
    agreement = structure["agreement"]
    if agreement is not None and agreement < rules.least_agreement:
        flags.append(flag(HU, f"{name}: {agreement:.0%} of it has possible HU (mean {structure['mean_hu']:.0f} HU)"))
    if usual is None or usual.low is None or usual.high is None or structure["border"]:
        return flags
    if not usual.low <= ml <= usual.high:
        text = f"{name}: {ml_text(ml)} ml, usual are {ml_text(usual.low)} to {ml_text(usual.high)}"
        flags.append(flag(VOLUME, text))
    return flags


def scan_flags(found: int, findings: Collection[str]) -> list[Flag]:
    """The flags of a whole scan: ``found`` structures, ``findings`` of the reader about the image."""
    flags = [Flag(code=INPUT, text=text) for text in findings]
    if not found:
        flags.insert(0, Flag(code=EMPTY, text="Nothing was found."))
    return flags


def codes(flags: Collection[Flag]) -> tuple[str, ...]:
    """The different codes, the weightiest first."""
    return tuple(sorted({flag.code for flag in flags}, key=lambda code: -WEIGHTS[code]))


def score(flags: Collection[Flag]) -> int:
    """How suspicious a scan is: the worst first in the report."""
    return sum(WEIGHTS[flag.code] for flag in flags)


def summary(flags: Collection[Flag]) -> str:
    """The weightiest flags in a line."""
    ordered = sorted(flags, key=lambda flag: -WEIGHTS[flag.code])
    more = f"; and {len(ordered) - _MOST_NAMED} more" if len(ordered) > _MOST_NAMED else ""
    return "; ".join(flag.text for flag in ordered[:_MOST_NAMED]) + more
