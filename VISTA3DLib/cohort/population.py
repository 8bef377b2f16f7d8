"""What is usual in a cohort: the range of each structure's volume, and how often it is there at all."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from VISTA3DLib.cohort.settings import FlagRules

FloatArray = npt.NDArray[np.float64]
_SMALLEST_SPREAD = 0.05  # of the logarithm: equal volumes (a phantom, copies) must not make every other one an outlier
_MAD_TO_SD = 1.4826


@dataclass(frozen=True, kw_only=True)
class Usual:
    """One structure over the cohort: in how many scans it was found and is whole, and its volumes there (ml, sorted).

    ``low`` and ``high`` (ml) are the borders of the usual; None where the cohort is too small to say.
    """

    class_id: int
    name: str
    asked: int
    found: int
    volumes: FloatArray
    low: float | None = None
    high: float | None = None

    @property
    def share(self) -> float:
        """In which share of the scans it was found."""
        return self.found / self.asked if self.asked else 0.0


@dataclass
class Population:
    """Collects the volumes of a cohort, some scans at a time; ``usual`` then says what is usual."""

    _name: dict[int, str] = field(default_factory=dict)
    _asked: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    _found: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    _volumes: dict[int, list[npt.NDArray[np.float32]]] = field(default_factory=lambda: defaultdict(list))

    def add(
        self, class_ids: npt.NDArray[np.int64], names: list[str], ml: FloatArray, whole: npt.NDArray[np.bool_]
    ) -> None:
        """Take in one value for each structure of some scans. ``whole``: not cut off by the scan's border."""
        for class_id in np.unique(class_ids):
            own = class_ids == class_id
            key = int(class_id)
            self._name.setdefault(key, names[int(np.argmax(own))])
            self._asked[key] += int(own.sum())
            self._found[key] += int((ml[own] > 0).sum())
            volumes = ml[own & whole & (ml > 0)]
            if volumes.size:
                self._volumes[key].append(volumes.astype(np.float32))

    def usual(self, rules: FlagRules) -> dict[int, Usual]:
        """Every structure by its id."""
        result = {}
        for key, name in sorted(self._name.items()):
            parts = self._volumes.get(key, [])
            volumes = np.sort(np.concatenate(parts).astype(np.float64)) if parts else np.zeros(0)
            low, high = usual_range(volumes, rules) if volumes.size >= rules.population else (None, None)
            result[key] = Usual(
                class_id=key,
                name=name,
                asked=self._asked[key],
                found=self._found[key],
                volumes=volumes,
                low=low,
                high=high,
            )
        return result


def usual_range(volumes: FloatArray, rules: FlagRules) -> tuple[float, float]:
    """Median times or divided by ``exp(deviations x robust standard deviation)`` of the logarithms.

    The logarithm, since volumes of organs are skewed and never negative; median and MAD, since the outliers that are
    looked for must not widen the range that they are looked for with (Iglewicz and Hoaglin 1993: 3.5).
    """
    logs = np.log(volumes)
    middle = float(np.median(logs))
    spread = max(_SMALLEST_SPREAD, _MAD_TO_SD * float(np.median(np.abs(logs - middle))))
    return float(np.exp(middle - rules.deviations * spread)), float(np.exp(middle + rules.deviations * spread))


def ml_text(ml: float) -> str:
    """A volume for reading: three digits, no exponent."""
    return f"{ml:,.0f}" if ml >= 100 else f"{ml:.3g}"
