"""The model and the volume, as the worker has them: told when they change, told again to a new worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from VISTA3DLib.client import Handlers
from VISTA3DLib.errors import SettingsError, VISTA3DError, VolumeError
from VISTA3DLib.geometry import Vector3
from VISTA3DLib.protocol import Failure
from VISTA3DLib.volume import Finding
from VISTA3DScene.frames import volume_grid
from VISTA3DScene.jobs import Failed, Job, Jobs, State, Task, Values
from VISTA3DScene.model_info import ModelInfo
from VISTA3DScene.volumes import modality_of, voxels_of

_ON_VOLUME = (State.PREPARING, State.POINTS, State.AUTOMATIC, State.SEQUENCE)
_LOST_MODEL, _LOST_VOLUME = "No model is loaded", "No volume is set"


class WorkerLink:
    """Loads a model, hands over the volume when it is needed and when it changed, and asks questions about it."""

    def __init__(self, jobs: Jobs, *, failed: Failed, said: Callable[[str], None], loaded: Callable[[], None]) -> None:
        self._jobs, self._failed, self._said, self._tell_loaded = jobs, failed, said, loaded
        self.model: ModelInfo | None = None
        self.findings: tuple[Finding, ...] = ()
        self._volume: Any = None
        self._sent: tuple[Any, ...] | None = None

    @property
    def loading(self) -> bool:
        """Whether a model is on its way."""
        return self._jobs.running(State.LOADING)

    def load_model(self, weights: str, *, device: str, precision: str) -> None:
        """Load weights; what runs is cancelled, the volume is handed over again behind it."""
        self._jobs.cancel_all()
        self.model, self._sent, self.findings = None, None, ()
        arguments = {"weights": weights, "device": device, "precision": precision}
        task = Task(
            kind=State.LOADING, op="load_model", arguments=arguments, result=self._loaded, error=self._not_loaded
        )
        if self._jobs.submit(task, keep=True):
            self.hand_over_quietly()

    def set_volume(self, volume: Any) -> None:
        """Another volume, or None; it is handed over at once if there is a model. Cancels what runs."""
        self._jobs.cancel_all(*_ON_VOLUME)
        self._volume, self._sent, self.findings = volume, None, ()
        self.hand_over_quietly()

    def cancel(self) -> bool:
        """Cancel everything; whether there was anything."""
        if self._jobs.running(State.PREPARING):
            self._sent = None
        return self._jobs.cancel_all()

    def hand_over_quietly(self) -> None:
        """Hand the volume over ahead of the first question, if there are a model and a volume."""
        if self._volume is not None and (self.model is not None or self.loading):
            self._hand_over(self._volume)

    def ask(self, task: Task, *, about: Any = None) -> Job | None:
        """Ask something about the volume, or ``about`` another one (a frame of a sequence).

        Raises nothing: None, and a report, if it cannot be asked.
        """
        if self.model is None and not self.loading:
            self._failed(SettingsError.__name__, "No model is loaded.", "Choose a model first.")
            return None
        if self._volume is None:
            self._failed(VolumeError.__name__, "No CT is chosen.", "Choose the volume to segment first.")
            return None
        if not self._hand_over(about or self._volume):
            return None

        def refused(failure: Failure) -> None:
            self._note_losses(failure)
            if task.error is not None:
                task.error(failure)
            else:
                self._failed(failure.kind, failure.message, failure.fix)

        return self._jobs.submit(replace(task, error=refused))

    def warm(self, ras: Vector3, done: Callable[[object], None]) -> None:
        """Compute ahead what a click at a place (in the volume's own frame) needs; nobody is told how it went."""
        handlers = Handlers(result=done, error=done)
        try:
            self._jobs.client.submit("warm", {"ras": list(ras)}, handlers)
        except VISTA3DError:
            done(None)

    def _hand_over(self, volume: Any) -> bool:
        """Tell the worker the volume, unless it has it as it is now."""
        try:
            grid, voxels = volume_grid(volume), voxels_of(volume)
        except VolumeError as problem:
            self._failed(problem.kind, problem.message, problem.fix)
            return False
        image = volume.GetImageData()  # held, so that another image cannot pass for it
        key = (image, image.GetMTime(), grid.affine.tobytes(), grid.shape)
        if key == self._sent:
            return True
        self._jobs.cancel_all(*_ON_VOLUME)
        arguments = {
            "array": "volume",
            "affine": grid.affine.tolist(),
            "name": volume.GetName() or "CT",
            "modality": modality_of(volume),
        }
        task = Task(
            kind=State.PREPARING,
            op="set_volume",
            arguments=arguments,
            result=self._handed_over,
            arrays={"volume": voxels},
            error=self._not_handed_over,
        )
        job = self._jobs.submit(task, keep=True)
        self._sent = key if job is not None else None
        return job is not None

    def _loaded(self, values: Values) -> None:
        self.model = ModelInfo.from_values(values)
        self._said(f"{self.model.title} is ready on {self.model.device_description}.")
        self._tell_loaded()

    def _not_loaded(self, failure: Failure) -> None:
        self._jobs.cancel_all()  # what was queued behind it cannot succeed
        self._sent = None
        self._failed(failure.kind, failure.message, failure.fix)

    def _handed_over(self, values: Values) -> None:
        self.findings = tuple(Finding(code=f["code"], message=f["message"]) for f in values["findings"])

    def _not_handed_over(self, failure: Failure) -> None:
        self._sent = None
        self._note_losses(failure)
        self._jobs.cancel_all(*_ON_VOLUME)
        self._failed(failure.kind, failure.message, failure.fix)

    def _note_losses(self, failure: Failure) -> None:
        """A worker that replaced another one may have failed to load the model or the volume again."""
        if failure.message.startswith(_LOST_MODEL):
            self.model, self._sent = None, None
        elif failure.message.startswith(_LOST_VOLUME) or failure.kind == "WorkerDied":
            self._sent = None
