"""The page put together from its templates and the grid of views."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from trame_client.ui.html import DivLayout
from trame_client.widgets import html
from trame_slicer.core import LayoutManager

STATIC = Path(__file__).parents[1] / "static"
_BEHIND = ':inert="!!dialog || active_tab !== my_tab"'  # a dialog keeps the keyboard to itself
_LOST = (
    '<div class="lost"><div><h2>The viewer does not answer</h2>'
    "<p>It was stopped, or the connection was lost. "
    "This page comes back by itself when it is there again.</p></div></div>"
)


def build_page(server: Any, layouts: LayoutManager) -> None:
    """Give the server its page. Scripts, styles and icons are our own and lie on this machine."""
    server.enable_module(
        {
            "serve": {"vista3d": str(STATIC)},
            "scripts": ["vista3d/viewer.js", "vista3d/clicks.js", "vista3d/pictures.js"],
            "styles": ["vista3d/viewer.css"],
        }
    )
    server.state.trame__title = "VISTA3D"
    server.state.trame__favicon = "vista3d/icon.svg"
    server.state.trame__template_error = _LOST
    server.state.trame__client_only = [*server.state.trame__client_only, "my_tab", "clicks"]
    with DivLayout(server) as page:
        page.root.classes = ("['viewer', panel_open ? 'panel-open' : 'panel-closed', placing && 'placing']",)
        page.root.add_child(_template("top"))
        page.root.add_child(f'<aside class="panel" aria-label="Panel" {_BEHIND}>{_template("panel")}</aside>')
        with html.Div(classes="views", v_if=("active_tab === my_tab",), raw_attrs=[_BEHIND]):
            layouts.initialize_layout_grid(page)
        page.root.add_child(_template("status"))
        page.root.add_child(_template("dialogs"))


def _template(name: str) -> str:
    return (resources.files("VISTA3DWeb.page") / f"{name}.html").read_text(encoding="utf-8")
