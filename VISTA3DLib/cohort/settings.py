"""What a cohort is run with: what decides the results, and what only decides how they are made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from VISTA3DLib.errors import SettingsError
from VISTA3DLib.settings import find_mode

FORMATS = ("seg.nrrd", "nii.gz", "dcm")
_RESULT_VERSION = 1  # raise it when the same settings give other files or measures, so that --resume redoes them


@dataclass(frozen=True, kw_only=True)
class CohortSettings:
    """What is made of every scan. Two scans with equal bytes, settings and weights have equal results.

    ``classes`` are names, ids or sets; ``formats`` any of ``seg.nrrd``, ``nii.gz`` and ``dcm`` (DICOM SEG, for scans
    that come as DICOM); ``picture``: three planes with outlines as a PNG. Raises ``SettingsError``.
    """

    classes: tuple[str, ...] = ("everything",)
    weights: str = "vista3d-mini"
    formats: tuple[str, ...] = ("seg.nrrd",)
    picture: bool = True
    mode: str = "bundle"
    overlapping: bool = False
    smooth: bool = False
    merge_groups: bool = False
    precision: str = "auto"

    def __post_init__(self) -> None:
        find_mode(self.mode)
        if not self.classes:
            raise SettingsError("No class is named.", "Name classes or a set, for example everything.")
        if not self.formats:
            raise SettingsError("No format is named.", f"Use one or more of {', '.join(FORMATS)}.")
        for name in self.formats:
            if name not in FORMATS:
                raise SettingsError(f"There is no format '{name}'.", f"Use one or more of {', '.join(FORMATS)}.")

    def fingerprint(self, model_hash: str) -> str:
        """16 hexadecimal digits that change when anything changes that the results depend on."""
        # Where the weights lie does not matter; which they are does.
        plain = {**asdict(self), "weights": model_hash, "version": _RESULT_VERSION}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How the work is spread. None of it changes a result.

    ``ray``: address of a cluster that runs already, None starts one here. ``workers``: how many models are loaded,
    None as many as the cluster has room for. ``gpus_per_worker`` (may be a fraction) and ``cpus_per_worker`` are what
    one of them reserves: None is one GPU where there are any, and an even share of the cores. ``hands``: processes per
    worker that read and write; None is one on the CPU and up to eight beside a GPU. ``depth``: scans that one worker
    has in the air at a time, which bounds memory. ``attempts``: how often a scan may take a process down with it.
    ``object_store_bytes``: shared memory of a local cluster.
    """

    ray: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None
    cpus_per_worker: float | None = None
    hands: int | None = None
    depth: int | None = None
    attempts: int = 2
    batch: int = 1
    dashboard: bool = False
    object_store_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "hands", "depth", "attempts", "batch", "object_store_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} is {value}.", "Give a number of at least 1.")
        for name in ("gpus_per_worker", "cpus_per_worker"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise SettingsError(f"{name} is {value}.", "Give 0 or more.")


@dataclass(frozen=True, kw_only=True)
class FlagRules:
    """When a result is flagged. Applied to the finished table, so that a change of a rule segments nothing again.

    ``most_components``: more connected parts are suspicious. ``least_agreement``: share of a structure's voxels, 0 to
    1, whose HU are possible for such tissue. ``population``: how many scans with a structure are needed to speak of a
    usual volume; ``deviations``: how many robust standard deviations of the logarithm a volume may be from the median.
    """

    most_components: int = 10
    least_agreement: float = 0.5
    population: int = 10
    deviations: float = 3.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.least_agreement <= 1.0:
            raise SettingsError(f"The least agreement is {self.least_agreement}.", "Give a share from 0 to 1.")
        if self.most_components < 1 or self.population < 3 or self.deviations <= 0:
            raise SettingsError(f"The rules {self} flag everything.", "Raise them.")
