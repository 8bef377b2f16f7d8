"""The picture that a view is left with is the newest one, however slowly the browser decodes."""

from __future__ import annotations

import pytest
from browsing import Screen, ViewerProcess

# The pictures that arrive wait for ``decode``, as they do while a browser is busy.
BUSY_DECODERS = """
const source = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
const waiting = [];
window.busy = false;
window.decode = (backwards) => {
  window.busy = false;
  const all = waiting.splice(0);
  for (const start of backwards ? all.reverse() : all) start();
};
Object.defineProperty(HTMLImageElement.prototype, "src", {
  ...source,
  set(value) {
    const start = () => source.set.call(this, value);
    if (window.busy && !this.isConnected) waiting.push(start);
    else start();
  },
});
window.pictures = 0;
const count = () => {
  const session = window.trame?.state?.ready && window.trame.client.getConnection()?.getSession();
  if (!session) return setTimeout(count, 20);
  session.subscribe("trame.rca.topic.stream", ([{ name }]) => { if (name === "Axial") window.pictures += 1; });
};
count();
"""


@pytest.mark.parametrize("backwards", [False, True])
def test_a_view_shows_the_newest_picture_though_all_decoders_were_busy(
    torso: ViewerProcess, screen: Screen, backwards: bool
) -> None:
    screen.page.add_init_script(BUSY_DECODERS)
    screen.open_fresh(torso.address)
    screen.until(lambda: screen.brightness("axial") > 1.0, "a picture")
    screen.page.evaluate("window.busy = true")
    for window in ("bone", "soft", "bone", "soft", "lung"):
        before = screen.page.evaluate("window.pictures")
        screen.trigger("set_window", window)
        screen.page.wait_for_function("(n) => window.pictures >= n + 2", arg=before)
    screen.page.evaluate("(backwards) => window.decode(backwards)", backwards)
    screen.until(lambda: screen.brightness("axial") > 100.0, "the lung window, in which soft tissue is bright")
    assert screen.state("window_name") == "lung"
