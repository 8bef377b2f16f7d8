"""Keys for what a person does often; the panel and the viewer read the same list."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """``keys`` in Qt's notation, several separated by ``, ``; ``text`` says in a help box what ``action`` does."""

    action: str
    keys: str
    text: str


SHORTCUTS: tuple[Shortcut, ...] = (
    Shortcut(action="place_positive", keys="P", text="Place positive points: this belongs to the structure"),
    Shortcut(action="place_negative", keys="N", text="Place negative points: this does not belong to it"),
    Shortcut(action="run_points", keys="Space", text="Run the points"),
    Shortcut(action="live", keys="L", text="Live on or off: each click runs by itself"),
    Shortcut(action="preview", keys="V", text="Preview on or off: see what a click changes before it is kept"),
    Shortcut(action="accept", keys="Return", text="Keep the preview"),
    Shortcut(action="escape", keys="Esc", text="Drop the preview; else cancel what runs; else stop placing points"),
    Shortcut(action="delete_last_point", keys="Backspace", text="Delete the last point"),
    Shortcut(action="clear_points", keys="Shift+Backspace", text="Delete all points of the segment"),
    Shortcut(action="next_segment", keys="E", text="Select the next segment"),
    Shortcut(action="new_segment", keys="Shift+E", text="Begin a new segment"),
    Shortcut(action="visibility", keys="H", text="Hide or show the segments"),
    Shortcut(action="run_automatic", keys="R", text="Run the automatic segmentation"),
    Shortcut(action="undo", keys="Ctrl+Z", text="Undo"),
    Shortcut(action="redo", keys="Ctrl+Y, Ctrl+Shift+Z", text="Redo"),
    Shortcut(action="help", keys="?", text="Show this list"),
)
