"""What phantom to make: its person, its scan and its grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

from VISTA3DLib.errors import SettingsError

Triple = tuple[float, float, float]

MAX_VOXELS = 600_000_000  # 1.2 GB of int16; more is a slip of the keyboard
_AXIS_OF_LETTER = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
_RANGES: dict[str, tuple[float, float, str]] = {
    "variation": (0.0, 1.0, ""),
    "contrast": (0.0, 1.0, ""),
    "noise_hu": (0.0, 300.0, " HU"),
    "blur_mm": (0.0, 20.0, " mm"),
    "lesions": (0, 20, ""),
}


@dataclass(frozen=True, kw_only=True)
class PhantomSettings:
    """The person (``seed``, ``variation``, ``lesions``), the scan and its grid; the defaults are the sample CT.

    ``seed``: 0 or more; the same seed is the same person on every grid.
    ``spacing``: voxel size in mm along i, j, k, each 0.2 to 30.
    ``field_of_view``: extent in mm along right-left, anterior-posterior and superior-inferior; ``None`` is the whole
    torso with the table, about 400 x 300 x 600 mm, scaled with the person.
    ``axes``: the way that i, j and k increase, a letter each: R or L, A or P, S or I, in any order.
    ``rotation_deg``: turns the grid about its centre, around the world's R, A and S axes in this order; the anatomy
    stays where it is.
    ``origin``: world position (mm, RAS) of the first voxel's centre; ``None`` centres the grid on the torso.
    ``variation``: 0 is the standard person, whatever the seed; 1 is strongly varied anatomy drawn from the seed.
    ``contrast``: 0 is native, 1 is strong arterial and portal enhancement.
    ``noise_hu``: standard deviation of the noise in HU, 0 to 300.
    ``blur_mm``: standard deviation of the point spread in mm, 0 to 20; the extent of the voxels comes on top.
    ``lesions``: this many hepatic tumours and as many lung nodules, 0 to 20, drawn from the seed.
    ``table``: whether the person lies on a table (or floats in the air).
    """

    seed: int = 0
    spacing: Triple = (1.5, 1.5, 3.0)
    field_of_view: Triple | None = None
    axes: str = "LPS"
    rotation_deg: Triple = (0.0, 0.0, 0.0)
    origin: Triple | None = None
    variation: float = 0.0
    contrast: float = 0.5
    noise_hu: float = 12.0
    blur_mm: float = 1.0
    lesions: int = 1
    table: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise SettingsError(f"The phantom's seed is {self.seed!r}.", "Give a whole number, 0 or more.")
        if not isinstance(self.lesions, int):
            raise SettingsError(f"The phantom's lesions are {self.lesions!r}.", "Give a whole number, 0 to 20.")
        for name, (low, high, unit) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"The phantom's {name} is {value!r}{unit}.", f"Give {low} to {high}{unit}.")
        _check_triple("spacing", self.spacing, 0.2, 30.0)
        _check_triple("rotation_deg", self.rotation_deg, -180.0, 180.0)
        if self.field_of_view is not None:
            _check_triple("field_of_view", self.field_of_view, 1.0, 2000.0)
        if self.origin is not None:
            _check_triple("origin", self.origin, -10_000.0, 10_000.0)
        if sorted(_AXIS_OF_LETTER.get(letter, -1) for letter in self.axes) != [0, 1, 2]:
            raise SettingsError(
                f"The phantom's axes are {self.axes!r}.",
                "Give three letters, one each of R or L, A or P, S or I, for example LPS.",
            )
        extent = self.field_of_view or (400.0, 300.0, 600.0)
        voxels = math.prod(extent) / math.prod(self.spacing)
        if voxels > MAX_VOXELS:
            raise SettingsError(
                f"The phantom would have {voxels / 1e6:.0f} million voxels; {MAX_VOXELS // 10**6} million is the most.",
                "Use a larger spacing or a smaller field of view.",
            )

    @property
    def world_axes(self) -> tuple[int, int, int]:
        """Which world axis (0 right, 1 anterior, 2 superior) each of i, j and k runs along."""
        i, j, k = (_AXIS_OF_LETTER[letter] for letter in self.axes)
        return i, j, k

    @property
    def signs(self) -> tuple[int, int, int]:
        """+1 where i, j or k increases towards right, anterior or superior, -1 where it increases the other way."""
        i, j, k = (1 if letter in "RAS" else -1 for letter in self.axes)
        return i, j, k


def _check_triple(name: str, value: Triple, low: float, high: float) -> None:
    """Raise unless ``value`` is three finite numbers from ``low`` to ``high``."""
    if len(value) != 3 or not all(math.isfinite(number) and low <= number <= high for number in value):
        raise SettingsError(f"The phantom's {name} is {value!r}.", f"Give three numbers from {low:g} to {high:g}.")
