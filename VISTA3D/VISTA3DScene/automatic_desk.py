"""Automatic segmentation: asked for classes, taken in as segments in one go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from VISTA3DLib.errors import ClassError
from VISTA3DLib.geometry import Box
from VISTA3DScene.bench import Bench
from VISTA3DScene.frames import volume_grid
from VISTA3DScene.importing import Import, import_labels, rewrite, untouched
from VISTA3DScene.jobs import Jobs, State, Task, Values
from VISTA3DScene.lattice import LatticeMask, on_lattice
from VISTA3DScene.ledger import Action
from VISTA3DScene.overwrite import Overwrite
from VISTA3DScene.prompts import Prompts, seal_of
from VISTA3DScene.segment_desk import SegmentDesk
from VISTA3DScene.segment_masks import occupied
from VISTA3DScene.styles import class_style, names_in
from VISTA3DScene.volumes import box_of_roi
from VISTA3DScene.worker_link import WorkerLink

Classes = Sequence[int | str]


class AutomaticDesk:
    """See the module's text."""

    def __init__(self, bench: Bench, jobs: Jobs, link: WorkerLink, segments: SegmentDesk) -> None:
        self._bench, self._jobs, self._link, self._segments = bench, jobs, link, segments

    def run(self, classes: Classes, roi: Any, *, overlapping: bool, smooth: bool) -> None:
        """Segment classes, inside a markups ROI if one is given. A run that goes on is cancelled."""
        volume = self._bench.needed_volume()
        wanted = self.checked(classes)
        box = None if roi is None else box_of_roi(roi, volume)
        self._jobs.cancel_all(State.AUTOMATIC, State.SEQUENCE)
        arguments = {"classes": wanted, "roi": box_values(box), "overlapping": overlapping, "smooth": smooth}
        self._link.ask(
            Task(
                kind=State.AUTOMATIC,
                op="segment_classes",
                arguments=arguments,
                result=lambda values: self._take_in(values, box),
            )
        )

    def estimate(
        self, classes: Classes, roi: Any, *, overlapping: bool, done: Callable[[Mapping[str, Any]], None]
    ) -> None:
        """What a run would cost."""
        volume = self._bench.needed_volume()
        wanted = self.checked(classes)
        box = None if roi is None else box_of_roi(roi, volume)
        arguments = {"classes": wanted, "roi": box_values(box), "overlapping": overlapping}
        self._link.ask(Task(kind=State.OTHER, op="estimate", arguments=arguments, result=done))

    def checked(self, classes: Classes | str) -> list[int | str]:
        """The classes as a list. Says at once what the worker would refuse later: raises ``ClassError``."""
        wanted: list[int | str] = [classes] if isinstance(classes, str) else list(classes)
        model = self._link.model
        if model is not None:
            if not model.automatic:
                raise ClassError(
                    f"{model.title} was not trained for automatic segmentation.", "Click, or choose another model."
                )
            model.catalogue.resolve_many(wanted)
        return wanted

    def _take_in(self, values: Values, roi: Box | None) -> None:
        with self._bench.guarded():
            client, model = self._jobs.client, self._link.model
            assert model is not None
            class_ids = [int(c) for c in values["class_ids"]]
            if values.get("labelmap") is not None:
                labels = client.array(values["labelmap"])
                found = Import(
                    labels=labels, class_ids=class_ids, catalogue=model.catalogue, model=str(values["model"]), roi=roi
                )
                count = self._import(found)
            else:
                masks = {int(c): self._mask(m) for c, m in values["masks"].items()}
                count = self._import_masks(masks, str(values["model"]), roi)
            for note in values["notes"]:
                self._bench.said.emit(str(note))
            self._bench.said.emit(f"{count} of {len(class_ids)} structures found.")

    def _import(self, found: Import) -> int:
        self._segments.ensure_chosen()
        ledger = self._bench.needed_ledger()
        with self._bench.action(_name(found.class_ids, found)) as action:
            return len(import_labels(action, ledger, self._bench.place(), found, self._bench.policy))

    def _mask(self, values: Mapping[str, Any]) -> LatticeMask:
        affine = volume_grid(self._bench.needed_volume()).affine
        if values["array"] is None:
            return LatticeMask.empty(affine)
        (i0, j0, k0), (i1, j1, k1) = values["start"], values["stop"]
        mask = self._jobs.client.array(values["array"]).astype(bool)
        return LatticeMask(affine=affine, box=Box(start=(i0, j0, k0), stop=(i1, j1, k1)), mask=mask)

    def _import_masks(self, masks: Mapping[int, LatticeMask], model: str, roi: Box | None) -> int:
        """Overlapping results: a segment each, on a labelmap of its own where it meets others."""
        self._segments.ensure_chosen()
        ledger, place = self._bench.needed_ledger(), self._bench.place()
        with self._bench.action("Segment overlapping classes") as action:
            again = untouched(ledger, list(masks))
            new = {c: on_lattice(masks[c], again[c][1].affine, frame=place.to_segmentation) for c in again}
            rewrite(action, ledger, place, again, new, model=model, roi=roi, policy=self._bench.policy)
            for class_id, found in masks.items():
                if class_id not in again and found.mask.any():
                    self._add_mask(action, class_id, found, model)
        return sum(bool(m.mask.any()) for m in masks.values())

    def _add_mask(self, action: Action, class_id: int, mask: LatticeMask, model: str) -> None:
        assert self._link.model is not None
        item = self._link.model.catalogue[class_id]
        style = class_style(item, Prompts(class_id=class_id), names_in(self._bench.segmentation))
        segment_id = action.add_segment(style.segment_id, style.name, style.color, style.tags)
        here = on_lattice(mask, self._bench.lattice(segment_id), frame=self._bench.place().to_segmentation).tight()
        nothing = LatticeMask.empty(here.affine)
        if self._bench.policy is not Overwrite.KEEP_OTHERS:
            for other, voxels in occupied(self._bench.segmentation, [segment_id], here).items():
                if self._bench.policy is Overwrite.ONLY_EMPTY:
                    here = here.changed(nothing, voxels)
                else:
                    action.take_from(other, voxels)
        action.change_mask(segment_id, here, nothing)
        prompts = Prompts(class_id=class_id, automatic=True, model=model, seal=seal_of(here))
        action.set_prompts(segment_id, prompts)


def box_values(box: Box | None) -> dict[str, list[int]] | None:
    """A box as the worker reads it."""
    return None if box is None else {"start": list(box.start), "stop": list(box.stop)}


def _name(class_ids: Sequence[int], found: Import) -> str:
    if len(class_ids) == 1:
        return f"Segment {found.catalogue[class_ids[0]].name}"
    return f"Segment {len(class_ids)} classes"
