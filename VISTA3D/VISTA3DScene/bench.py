"""What the parts of a workbench share: the scene, the nodes that are worked on, the signals, the book of changes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import numpy as np

from VISTA3DLib.errors import VISTA3DError, VolumeError
from VISTA3DLib.geometry import Grid
from VISTA3DLib.progress import Progress
from VISTA3DScene.frames import frame_map, volume_grid
from VISTA3DScene.history import Step
from VISTA3DScene.ledger import Action, Ledger
from VISTA3DScene.overwrite import Overwrite
from VISTA3DScene.point_run import Place
from VISTA3DScene.segment_masks import SURFACE, lattice_of, refresh_surface
from VISTA3DScene.sequences import sequence_browser_of
from VISTA3DScene.signals import Signal

P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D")
Later = Callable[[float, Callable[[], None]], None]


class Bench:
    """See the module's text. ``later`` calls a function after some seconds on this thread."""

    def __init__(self, scene: Any, later: Later) -> None:
        self.scene, self.later = scene, later
        self.changed: Signal[[]] = Signal()
        self.said: Signal[[str]] = Signal()
        self.failed: Signal[[str, str, str]] = Signal()
        self.progressed: Signal[[Progress]] = Signal()
        self.policy = Overwrite.KEEP_OTHERS
        self.volume: Any = None
        self.segmentation: Any = None
        self.writing = False
        self.closed = False
        self._ledgers: dict[str, Ledger] = {}
        self._selected: str | None = None
        self._depth = 0
        self._dirty = False
        self._stale_surfaces: set[str] = set()

    @property
    def ledger(self) -> Ledger | None:
        """The book of the segmentation that is worked on."""
        if self.segmentation is None:
            return None
        key = f"{self.segmentation.GetID()} {self._frame()}"
        if key not in self._ledgers or self._ledgers[key].segmentation is not self.segmentation:
            self._ledgers[key] = Ledger(self.segmentation)
        return self._ledgers[key]

    def _frame(self) -> int:
        """The frame of a sequence that the segmentation shows now, 0 outside of sequences: each has its own book."""
        browser = sequence_browser_of(self.scene, self.segmentation)
        return 0 if browser is None else int(browser.GetSelectedItemNumber())

    def forget_ledger(self, segmentation: Any) -> None:
        """Let go of a segmentation that is gone."""
        self._ledgers = {k: v for k, v in self._ledgers.items() if v.segmentation is not segmentation}

    def forget_ledgers(self) -> None:
        """Let go of all of them."""
        self._ledgers.clear()

    @property
    def selected(self) -> str | None:
        """The selected segment, if it is there."""
        if self._selected is not None and self.has_segment(self._selected):
            return self._selected
        return None

    @selected.setter
    def selected(self, segment_id: str | None) -> None:
        self._selected = segment_id

    def has_segment(self, segment_id: str) -> bool:
        """Whether a segment is there."""
        return self.segmentation is not None and segment_id in self.segment_ids()

    def segment_ids(self) -> list[str]:
        """Ids of all segments, in order."""
        return [] if self.segmentation is None else list(self.segmentation.GetSegmentation().GetSegmentIDs())

    def segment(self, segment_id: str) -> Any:
        """A segment. Raises ``VolumeError`` when it is gone."""
        if not self.has_segment(segment_id):
            raise VolumeError(f"The segment '{segment_id}' is not there any more.", "Choose another segment.")
        return self.segmentation.GetSegmentation().GetSegment(segment_id)

    def needed_volume(self) -> Any:
        """The CT. Raises ``VolumeError`` if none is chosen."""
        if self.volume is None:
            raise VolumeError("No CT is chosen.", "Choose the volume to segment first.")
        return self.volume

    def needed_ledger(self) -> Ledger:
        """The book of the segmentation. Raises ``VolumeError`` if there is none."""
        ledger = self.ledger
        if ledger is None:
            raise VolumeError("There is no segmentation.", "Choose one, or begin a new segment.")
        return ledger

    def place(self) -> Place:
        """The way from the volume to the segmentation and back."""
        volume = self.needed_volume()
        segmentation = self.needed_ledger().segmentation
        return Place(
            grid=volume_grid(volume),
            to_segmentation=frame_map(volume, segmentation),
            to_volume=frame_map(segmentation, volume),
        )

    def lattice(self, segment_id: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The lattice that the voxels of a segment lie on, or will lie on."""
        grid: Grid = volume_grid(self.needed_volume())
        frame = frame_map(self.volume, self.segmentation)
        fallback = grid.affine if frame is None or frame.matrix is None else frame.matrix @ grid.affine
        return lattice_of(self.segmentation, segment_id, np.asarray(fallback))

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """What a person asked for: an error is reported, and listeners hear of all changes once, at the end."""
        self._depth += 1
        try:
            yield
        except VISTA3DError as problem:
            self.failed.emit(problem.kind, problem.message, problem.fix)
            self._dirty = True
        finally:
            self._depth -= 1
            self._tell()

    def asked(self, function: Callable[P, None]) -> Callable[P, None]:
        """A function that does what a person asked for: ``guarded``."""
        return self.told(function, None)

    def told(self, function: Callable[P, T], otherwise: D) -> Callable[P, T | D]:
        """A function that is ``guarded`` and tells something; ``otherwise`` if it fails."""

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T | D:
            found: T | D = otherwise
            with self.guarded():
                found = function(*args, **kwargs)
            return found  # noqa: RET504 (the block may be left by an error that is reported)

        return guarded

    def mark(self) -> None:
        """Something changed that can be read."""
        self._dirty = True
        self._tell()

    @contextmanager
    def action(self, name: str, segment_id: str = "", *, extends: Step | None = None) -> Iterator[Action]:
        """One action of a person, written down; surfaces follow a moment later."""
        ledger = self.needed_ledger()
        with self.own_writing(), ledger.action(name, segment_id, extends=extends) as action:
            yield action
        self.outdate_surfaces(i for c in action.changes for i in c.segment_ids)
        self.mark()

    @contextmanager
    def own_writing(self) -> Iterator[None]:
        """While we write, what the segmentation tells is our own doing."""
        before, self.writing = self.writing, True
        try:
            yield
        finally:
            self.writing = before

    def outdate_surfaces(self, segment_ids: Iterable[str]) -> None:
        """Surfaces of these segments are computed again soon, if surfaces are shown."""
        if self.segmentation is None or not self.segmentation.GetSegmentation().ContainsRepresentation(SURFACE):
            return
        if not self._stale_surfaces:
            self.later(0.0, self._refresh_surfaces)
        self._stale_surfaces.update(segment_ids)

    def _refresh_surfaces(self) -> None:
        stale, self._stale_surfaces = self._stale_surfaces, set()
        if self.closed or self.segmentation is None:
            return
        with self.own_writing():
            for segment_id in stale:
                refresh_surface(self.segmentation, segment_id)

    def _tell(self) -> None:
        if self._dirty and self._depth == 0:
            self._dirty = False
            self.changed.emit()
