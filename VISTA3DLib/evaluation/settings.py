"""What an evaluation does: the protocol, how many clicks, what is scored, what stands beside the model."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from VISTA3DLib.errors import SettingsError
from VISTA3DLib.evaluation.metrics import TOLERANCE_MM

ProtocolName = Literal["auto", "point", "auto+point", "zero-shot", "clicks"]
BaselineName = Literal["region growing", "fast marching", "random walker"]
BaselineClicks = Literal["same", "own"]

PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)
BASELINES: tuple[BaselineName, ...] = get_args(BaselineName)
MODEL = "model"  # the method's name in rows; the others are the baselines'
MOST_CLICKS = 100


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How cases are evaluated.

    ``protocol``: ``auto`` (the automatic branch), ``point`` and ``auto+point`` (the paper's clicks in every window,
    spec 7.1; the last looks at the truth), ``zero-shot`` (the paper's iterative clicks on unknown structures),
    ``clicks`` (a simulated person, spec 7.6). ``clicks``: at most so many an object. ``classes``: only these ids (all
    when empty). ``min_ml``: smaller objects are left out (listed). ``tolerance_mm``: of the NSD. ``baselines``:
    classical methods beside the model (protocol ``clicks`` only); ``baseline_clicks``: ``same`` gives them the clicks
    that the model got, ``own`` lets the simulated person correct each method's own errors. ``start_from_auto``: clicks
    repair the automatic mask instead of starting from nothing. ``seed``: of the random clicks of ``auto+point`` and
    ``zero-shot``.
    """

    protocol: ProtocolName
    clicks: int = 10
    classes: tuple[int, ...] = ()
    min_ml: float = 0.0
    tolerance_mm: float = TOLERANCE_MM
    baselines: tuple[BaselineName, ...] = BASELINES
    baseline_clicks: BaselineClicks = "same"
    start_from_auto: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise SettingsError(f"There is no protocol '{self.protocol}'.", f"Use one of: {', '.join(PROTOCOLS)}.")
        if not 1 <= self.clicks <= MOST_CLICKS:
            raise SettingsError(f"{self.clicks} clicks an object were asked for.", f"Give 1 to {MOST_CLICKS}.")
        for name, value in (("smallest volume", self.min_ml), ("tolerance", self.tolerance_mm)):
            if not (math.isfinite(value) and value >= 0):
                raise SettingsError(f"The {name} is {value}.", "Give 0 or more.")
        unknown = [b for b in self.baselines if b not in BASELINES]
        if unknown:
            raise SettingsError(f"There is no baseline '{unknown[0]}'.", f"Use: {', '.join(BASELINES)}.")
        if self.baseline_clicks not in get_args(BaselineClicks):
            raise SettingsError(f"There are no baseline clicks '{self.baseline_clicks}'.", "Use same or own.")
        if self.seed < 0:
            raise SettingsError(f"The seed is {self.seed}.", "Give 0 or more.")
        if self.start_from_auto and self.protocol != "clicks":
            raise SettingsError(
                "Clicks on the automatic mask were asked for without clicks.", "Use --protocol clicks with it."
            )
        # A baseline needs clicks on the whole volume, and cannot repair what the automatic branch found.
        if self.protocol != "clicks" or self.start_from_auto:
            object.__setattr__(self, "baselines", ())

    @property
    def has_curves(self) -> bool:
        """Whether there is an answer after each of several clicks on an object."""
        return self.protocol in {"clicks", "zero-shot"}

    @property
    def best_counts(self) -> bool:
        """Whether an object's answer with the best Dice counts (the paper's rule for unknown structures), not the last.

        Everywhere: in the curves, the class table, the means and the pictures.
        """
        return self.protocol == "zero-shot"

    @property
    def asks_absent(self) -> bool:
        """Whether classes that a case does not show are asked for, too: they cannot be clicked."""
        return self.protocol in {"auto", "auto+point"}

    @property
    def methods(self) -> tuple[str, ...]:
        """The model, then the baselines."""
        return (MODEL, *self.baselines)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "baselines": list(self.baselines), "classes": list(self.classes)}
