"""A section with a button that starts a long question to a process of its own, and cancels it while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from VISTA3DLib.client import Handlers
from VISTA3DLib.progress import Progress
from VISTA3DLib.protocol import Failure
from VISTA3DWidgets.part import Part
from VISTA3DWidgets.sideWorker import SideWorker


class WorkerSection(Part):
    """Base of such sections. A section hands its questions to ``SideWorker.ask`` with ``handlers()``, and keeps the
    worker in ``worker`` as long as it waits for an answer."""

    worker: SideWorker | None = None

    @property
    def running(self) -> bool:
        """Whether an answer is waited for."""
        return self.worker is not None

    def handlers(self) -> Handlers:
        """What hears the answer: ``onAnswer``, ``onProgress``; an error ends the work and is shown in the panel."""
        return Handlers(result=self._answered, error=self._refused, progress=self._advanced)

    def startOrCancel(self) -> None:
        """The button: ``start``, or end what runs."""
        with self._ending():
            if self.running:
                self.stop(self.cancelledText())
            else:
                self.start()

    def start(self) -> None:
        """Ask. Raises ``VISTA3DError`` children for what is missing."""
        raise NotImplementedError

    def onAnswer(self, values: Mapping[str, Any]) -> None:
        """Take an answer in."""
        raise NotImplementedError

    def onProgress(self, progress: Progress) -> None:
        """Show how far it is."""
        raise NotImplementedError

    def showText(self, text: str) -> None:
        """Show a line in the section."""
        raise NotImplementedError

    def cancelledText(self) -> str:
        """What is said when a person ended it."""
        return "Cancelled."

    def stop(self, text: str) -> None:
        """End the worker, if there is one, and say something."""
        if self.worker is not None:
            self.worker.closeSoon()
        self.worker = None
        self.showText(text)

    def close(self) -> None:
        """Disconnect, and end what runs."""
        if self.worker is not None:
            self.worker.close()
            self.worker = None
        super().close()

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """``usable``, and what fails ends the work."""
        with self.usable():
            try:
                yield
            except BaseException:
                self.stop("")
                raise

    def _answered(self, values: Mapping[str, Any]) -> None:
        if self.running:  # else a person ended it a moment ago
            with self._ending():
                self.onAnswer(values)

    def _refused(self, failure: Failure) -> None:
        if self.running:
            with self.usable():
                self.stop("")
                self.panel.showFailure(failure.kind, failure.message, failure.fix)

    def _advanced(self, progress: Progress) -> None:
        if self.running:
            self.onProgress(progress)
