"""Undo and redo: one step for each action of a person; voxels, tags and segments together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from VISTA3DScene.changes import Change
from VISTA3DScene.segment_masks import Touched
from VISTA3DScene.signals import Signal

MOST_STEPS = 500
MOST_BYTES = 150 * 2**20  # of 200 MB; the rest is for the watcher's copy of the labelmaps


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One action: what to call it, and its changes in the order in which they were made.

    ``segment_id``: the segment that the person worked on, "" if none.
    """

    name: str
    changes: tuple[Change, ...]
    segment_id: str = ""
    nbytes: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nbytes", sum(c.nbytes for c in self.changes))


class History:
    """The steps of one segmentation. ``changed`` is emitted when what can be undone or redone changes."""

    def __init__(self, *, most_steps: int = MOST_STEPS, most_bytes: int = MOST_BYTES) -> None:
        self._most_steps, self._most_bytes = most_steps, most_bytes
        self._done: list[Step] = []
        self._undone: list[Step] = []
        self.changed: Signal[[]] = Signal()

    @property
    def undo_name(self) -> str | None:
        """What undo would take back; None if there is nothing."""
        return self._done[-1].name if self._done else None

    @property
    def redo_name(self) -> str | None:
        """What redo would do again; None if there is nothing."""
        return self._undone[-1].name if self._undone else None

    @property
    def last(self) -> Step | None:
        """The newest step that is done."""
        return self._done[-1] if self._done else None

    @property
    def nbytes(self) -> int:
        """Memory that is taken."""
        return sum(s.nbytes for s in self._done) + sum(s.nbytes for s in self._undone)

    def __len__(self) -> int:
        return len(self._done)

    def record(self, name: str, changes: Sequence[Change], segment_id: str = "") -> Step | None:
        """Remember an action that was just done; what was undone before cannot be redone any more.

        The oldest steps go when there are too many or they take too much memory, never the newest. Returns the step,
        None when there was no change.
        """
        if not changes:
            return None
        step = Step(name=name, changes=tuple(changes), segment_id=segment_id)
        self._done.append(step)
        self._undone.clear()
        self._trim()
        self.changed.emit()
        return step

    def extend(self, step: Step, changes: Sequence[Change]) -> Step:
        """Add to a step what came of it later; a step of its own when others were done since."""
        if step is not self.last:
            return self.record(step.name, changes, step.segment_id) or step
        longer = Step(name=step.name, changes=(*step.changes, *changes), segment_id=step.segment_id)
        self._done[-1] = longer
        self._undone.clear()
        self._trim()
        self.changed.emit()
        return longer

    def undo(self, segmentation: Any) -> tuple[Step, Touched] | None:
        """Take the last step back; returns it and the labelmaps that were written, None if there is none."""
        if not self._done:
            return None
        step = self._done[-1]
        touched: Touched = []
        for change in reversed(step.changes):
            touched += change.undo(segmentation)
        self._undone.append(self._done.pop())
        self.changed.emit()
        return step, touched

    def redo(self, segmentation: Any) -> tuple[Step, Touched] | None:
        """Do the last undone step again; returns it and the labelmaps that were written, None if there is none."""
        if not self._undone:
            return None
        step = self._undone[-1]
        touched: Touched = []
        for change in step.changes:
            touched += change.redo(segmentation)
        self._done.append(self._undone.pop())
        self.changed.emit()
        return step, touched

    def clear(self) -> None:
        """Forget everything."""
        self._done.clear()
        self._undone.clear()
        self.changed.emit()

    def _trim(self) -> None:
        while len(self._done) > 1 and (len(self._done) > self._most_steps or self.nbytes > self._most_bytes):
            del self._done[0]
