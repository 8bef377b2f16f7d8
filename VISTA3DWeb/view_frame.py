"""What lies over a view in the page: its name, where its slice is, a slider, a button that fits it."""

from __future__ import annotations

from typing import Any

from trame_client.widgets import html

AXES = {"Axial": ("S", "I"), "Coronal": ("A", "P"), "Sagittal": ("R", "L")}  # beyond zero, below zero


def slice_key(name: str) -> str:
    """The state variable of a slice view: ``value``, ``low``, ``high``, ``step`` (mm) and ``text``."""
    return f"slice_{name.lower()}"


def slice_frame(server: Any, _: str, view: Any) -> None:
    """The frame of a slice view."""
    name = view.get_singleton_tag()
    key = slice_key(name)
    server.state.setdefault(key, {"value": 0, "low": 0, "high": 1, "step": 1, "text": ""})
    middle = (
        f"<output>{{{{ {key}.text }}}}</output>"
        f'<input class="scroll" type="range" aria-label="{name} slice" title="Slice (the mouse wheel scrolls too)" '
        f':min="{key}.low" :max="{key}.high" :step="{key}.step" :value="{key}.value" v-show="volume" '
        f"@input=\"trigger('scroll', ['{name}', Number($event.target.value)])\">"
    )
    html.Div(classes="frame").add_child(_head(name, middle))


def threed_frame(_: Any, __: str, view: Any) -> None:
    """The frame of a 3D view."""
    html.Div(classes="frame").add_child(_head(view.get_singleton_tag(), "", shown="3D"))


def slice_text(name: str, offset: float) -> str:
    """Where a slice lies, with its direction: ``S 12.5 mm``."""
    beyond, below = AXES.get(name, ("+", "-"))
    return f"{beyond if offset >= 0 else below} {abs(offset):.1f} mm"


def _head(name: str, middle: str, shown: str = "") -> str:
    return (
        f'<div class="frame-head {name.lower()}"><span class="frame-name">{shown or name}</span>{middle}'
        f'<button type="button" class="icon" title="Fit the view" aria-label="Fit the {shown or name} view" '
        f"@click=\"trigger('fit', ['{name}'])\"><svg><use href=\"vista3d/icons.svg#fit\"/></svg></button></div>"
    )
