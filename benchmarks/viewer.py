"""How soon the viewer answers a click, seen from the browser: ``python -m benchmarks.viewer``.

A real viewer process with the phantom, a real headless Chromium, real mouse clicks, each on a new segment. Times are
taken in the page, from the press of the button: to the frame after the page's own point and busy mark came, and to the
first picture of the server in which something changed: the point, the overlay.
Needs the extras ``web`` and ``test`` and an installed Chromium.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Testing" / "web"))

from browsing import CHROMIUM_ARGUMENTS, PATIENCE, Screen, ViewerProcess, chromium  # noqa: E402

PLACES = ((140, 150), (325, 205), (245, 160), (150, 205))  # liver, kidney, aorta, kidney in the axial view
SHIFTS = ((0, 0), (6, 0), (-6, 3), (3, -6), (-3, 6))
MARK, POINT, OVERLAY = "point and busy mark in the page", "point in the server's picture", "overlay drawn"
# Every picture of the axial view is looked at as it arrives: how many of its pixels are not grey.
RECORDER = """() => {
  const canvas = document.createElement('canvas');
  const coloured = (img) => {
    canvas.width = img.naturalWidth; canvas.height = img.naturalHeight;
    const pen = canvas.getContext('2d', { willReadFrequently: true });
    pen.drawImage(img, 0, 0);
    const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let n = 0; n < data.length; n += 4) {
      count += Math.max(data[n], data[n + 1], data[n + 2]) - Math.min(data[n], data[n + 1], data[n + 2]) > 24;
    }
    return count;
  };
  const own = () => document.querySelector('[data-view=slice_axial]').parentElement;
  window.__times = null; window.__last = 0;
  document.addEventListener('load', (event) => {
    if (event.target.tagName !== 'IMG' || !own().contains(event.target)) return;
    const now = performance.now(), count = coloured(event.target), times = window.__times;
    if (!times) { window.__last = count; return; }
    const more = count - times.before;
    if (!times.point && more > 8) times.point = now - times.start;
    if (!times.overlay && more > 400) times.overlay = now - times.start;
  }, true);
  addEventListener('pointerdown', (event) => {
    if (own().contains(event.target)) window.__times = { start: performance.now(), before: window.__last };
  }, true);
  new MutationObserver(() => {
    const times = window.__times;
    if (!times || times.mark || !own().querySelector('.mark') || !document.querySelector('.busy')) return;
    times.mark = -1;
    requestAnimationFrame(() => requestAnimationFrame(() => { times.mark = performance.now() - times.start; }));
  }).observe(document.body, { childList: true, subtree: true });
}"""


def measure(address: str, browser: Any) -> list[dict[str, float]]:
    """One row a click, in milliseconds."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="dark")
    page.set_default_timeout(PATIENCE)
    screen = Screen(page)
    screen.open_fresh(address)
    screen.wait("!s.warming")
    page.evaluate(RECORDER)
    rows = []
    for x, y in [(x + right, y + down) for right, down in SHIFTS for x, y in PLACES]:
        screen.press("Shift+E")
        screen.wait("s.placing === 'positive' && s.segments.length === 1 && !s.points.length")
        screen.idle()
        left, top = screen.place("axial", x, y)
        page.mouse.move(left - 4, top - 3)
        page.mouse.move(left, top)
        page.wait_for_timeout(700)  # as a person aims; the picture with the point under the pointer has arrived
        page.evaluate("window.__times = null")
        page.mouse.click(left, top)
        screen.wait("s.points.length === 1")
        screen.idle()
        page.wait_for_timeout(1500)  # the last pictures
        rows.append(page.evaluate("window.__times"))
        screen.trigger("remove", screen.state("selected"))
        screen.wait("!s.segments.length")
        page.wait_for_timeout(500)
        page.evaluate("window.__times = null")
    return rows


def table(rows: list[dict[str, float]]) -> list[str]:
    """Median, worst and first of what was measured; a click whose mask is too small to be seen has no overlay."""
    lines = ["| from the click to | clicks | median | worst | first click |", "| --- | --- | --- | --- | --- |"]
    for name, key in ((MARK, "mark"), (POINT, "point"), (OVERLAY, "overlay")):
        values = [row[key] for row in rows if row.get(key, 0) > 0]
        if values:
            first = rows[0].get(key, float("nan"))
            shown = f"{statistics.median(values):.0f} ms | {max(values):.0f} ms | {first:.0f} ms"
            lines.append(f"| {name} | {len(values)} | {shown} |")
    return lines


def main() -> None:
    """Measure and print."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    if path is None:
        raise SystemExit("no Chromium or Chrome is installed")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, headless=True, args=CHROMIUM_ARGUMENTS)
        viewer = ViewerProcess(Path(place), "--sample", "torso")
        try:
            rows = measure(viewer.address, browser)
            viewer.stop()
        finally:
            viewer.kill()
            browser.close()
    print("\n".join(table(rows)))
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"\n{os.cpu_count()} CPU cores{load}; viewer, worker and browser on one machine")


if __name__ == "__main__":
    main()
