"""What a person set on this computer, kept in Slicer's settings: model, device, options, shortcuts."""

from __future__ import annotations

import qt
import slicer


class Preferences:
    """Typed access to the settings below ``VISTA3D/``."""

    def __init__(self) -> None:
        self._settings = qt.QSettings()

    def text(self, name: str, default: str = "") -> str:
        """A text; ``default`` where nothing was set."""
        value = self._settings.value(f"VISTA3D/{name}", default)
        return default if value is None else str(value)

    def flag(self, name: str, default: bool) -> bool:
        """A yes or no."""
        return bool(slicer.util.toBool(self.text(name, str(default))))

    def set(self, name: str, value: str | bool) -> None:
        """Remember a value."""
        self._settings.setValue(f"VISTA3D/{name}", str(value))

    def forget(self, name: str) -> None:
        """Go back to the default, for a name and all below it."""
        self._settings.remove(f"VISTA3D/{name}")
