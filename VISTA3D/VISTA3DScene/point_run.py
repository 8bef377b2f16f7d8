"""One answer to the points of a segment: asked round by round, from the mask that was there before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.geometry import Box, Grid
from VISTA3DLib.prompts import Point, checked_points
from VISTA3DScene.frames import FrameMap
from VISTA3DScene.jobs import Values
from VISTA3DScene.lattice import LatticeMask, on_lattice
from VISTA3DScene.prompts import Delta, Prompts, seal_of

Part = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Where an answer belongs: the volume's grid, and the ways between the volume's frame and the segmentation's."""

    grid: Grid
    to_segmentation: FrameMap | None
    to_volume: FrameMap | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What the points make of a segment: masks on the segment's lattice, prompts to go with the new one."""

    segment_id: str
    before: LatticeMask
    after: LatticeMask
    asked: Prompts
    prompts: Prompts
    parts: tuple[Part, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A request for the worker."""

    arguments: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]


class PointRun:
    """Walks through the rounds that have to be asked. ``next_question`` and ``take`` alternate until ``answer``.

    ``mask`` is the segment's present mask. ``allowed`` cuts what a round adds to what the overwrite policy allows.
    Raises ``PromptError`` for points that cannot be used.
    """

    def __init__(
        self,
        segment_id: str,
        prompts: Prompts,
        mask: LatticeMask,
        place: Place,
        *,
        class_id: int | None,
        smooth: bool,
        allowed: Callable[[LatticeMask], LatticeMask],
    ) -> None:
        self.segment_id, self.asked = segment_id, prompts
        self._before, self._place, self._class_id, self._smooth = mask, place, class_id, smooth
        self._allowed = allowed
        self._prompts, self._number = prompts, prompts.first_pending
        self._mask = prompts.start_of(self._number, mask)
        self._parts: tuple[Part, ...] = ()
        self._notes: tuple[str, ...] = ()
        self._base: LatticeMask | None = None
        for item in prompts.rounds[self._number :]:
            checked_points(item.points, place.grid)

    def next_question(self) -> Question | None:
        """What to ask now; None when the answer is complete."""
        while self._number < len(self._prompts.rounds):
            item = self._prompts.rounds[self._number]
            if item.points:
                return self._question(item.points)
            self._end_round(self._mask)
        return None

    def take(self, values: Values, array: npt.NDArray[Any] | None) -> None:
        """The worker's answer to the last question."""
        grid = self._place.grid
        (i0, j0, k0), (i1, j1, k1) = values["start"], values["stop"]
        box = Box(start=(i0, j0, k0), stop=(i1, j1, k1))
        new = np.zeros(box.shape, dtype=bool) if array is None else array.astype(bool)
        self._parts, self._notes = tuple(values["changes"]), tuple(values["notes"])
        self._prompts = replace(self._prompts, model=str(values["model"]))
        base = self._base
        old = np.zeros(box.shape, dtype=bool) if base is None else base.inside(box)
        came = self._on_segment(LatticeMask(affine=grid.affine, box=box, mask=new & ~old))
        gone = self._on_segment(LatticeMask(affine=grid.affine, box=box, mask=old & ~new))
        fresh = LatticeMask(affine=came.affine, box=came.box, mask=came.mask & ~self._mask.inside(came.box)).tight()
        self._end_round(self._mask.changed(self._allowed(fresh), gone))

    def answer(self) -> Answer:
        """The answer, once ``next_question`` gave None."""
        return Answer(
            segment_id=self.segment_id,
            before=self._before,
            after=self._mask,
            asked=self.asked,
            prompts=replace(self._prompts, seal=seal_of(self._mask), automatic=False),
            parts=self._parts,
            notes=self._notes,
        )

    def _question(self, points: tuple[Point, ...]) -> Question:
        grid = self._place.grid
        self._base = None
        arguments: dict[str, Any] = {
            "points": [{"ras": list(p.ras), "positive": p.positive} for p in points],
            "class_id": self._class_id,
            "zero_shot": self._prompts.new_structure and self._class_id is None,
            "smooth": self._smooth,
        }
        base = on_lattice(self._mask, grid.affine, bounds=grid.box, frame=self._place.to_volume).tight()
        if not base.box.size:
            return Question(arguments=arguments, arrays={})
        self._base = base
        arguments["base"] = {"array": "base", "start": list(base.box.start)}
        return Question(arguments=arguments, arrays={"base": base.mask.astype(np.uint8)})

    def _on_segment(self, mask: LatticeMask) -> LatticeMask:
        return on_lattice(mask.tight(), self._mask.affine, frame=self._place.to_segmentation)

    def _end_round(self, end: LatticeMask) -> None:
        """Write a round's answer down and go on to the next: its edit, then its points."""
        item = self._prompts.rounds[self._number]
        done = replace(item, asked=item.points, answer=Delta.between(self._mask, end))
        self._prompts = self._prompts.with_round(self._number, done)
        self._mask = end
        self._number += 1
        if self._number < len(self._prompts.rounds):
            edit = self._prompts.rounds[self._number].edit
            self._mask = self._mask if edit is None else edit.apply(self._mask)
