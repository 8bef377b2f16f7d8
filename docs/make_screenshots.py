"""Takes the pictures of the viewer that the documents show: ``python docs/make_screenshots.py [--weights ID] [CT]``.

A real viewer process, a real headless Chromium, real clicks. Needs the extras ``web`` and ``test``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Testing" / "web"))

from browsing import CHROMIUM_ARGUMENTS, PATIENCE, Screen, ViewerProcess, chromium  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
STRUCTURES = ("liver", "spleen", "left kidney", "right kidney", "aorta", "stomach", "vertebrae L3")


def take(screen: Screen, name: str) -> None:
    """Save what the page shows once no picture is on its way any more."""
    screen.idle()
    screen.page.mouse.move(640, 790)
    screen.page.wait_for_timeout(2500)
    screen.page.screenshot(path=PICTURES / f"{name}.png")


def choose(screen: Screen, names: tuple[str, ...]) -> None:
    """Tick structures in the search, those that the model supports."""
    field = screen.page.get_by_label("Search structures")
    count = 0
    for name in names:
        field.fill(name)
        screen.wait("s.class_hits.length && s.class_hits[0].name === a", name)
        if screen.state("class_hits")[0]["ok"]:
            screen.page.get_by_role("checkbox", name=name, exact=True).check()
            count += 1
    field.fill("")
    screen.wait("!s.class_search && s.chosen.length === a", count)


def walk(screen: Screen) -> None:
    """From an open CT to a preview, with a picture at each stop."""
    choose(screen, STRUCTURES)
    screen.page.get_by_title("Segment the chosen structures (R)").click()
    screen.wait("s.segments.length > 0 && !s.running")
    screen.page.get_by_role("button", name="Show segments in 3D").click()
    screen.wait("s.surface")
    screen.idle()
    liver = next((s for s in screen.state("segments") if s["name"] == "liver"), screen.state("segments")[0])
    screen.trigger("select", liver["id"])
    screen.wait("s.selected === a", liver["id"])
    screen.trigger("toggle_crosshair")
    screen.trigger("fit", "ThreeD")
    take(screen, "viewer")
    screen.press("v")
    screen.place_points()
    x, y = screen.pixel_of("axial", centre(screen))
    screen.put_point("axial", x + 25, y + 12)
    screen.wait("s.preview")
    take(screen, "viewer_preview")
    screen.press("Escape")
    screen.wait("!s.preview")
    screen.press("Escape")
    screen.page.emulate_media(color_scheme="light")
    screen.page.get_by_role("button", name="Change").first.click()
    screen.wait("s.dialog === 'weights'")
    screen.page.get_by_role("dialog").get_by_role("button", name="Download 872 MB").first.click()
    take(screen, "viewer_weights")
    screen.press("Escape")
    screen.page.set_viewport_size({"width": 820, "height": 1100})
    screen.page.evaluate("window.trame.state.set('panel_open', false)")
    screen.page.wait_for_timeout(1500)
    screen.trigger("fit_all")
    take(screen, "viewer_tablet")


def centre(screen: Screen) -> list[float]:
    """Where the crosshair's slices meet: the place that was jumped to."""
    values = {name: screen.state(f"slice_{name}")["value"] for name in ("sagittal", "coronal", "axial")}
    return [values["sagittal"], values["coronal"], values["axial"]]


def main() -> None:
    """Take all pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ct", nargs="?", help="a CT; the phantom if none is named")
    parser.add_argument("--weights", default="vista3d-mini")
    chosen = parser.parse_args()
    path = chromium()
    if path is None:
        raise SystemExit("no Chromium or Chrome is installed")
    PICTURES.mkdir(parents=True, exist_ok=True)
    what: list[Any] = ["--sample", "torso"] if chosen.ct is None else [str(Path(chosen.ct).resolve())]
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, headless=True, args=CHROMIUM_ARGUMENTS)
        viewer = ViewerProcess(Path(place), *what, "--weights", chosen.weights)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="dark")
            page.set_default_timeout(PATIENCE)
            screen = Screen(page)
            screen.open_fresh(viewer.address)
            walk(screen)
            viewer.stop()
        finally:
            viewer.kill()
            browser.close()


if __name__ == "__main__":
    main()
