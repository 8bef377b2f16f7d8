"""One automatic run: which classes, where, in which form, and how it all fits together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from VISTA3DLib.automatic import FeatureSlab, blended_features
from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.components import keep_largest_components, largest_component
from VISTA3DLib.devices import free_bytes
from VISTA3DLib.geometry import Box, Index3
from VISTA3DLib.labelling import BitReader, ClassTable, FeatureKeeper, LabelReader, SlabReader, unpack_masks
from VISTA3DLib.model import Model
from VISTA3DLib.preprocess import PreparedVolume
from VISTA3DLib.progress import StageClock, Tracker
from VISTA3DLib.resample import memory_order, resample_nearest
from VISTA3DLib.results import BoolArray, ClassesResult, MaskResult
from VISTA3DLib.settings import Mode
from VISTA3DLib.smooth import SmoothReader, classify_sheared
from VISTA3DLib.volume import Volume
from VISTA3DLib.windows import window_lattice


@dataclass(frozen=True, kw_only=True)
class ClassRequest:
    """What an automatic run is asked for.

    ``outputs`` maps each id of the result to the class ids it is made of (a merged group has several). ``roi`` is a
    box on the volume's grid; nothing outside it is set. ``overlapping``: one mask a class instead of one label a
    voxel. ``smooth``: borders at the CT's own resolution.
    """

    outputs: Mapping[int, tuple[int, ...]]
    roi: Box | None = None
    overlapping: bool = False
    smooth: bool = False

    @property
    def class_ids(self) -> tuple[int, ...]:
        """Every class that the table needs, each once."""
        return tuple(dict.fromkeys(i for members in self.outputs.values() for i in members))


def requested_outputs(
    catalogue: ClassCatalogue, classes: Sequence[int | str], *, merge_groups: bool
) -> dict[int, tuple[int, ...]]:
    """Turn names, ids and sets into outputs; groups (2, 20, 21) become their members or are merged back to one id."""
    outputs: dict[int, tuple[int, ...]] = {}
    for class_id in catalogue.resolve_many(classes, expand_groups=not merge_groups):
        outputs[class_id] = tuple(catalogue.members(class_id)) if class_id in catalogue.groups else (class_id,)
    return outputs


def automatic_region(prepared: PreparedVolume, window: Index3, roi: Box | None) -> Box:
    """The box of model voxels that is run: the foreground, or the region of interest with context around it."""
    if roi is None:
        return prepared.crop
    box = prepared.to_model(roi)
    lacking = [max(side - n, 0) for side, n in zip(window, box.shape, strict=True)]
    start = [a - n // 2 for a, n in zip(box.start, lacking, strict=True)]
    for axis in range(3):  # context is taken from the other side where the volume ends
        size = box.shape[axis] + lacking[axis]
        start[axis] = max(0, min(start[axis], prepared.grid.shape[axis] - size))
    stop = [a + n + e for a, n, e in zip(start, box.shape, lacking, strict=True)]
    grown = Box(start=(start[0], start[1], start[2]), stop=(stop[0], stop[1], stop[2]))
    return (grown | box) & prepared.grid.box


class ClassJob:
    """Runs one ``ClassRequest`` on a prepared volume, from the network or from features that were kept."""

    def __init__(
        self,
        model: Model,
        volume: Volume,
        prepared: PreparedVolume,
        mode: Mode,
        request: ClassRequest,
        clock: StageClock,
    ) -> None:
        self.model, self.volume, self.prepared, self.request = model, volume, prepared, request
        self._mode, self._clock = mode, clock
        self.region = automatic_region(prepared, model.settings.window, request.roi)
        self.table = ClassTable(
            model.class_embeddings(request.class_ids), request.class_ids, labels=_label_values(request)
        )
        single = model.settings.catalogue.single_piece
        self._single = tuple(i for i, members in request.outputs.items() if i in single and members == (i,))

    @property
    def needs_kept_features(self) -> bool:
        """Smooth borders on a sheared volume need all features at once."""
        return self.request.smooth and not self.prepared.separable

    @property
    def window_count(self) -> int:
        """Windows that ``run`` will pass through the network."""
        return window_lattice(self.region.shape, self.model.settings.window, self._mode.overlap).count

    def new_keeper(self) -> FeatureKeeper:
        """Room for the features of this job's region: exact if half of the free memory holds them, else halved."""
        exact = 4 * (self.model.settings.filters + 1) * self.region.size
        dtype = torch.float32 if exact < free_bytes(torch.device("cpu")) // 2 else torch.float16
        return FeatureKeeper(self.model.settings.filters, self.region.shape, dtype)

    def run(
        self, tracker: Tracker, *, batch: int, ring_dtype: torch.dtype, keeper: FeatureKeeper | None
    ) -> ClassesResult:
        """Run the network over the region; fills ``keeper`` on the way if there is one."""
        image = self.prepared.image[self.region.slices]
        slabs = blended_features(self.model, image, self._mode, tracker, batch=batch, ring_dtype=ring_dtype)
        return self._read(_timed(slabs, self._clock), keeper, fill=True)

    def run_from(self, keeper: FeatureKeeper) -> ClassesResult:
        """Classify features that an earlier run kept; no network pass."""
        return self._read(keeper.slabs(self.model.device), keeper, fill=False)

    def _read(self, slabs: Iterable[FeatureSlab], keeper: FeatureKeeper | None, *, fill: bool) -> ClassesResult:
        reader = self._reader()
        readers: list[SlabReader] = [reader] if reader else []
        if keeper is not None and fill:
            readers.append(keeper)
        for slab in slabs:
            with self._clock.stage("labels"):
                for each in readers:
                    each.read(slab)
        with self._clock.stage("to volume"):
            return self._result(reader, keeper)

    def _reader(self) -> LabelReader | BitReader | SmoothReader | None:
        overlapping = self.request.overlapping
        if self.needs_kept_features:
            return None
        if self.request.smooth:
            volume, grid = self.volume.grid, self.prepared.grid
            return SmoothReader(self.table, volume, grid, self.region, overlapping=overlapping)
        shape = self.region.shape
        return BitReader(self.table, shape) if overlapping else LabelReader(self.table, shape)

    def _result(
        self, reader: LabelReader | BitReader | SmoothReader | None, keeper: FeatureKeeper | None
    ) -> ClassesResult:
        if not self.request.overlapping:
            return self._with(labelmap=self._labelmap(reader, keeper))
        masks: dict[int, tuple[Box, BoolArray]] = {}
        for class_id, box, mask in self._class_masks(reader, keeper):
            if class_id in self._single:
                box, mask = shrunk_mask(box, largest_component(mask))
            if self.request.roi is not None:
                box, mask = _cut_mask(box, mask, self.request.roi)
            masks[class_id] = (box, mask)
        return self._with(masks={i: self._mask_result(i, m, masks) for i, m in self.request.outputs.items()})

    def _labelmap(
        self, reader: LabelReader | BitReader | SmoothReader | None, keeper: FeatureKeeper | None
    ) -> npt.NDArray[Any]:
        if isinstance(reader, LabelReader):
            keep_largest_components(reader.labels, self._single)
            order = memory_order(self.volume.array)
            grids = self.prepared.grid, self.volume.grid
            labels = resample_nearest(reader.labels, *grids, inside=self.region, like=order)
        else:
            labels = reader.labels if isinstance(reader, SmoothReader) else self._sheared(keeper)
            keep_largest_components(labels, self._single)
        if self.request.roi is not None:
            kept = labels[self.request.roi.slices].copy()
            labels[...] = 0
            labels[self.request.roi.slices] = kept
        return labels

    def _class_masks(
        self, reader: LabelReader | BitReader | SmoothReader | None, keeper: FeatureKeeper | None
    ) -> Iterator[tuple[int, Box, BoolArray]]:
        if isinstance(reader, SmoothReader):
            yield from reader.masks()
        elif isinstance(reader, BitReader):
            for class_id, box, mask in reader.masks():
                yield class_id, *mask_to_volume(mask, box.shifted(self.region.start), self.prepared)
        else:
            yield from unpack_masks(self._sheared(keeper), self.table.class_ids)

    def _sheared(self, keeper: FeatureKeeper | None) -> npt.NDArray[Any]:
        assert keeper is not None, "a sheared volume with smooth borders runs with kept features"
        grids = self.volume.grid, self.prepared.grid
        overlapping = self.request.overlapping
        return classify_sheared(self.table, keeper.normalised, *grids, self.region, overlapping=overlapping)

    def _mask_result(
        self, output: int, members: tuple[int, ...], masks: Mapping[int, tuple[Box, BoolArray]]
    ) -> MaskResult:
        box, mask = union_of_masks([masks[m] for m in members])
        return MaskResult(grid=self.volume.grid, box=box, mask=mask, model=self.model.id, class_id=output)

    def _with(self, **form: Any) -> ClassesResult:
        ids = tuple(self.request.outputs)
        return ClassesResult(grid=self.volume.grid, class_ids=ids, model=self.model.id, **form)


