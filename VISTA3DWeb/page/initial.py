"""The state of the page before anything is open. Every name that a template uses is here."""

from __future__ import annotations

from typing import Any

from VISTA3DScene.overwrite import Overwrite
from VISTA3DScene.shortcuts import SHORTCUTS

from VISTA3DLib import __version__
from VISTA3DWeb.exporting import FORMATS
from VISTA3DWeb.views import LAYOUTS, WINDOWS

POLICIES = {
    Overwrite.KEEP_OTHERS: "Keep (overlap allowed)",
    Overwrite.ONLY_EMPTY: "Keep, only where empty",
    Overwrite.OVERWRITE_OTHERS: "Overwrite",
}
_KEY_NAMES = {"Return": "Enter"}


def initial_state() -> dict[str, Any]:
    """All state variables with their first values."""
    return {**_choices(), **_nothing_open(), **_interface()}


def _choices() -> dict[str, Any]:
    """Lists that do not change while the viewer runs."""
    return {
        "downloads": [{"kind": f.kind, "title": f.title, "text": f.text} for f in FORMATS],
        "layouts": [{"name": name, "title": title} for name, title in LAYOUTS.items()],
        "windows": [{"name": name, "title": values[0]} for name, values in WINDOWS.items()],
        "policies": [{"name": policy.name, "title": title} for policy, title in POLICIES.items()],
        "shortcuts": [
            {"action": s.action, "keys": s.keys.split(", "), "shown": _shown(s.keys), "text": s.text} for s in SHORTCUTS
        ],
        "version": __version__,
    }


def _nothing_open() -> dict[str, Any]:
    """What follows the scene and the worker."""
    return {
        "volume": None,
        "findings": [],
        "model": None,
        "model_problem": "",
        "segments": [],
        "selected": None,
        "selected_name": "",
        "points": [],
        "points_pending": False,
        "placing": "",
        "can_click": False,
        "can_run": False,
        "live": True,
        "preview_enabled": False,
        "preview": None,
        "smooth": False,
        "policy": Overwrite.KEEP_OTHERS.name,
        "undo_name": None,
        "redo_name": None,
        "surface": False,
        "crosshair": False,
        "activity": "",
        "warming": False,
        "progress": None,
        "running": False,
        "downloading": False,
        "cancellable": False,
        "said": "",
        "messages": [],
        "opening": False,
        "pending": "",
        "tree": [],
        "sets": [],
        "chosen": [],
        "class_hits": [],
        "estimate": "",
        "region": None,
        "series": [],
        "devices": [],
        "wanted_device": "auto",
        "weights": [],
        "models_folder": "",
        "window_name": "soft",
        "window_width": WINDOWS["soft"][1],
        "window_centre": WINDOWS["soft"][2],
        "layout": "four",
    }


def _interface() -> dict[str, Any]:
    """What belongs to the page alone."""
    return {
        "theme": "auto",
        "panel_open": True,
        "dialog": "",
        "renaming": "",
        "new_name": "",
        "class_search": "",
        "tree_open": {},
        "overlapping": False,
        "licence_of": "",
        "accepted": False,
        "active_tab": "",
        "my_tab": "-",
        "clicks": 0,
    }


def _shown(keys: str) -> str:
    first = keys.split(", ")[0]
    return "+".join(_KEY_NAMES.get(part, part) for part in first.split("+")) if first != "+" else first
