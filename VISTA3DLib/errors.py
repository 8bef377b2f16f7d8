"""Errors that a person can act on: each says what is wrong, with the value, and what to do about it."""

from __future__ import annotations


class VISTA3DError(Exception):
    """Base of every error that this library raises on purpose.

    ``message`` says what is wrong, with the value that was seen; ``fix`` says what to do. The panel, the viewer and the
    command line show both; the worker sends them as ``{kind, message, fix}``.
    """

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(f"{message} {fix}".strip())
        self.message = message
        self.fix = fix

    @property
    def kind(self) -> str:
        """Name of the error's class, as sent over the worker protocol."""
        return type(self).__name__


class VolumeError(VISTA3DError):
    """The image cannot be segmented: wrong dimensions, empty, unusable geometry."""


class ReadError(VISTA3DError):
    """A file or folder cannot be read as an image, a segmentation or a list of points."""


class OutputError(VISTA3DError):
    """A result cannot be written; nothing half-written is left behind."""


class ClassError(VISTA3DError):
    """A class name or id is unknown or cannot be used in this way."""


class PromptError(VISTA3DError):
    """A point cannot be used: outside the volume, contradictory, malformed."""


class SettingsError(VISTA3DError):
    """A setting has a value that cannot work."""


class CheckpointError(VISTA3DError):
    """Weights are truncated, of another network, or otherwise unusable."""


class DownloadError(VISTA3DError):
    """Weights could not be fetched, or what arrived is not what was promised."""


class LicenceError(VISTA3DError):
    """The licence of the weights has not been accepted."""


class DeviceError(VISTA3DError):
    """The device or precision that was asked for is not there."""


class MemoryLimitError(VISTA3DError):
    """The work does not fit into memory, even after every fallback."""


class TrainingError(VISTA3DError):
    """Training cannot go on; the last good checkpoint is kept."""


class CancelledError(VISTA3DError):
    """The person cancelled the work; nothing was changed."""

    def __init__(self, message: str = "Cancelled.", fix: str = "") -> None:
        super().__init__(message, fix)
