"""Cases on the model's grid, and random patches of them (spec 5.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import CacheDataset, Dataset, PersistentDataset
from monai.data.utils import pickle_hashing
from monai.transforms import (
    BorderPadd,
    ClassesToIndicesd,
    Compose,
    MapTransform,
    RandCropByLabelClassesd,
    RandSpatialCropSamplesd,
    SpatialPadd,
    Transform,
)

from VISTA3DLib.errors import ReadError, VISTA3DError
from VISTA3DLib.files.read import read_volume
from VISTA3DLib.geometry import Grid, Index3
from VISTA3DLib.preprocess import foreground_box, prepare_volume
from VISTA3DLib.resample import resample_nearest
from VISTA3DLib.settings import HUWindow, NetworkSettings, find_mode
from VISTA3DLib.training.augmentations import paper_transforms, warp_margin, warped_size, warping_transforms
from VISTA3DLib.training.datalist import Case, DataList, LabelMapping
from VISTA3DLib.training.settings import LabelKind
from VISTA3DLib.volume import Volume

_MAPS = ("label", "pseudo_label", "label_sv")
_SAMPLES_PER_CLASS = 2_000  # voxels of a class that crops may be centred on


@dataclass(frozen=True, kw_only=True, eq=False)
class Patch:
    """A window of a case: ``image`` (1, *window) float32 in 0..1, and int64 maps (*window) where the case has them.

    ``label`` and ``pseudo_label`` hold class ids, ``supervoxels`` numbers from 1 up; 0 is background or air.
    ``class_ids`` are the classes that the manual label was annotated for, ``pseudo_ids`` those of the pseudo label.
    """

    case: str
    image: torch.Tensor
    label: torch.Tensor | None
    pseudo_label: torch.Tensor | None
    supervoxels: torch.Tensor | None
    class_ids: tuple[int, ...]
    pseudo_ids: tuple[int, ...]
    reliable: bool

    def mirrored(self, axes: Sequence[int]) -> Patch:
        """The patch seen in a mirror along some of its axes (0 to 2)."""
        from_the_end = [axis - 3 for axis in axes]  # images have a channel before the axes

        def turned(values: torch.Tensor | None) -> torch.Tensor | None:
            return None if values is None else torch.flip(values, from_the_end)

        return replace(
            self,
            image=torch.flip(self.image, from_the_end),
            label=turned(self.label),
            pseudo_label=turned(self.pseudo_label),
            supervoxels=turned(self.supervoxels),
        )


class PrepareCase(Transform):
    """Deterministic part: read a case, bring it to the model's grid, crop the foreground, map labels to class ids."""

    def __init__(self, data: DataList, settings: NetworkSettings) -> None:
        self._settings = settings
        self._data = data

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        case: Case = item["case"]
        volume = read_volume(case.image)
        mode = find_mode("quality")
        prepared = prepare_volume(volume, self._settings, mode)
        # 0 HU on the scaled image: the research code crops before it resamples; a voxel of the margin may differ.
        box = foreground_box(prepared.image - _scaled_zero(self._settings), mode.crop_margin)
        result: dict[str, Any] = {"case": case, "image": prepared.image[box.slices][None].contiguous()}
        sources = {"label": case.label, "pseudo_label": case.pseudo_label, "label_sv": case.supervoxels}
        for key, path in sources.items():
            if path is not None:
                labels = _read_labels(path, volume, case)
                mapping = self._mapping(key, case)
                if mapping is not None:
                    labels = map_labels(labels, mapping.to_global)
                if key == "label":
                    _check_absent(labels, case)
                cut = prepared.grid.cropped(box)
                onto = resample_nearest(labels, volume.grid, cut)
                result[key] = torch.from_numpy(onto.astype(np.int16))[None]
        return result

    def _mapping(self, key: str, case: Case) -> LabelMapping | None:
        """How the values of one of the case's maps become class ids; None if they are used as they are."""
        if key == "label":
            return self._data.mapping_of(case)
        return self._data.pseudo_mapping_of(case) if key == "pseudo_label" else None


def map_labels(labels: npt.NDArray[Any], mapping: Mapping[int, int]) -> npt.NDArray[np.int16]:
    """Replace local values by class ids; values that are not mapped become 0."""
    present = np.unique(labels)
    table = np.zeros(max(int(present.max()), 0) + 1, dtype=np.int16)
    for local, target in mapping.items():
        if 0 <= local < len(table):
            table[local] = target
    return np.asarray(table[np.maximum(labels, 0)])


