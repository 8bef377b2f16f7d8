"""Which packages a Python of the person's own lacks: it is asked in a process, without keeping anybody waiting."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from VISTA3DWidgets.packages import MODULES
from VISTA3DWidgets.processTransport import ProcessTransport

QUESTION = (
    "import importlib.util, json, sys; "
    "print(json.dumps([name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]))"
)


class PackageCheck:
    """Asks a Python when what it has may have changed; ``answered`` is called when it has told."""

    def __init__(
        self,
        log: Callable[[str], None],
        faults: Callable[[], AbstractContextManager[None]],
        answered: Callable[[], None],
    ) -> None:
        self._log, self._answered = log, answered
        self._transport = ProcessTransport(["-c", QUESTION, *MODULES], self._wanted, log, faults)
        self._missing: dict[str, list[str]] = {}  # by Python
        self._python, self._output = "", b""
        self._asked, self._stale = "", True  # whose answer is waited for; what is known is to be asked again

    def missing(self, python: Path) -> list[str]:
        """The modules that this Python does not find, as far as is known."""
        if self._python != str(python):
            self._python, self._stale = str(python), True
            self._transport.kill()  # nobody waits for the answer of another one
        if self._stale and not self._asked:
            self._asked, self._stale, self._output = self._python, False, b""
            self._transport.start(self._onOutput, self._onEnd)
        return self._missing.get(self._python, [])

    def forget(self) -> None:
        """Ask again the next time; until the answer what was known counts."""
        self._stale = True

    def close(self) -> None:
        """Wait for no answer any more."""
        self._transport.close()

    def _wanted(self) -> str:
        return self._python

    def _onOutput(self, data: bytes) -> None:
        self._output += data

    def _onEnd(self, status: int | None) -> None:
        python, self._asked = self._asked, ""
        try:
            found = json.loads(self._output.decode("utf-8", errors="replace"))
        except ValueError:
            self._log(f"{python} did not tell which packages it has (status {status}).")
        else:
            self._missing[python] = [name for name in MODULES if name in found]
        self._answered()