def mask_to_volume(mask: BoolArray, box: Box, prepared: PreparedVolume) -> tuple[Box, BoolArray]:
    """Bring a mask in a box of model voxels to the volume's grid (nearest); cut to its box there."""
    cover = prepared.to_volume(box)
    if not cover.size:
        return cover, np.zeros(cover.shape, dtype=bool)
    target = prepared.volume_grid.cropped(cover)
    return shrunk_mask(cover, resample_nearest(mask, prepared.grid, target, inside=box))


def union_of_masks(masks: Sequence[tuple[Box, BoolArray]]) -> tuple[Box, BoolArray]:
    """The masks' union in the smallest box around all of them."""
    if len(masks) == 1:
        return masks[0]
    box = Box(start=(0, 0, 0), stop=(0, 0, 0))
    for part, _ in masks:
        box = box | part
    union = np.zeros(box.shape, dtype=bool)
    for part, mask in masks:
        if part.size:
            union[part.shifted([-v for v in box.start]).slices] |= mask
    return box, union


def _cut_mask(box: Box, mask: BoolArray, roi: Box) -> tuple[Box, BoolArray]:
    both = box & roi
    cut = mask[both.shifted([-v for v in box.start]).slices] if both.size else mask[:0, :0, :0]
    return shrunk_mask(both, cut)


def shrunk_mask(box: Box, mask: BoolArray) -> tuple[Box, BoolArray]:
    """The same mask in the smallest box."""
    inner = Box.of_mask(mask)
    return (inner.shifted(box.start) if inner.size else inner), mask[inner.slices]


def _label_values(request: ClassRequest) -> tuple[int, ...]:
    """For each class of the table the id it gets in a label map: its group's, or its own; the first mention wins."""
    value: dict[int, int] = {}
    for output, members in request.outputs.items():
        for member in members:
            value.setdefault(member, output)
    return tuple(value[i] for i in request.class_ids)


def _timed(slabs: Iterator[FeatureSlab], clock: StageClock) -> Iterator[FeatureSlab]:
    while True:
        with clock.stage("network"):
            slab = next(slabs, None)
        if slab is None:
            return
        yield slab
