"""The results that the paper reports (spec 7.2, 7.3), for the data sets that have one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

from VISTA3DLib.evaluation.settings import ProtocolName

COLUMNS: Mapping[ProtocolName, str] = {
    "auto": "VISTA3D auto",
    "point": "VISTA3D point",
    "auto+point": "VISTA3D auto+point",
}


@dataclass(frozen=True, kw_only=True)
class PaperResult:
    """Mean Dice by method: over the classes of a data set (empty if only single classes are known), and by class."""

    title: str
    dice: Mapping[str, float]
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class FewShotResult:
    """Mean Dice after fine-tuning on a number of cases: ``dice[cases]`` has a value for each of ``methods``."""

    title: str
    methods: tuple[str, ...]
    dice: Mapping[int, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class PaperResults:
    """Everything that was published, to be found by a data set's name (case and punctuation do not matter)."""

    source: str
    by_name: Mapping[str, PaperResult]
    few_shot_by_name: Mapping[str, FewShotResult]

    @classmethod
    def load(cls) -> PaperResults:
        """Read the packaged table."""
        path = resources.files("VISTA3DLib") / "data" / "paper_results.json"
        plain = json.loads(path.read_text(encoding="utf-8"))
        by_name: dict[str, PaperResult] = {}
        for entry in plain["datasets"]:
            result = PaperResult(
                title=entry["title"],
                dice=entry.get("dice", {}),
                classes=entry.get("classes", {}),
                note=entry.get("note", ""),
            )
            by_name.update({_folded(name): result for name in (entry["id"], *entry["aliases"])})
        few: dict[str, FewShotResult] = {}
        for entry in plain["few_shot"]:
            dice = {int(cases): tuple(values) for cases, values in entry["dice"].items()}
            shot = FewShotResult(title=entry["title"], methods=tuple(entry["methods"]), dice=dice)
            few.update({_folded(name): shot for name in (entry["id"], *entry["aliases"])})
        return cls(source=plain["source"], by_name=by_name, few_shot_by_name=few)

    def find(self, dataset: str) -> PaperResult | None:
        """The results on a data set of this name, if the paper has it."""
        return self.by_name.get(_folded(dataset))

    def find_few_shot(self, dataset: str) -> FewShotResult | None:
        """The fine-tuning results on a data set of this name, if the paper has it."""
        return self.few_shot_by_name.get(_folded(dataset))


def _folded(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())
