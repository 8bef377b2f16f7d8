"""The page as a whole: structures and automatic runs, the list of segments, views, shortcuts, tabs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from browsing import Screen, ViewerProcess

from VISTA3DLib.weights import catalogue_of, find_weights
from VISTA3DWeb.page.classes import tree_rows

CATALOGUE = catalogue_of(find_weights("vista3d-mini"))
NAMELESS = """() => [...document.querySelectorAll('button, input, select, summary')]
  .filter((e) => e.offsetParent)
  .filter((e) => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length))
  .map((e) => e.outerHTML)"""
# What Tab must come to, in this order; ``details`` that are closed hide what is in them.
REACHABLE = """() => [...document.querySelectorAll('button, input, select, summary, [tabindex]')]
  .filter((e) => e.checkVisibility() && !e.disabled)
  .map((e) => e.getAttribute('aria-label') || e.labels?.[0]?.textContent.trim() || e.textContent.trim())"""
FOCUSED = """() => {
  const e = document.activeElement;
  if (e === document.body) return [null, true];
  const name = e.getAttribute('aria-label') || e.labels?.[0]?.textContent.trim() || e.textContent.trim();
  const ringed = e.matches('.layout-grid-item [tabindex]') ? e.closest('.layout-grid-item').querySelector('.frame') : e;
  return [name, getComputedStyle(ringed).outlineStyle === 'solid'];
}"""
OVERFLOWING = """() => [...document.querySelectorAll('.top *, .status *, .panel *')]
  .filter((e) => e.offsetParent)
  .filter((e) => { const b = e.getBoundingClientRect(); return b.width && b.right > innerWidth + 1; })
  .map((e) => e.outerHTML.slice(0, 80))"""


def choose(screen: Screen, *names: str) -> None:
    """Search for structures and tick them."""
    field = screen.page.get_by_label("Search structures")
    for name in names:
        field.fill(name)
        screen.wait("s.class_hits.length && s.class_hits[0].name === a", name)
        screen.page.get_by_role("checkbox", name=name, exact=True).check()
        screen.wait("s.chosen.includes(a)", CATALOGUE.resolve(name).id)
    field.fill("")
    screen.wait("!s.class_search")


def test_the_page_says_which_model_works_and_that_it_is_for_demonstration(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    panel = screen.page.get_by_label("Panel", exact=True)
    assert panel.get_by_text("VISTA3D mini").is_visible()
    assert panel.get_by_text("For demonstration").is_visible()
    panel.get_by_role("button", name="Get the official weights").click()
    dialog = screen.page.get_by_role("dialog", name="Weights")
    dialog.get_by_text("VISTA3D CT (NV-Segment-CT)").wait_for()
    dialog.get_by_role("button", name="Download 872 MB").first.click()
    dialog.get_by_text("NVIDIA Open Model License (stated").wait_for()  # the licence, before anything is asked
    download = dialog.get_by_role("button", name="Download 872 MB").first
    assert download.is_disabled()
    dialog.get_by_label("I accept this licence.").check()
    screen.page.wait_for_function("() => window.trame.state.get('accepted')")
    assert download.is_enabled()
    screen.press("Escape")
    screen.wait("!s.dialog")


def test_the_device_is_chosen_beside_the_weights(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    screen.trigger("show_weights")
    screen.wait("s.dialog === 'weights' && s.devices.some((d) => d.name === 'cpu') && !s.activity")
    screen.page.get_by_label("Device").select_option("cpu")
    screen.wait("s.wanted_device === 'cpu' && !s.dialog")
    screen.wait_ready()
    screen.trigger("use_device", "cuda:77")  # no such device: a message, and the viewer goes on with another
    screen.message("cuda:77")
    screen.trigger("use_device", "auto")
    screen.wait("s.model && s.wanted_device === 'auto'")
    screen.wait_ready()


def test_structures_are_searched_chosen_by_sets_and_by_the_tree(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    field = screen.page.get_by_label("Search structures")
    field.fill("kidny")
    screen.wait("s.class_hits.length && s.class_hits.some((c) => c.name.includes('kidney'))")
    field.fill("nothing of the kind")
    screen.wait("s.class_search.startsWith('nothing') && !s.class_hits.length")
    assert screen.page.get_by_text("No structure has that name.").is_visible()
    field.fill("")
    screen.wait("!s.class_search")
    organs = screen.page.get_by_role("button", name="organs", exact=True)
    organs.click()
    screen.wait("s.chosen.length === a", len(CATALOGUE.sets["organs"]))
    assert set(screen.state("chosen")) == set(CATALOGUE.sets["organs"])
    assert screen.page.get_by_role("button", name=f"Segment {len(screen.state('chosen'))} structures").is_enabled()
    organs.click()
    screen.wait("!s.chosen.length")
    screen.page.get_by_role("button", name="Open or close Bones").click()
    branch = next(row for row in tree_rows(CATALOGUE) if row["group"] and row["name"] == "Hip and leg")
    screen.page.get_by_role("checkbox", name="Hip and leg", exact=True).check()
    screen.wait("s.chosen.length === a", len(branch["ids"]))
    assert set(screen.state("chosen")) == set(branch["ids"])


def test_an_automatic_run_shows_progress_leaves_the_page_alive_and_can_be_cancelled(
    torso: ViewerProcess, screen: Screen
) -> None:
    screen.open_fresh(torso.address)
    choose(screen, "liver", "spleen")
    screen.page.get_by_role("button", name="Segment 2 structures").click()
    screen.wait("s.running")
    assert screen.page.get_by_role("button", name="Cancel").first.is_visible()
    screen.wait("s.progress")
    before = screen.state("slice_axial")["value"]
    screen.wheel("axial", 2)  # scrolling goes on meanwhile
    screen.wait("s.slice_axial.value !== a", before)
    assert screen.state("running")
    screen.page.get_by_role("button", name="Cancel").first.click()
    screen.wait("!s.running")
    screen.idle()
    assert screen.state("segments") == []


def test_segments_are_renamed_recoloured_hidden_faded_and_deleted(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    screen.page.get_by_label("Search structures").fill("left kidney")
    screen.page.get_by_role("button", name="New segment: left kidney", exact=True).click()
    screen.wait("s.segments.length === 1 && s.placing === 'positive'")
    assert screen.state("selected_name") == "left kidney"
    screen.put_point("axial", 325, 205)
    screen.idle()
    assert " ml" in screen.state("segments")[0]["ml"]
    screen.press("Escape")
    screen.until(lambda: screen.coloured("axial").mean() > 0.003, "the overlay")
    screen.page.get_by_role("button", name="Rename left kidney").click()
    name = screen.page.get_by_label("New name of left kidney")
    name.fill("graft")
    name.press("Enter")
    screen.wait("s.segments[0].name === 'graft'")
    screen.page.get_by_label("Colour of graft").fill("#ff00ff")
    screen.page.get_by_label("Colour of graft").dispatch_event("change")
    screen.wait("s.segments[0].color === '#ff00ff'")
    screen.until(lambda: purple(screen) > 0.005, "the new colour")
    screen.page.get_by_label("Opacity of graft").fill("0")
    screen.wait("s.segments[0].opacity === 0")
    screen.until(lambda: purple(screen) < 0.003, "no colour")
    screen.page.get_by_label("Opacity of graft").fill("1")
    screen.until(lambda: purple(screen) > 0.005, "the colour again")
    screen.page.get_by_role("button", name="Hide graft").click()
    screen.wait("!s.segments[0].visible")
    screen.until(lambda: purple(screen) < 0.003, "hidden")
    screen.press("h")
    screen.wait("s.segments[0].visible")
    screen.page.get_by_role("button", name="Delete graft").click()
    screen.wait("!s.segments.length")
    screen.press("Control+z")
    screen.wait("s.segments.length === 1 && s.segments[0].name === 'graft' && s.points.length <= 1")


def purple(screen: Screen) -> float:
    picture = screen.picture("axial")[32:]
    return float(((picture[..., 0] > picture[..., 1] + 24) & (picture[..., 2] > picture[..., 1] + 24)).mean())


def test_selecting_a_segment_goes_there_and_shows_its_points(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    screen.place_points()
    screen.put_point("axial", 234, 190)
    screen.idle()
    screen.press("Shift+E")
    screen.wait("s.segments.length === 2 && !s.points.length")
    screen.press("Escape")
    screen.trigger("scroll", "Axial", 250.0)
    screen.wait("s.slice_axial.value > 200")
    screen.page.get_by_title("Select and go to structure", exact=False).first.click()
    screen.wait("s.points.length === 1 && s.crosshair && s.slice_axial.value < 200")
    point = np.asarray(screen.state("points")[0]["ras"])
    screen.page.get_by_title("Go to the point").click()
    screen.wait("Math.abs(s.slice_axial.value - a) < 3", float(point[2]))
    screen.page.get_by_role("button", name="Crosshair").click()
    screen.wait("!s.crosshair")


@pytest.mark.parametrize(
    ("layout", "views"), [("Axial", ["axial"]), ("3D", ["threed"]), ("Large axial", ["axial", "coronal"])]
)
def test_layouts_show_the_views_they_name(torso: ViewerProcess, screen: Screen, layout: str, views: list[str]) -> None:
    screen.open_fresh(torso.address)
    screen.page.get_by_label("Layout").select_option(layout)
    for view in views:
        selector = ".frame-head.threed" if view == "threed" else f"[data-view=slice_{view}]"
        screen.page.locator(selector).wait_for()
    count = screen.page.locator(".frame")
    screen.until(lambda: count.count() == (4 if len(views) > 1 else 1), "the views of the layout")
    if views == ["axial"]:
        screen.wait("s.slice_axial.size[0] > 800")
        screen.page.get_by_role("button", name="Fit the Axial view").click()


def test_windows_change_how_the_ct_looks(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    select = screen.page.get_by_label("Window", exact=True)
    screen.until(lambda: screen.brightness("axial") > 1.0, "a picture")
    soft = screen.brightness("axial")
    select.select_option("Lung")
    screen.wait("s.window_name === 'lung'")
    screen.until(lambda: screen.brightness("axial") > 1.2 * soft, "lung brighter than soft tissue")
    lung = screen.brightness("axial")
    select.select_option("Bone")
    screen.wait("s.window_name === 'bone'")
    screen.until(lambda: screen.brightness("axial") < 0.8 * lung, "bone darker than lung")
    select.select_option("Own")
    screen.page.get_by_label("Width of the window in HU").fill("1000")
    screen.page.get_by_label("Width of the window in HU").press("Enter")
    screen.wait("s.window_width === 1000")
    select.select_option("Soft tissue")
    screen.wait("s.window_name === 'soft'")


def test_the_wheel_the_slider_and_the_pointer_tell_where_one_is(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    start = screen.state("slice_coronal")["value"]
    screen.wheel("coronal", 1)
    screen.wait("Math.abs(s.slice_coronal.value - a) > 0.5", start)
    slider = screen.page.get_by_label("Axial slice")
    slider.focus()
    before = screen.state("slice_axial")["value"]
    slider.press("ArrowRight")
    screen.wait("s.slice_axial.value > a", before)
    screen.page.mouse.move(*screen.place("axial", 200, 150))
    r, a, s = (float(v) for v in screen.ras_of("axial", 200, 150))
    shown = " ".join(f"{'RL'[r < 0]} {abs(r):.1f} {'AP'[a < 0]} {abs(a):.1f} {'SI'[s < 0]} {abs(s):.1f}".split())
    screen.until(
        lambda: " ".join(screen.page.locator("#cursor").inner_text().split()) == shown, f"the position {shown}"
    )


def test_a_second_tab_is_told_why_it_shows_nothing_and_may_take_over(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    other = Screen(screen.page.context.new_page())
    other.page.goto(torso.address)
    notice = other.page.get_by_role("alertdialog", name="Open in another tab")
    notice.wait_for()
    assert other.page.locator(".frame").count() == 0
    other.page.get_by_role("button", name="Use it here").click()
    other.wait("s.active_tab === s.my_tab")
    other.area("axial").wait_for()
    screen.page.get_by_role("alertdialog", name="Open in another tab").wait_for()
    other.page.close()
    screen.wait("s.active_tab === s.my_tab")
    screen.area("axial").wait_for()


def test_help_lists_the_shortcuts_and_typing_a_name_is_no_shortcut(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    screen.press("?")
    dialog = screen.page.get_by_role("dialog", name="Help and shortcuts")
    dialog.wait_for()
    assert dialog.get_by_text("Ctrl+Y").is_visible()
    screen.press("p")  # nothing happens behind a dialog
    screen.press("Escape")
    screen.wait("!s.dialog")
    screen.page.get_by_label("Search structures").press_sequentially("pnlvh")
    screen.wait("s.class_search === 'pnlvh'")
    assert (screen.state("placing"), screen.state("live"), screen.state("preview_enabled")) == ("", True, False)


def test_everything_has_a_name_and_is_reached_by_tab_alone(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    assert screen.page.evaluate(NAMELESS) == []
    wanted = screen.page.evaluate(REACHABLE)
    assert len(wanted) > 30
    seen: list[str] = []
    while len(seen) <= len(wanted):
        screen.press("Tab")
        name, ringed = screen.page.evaluate(FOCUSED)
        if name is None:
            break
        assert ringed, name
        seen.append(name)
    assert seen == wanted
    screen.page.get_by_role("button", name="Add P").focus()
    screen.press("Enter")
    screen.wait("s.placing === 'positive'")


def test_a_dialog_keeps_the_keyboard_and_gives_it_back(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    button = screen.page.get_by_role("button", name="Get the official weights")
    button.focus()
    screen.press("Enter")
    screen.wait("s.dialog === 'weights'")
    dialog = screen.page.get_by_role("dialog", name="Weights")
    screen.until_focused(dialog.get_by_role("button", name="Close"))
    for _ in range(12):
        screen.press("Tab")
        assert screen.page.evaluate("document.activeElement.matches('body, .dialog *')")
    screen.press("Escape")
    screen.wait("!s.dialog")
    screen.until_focused(button)


def test_escape_closes_a_menu_and_the_focus_is_where_it_was(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    menu = screen.page.locator("summary", has_text="Download")
    menu.focus()
    screen.press("Enter")
    screen.press("Tab")
    screen.until_focused(screen.page.get_by_role("menuitem", name="Scene (.mrb)"))
    screen.press("Escape")
    screen.until_focused(menu)
    assert screen.page.locator(".menu[open]").count() == 0


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_fits_a_laptop_and_a_tablet_in_both_colours(torso: ViewerProcess, screen: Screen, scheme: str) -> None:
    screen.page.emulate_media(color_scheme=scheme)
    screen.open_fresh(torso.address)
    assert screen.page.evaluate("document.documentElement.dataset.theme") == scheme
    for width, height in ((1280, 800), (1024, 768), (820, 1180), (768, 1024)):
        screen.page.set_viewport_size({"width": width, "height": height})
        overflow = screen.page.evaluate(OVERFLOWING)
        assert overflow == [], (width, overflow)
        assert screen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    menu = screen.page.get_by_role("button", name="Show or hide the panel")
    shown = screen.state("panel_open")
    menu.click()
    screen.wait("s.panel_open !== a", shown)
    screen.page.set_viewport_size({"width": 1280, "height": 800})
    screen.page.evaluate("trame.state.set('panel_open', true)")


def test_the_background_is_dark_where_the_theme_is_dark(torso: ViewerProcess, screen: Screen, tmp_path: Path) -> None:
    screen.open_fresh(torso.address)
    button = screen.page.get_by_role("button", name="Dark, light or as the system has it")
    seen = []
    for _ in range(3):
        button.click()
        seen.append((screen.state("theme"), screen.page.evaluate("document.documentElement.dataset.theme")))
    assert seen == [("dark", "dark"), ("light", "light"), ("auto", "dark")]
