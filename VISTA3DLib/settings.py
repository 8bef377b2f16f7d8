"""What describes a member of the VISTA3D family, and how it is run. Plain data: no torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import SettingsError
from VISTA3DLib.geometry import Index3, Vector3

Precision = Literal["fp32", "fp16", "bf16"]
BlendMode = Literal["constant", "gaussian"]
PaddingMode = Literal["zero", "replicate"]
ModeName = Literal["bundle", "quality"]

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class HUWindow:
    """Intensity rule of the CT models: HU from ``low`` to ``high`` become 0 to 1, the rest is clipped (spec 2.1)."""

    low: float = -963.8247715525971
    high: float = 1053.678477684517

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise SettingsError(f"The HU window runs from {self.low} to {self.high}.", "Give a low below the high.")


@dataclass(frozen=True, kw_only=True)
class PercentileWindow:
    """Intensity rule of the CT+MR model: these percentiles of the cropped image become 0 and 1 (spec 2.1)."""

    low: float = 1.0
    high: float = 99.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.low < self.high <= 100.0:
            raise SettingsError(
                f"The percentile window runs from {self.low} to {self.high}.", "Give 0 <= low < high <= 100."
            )


IntensityRule = HUWindow | PercentileWindow


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Everything that is needed to build a network of the family and to feed it (spec 1).

    ``filters``: channels at full resolution (48 in the published models). ``blocks_down``: residual blocks per level;
    the window must be divisible by ``2 ** (levels - 1)``. ``spacing``: mm of the model grid, or None for the volume's
    own. ``automatic`` / ``interactive``: which branches were trained. ``class_table``: rows of the class embedding.
    ``mirrored_clicks``: clicks are answered by the mean of a window and of its mirror image (left is right there),
    which takes twice the time; for small networks, which gain by it.
    """

    filters: int = 48
    blocks_down: tuple[int, ...] = (1, 2, 2, 4, 4)
    window: Index3 = (128, 128, 128)
    spacing: Vector3 | None = (1.5, 1.5, 1.5)
    intensity: IntensityRule = field(default_factory=HUWindow)
    class_table: int = 512
    catalogue: ClassCatalogue = field(default_factory=ClassCatalogue.load)
    automatic: bool = True
    interactive: bool = True
    modality: str = "CT"
    mirrored_clicks: bool = False

    def __post_init__(self) -> None:
        if self.filters < 8 or self.filters % 8:
            raise SettingsError(
                f"The network has {self.filters} filters.", "Use a multiple of 8 (four attention heads of even size)."
            )
        if len(self.blocks_down) < 2 or min(self.blocks_down) < 1:
            raise SettingsError(f"blocks_down is {self.blocks_down}.", "Give at least two levels of one block or more.")
        if any(n < self.divisor or n % self.divisor for n in self.window):
            raise SettingsError(
                f"The window {self.window} does not suit {len(self.blocks_down)} levels.",
                f"Every side must be a multiple of {self.divisor}.",
            )
        if self.spacing is not None and min(self.spacing) <= 0:
            raise SettingsError(f"The model spacing is {self.spacing} mm.", "Give three positive numbers or none.")

    @property
    def divisor(self) -> int:
        """Every window side must be a multiple of this."""
        return int(2 ** (len(self.blocks_down) - 1))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``from_dict`` gives the settings back."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["intensity"] = {"rule": _rule_name(self.intensity), **asdict(self.intensity)}
        plain["catalogue"] = self.catalogue.to_dict()
        return {"format": FORMAT_VERSION, **plain}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> NetworkSettings:
        """Read what ``to_dict`` wrote. Raises ``SettingsError`` for anything else."""
        values = dict(plain)
        version = values.pop("format", None)
        if version != FORMAT_VERSION:
            raise SettingsError(
                f"The model's settings have the format {version}; this program reads format {FORMAT_VERSION}.",
                "Use weights made for this version, or update the program.",
            )
        try:
            values["blocks_down"] = tuple(values["blocks_down"])
            values["window"] = tuple(values["window"])
            values["spacing"] = None if values["spacing"] is None else tuple(values["spacing"])
            values["intensity"] = _rule_from_dict(values["intensity"])
            values["catalogue"] = ClassCatalogue.from_dict(values["catalogue"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise SettingsError(f"The model's settings are incomplete: {error}.", "Use other weights.") from error


@dataclass(frozen=True, kw_only=True)
class Mode:
    """How the automatic branch is laid over a volume; the two that exist in the wild are ``MODES`` (spec 2.1, 2.2).

    ``overlap``: share of a window that neighbours share, 0 to below 1. ``crop_foreground``: keep the box of voxels
    above 0 HU plus ``crop_margin`` model voxels. ``ras_first``: turn to RAS before the change of spacing (decides at
    which end of the volume the model grid starts). ``clip_first``: apply the intensity rule before interpolation.
    """

    overlap: float
    blend: BlendMode
    padding: PaddingMode
    crop_foreground: bool
    ras_first: bool
    clip_first: bool
    crop_margin: int = 10

    def __post_init__(self) -> None:
        if not 0.0 <= self.overlap < 1.0:
            raise SettingsError(f"The window overlap is {self.overlap}.", "Give a number from 0 to below 1.")


MODES: Mapping[ModeName, Mode] = {
    # What NV-Segment-CT 0.6.0 really runs: its configured overlap never reaches the sliding window.
    "bundle": Mode(
        overlap=0.25, blend="constant", padding="replicate", crop_foreground=True, ras_first=False, clip_first=False
    ),
    # The research code: three times the windows, smooth blending.
    "quality": Mode(
        overlap=0.625, blend="gaussian", padding="zero", crop_foreground=False, ras_first=True, clip_first=True
    ),
}


def find_mode(name: str) -> Mode:
    """The mode of this name, or ``SettingsError``."""
    if name not in MODES:
        raise SettingsError(f"There is no mode '{name}'.", f"Use one of: {', '.join(MODES)}.")
    return MODES[name]  # type: ignore[index]


def _rule_name(rule: IntensityRule) -> str:
    return "hu" if isinstance(rule, HUWindow) else "percentile"


def _rule_from_dict(plain: Mapping[str, Any]) -> IntensityRule:
    values = dict(plain)
    rule = values.pop("rule")
    if rule not in {"hu", "percentile"}:
        raise SettingsError(f"There is no intensity rule '{rule}'.", "Use hu or percentile.")
    return HUWindow(**values) if rule == "hu" else PercentileWindow(**values)
