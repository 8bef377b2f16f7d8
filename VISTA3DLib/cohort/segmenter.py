"""One loaded model that takes volumes one after the other: what a worker holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.cohort.settings import CohortSettings
from VISTA3DLib.results import ClassesResult
from VISTA3DLib.volume import Volume


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """Which model a worker has: ``hash`` is the SHA-256 of its weights' file. ``note`` is for the person."""

    id: str
    hash: str
    device: str
    catalogue: ClassCatalogue
    demonstration: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Segmented:
    """What a segmenter says about a volume besides the labels."""

    device: str
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


class Segmenter(Protocol):
    """A model with its settings."""

    def describe(self) -> ModelDescription:
        """Which model this is."""
        ...

    def segment(self, volume: Volume) -> tuple[Segmented, ClassesResult]:
        """Segment one volume. Raises ``VISTA3DError`` for one that cannot be."""
        ...


SegmenterMaker = Callable[[], Segmenter]


class ModelSegmenter:
    """VISTA3D weights in a session. Raises ``CheckpointError``, ``DeviceError``, ``ClassError`` when it is made."""

    def __init__(self, settings: CohortSettings, *, device: str, threads: int = 0, batch: int = 1) -> None:
        import torch

        from VISTA3DLib.loading import load_model
        from VISTA3DLib.session import Session

        if threads:
            torch.set_num_threads(threads)
        self._settings, self._batch = settings, batch
        self._model = load_model(settings.weights, device=device, precision=settings.precision)
        self._model.settings.catalogue.resolve_many(settings.classes)  # a wrong name is known now, not at every scan
        self._session = Session(self._model, mode=settings.mode)  # type: ignore[arg-type]
        self._device = _device_name(self._model.runtime)

    def describe(self) -> ModelDescription:
        """Which model this is."""
        entry = self._model.entry
        return ModelDescription(
            id=self._model.id,
            hash=_weights_hash(self._model),
            device=self._device,
            catalogue=self._model.settings.catalogue,
            demonstration=entry.demonstration,
            note=self._model.note,
        )

    def segment(self, volume: Volume) -> tuple[Segmented, ClassesResult]:
        """Prepare and segment one volume."""
        from VISTA3DLib.progress import StageClock

        settings, clock = self._settings, StageClock()
        with clock.stage("prepare"):
            findings = self._session.set_volume(volume)
        result = self._session.segment_classes(
            settings.classes,
            overlapping=settings.overlapping,
            smooth=settings.smooth,
            merge_groups=settings.merge_groups,
            batch=self._batch,
        )
        about = Segmented(
            device=self._device,
            findings=tuple(finding.message for finding in findings),
            notes=result.notes,
            seconds={**clock.seconds, **result.seconds},
        )
        return about, result


def _device_name(runtime: object) -> str:
    import torch

    text = str(runtime)
    return f"{text} ({torch.cuda.get_device_name()})" if text.startswith("cuda") else text


def _weights_hash(model: object) -> str:
    """SHA-256 of the file; for random weights from a seed, of what they are made from."""
    from VISTA3DLib.download import sha256_of
    from VISTA3DLib.loading import LoadedModel, weights_path

    assert isinstance(model, LoadedModel)
    entry = model.entry
    if entry.path is not None and not entry.path.is_file() and entry.seed is not None:
        made_from = json.dumps([entry.id, entry.seed, model.settings.to_dict()], sort_keys=True)
        return hashlib.sha256(made_from.encode()).hexdigest()
    return sha256_of(weights_path(entry))
