"""The book of one segmentation: every change goes through it, is written down, and can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from VISTA3DScene.changes import (
    Appearance,
    AppearanceChange,
    Change,
    LayerAdded,
    MaskChange,
    SegmentAdded,
    SegmentRecord,
    SegmentRemoved,
    TagChange,
)
from VISTA3DScene.history import History, Step
from VISTA3DScene.lattice import LatticeMask, image_affine, on_lattice
from VISTA3DScene.prompts import Delta, Prompts, prompts_of, seal_of
from VISTA3DScene.segment_masks import (
    Touched,
    label_mask,
    labelmap_of,
    place_empty_labelmaps,
    reference_image,
    segment_of,
)
from VISTA3DScene.tags import PROMPTS_TAG, get_tag
from VISTA3DScene.watcher import Watcher

EDITED_ELSEWHERE = "Edit made elsewhere"
_PROMPTS_KEY = 2 + Appearance.WATCHED.index(PROMPTS_TAG)


class Action:
    """Changes of one action, done and written down as they come. Made by ``Ledger.action``."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._segmentation = ledger, ledger.segmentation
        self.changes: list[Change] = []
        self.touched: Touched = []

    def change_mask(self, segment_id: str, on: LatticeMask, off: LatticeMask) -> None:
        """Set and clear voxels; those of ``on`` that are set already, and of ``off`` that are not, do not count."""
        old = self._ledger.mask_of(segment_id)
        affine = on.affine if old is None else old.affine
        old = old or LatticeMask.empty(affine)
        came = on_lattice(on, affine)
        came = LatticeMask(affine=affine, box=came.box, mask=came.mask & ~old.inside(came.box)).tight()
        gone = on_lattice(off, affine)
        gone = LatticeMask(affine=affine, box=gone.box, mask=gone.mask & old.inside(gone.box)).tight()
        if came.box.size or gone.box.size:
            self.perform(MaskChange.of(segment_id, came, gone))

    def set_prompts(self, segment_id: str, prompts: Prompts) -> None:
        """Set the prompts of a segment."""
        before = get_tag(segment_of(self._segmentation, segment_id), PROMPTS_TAG)
        after = prompts.to_text()
        if before != after:
            self.perform(TagChange(segment_id=segment_id, tag=PROMPTS_TAG, before=before, after=after))

    def note_edit(self, segment_id: str, change: MaskChange) -> None:
        """Tell a segment's prompts that its mask was changed by something else than its points."""
        prompts = prompts_of(segment_of(self._segmentation, segment_id))
        if get_tag(segment_of(self._segmentation, segment_id), PROMPTS_TAG) is None:
            return
        edit = Delta(came=change.came, gone=change.gone)
        now = self._ledger.mask_of(segment_id) or LatticeMask.empty(change.came.affine)
        self.set_prompts(segment_id, prompts.edited(edit, edit.undo(now), seal_of(now)))

    def take_from(self, segment_id: str, voxels: LatticeMask) -> None:
        """Clear voxels of a segment that another one takes."""
        count = len(self.changes)
        self.change_mask(segment_id, LatticeMask.empty(voxels.affine), voxels)
        for change in self.changes[count:]:
            if isinstance(change, MaskChange):
                self.note_edit(segment_id, change)

    def restyle(self, segment_id: str, *, name: str | None = None, color: Sequence[float] | None = None) -> None:
        """Rename or recolour a segment."""
        segment = segment_of(self._segmentation, segment_id)
        before = Appearance(segment)
        if name is not None:
            segment.SetName(name)
        if color is not None:
            segment.SetColor(*color)
        after = Appearance(segment)
        if after.key != before.key:
            self.changes.append(AppearanceChange(segment_id=segment_id, before=before, after=after))

    def add_segment(self, segment_id: str, name: str, color: Sequence[float], tags: Mapping[str, str]) -> str:
        """Add an empty segment at the end of the list; returns the id that it got."""
        inner = self._segmentation.GetSegmentation()
        given = str(inner.AddEmptySegment(inner.GenerateUniqueSegmentID(segment_id), name, list(color)))
        for tag, value in tags.items():
            inner.GetSegment(given).SetTag(tag, value)
        reference = reference_image(self._segmentation)
        if reference is not None:
            place_empty_labelmaps(self._segmentation, image_affine(reference))
        self.changes.append(SegmentAdded(record=SegmentRecord.of(self._segmentation, given)))
        return given

    def remove_segment(self, segment_id: str) -> None:
        """Remove a segment."""
        within = self._ledger.watcher.box_of(segment_id)
        self.perform(SegmentRemoved(record=SegmentRecord.of(self._segmentation, segment_id, within=within)))

    def perform(self, change: Change) -> None:
        """Do a change and write it down."""
        self.touched += change.redo(self._segmentation)
        self.changes.append(change)

    def add_layer(self, layer: LayerAdded) -> None:
        """Add many segments on one labelmap."""
        self.perform(layer)


class Ledger:
    """History and watcher of one segmentation node.

    Everything that was edited elsewhere is collected before an action is written down, so that the order of the steps
    is the order in which things happened.
    """

    def __init__(self, segmentation: Any) -> None:
        self.segmentation = segmentation
        self.history = History()
        self.watcher = Watcher(segmentation)

    @property
    def nbytes(self) -> int:
        """Memory that is taken for undo."""
        return self.history.nbytes + self.watcher.nbytes

    def mask_of(self, segment_id: str) -> LatticeMask | None:
        """A segment's voxels on its own lattice, in a tight box; None when it has none."""
        segment = segment_of(self.segmentation, segment_id)
        image = labelmap_of(segment)
        if image is None:
            return None
        mask = label_mask(image, segment.GetLabelValue(), self.watcher.box_of(segment_id))
        return mask if mask.box.size else None

    def collect(self) -> tuple[str, ...]:
        """Write down what was edited elsewhere as a step of its own; returns the ids of the segments it is about."""
        changes = self.watcher.collect()
        if not changes:
            return ()
        action = Action(self)
        action.changes += changes
        retagged = {
            c.segment_id
            for c in changes
            if isinstance(c, AppearanceChange) and c.before.key[_PROMPTS_KEY] != c.after.key[_PROMPTS_KEY]
        }
        for change in changes:
            if isinstance(change, MaskChange) and change.segment_id not in retagged:
                action.note_edit(change.segment_id, change)
        self.watcher.accept(action.touched)
        self.history.record(EDITED_ELSEWHERE, action.changes)
        return tuple(dict.fromkeys(i for c in changes for i in c.segment_ids))

    @contextmanager
    def action(self, name: str, segment_id: str = "", *, extends: Step | None = None) -> Iterator[Action]:
        """Do and write down one action; if it fails, what was done of it is taken back.

        ``extends``: the step that this is the outcome of. ``collect`` should have been called before.
        """
        self.collect()
        action = Action(self)
        try:
            yield action
        except BaseException:
            for change in reversed(action.changes):
                action.touched += change.undo(self.segmentation)
            self.watcher.accept(action.touched)
            raise
        self.watcher.accept(action.touched)
        if extends is not None and action.changes:
            self.history.extend(extends, action.changes)
        else:
            self.history.record(name, action.changes, segment_id)

    def undo(self) -> Step | None:
        """Take the last step back."""
        return self._step(self.history.undo)

    def redo(self) -> Step | None:
        """Do the last undone step again."""
        return self._step(self.history.redo)

    def _step(self, move: Callable[[Any], tuple[Step, Touched] | None]) -> Step | None:
        self.collect()
        done = move(self.segmentation)
        if done is None:
            return None
        self.watcher.accept(done[1])
        return done[0]
