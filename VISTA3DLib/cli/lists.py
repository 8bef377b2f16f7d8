"""Options that take several values, by comma or repeated."""

from __future__ import annotations

from collections.abc import Sequence

from VISTA3DLib.errors import SettingsError


def parts(texts: Sequence[str] | None, option: str) -> tuple[str, ...]:
    """``["liver, spleen", "5"]`` as ``("liver", "spleen", "5")``; nothing where the option was not given.

    Raises ``SettingsError`` where it was given and holds nothing: that is a slip, and not to be taken for the default.
    """
    found = tuple(part.strip() for text in texts or () for part in text.split(",") if part.strip())
    if texts and not found:
        raise SettingsError(f"{option} '{texts[0]}' names nothing.", f"Name something, or leave {option} out.")
    return found
