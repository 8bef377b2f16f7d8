"""What ``vista3d segment`` does: read, prepare, ask the session, write, summarise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.cli.segment_options import SegmentOptions, parse_roi
from VISTA3DLib.cli.segment_summary import Summary, peak_memory
from VISTA3DLib.errors import PromptError
from VISTA3DLib.files.segments import SegmentToWrite, Written, segments_of, spare_color, tight
from VISTA3DLib.geometry import Grid
from VISTA3DLib.progress import ProgressCallback, StageClock
from VISTA3DLib.prompts import Point, checked_points, parse_point, read_points
from VISTA3DLib.results import BoolArray, Change, ClassesResult, MaskResult
from VISTA3DLib.samples import sample_volume
from VISTA3DLib.volume import Finding, Volume

if TYPE_CHECKING:
    from VISTA3DLib.loading import LoadedModel
    from VISTA3DLib.session import Session

_NEW_STRUCTURE_ID = 1000  # label value of a clicked structure that has no class: no model's id
_DEMONSTRATION = "vista3d-mini is for demonstration and tests; use the official weights for anatomy beyond its classes."


class SegmentJob:
    """Runs the options; ``progress`` hears of windows, ``remark`` of what a person should know, ``line`` of steps."""

    def __init__(
        self,
        options: SegmentOptions,
        *,
        progress: ProgressCallback,
        remark: Callable[[str], None],
        line: Callable[[str], None],
    ) -> None:
        self._options, self._progress, self._remark, self._line = options, progress, remark, line
        self._clock = StageClock()
        self._notes: list[str] = []
        self._changes: tuple[Change, ...] = ()

    def run(self) -> Summary:
        """Do it all; what cannot be written is said before the work starts, and nothing is written before it ended."""
        from VISTA3DLib.files.write import check_output, check_suffix, write_segments

        options = self._options
        assert options.output is not None
        check_suffix(options.output)
        if options.picture is not None:
            from VISTA3DLib.picture import check_picture

            check_picture(options.picture)
        with self._clock.stage("read"):
            volume = self._read_volume()
            check_output(options.output, from_dicom=bool(volume.source_files))
            points = self._read_points(volume.grid)
        session, model, findings = self._open_session(volume)
        segments = self._segments(session, model, volume, points)
        with self._clock.stage("write"):
            written = write_segments(
                options.output, segments, volume.grid, source_files=volume.source_files, model=model.id
            )
            outputs = (*written.files, *self._draw(volume, segments, model))
        return self._summary(volume, model, findings, segments, written, outputs)

    def _read_volume(self) -> Volume:
        if self._options.ct is None:
            return sample_volume()
        from VISTA3DLib.files.read import read_volume

        return read_volume(self._options.ct, series=self._options.series)

    def _read_points(self, grid: Grid) -> tuple[Point, ...]:
        options = self._options
        space: Any = options.point_space
        points = [parse_point(text, space=space, grid=grid) for text in options.point]
        if options.points is not None:
            points += read_points(options.points, grid=grid)
        if (options.clicked_class or options.new_structure or options.refine) and not points:
            raise PromptError("A clicked structure is named, but there are no clicks.", "Add --point R,A,S,+")
        return checked_points(points, grid)

    def _open_session(self, volume: Volume) -> tuple[Session, LoadedModel, tuple[Finding, ...]]:
        from VISTA3DLib.loading import load_model
        from VISTA3DLib.session import Session

        options = self._options
        with self._clock.stage("load"):
            model = load_model(
                options.weights, device=options.device, precision=options.precision, compile=options.compile
            )
        for text in (model.note, _DEMONSTRATION if model.entry.demonstration and not model.note else ""):
            if text:
                self._say(text)
        if options.classes:  # a wrong name is said now, not when the CT is prepared
            model.settings.catalogue.resolve_many(options.classes)
        session = Session(model, mode=options.mode)  # type: ignore[arg-type]
        with self._clock.stage("prepare"):
            findings = session.set_volume(volume)
        for finding in findings:
            self._remark(finding.message)
        return session, model, findings

    def _segments(
        self, session: Session, model: LoadedModel, volume: Volume, points: Sequence[Point]
    ) -> list[SegmentToWrite]:
        options = self._options
        if options.refine is not None:
            return self._refined(session, volume, points)
        segments: list[SegmentToWrite] = []
        if options.classes or not points:
            result = self._automatic(session, volume)
            segments = list(segments_of(result, model.settings.catalogue))
        if points:
            segments = self._with_clicked(session, model, segments, points)
        return segments

    def _automatic(self, session: Session, volume: Volume) -> ClassesResult:
        options = self._options
        wanted = options.classes or ("everything",)
        roi = None if options.roi is None else parse_roi(options.roi, volume.grid)
        estimate = session.estimate(wanted, roi=roi, overlapping=options.overlapping, batch=options.batch)
        self._line(f"{session.model.id} on {session.model.runtime}: {estimate}")
        if not estimate.fits:
            self._remark("This may not fit into memory; smaller steps will be taken when it does not.")
        result = session.segment_classes(
            wanted,
            roi=roi,
            overlapping=options.overlapping,
            smooth=options.smooth,
            merge_groups=options.merge_groups,
            batch=options.batch,
            progress=self._progress,
        )
        self._add(result)
        return result

    def _with_clicked(
        self, session: Session, model: LoadedModel, segments: list[SegmentToWrite], points: Sequence[Point]
    ) -> list[SegmentToWrite]:
        """Add the clicked structure; a class that was segmented automatically is repaired instead."""
        options, catalogue = self._options, model.settings.catalogue
        class_id = None if options.clicked_class is None else catalogue.resolve(options.clicked_class).id
        old = next((s for s in segments if s.id == class_id), None)
        base = None if old is None else _full(old, session.volume.grid)
        zero_shot = options.new_structure is not None
        result = session.segment_points(
            points,
            class_id=class_id,
            zero_shot=zero_shot,
            base_mask=base,
            smooth=options.smooth,
            progress=self._progress,
        )
        self._add(result)
        if old is not None and base is not None:
            return [s if s is not old else _replaced(old, result, base) for s in segments]
        new = next(iter(segments_of(result, catalogue, name=options.new_structure)))
        if class_id is None:
            name = options.new_structure or "clicked structure"
            new = SegmentToWrite(
                id=_NEW_STRUCTURE_ID, name=name, color=spare_color(5), box=new.box, mask=new.mask, rank=new.rank
            )
        return [*segments, new]

    def _refined(self, session: Session, volume: Volume, points: Sequence[Point]) -> list[SegmentToWrite]:
        from VISTA3DLib.files.segmentation_read import read_segmentation

        options, catalogue = self._options, session.model.settings.catalogue
        assert options.refine is not None
        assert options.segment_name is not None
        if not points:
            raise PromptError("--refine needs clicks.", "Add --point R,A,S,+ or R,A,S,-")
        with self._clock.stage("read"):
            file = read_segmentation(options.refine, volume.grid)
        chosen = file.find(options.segment_name)
        base = file.full_mask(chosen)
        class_id = None if options.clicked_class is None else catalogue.resolve(options.clicked_class).id
        result = session.segment_points(
            points,
            class_id=class_id,
            zero_shot=options.new_structure is not None,
            base_mask=base,
            smooth=options.smooth,
            progress=self._progress,
        )
        self._add(result)
        segments = list(file.to_write())
        index = next(n for n, s in enumerate(file.segments) if s is chosen)
        segments[index] = _replaced(segments[index], result, base)
        return segments

    def _add(self, result: ClassesResult | MaskResult) -> None:
        for name, seconds in result.seconds.items():
            self._clock.add(name, seconds)
        for note in result.notes:
            if note not in self._notes:
                self._say(note)
        if isinstance(result, MaskResult):
            self._changes = result.changes

    def _say(self, note: str) -> None:
        self._notes.append(note)
        self._remark(note)

    def _draw(self, volume: Volume, segments: Sequence[SegmentToWrite], model: LoadedModel) -> tuple[Path, ...]:
        path = self._options.picture
        if path is None:
            return ()
        from VISTA3DLib.picture import Outline, save_picture

        ml = volume.grid.voxel_ml
        outlines = [
            Outline(name=s.name, color=s.color, box=s.box, mask=s.mask, ml=float(s.mask.sum()) * ml) for s in segments
        ]
        save_picture(path, volume, outlines, title=f"{volume.name}, {model.id}")
        return (path,)

    def _summary(
        self,
        volume: Volume,
        model: LoadedModel,
        findings: tuple[Finding, ...],
        segments: Sequence[SegmentToWrite],
        written: Written,
        outputs: tuple[Path, ...],
    ) -> Summary:
        ml = volume.grid.voxel_ml
        rows = []
        for segment in segments:
            voxels = int(np.count_nonzero(segment.mask))
            rows.append({"id": segment.id, "name": segment.name, "voxels": voxels, "ml": round(voxels * ml, 4)})
        for note in written.notes:
            self._say(note)
        return Summary(
            ct=volume.name,
            shape=volume.grid.shape,
            spacing=volume.grid.spacing,
            model={"id": model.id, "device": str(model.device), "precision": model.runtime.precision},
            mode=self._options.mode,
            findings=findings,
            notes=tuple(self._notes),
            segments=tuple(rows),
            changes=self._changes,
            outputs=outputs,
            seconds=self._clock.seconds,
            peak=peak_memory(),
        )


def _full(segment: SegmentToWrite, grid: Grid) -> npt.NDArray[np.bool_]:
    full = np.zeros(grid.shape, dtype=bool)
    full[segment.box.slices] = segment.mask
    return full


def _replaced(old: SegmentToWrite, result: MaskResult, base: BoolArray) -> SegmentToWrite:
    box, mask = tight(result.grid.box, result.to_full(base))
    return SegmentToWrite(
        id=old.id, name=old.name, color=old.color, box=box, mask=mask, terminology=old.terminology, rank=old.rank
    )
