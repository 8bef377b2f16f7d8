"""The heart: one volume, one model, any number of questions (in the manner of segment-anything's predictor).

>>> from VISTA3DLib.session import Session
>>> from VISTA3DLib.loading import load_model
>>> from VISTA3DLib.files.read import read_volume
>>> session = Session(load_model("vista3d-mini"))                       # doctest: +SKIP
>>> findings = session.set_volume(read_volume("ct.nii.gz"))             # doctest: +SKIP
>>> labels = session.segment_classes(["spinal cord", "mandible"])       # doctest: +SKIP
>>> lesion = session.segment_points([Point(ras=(12.0, -40.0, 88.0))])   # doctest: +SKIP
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from VISTA3DLib.class_job import ClassJob, ClassRequest, automatic_region, requested_outputs
from VISTA3DLib.devices import free_bytes
from VISTA3DLib.errors import ClassError, MemoryLimitError, PromptError, VolumeError
from VISTA3DLib.estimate import Estimate, estimate_run, measured_gflops, window_gflop
from VISTA3DLib.geometry import Box, Vector3, format_shape
from VISTA3DLib.labelling import FeatureKeeper
from VISTA3DLib.model import Model
from VISTA3DLib.point_job import clicked_object, repaired_mask
from VISTA3DLib.points import ClickEngine, ClickSet
from VISTA3DLib.preprocess import PreparedVolume, model_grid, prepare_volume
from VISTA3DLib.progress import Cancel, Progress, ProgressCallback, StageClock, Tracker
from VISTA3DLib.prompts import Point, checked_points
from VISTA3DLib.results import BoolArray, ClassesResult, MaskResult
from VISTA3DLib.settings import ModeName, find_mode
from VISTA3DLib.volume import Finding, Volume, inspect_volume


class Session:
    """Answers questions about one volume at a time.

    ``mode`` is how the automatic branch is laid over the volume (``bundle`` or ``quality``, spec 2).
    ``shared_windows``: clicks near each other are seen through one window (quick); False gives each its own, as the
    reference. ``cache_bytes`` bounds what is kept between clicks. The same question about the same volume has the
    same answer, whatever was asked before.
    """

    def __init__(
        self,
        model: Model,
        *,
        mode: ModeName = "bundle",
        shared_windows: bool = True,
        cache_bytes: int = 2**30,
    ) -> None:
        self.model = model
        self.mode = find_mode(mode)
        self.shared_windows, self.cache_bytes = shared_windows, cache_bytes
        self._volume: Volume | None = None
        self._prepared: PreparedVolume | None = None
        self._clicks: ClickEngine | None = None
        self._kept: dict[Box, FeatureKeeper] = {}
        self._window_seconds: float | None = None

    def set_volume(self, volume: Volume) -> tuple[Finding, ...]:
        """Prepare a volume; what was kept of the last one is dropped. Returns what is suspicious about it.

        Raises ``VolumeError`` for a volume that cannot be segmented, ``MemoryLimitError`` for one that does not fit.
        """
        settings = self.model.settings
        self._check_memory(volume)
        self._volume = self._prepared = self._clicks = None
        self._kept.clear()
        prepared = prepare_volume(volume, settings, self.mode)
        self._volume, self._prepared = volume, prepared
        self._clicks = ClickEngine(
            self.model, prepared, shared_windows=self.shared_windows, cache_bytes=self.cache_bytes
        )
        return inspect_volume(volume, hounsfield=settings.modality == "CT")

    @property
    def volume(self) -> Volume:
        """The volume that was set. Raises ``VolumeError`` if there is none."""
        return self._ready()[0]

    def estimate(
        self, classes: Sequence[int | str], *, roi: Box | None = None, overlapping: bool = False, batch: int = 1
    ) -> Estimate:
        """What ``segment_classes`` would take: windows, time (from a short measurement at first), memory."""
        volume, prepared, _ = self._ready()
        if self._window_seconds is None:
            speed = measured_gflops(self.model.runtime, self.model.settings.filters)
            self._window_seconds = window_gflop(self.model.settings) / speed
        outputs = requested_outputs(self.model.settings.catalogue, classes, merge_groups=False)
        return estimate_run(
            self.model.settings,
            self.mode,
            self.model.runtime,
            automatic_region(prepared, self.model.settings.window, roi),
            volume_voxels=volume.array.size,
            classes=len(outputs),
            overlapping=overlapping,
            seconds_per_window=self._window_seconds,
            batch=batch,
        )

    def segment_classes(
        self,
        classes: Sequence[int | str],
        *,
        roi: Box | None = None,
        overlapping: bool = False,
        smooth: bool = False,
        merge_groups: bool = False,
        keep_features: bool = False,
        batch: int = 1,
        ring_dtype: torch.dtype = torch.float32,
        progress: ProgressCallback | None = None,
        cancel: Cancel | None = None,
    ) -> ClassesResult:
        """Segment classes (ids, names, sets such as ``"everything"``) with the automatic branch.

        ``roi``: a box on the volume's grid; nothing outside it is set and only windows that it needs are run.
        ``overlapping``: one mask a class, so that vessels and tumours inside organs survive. ``smooth``: borders at
        the CT's resolution. ``merge_groups``: kidney, lung and bone come back as one id instead of their members.
        ``keep_features``: keep what the network computed, so that further classes on the same region cost no network
        pass (2 bytes x filters per model voxel). Raises ``ClassError``, ``CancelledError``, ``MemoryLimitError``.
        """
        volume, prepared, _ = self._ready()
        self._check_automatic()
        roi = self._checked_roi(roi)
        outputs = requested_outputs(self.model.settings.catalogue, classes, merge_groups=merge_groups)
        request = ClassRequest(outputs=outputs, roi=roi, overlapping=overlapping, smooth=smooth)
        clock = StageClock()
        try:
            notes: tuple[str, ...] = ()
            job = ClassJob(self.model, volume, prepared, self.mode, request, clock)
            kept = self._kept.get(job.region)
            if kept is not None:
                result = job.run_from(kept)
            else:
                result, notes = self._run_network(job, keep_features, batch, ring_dtype, progress, cancel)
        except MemoryError as error:
            raise MemoryLimitError(
                f"The result of {len(outputs)} classes does not fit into memory.",
                "Ask for fewer classes, a region of interest, or a label map instead of overlapping masks.",
            ) from error
        return _completed(result, clock, notes)

    def segment_points(
        self,
        points: Sequence[Point],
        *,
        class_id: int | None = None,
        zero_shot: bool = False,
        base_mask: BoolArray | None = None,
        automatic: bool = False,
        smooth: bool = False,
        progress: ProgressCallback | None = None,
        cancel: Cancel | None = None,
    ) -> MaskResult:
        """Segment the object that is clicked, or repair ``base_mask`` (bool, on the volume's grid) at the clicks.

        ``class_id`` tells the model what is clicked (tumours and vessels take a token of their own, spec 3.1);
        ``zero_shot`` that it is nothing the model knows. ``automatic`` starts from the class's own automatic result
        inside the windows of the clicks, as the reference does when it gets a class and points. With ``base_mask``
        only the components that the clicks hit are added or removed (paper Alg. 1); the result's ``changes`` list
        them. Raises ``PromptError``, ``ClassError``, ``CancelledError``.
        """
        volume, prepared, engine = self._ready()
        clicks = self._click_set(points, class_id, zero_shot=zero_shot)
        base = self._checked_base(base_mask, automatic=automatic, class_id=class_id)
        clock = StageClock()
        with clock.stage("network"):
            tracker = Tracker("windows", len(engine.windows(clicks)), progress, cancel)
            patches = engine.logits(clicks, tracker, class_id=class_id if automatic else None)
        with clock.stage("merge"):
            if base is None:
                answer = clicked_object(patches, clicks, prepared, smooth=smooth)
            else:
                answer = repaired_mask(patches, clicks, base, prepared, smooth=smooth)
        return MaskResult(
            grid=volume.grid,
            box=answer.box,
            mask=answer.mask,
            model=self.model.id,
            class_id=class_id,
            changes=answer.changes,
            notes=answer.notes,
            seconds=clock.seconds,
        )

    def warm(self, ras: Vector3) -> None:
        """Compute ahead what a click at this place needs (mouse hover). Places outside the volume are ignored."""
        volume, prepared, engine = self._ready()
        if volume.grid.box.contains(volume.grid.to_voxel(ras)):
            engine.warm(prepared.grid.to_voxel(ras).tolist())

    def drop_features(self) -> None:
        """Forget the features that ``keep_features`` kept."""
        self._kept.clear()

    def _ready(self) -> tuple[Volume, PreparedVolume, ClickEngine]:
        if self._volume is None or self._prepared is None or self._clicks is None:
            raise VolumeError("The session has no volume.", "Call set_volume first.")
        return self._volume, self._prepared, self._clicks

    def _run_network(
        self,
        job: ClassJob,
        keep: bool,
        batch: int,
        ring_dtype: torch.dtype,
        progress: ProgressCallback | None,
        cancel: Cancel | None,
    ) -> tuple[ClassesResult, tuple[str, ...]]:
        keeper = job.new_keeper() if keep or job.needs_kept_features else None
        notes: list[str] = []

        def listen(report: Progress) -> None:
            if report.note:
                notes.append(report.note)
            if progress:
                progress(report)

        start = time.perf_counter()
        tracker = Tracker("windows", job.window_count, listen, cancel)
        result = job.run(tracker, batch=batch, ring_dtype=ring_dtype, keeper=keeper)
        self._window_seconds = (time.perf_counter() - start) / job.window_count
        if keep and keeper is not None:
            self._kept[job.region] = keeper
        return result, tuple(notes)

    def _click_set(self, points: Sequence[Point], class_id: int | None, *, zero_shot: bool) -> ClickSet:
        volume, prepared, _ = self._ready()
        settings = self.model.settings
        if not settings.interactive:
            raise PromptError(
                f"The model {self.model.id} was not trained for points.", "Choose a model with an interactive branch."
            )
        catalogue = settings.catalogue
        if class_id is not None:
            catalogue.check_for_points(class_id)
        kept = checked_points(points, volume.grid)
        if not kept:
            raise PromptError("There are no points.", "Click on the structure.")
        labels = tuple(
            int(p.positive) if class_id is None else catalogue.point_label(class_id, p.positive) for p in kept
        )
        beyond = class_id is not None and class_id > catalogue.last_supported
        return ClickSet(
            index=prepared.grid.to_voxel([p.ras for p in kept]),
            positive=tuple(p.positive for p in kept),
            labels=labels,
            zero_shot=zero_shot or beyond,
        )

    def _checked_base(self, base_mask: BoolArray | None, *, automatic: bool, class_id: int | None) -> BoolArray | None:
        if automatic:
            self._check_automatic()
            if base_mask is not None:
                raise PromptError("Both a mask and automatic are given.", "Choose what the clicks repair.")
            if class_id is None:
                raise ClassError("automatic needs a class.", "Say which class is clicked.")
            self.model.settings.catalogue.resolve_many([class_id])
        if base_mask is None:
            return None
        if base_mask.shape != self.volume.grid.shape:
            raise VolumeError(
                f"The mask has {format_shape(base_mask.shape)} voxels, the volume "
                f"{format_shape(self.volume.grid.shape)}.",
                "Resample the mask to the volume's grid.",
            )
        return base_mask if base_mask.dtype == bool else base_mask != 0

    def _check_automatic(self) -> None:
        if not self.model.settings.automatic:
            raise ClassError(
                f"The model {self.model.id} was not trained for automatic segmentation.", "Click, or choose another."
            )

    def _checked_roi(self, roi: Box | None) -> Box | None:
        if roi is None:
            return None
        inside = roi & self.volume.grid.box
        if not inside.size:
            raise VolumeError(
                f"The region of interest (voxels {roi.start} to {roi.stop}) lies outside the volume "
                f"({format_shape(self.volume.grid.shape)}).",
                "Move it over the image.",
            )
        return inside

    def _check_memory(self, volume: Volume) -> None:
        grid = model_grid(volume.grid, self.model.settings, self.mode)
        needed = 6 * grid.box.size  # float32 image, labels, one mask
        free = free_bytes(torch.device("cpu"))
        if needed > free:
            raise MemoryLimitError(
                f"On the model's grid the volume has {format_shape(grid.shape)} voxels and needs "
                f"{needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are free.",
                "Crop the volume, or check its spacing: a wrong one makes it huge.",
            )


def _completed(result: ClassesResult, clock: StageClock, notes: tuple[str, ...]) -> ClassesResult:
    return ClassesResult(
        grid=result.grid,
        class_ids=result.class_ids,
        model=result.model,
        labelmap=result.labelmap,
        masks=result.masks,
        notes=notes,
        seconds=clock.seconds,
    )
