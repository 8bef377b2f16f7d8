"""Segments of the segmentation that is worked on: make, select, rename, remove, measure, show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.geometry import Vector3
from VISTA3DScene.bench import Bench
from VISTA3DScene.frames import frame_map, to_world, volume_grid
from VISTA3DScene.lattice import BoolArray, LatticeMask, on_lattice
from VISTA3DScene.ledger import Action
from VISTA3DScene.prompts import Prompts, prompts_of
from VISTA3DScene.segment_masks import LABELMAP, reference_image
from VISTA3DScene.styles import class_of, class_style, names_in, new_style
from VISTA3DScene.tags import PROMPTS_TAG


@dataclass(frozen=True, kw_only=True)
class SegmentInfo:
    """A segment as a list shows it; ``color`` 0 to 1, ``points``: how many."""

    id: str
    name: str
    color: tuple[float, float, float]
    class_id: int | None
    points: int
    visible: bool
    opacity: float


class SegmentDesk:
    """See the module's text.

    ``catalogue`` gives the classes that segments are named by; ``choose`` takes a segmentation that
    was made; ``selection_changed`` is called when another segment is selected.
    """

    def __init__(
        self,
        bench: Bench,
        catalogue: Callable[[], ClassCatalogue],
        *,
        choose: Callable[[Any], None],
        selection_changed: Callable[[], None],
    ) -> None:
        self._bench, self._catalogue = bench, catalogue
        self._choose, self._selection_changed = choose, selection_changed

    @property
    def infos(self) -> tuple[SegmentInfo, ...]:
        """All segments, in order."""
        return tuple(self._info(i) for i in self._bench.segment_ids())

    def ensure_chosen(self) -> None:
        """Make and choose a segmentation if there is none; a blank one gets the place of the volume."""
        bench = self._bench
        if bench.segmentation is None:
            volume = bench.needed_volume()
            node = bench.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{volume.GetName()} segmentation")
            node.CreateDefaultDisplayNodes()
            _lay_on(node, volume)
            self._choose(node)
        elif bench.volume is not None and _is_blank(bench.segmentation):
            _lay_on(bench.segmentation, bench.volume)

    def add(self, action: Action, class_id: int | None, name: str) -> str:
        """Add an empty segment within an action; returns its id. Raises ``ClassError`` for an unknown class."""
        taken = names_in(self._bench.segmentation)
        if class_id is None:
            style = new_style(name, Prompts(new_structure=True), taken)
        else:
            style = class_style(self._catalogue()[class_id], Prompts(class_id=class_id), taken)
        return action.add_segment(style.segment_id, name or style.name, style.color, style.tags)

    def new(self, class_id: int | None = None, name: str = "") -> str:
        """Add an empty segment and select it; returns its id."""
        self.ensure_chosen()
        with self._bench.action("New segment") as action:
            segment_id = self.add(action, class_id, name)
        self.select(segment_id)
        return segment_id

    def select(self, segment_id: str | None) -> None:
        """Select a segment, or none."""
        if segment_id is not None:
            self._bench.segment(segment_id)
        if segment_id != self._bench.selected:
            self._bench.selected = segment_id
            self._selection_changed()
        self._bench.mark()

    def select_next(self, step: int = 1) -> None:
        """Select the next segment, or the one so many places further; from the last to the first."""
        ids = self._bench.segment_ids()
        if ids:
            selected = self._bench.selected
            place = ids.index(selected) + step if selected in ids else (0 if step > 0 else -1)
            self.select(ids[place % len(ids)])

    def rename(self, segment_id: str, name: str) -> None:
        """Rename; an empty name is refused by leaving the old one."""
        if name.strip():
            self._bench.segment(segment_id)
            with self._bench.action("Rename segment", segment_id) as action:
                action.restyle(segment_id, name=name.strip())

    def recolor(self, segment_id: str, color: Sequence[float]) -> None:
        """Give another colour."""
        self._bench.segment(segment_id)
        with self._bench.action("Recolor segment", segment_id) as action:
            action.restyle(segment_id, color=tuple(float(np.clip(v, 0, 1)) for v in color))

    def remove(self, segment_id: str) -> None:
        """Remove a segment; the next one is selected if it was."""
        self._bench.segment(segment_id)
        ids, was_selected = self._bench.segment_ids(), self._bench.selected == segment_id
        with self._bench.action("Delete segment", segment_id) as action:
            action.remove_segment(segment_id)
        if was_selected:
            left = self._bench.segment_ids()
            self._bench.selected = left[min(ids.index(segment_id), len(left) - 1)] if left else None
            self._selection_changed()

    def show(self, segment_id: str, visible: bool) -> None:
        """Show or hide."""
        display = self._display(segment_id)
        if display is not None:
            display.SetSegmentVisibility(segment_id, visible)
        self._bench.mark()

    def set_opacity(self, segment_id: str, opacity: float) -> None:
        """Opacity 0 to 1, in slices and in 3D."""
        display, value = self._display(segment_id), float(np.clip(opacity, 0.0, 1.0))
        if display is not None:
            display.SetSegmentOpacity2DFill(segment_id, value)
            display.SetSegmentOpacity2DOutline(segment_id, value)
            display.SetSegmentOpacity3D(segment_id, value)
        self._bench.mark()

    def show_surface(self, visible: bool) -> None:
        """3D on or off."""
        segmentation = self._bench.needed_ledger().segmentation
        with self._bench.own_writing():
            if visible:
                segmentation.CreateClosedSurfaceRepresentation()
                display = segmentation.GetDisplayNode()
                if display is not None:
                    display.SetVisibility3D(True)
            else:
                segmentation.RemoveClosedSurfaceRepresentation()
        self._bench.mark()

    def mask(self, segment_id: str) -> LatticeMask | None:
        """A segment's voxels."""
        self._bench.segment(segment_id)
        return self._bench.needed_ledger().mask_of(segment_id)

    def volume_ml(self, segment_id: str) -> float:
        """Volume in ml, as it is before any transform."""
        mask = self.mask(segment_id)
        return 0.0 if mask is None else mask.ml

    def center(self, segment_id: str) -> Vector3 | None:
        """A voxel of the segment near its middle, in world RAS; None when it is empty."""
        mask = self.mask(segment_id)
        if mask is None:
            return None
        voxels = np.argwhere(mask.mask)
        middle = voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))] + np.asarray(mask.box.start)
        r, a, s = (float(v) for v in (mask.affine @ np.array([*middle, 1.0]))[:3])
        return to_world(self._bench.segmentation, (r, a, s))

    def mask_on_volume(self, segment_id: str) -> BoolArray:
        """A segment's voxels on the whole grid of the volume (nearest voxel, through transforms)."""
        grid = volume_grid(self._bench.needed_volume())
        mask = self.mask(segment_id)
        if mask is None:
            return np.zeros(grid.shape, dtype=bool)
        frame = frame_map(self._bench.segmentation, self._bench.volume)
        return on_lattice(mask, grid.affine, bounds=grid.box, frame=frame).inside(grid.box)

    def class_id(self, segment_id: str) -> int | None:
        """What a segment is, as far as that can be told."""
        return class_of(self._bench.segment(segment_id), self._catalogue())

    def _info(self, segment_id: str) -> SegmentInfo:
        segment = self._bench.segment(segment_id)
        r, g, b = segment.GetColor()
        display = self._display(segment_id)
        known = segment.HasTag(PROMPTS_TAG)
        return SegmentInfo(
            id=segment_id,
            name=str(segment.GetName()),
            color=(r, g, b),
            class_id=self.class_id(segment_id),
            points=len(prompts_of(segment).points) if known else 0,
            visible=display is None or bool(display.GetSegmentVisibility(segment_id)),
            opacity=1.0 if display is None else float(display.GetSegmentOpacity2DFill(segment_id)),
        )

    def _display(self, segment_id: str) -> Any:
        self._bench.segment(segment_id)
        display = self._bench.segmentation.GetDisplayNode()
        return display if isinstance(display, slicer.vtkMRMLSegmentationDisplayNode) else None


def _is_blank(segmentation: Any) -> bool:
    """Whether a segmentation has no segment, and no place yet."""
    placed = segmentation.GetTransformNodeID() is not None or reference_image(segmentation) is not None
    return not placed and segmentation.GetSegmentation().GetNumberOfSegments() == 0


def _lay_on(segmentation: Any, volume: Any) -> None:
    """Give a segmentation the grid and the transform of a volume."""
    segmentation.SetAndObserveTransformNodeID(volume.GetTransformNodeID())  # first: the grid is given in its frame
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.GetSegmentation().SetSourceRepresentationName(LABELMAP)
