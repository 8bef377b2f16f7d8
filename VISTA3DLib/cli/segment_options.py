"""The options of ``vista3d segment``, as they are typed and as the library wants them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from VISTA3DLib.errors import ClassError, OutputError, PromptError, SettingsError
from VISTA3DLib.files.atomic import check_not_input
from VISTA3DLib.geometry import Box, Grid
from VISTA3DLib.prompts import PointSpace
from VISTA3DLib.samples import check_source


@dataclass(frozen=True, kw_only=True)
class SegmentOptions:
    """The options of ``vista3d segment``, checked as far as that is possible before anything is read."""

    ct: Path | None
    output: Path | None
    sample: str | None = None
    series: str | None = None
    weights: str = "vista3d-mini"
    classes: tuple[str, ...] = ()
    merge_groups: bool = False
    overlapping: bool = False
    smooth: bool = False
    roi: str | None = None
    point: tuple[str, ...] = ()
    points: Path | None = None
    point_space: str = "ras"
    clicked_class: str | None = None
    new_structure: str | None = None
    refine: Path | None = None
    segment_name: str | None = None
    mode: str = "bundle"
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    batch: int = 1
    picture: Path | None = None

    def __post_init__(self) -> None:
        check_source(self.ct, self.sample, example="vista3d segment ct.nii.gz -o out.seg.nrrd", needed=True)
        if self.output is None:
            raise OutputError("No output was named.", "Add -o out.seg.nrrd")
        for written in (self.output, self.picture):
            if written is not None:
                check_not_input(written, (self.ct, self.refine, self.points))
        if self.point_space not in get_args(PointSpace):
            raise PromptError(f"There is no point space '{self.point_space}'.", "Use ras, lps or ijk.")
        if self.clicked_class is not None and self.new_structure is not None:
            raise ClassError("Both --class and --new-structure are given.", "A clicked structure is one or the other.")
        if self.refine is not None and self.segment_name is None:
            raise PromptError("--refine does not say what to repair.", "Add --segment NAME.")
        if self.refine is None and self.segment_name is not None:
            raise PromptError(
                f"--segment {self.segment_name} says what to repair, but not where it is.", "Add --refine FILE."
            )
        if self.refine is not None and self.classes:
            raise SettingsError("--refine and --classes are given together.", "Run them one after the other.")

    @property
    def clicks(self) -> bool:
        """Whether anything is clicked."""
        return bool(self.point or self.points)


def parse_roi(text: str, grid: Grid) -> Box:
    """``R0,R1,A0,A1,S0,S1`` (RAS mm, in either order) as the box of the voxels inside it."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise SettingsError(f"The region '{text}' is no list of numbers.", "Write R0,R1,A0,A1,S0,S1 in mm.") from error
    if len(numbers) != 6 or not np.isfinite(numbers).all():
        raise SettingsError(f"The region '{text}' has {len(numbers)} numbers, not 6.", "Write R0,R1,A0,A1,S0,S1 in mm.")
    corners = np.array([[r, a, s] for r in numbers[:2] for a in numbers[2:4] for s in numbers[4:]])
    index = grid.to_voxel(corners)
    low, high = np.ceil(index.min(axis=0) - 1e-6).astype(int), np.floor(index.max(axis=0) + 1e-6).astype(int) + 1
    box = Box(start=(low[0], low[1], low[2]), stop=(high[0], high[1], high[2]))
    if not (box & grid.box).size:
        raise SettingsError(f"The region '{text}' holds no voxel of the CT.", "Check it: RAS mm, not voxels, not LPS.")
    return box & grid.box
