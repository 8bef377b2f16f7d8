"""Messages that stay in the page until they are closed, and a line that the next one replaces."""

from __future__ import annotations

from typing import Any

_MOST = 4


class Messages:
    """What the page says. ``state`` is the server's; the same message is not shown twice."""

    def __init__(self, state: Any) -> None:
        self._state, self._next = state, 1

    def error(self, text: str, fix: str = "") -> None:
        """Something did not work; what is wrong, and the way out."""
        self._add("error", text, fix)

    def warn(self, text: str, fix: str = "") -> None:
        """Something to know before trusting a result."""
        self._add("warning", text, fix)

    def say(self, text: str) -> None:
        """One line in the foot of the page."""
        with self._state:
            self._state.said = text

    def close(self, number: int) -> None:
        """The person has read it."""
        self._state.messages = [m for m in self._state.messages if m["n"] != number]

    def _add(self, kind: str, text: str, fix: str) -> None:
        new = {"n": self._next, "kind": kind, "text": text, "fix": fix}
        self._next += 1
        with self._state:
            others = [m for m in self._state.messages if (m["text"], m["fix"]) != (text, fix)]
            self._state.messages = [*others, new][-_MOST:]
