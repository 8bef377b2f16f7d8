"""What the worker can do. State: one model, one session with one volume; everything else comes with each request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib import __version__
from VISTA3DLib.errors import OutputError, ReadError, VolumeError
from VISTA3DLib.geometry import Box
from VISTA3DLib.progress import Cancel, ProgressCallback
from VISTA3DLib.prompts import Point
from VISTA3DLib.protocol import ProtocolError, file_in
from VISTA3DLib.results import Change, ClassesResult, MaskResult
from VISTA3DLib.volume import Volume

if TYPE_CHECKING:
    from VISTA3DLib.loading import LoadedModel
    from VISTA3DLib.session import Session

Operation = Callable[[Mapping[str, Any], ProgressCallback, Cancel], dict[str, Any]]


class Operations:
    """The operations of the protocol by name; ``folder`` is the session folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model: LoadedModel | None = None
        self._model_key: tuple[Any, ...] = ()
        self._session: Session | None = None
        self._files = 0
        self._table: dict[str, Operation] = {
            "hello": self._hello,
            "load_model": self._load_model,
            "set_volume": self._set_volume,
            "estimate": self._estimate,
            "segment_classes": self._segment_classes,
            "segment_points": self._segment_points,
            "warm": self._warm,
            "download": self._download,
            "compare_segmentations": self._compare_segmentations,
            "finetune": self._finetune,
        }

    def perform(
        self, op: str, arguments: Mapping[str, Any], progress: ProgressCallback, cancel: Cancel
    ) -> dict[str, Any]:
        """Do one operation and return its JSON values; raises ``VISTA3DError`` children."""
        if op not in self._table:
            raise ProtocolError(f"There is no operation '{op}'.", f"Known: {', '.join(self._table)}.")
        try:
            return self._table[op](arguments, progress, cancel)
        except KeyError as error:
            raise ProtocolError(f"The operation '{op}' lacks {error}.", "Send all of its arguments.") from error

    def _hello(self, arguments: Mapping[str, Any], progress: ProgressCallback, cancel: Cancel) -> dict[str, Any]:
        import torch

        from VISTA3DLib.devices import describe_device

        names = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0))]
        if torch.backends.mps.is_available():
            names.append("mps")
        devices = {name: describe_device(torch.device(name)) for name in names}
        return {"version": __version__, "torch": torch.__version__, "devices": devices}

    def _load_model(self, arguments: Mapping[str, Any], progress: ProgressCallback, cancel: Cancel) -> dict[str, Any]:
        from VISTA3DLib.devices import describe_device
        from VISTA3DLib.loading import load_model

        weights = str(arguments["weights"])
        device, precision = str(arguments.get("device", "auto")), str(arguments.get("precision", "auto"))
        key = (weights, device, precision)
        if self._model is None or key != self._model_key:
            self._model, self._session = None, None  # frees the device before the next model takes it
            self._model, self._model_key = load_model(weights, device=device, precision=precision), key
        settings = self._model.settings
        return {
            "id": self._model.id,
            "title": self._model.entry.title,
            "note": self._model.note,
            "demonstration": self._model.entry.demonstration,
            "device": str(self._model.device),
            "device_description": describe_device(self._model.device),
            "precision": self._model.runtime.precision,
            "automatic": settings.automatic,
            "interactive": settings.interactive,
            "modality": settings.modality,
            "spacing": settings.spacing,
            "window": settings.window,
            "catalogue": settings.catalogue.to_dict(),
        }

    def _set_volume(self, arguments: Mapping[str, Any], progress: ProgressCallback, cancel: Cancel) -> dict[str, Any]:
        from VISTA3DLib.session import Session

        volume = Volume(
            array=self._array(arguments["array"], mapped=True),
            affine=np.asarray(arguments["affine"], dtype=np.float64),
            name=str(arguments.get("name", "CT")),
            modality=str(arguments.get("modality", "CT")),
        )
        session = Session(self._loaded(), mode=arguments.get("mode", "bundle"))
        findings = session.set_volume(volume)
        self._session = session
        return {"findings": [{"code": f.code, "message": f.message} for f in findings]}

    def _estimate(self, arguments: Mapping[str, Any], progress: ProgressCallback, cancel: Cancel) -> dict[str, Any]:
        estimate = self._ready().estimate(
            arguments["classes"], roi=_box(arguments.get("roi")), overlapping=bool(arguments.get("overlapping"))
        )
        return {**asdict(estimate), "fits": estimate.fits, "text": str(estimate)}

    def _segment_classes(
        self, arguments: Mapping[str, Any], progress: ProgressCallback, cancel: Cancel
    ) -> dict[str, Any]:
        result = self._ready().segment_classes(
            arguments["classes"],
            roi=_box(arguments.get("roi")),
            overlapping=bool(arguments.get("overlapping", False)),
            smooth=bool(arguments.get("smooth", False)),
            merge_groups=bool(arguments.get("merge_groups", False)),
            keep_features=bool(arguments.get("keep_features", False)),
            progress=progress,
            cancel=cancel,
        )
        cancel.check()
        return {
            "class_ids": list(result.class_ids),
            "model": result.model,
            "notes": list(result.notes),
            "seconds": dict(result.seconds),
            **self._classes_arrays(result),
        }

    def _classes_arrays(self, result: ClassesResult) -> dict[str, Any]:
        if result.labelmap is not None:
            return {"labelmap": self._save(result.labelmap)}
        return {"masks": {str(i): self._mask_values(result.masks[i]) for i in result.class_ids}}

    def _segment_points(
        self, arguments: Mapping[str, Any], progress: ProgressCallback, cancel: Cancel
    ) -> dict[str, Any]:
        session = self._ready()
        class_id = arguments.get("class_id")
        result = session.segment_points(
            [Point(ras=tuple(p["ras"]), positive=bool(p["positive"])) for p in arguments["points"]],
            class_id=None if class_id is None else int(class_id),
            zero_shot=bool(arguments.get("zero_shot", False)),
            base_mask=self._base_mask(arguments.get("base"), session.volume.grid.shape),
            automatic=bool(arguments.get("automatic", False)),
            smooth=bool(arguments.get("smooth", False)),
            progress=progress,
            cancel=cancel,
        )
        cancel.check()
        return {
            **self._mask_values(result),
            "model": result.model,
            "notes": list(result.notes),
            "seconds": dict(result.seconds),
            "changes": [_change_values(c) for c in result.changes],
        }

    def _warm(self, arguments: Mapping[str, Any], progress: ProgressCallback, cancel: Cancel) -> dict[str, Any]:
        r, a, s = (float(v) for v in arguments["ras"])
        self._ready().warm((r, a, s))
        return {}

    def _download(self, arguments: Mapping[str, Any], progress: ProgressCallback, cancel: Cancel) -> dict[str, Any]:
        from VISTA3DLib.download import download
        from VISTA3DLib.weights import find_weights

        path = download(
            find_weights(str(arguments["weights"])),
            accept_licence=bool(arguments.get("accept_licence", False)),
            endpoint=arguments.get("endpoint"),
            progress=progress,
            cancel=cancel,
        )
        return {"path": str(path)}

    def _compare_segmentations(
        self, arguments: Mapping[str, Any], progress: ProgressCallback, cancel: Cancel
    ) -> dict[str, Any]:
        from VISTA3DLib.worker.evaluation_operations import compare_segmentations

        return compare_segmentations(arguments, lambda name: self._array(name, mapped=True), progress, cancel)

    def _finetune(self, arguments: Mapping[str, Any], progress: ProgressCallback, cancel: Cancel) -> dict[str, Any]:
        from VISTA3DLib.worker.training_operations import finetune

        return finetune(arguments, lambda name: self._array(name, mapped=True), progress, cancel)

    def _loaded(self) -> LoadedModel:
        if self._model is None:
            raise VolumeError("No model is loaded.", "Send load_model first.")
        return self._model

    def _ready(self) -> Session:
        if self._session is None:
            raise VolumeError("No volume is set.", "Send set_volume first.")
        return self._session

    def _base_mask(self, base: Any, shape: Sequence[int]) -> npt.NDArray[np.bool_] | None:
        """``{"array": file, "start": [i, j, k]}``: a mask in a box of the volume; background outside."""
        if base is None:
            return None
        part = self._array(base["array"], mapped=False).astype(bool)
        start = [int(v) for v in base["start"]]
        full = np.zeros(tuple(shape), dtype=bool)
        full[tuple(slice(a, a + n) for a, n in zip(start, part.shape, strict=True))] = part
        return full

    def _mask_values(self, result: MaskResult) -> dict[str, Any]:
        values = {"start": list(result.box.start), "stop": list(result.box.stop), "class_id": result.class_id}
        return {**values, "array": self._save(result.mask.astype(np.uint8)) if result.box.size else None}

    def _array(self, name: Any, *, mapped: bool) -> npt.NDArray[Any]:
        path = file_in(self._folder, name)
        try:
            loaded: npt.NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ReadError(f"The array {name} cannot be read: {error}.", "Send it again.") from error
        return loaded

    def _save(self, array: npt.NDArray[Any]) -> str:
        self._files += 1
        name = f"reply_{self._files}.npy"
        path = file_in(self._folder, name)
        try:
            np.save(path, array)
        except OSError as error:
            path.unlink(missing_ok=True)
            fix = "Free some space on the disk of the temporary folder."
            raise OutputError(f"The result cannot be handed over: {error.strerror or error}.", fix) from error
        return name


def _box(values: Any) -> Box | None:
    return None if values is None else Box(start=tuple(values["start"]), stop=tuple(values["stop"]))


def _change_values(change: Change) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "voxels": change.voxels,
        "ml": change.ml,
        "start": list(change.box.start),
        "stop": list(change.box.stop),
        "center": list(change.center),
        "points": list(change.points),
    }
