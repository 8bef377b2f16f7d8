"""A second segmentation process for one long question, so that clicks go on in the first one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import qt

from VISTA3DLib.client import Handlers, WorkerClient
from VISTA3DLib.errors import OutputError
from VISTA3DWidgets.processTransport import ProcessTransport, workerArguments

if TYPE_CHECKING:
    from VISTA3DWidgets.panel import Panel


class SideWorker:
    """Owns a process and its session folder from the first question until ``close``."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._folder = qt.QTemporaryDir()
        self._path = Path(self._folder.path())
        arguments = workerArguments(self._path)
        self._transport = ProcessTransport(arguments, panel.chosenPython, panel.log, panel.faults)
        self._client = WorkerClient(self._transport, self._path, say=panel.status.say, log=panel.log)

    def save(self, name: str, array: np.ndarray) -> str:
        """Hand an array over; returns the name to use in a question. Raises ``OutputError``."""
        path = self._path / f"{name}.npy"
        try:
            np.save(path, array)
        except OSError as error:
            raise OutputError(
                f"The images cannot be handed to the segmentation process: {error.strerror or error}.",
                f"Free some space on the disk of {self._path}.",
            ) from error
        return path.name

    def ask(self, op: str, arguments: Mapping[str, Any], handlers: Handlers) -> None:
        """Ask; the handlers hear the answer."""
        self._client.submit(op, arguments, handlers)

    def closeSoon(self) -> None:
        """``close``, but not while a call of the process itself is being delivered."""
        self._panel.leaving.append(self)
        self._panel.transport.call_later(0.0, self.close)

    def close(self) -> None:
        """End the process, whatever it does, and remove its folder; nobody is called any more."""
        if self in self._panel.leaving:
            self._panel.leaving.remove(self)
        self._client.close()
        self._transport.close()
        self._folder.remove()
