"""What lies over a view in the page: its name, where its slice is, a slider, a button that fits it."""

from __future__ import annotations

from typing import Any

from trame_client.widgets import html

AXES = {"Axial": ("S", "I"), "Coronal": ("A", "P"), "Sagittal": ("R", "L")}  # beyond zero, below zero


def slice_key(name: str) -> str:
    """The state variable of a slice view, see ``slice_values``."""
    return f"slice_{name.lower()}"


def slice_frame(server: Any, _: str, view: Any) -> None:
    """The frame of a slice view."""
    name = view.get_singleton_tag()
    key = slice_key(name)
    server.state.setdefault(key, slice_values(view, shown=False))
    middle = (
        f"<output>{{{{ {key}.text }}}}</output>"
        f'<input class="scroll" type="range" aria-label="{name} slice" title="Slice (the mouse wheel scrolls too)" '
        f':min="{key}.low" :max="{key}.high" :step="{key}.step" :value="{key}.value" v-show="volume" '
        f"@input=\"trigger('scroll', ['{name}', Number($event.target.value)])\">"
    )
    html.Div(classes="frame", raw_attrs=[f'data-view="{key}"']).add_child(_head(name, middle))


def threed_frame(_: Any, __: str, view: Any) -> None:
    """The frame of a 3D view."""
    html.Div(classes="frame").add_child(_head(view.get_singleton_tag(), "", shown="3D"))


def slice_values(view: Any, *, shown: bool) -> dict[str, Any]:
    """Where a slice view is.

    ``value``, ``low``, ``high`` and ``step`` of its offset in mm; that as ``text``, if a volume is shown; the ``size``
    of its picture in pixels; the first three rows of the ``matrix`` from pixels to RAS.
    """
    low, high = view.get_slice_range()
    value, node = view.get_slice_value(), view.get_view_node()
    matrix, size = node.GetXYToRAS(), node.GetDimensions()
    return {
        "value": value,
        "low": low,
        "high": high,
        "step": view.get_slice_step(),
        "text": slice_text(view.get_singleton_tag(), value) if shown else "",
        "size": [size[0], size[1]],
        "matrix": [[matrix.GetElement(i, j) for j in range(4)] for i in range(3)],
    }


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