class PatchSource:
    """Random patches of cases, the same for the same seed, epoch and case, whatever was drawn before."""

    def __init__(
        self,
        cases: Sequence[Case],
        data: DataList,
        settings: NetworkSettings,
        *,
        patches_per_case: int = 2,
        augment: bool = True,
        cache: Path | None = None,
        pseudo_ids: Sequence[int] = (),
        seed: int = 0,
        window: Index3 | None = None,
        crop_on: LabelKind = "pseudo_label",
        background_crops: float | None = None,
        warp_prob: float = 0.0,
    ) -> None:
        self.cases = tuple(cases)
        self._warp_prob = warp_prob
        self._background_crops = background_crops
        self._window = window or settings.window
        self._data, self._settings, self._seed = data, settings, seed
        self._pseudo_ids = tuple(pseudo_ids)
        self._count = patches_per_case
        self._augment = augment
        self._crop_on: LabelKind = crop_on
        self._prepared = self._load(cache)

    def __len__(self) -> int:
        return len(self.cases)

    def patches(self, index: int, epoch: int) -> list[Patch]:
        """The patches of one case in one epoch."""
        with typed_errors():
            item = {**self._prepared[index], "case": self.cases[index]}
        random = self._random_part(item)
        random.set_random_state(int(np.random.SeedSequence((self._seed, epoch, index)).generate_state(1)[0]))
        return [self._patch(p) for p in random(item)]

    def _load(self, cache: Path | None) -> Dataset:
        keys = ["image", *_MAPS]
        fixed = Compose(
            [
                PrepareCase(self._data, self._settings),
                SpatialPadd(keys, self._settings.window, allow_missing_keys=True),
                _ClassIndices(self._crop_on),
                _Margin(self._margin()),
                _PlainItem(),
            ]
        )
        items = [{"case": c} for c in self.cases]
        if cache is None:
            with typed_errors():
                return CacheDataset(items, fixed, cache_rate=1.0, num_workers=1, progress=False)
        return PersistentDataset(
            items, fixed, cache_dir=cache, hash_func=pickle_hashing, hash_transform=lambda _: self._cache_key()
        )

    def _margin(self) -> Index3:
        return warp_margin(self._window) if self._augment and self._warp_prob else (0, 0, 0)

    def _cache_key(self) -> bytes:
        grid = (
            self._settings.spacing,
            self._settings.window,
            self._settings.intensity,
            self._data.digest,
            self._crop_on,
            self._margin(),
        )
        return bytes(pickle_hashing(repr(grid)))

    def _random_part(self, item: Mapping[str, Any]) -> Compose:
        keys = [k for k in ("image", *_MAPS) if k in item]
        if not self._augment:
            return Compose([self._crop(keys, item, self._window)])
        if self._warp_prob:
            crop = self._crop(keys, item, warped_size(self._window))
            return Compose([crop, *warping_transforms(keys, self._window, self._warp_prob)])
        return Compose([self._crop(keys, item, self._window), *paper_transforms(keys)])

    def _crop(self, keys: Sequence[str], item: Mapping[str, Any], size: Index3) -> Transform:
        if "crop_indices" not in item:
            return RandSpatialCropSamplesd(keys, size, num_samples=self._count, random_size=False)
        indices = item["crop_indices"]
        return RandCropByLabelClassesd(
            keys,
            label_key=item["crop_key"],
            spatial_size=size,
            ratios=crop_ratios([len(i) for i in indices], self._background_crops),
            num_classes=len(indices),
            num_samples=self._count,
            indices_key="crop_indices",
            warn=False,
        )

    def _patch(self, item: Mapping[str, Any]) -> Patch:
        case: Case = item["case"]
        maps = {k: _plain(item[k])[0].long() if k in item else None for k in _MAPS}
        pseudo = self._data.pseudo_mapping_of(case)
        return Patch(
            case=case.id,
            image=_plain(item["image"]).float(),
            label=maps["label"],
            pseudo_label=maps["pseudo_label"],
            supervoxels=maps["label_sv"],
            class_ids=self._data.class_ids_of(case),
            pseudo_ids=() if maps["pseudo_label"] is None else pseudo.class_ids() if pseudo else self._pseudo_ids,
            reliable=case.reliable,
        )


def crop_ratios(counts: Sequence[int], background: float | None) -> list[float]:
    """How often a patch is centred on each class that has voxels (0: background), relative to each other.

    All alike, or the share ``background`` (0 to less than 1) for class 0 where there are others.
    """
    ratios = [float(n > 0) for n in counts]
    others = sum(ratios[1:])
    if background is not None and ratios[0] and others:
        ratios[0] = others * background / (1.0 - background)
    return ratios


@contextmanager
def typed_errors() -> Iterator[None]:
    """MONAI wraps what a transform raises into a ``RuntimeError``; let our own errors through as they are."""
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, VISTA3DError):
            cause = cause.__cause__
        raise cause or error from error


class _ClassIndices(MapTransform):
    """Where each class lies, so that crops can be centred on any of them; on the other map where ``first`` is empty."""

    def __init__(self, first: LabelKind) -> None:
        super().__init__(_MAPS, allow_missing_keys=True)
        self._order = (first, "label" if first == "pseudo_label" else "pseudo_label")

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        result = dict(data)
        key = next((k for k in self._order if k in result and bool((result[k] > 0).any())), None)
        if key is None:
            return result
        classes = int(result[key].max()) + 1
        found = ClassesToIndicesd(key, "_indices", num_classes=classes, max_samples_per_class=_SAMPLES_PER_CLASS)(
            {key: result[key]}
        )
        result["crop_key"], result["crop_indices"] = key, found[f"{key}_indices"]
        return result


class _Margin(Transform):
    """Voxels around the image, so that a window with a margin reaches the image's edges as an inference's window does.

    Places to centre crops on stay in the image.
    """

    def __init__(self, margin: Index3) -> None:
        self._margin = margin
        self._pad = BorderPadd(["image", *_MAPS], margin, allow_missing_keys=True)

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        if not any(self._margin):
            return dict(item)
        result: dict[str, Any] = self._pad(item)
        if "crop_indices" in item:
            before, after = item["image"].shape[1:], result["image"].shape[1:]
            places = [np.unravel_index(np.asarray(i), before) for i in item["crop_indices"]]
            moved = [tuple(p + m for p, m in zip(place, self._margin, strict=True)) for place in places]
            result["crop_indices"] = [torch.from_numpy(np.ravel_multi_index(m, after)) for m in moved]
        return result


class _PlainItem(Transform):
    """What a cache on disk may hold: tensors and plain values, which torch reads without running code."""

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {k: _plain(v) for k, v in item.items() if k in ("image", *_MAPS)}
        if "crop_indices" in item:
            result["crop_key"] = item["crop_key"]
            result["crop_indices"] = [_plain(i) for i in item["crop_indices"]]
        return result


def _read_labels(path: Path, volume: Volume, case: Case) -> npt.NDArray[Any]:
    labels = read_volume(path)
    check_same_grid(case.id, path, labels.grid, volume.grid)
    return np.asarray(np.rint(labels.array), dtype=np.int32)


def _check_absent(labels: npt.NDArray[Any], case: Case) -> None:
    """Raise ``ReadError`` for a label map that shows what the list says cannot be there."""
    shown = sorted(set(case.absent) & {int(v) for v in np.unique(labels)}) if case.absent else []
    if shown:
        raise ReadError(
            f"Class {shown[0]} is said to be absent from case {case.id}, but its label shows it.",
            "Take it out of absent, or repair the label.",
        )


def check_same_grid(case: str, path: Path, labels: Grid, image: Grid) -> None:
    """Raise ``ReadError`` for a label map that does not lie on its image's grid."""
    if not labels.same_as(image, tolerance=0.1):
        raise ReadError(
            f"{path} of case {case} has another grid than its image: {_describe(labels)} against {_describe(image)}.",
            "Resample the label to the image.",
        )


def _describe(grid: Grid) -> str:
    spacing = ", ".join(f"{s:.3g}" for s in grid.spacing)
    return f"{grid.shape} voxels of ({spacing}) mm"


def _scaled_zero(settings: NetworkSettings) -> float:
    rule = settings.intensity
    return -rule.low / (rule.high - rule.low) if isinstance(rule, HUWindow) else 0.0


def _plain(value: Any) -> torch.Tensor:
    return value.as_tensor() if hasattr(value, "as_tensor") else torch.as_tensor(value)
