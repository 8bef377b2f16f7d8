"""A real viewer process and a real browser page on it: starting, asking, waiting, looking at pixels."""

from __future__ import annotations

import asyncio
import io
import itertools
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = int(os.environ.get("VISTA3D_PATIENCE", "120")) * 1000  # ms; a busy machine is no failure
LIVER = (140, 155)  # a pixel of the axial view at 1280 x 800: in the liver of the phantom
_NUMBERS = itertools.count(1)
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """An installed Chromium or Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    named = os.environ.get("VISTA3D_CHROMIUM")
    return named or next((path for name in names if (path := shutil.which(name))), None)


class ViewerProcess:
    """``vista3d view ARGUMENTS`` in a process of its own, with its own temporary and settings folders in ``place``."""

    def __init__(self, place: Path, *arguments: str, **environment: str) -> None:
        (place / "tmp").mkdir(parents=True, exist_ok=True)
        self.place = place
        known = os.environ.get("PYTHONPATH", "")
        folders = {name: str(place / name.lower()) for name in ("VISTA3D_CONFIG", "VISTA3D_MODELS", "HF_HOME")}
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from VISTA3DLib.cli import main; main()",
                "view",
                "--no-open",
                "--port",
                "0",
                *arguments,
            ],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            cwd=place,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(part for part in (str(ROOT), str(ROOT / "VISTA3D"), known) if part),
                "OMP_NUM_THREADS": "1",
                "TMPDIR": str(place / "tmp"),
                **folders,
                **environment,
            },
        )
        self.lines: list[str] = []
        self.address = ""
        self._said = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()
        self._said.wait(PATIENCE / 1000)
        if not self.address:
            self.kill()
            raise AssertionError("the viewer did not start:\n" + "\n".join(self.lines))

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip())
            found = re.search(r"The viewer is at (\S+)", line)
            if found:
                self.address = found[1]
                self._said.set()
        self._said.set()

    @property
    def pid(self) -> int:
        """The process id of the viewer."""
        return self._process.pid

    def port(self) -> int:
        """The port that it listens on; behind a proxy the address tells another."""
        import psutil

        sockets = psutil.Process(self.pid).net_connections(kind="tcp")
        return next(int(socket.laddr.port) for socket in sockets if socket.status == psutil.CONN_LISTEN)

    def worker_pids(self) -> list[int]:
        """The processes that the viewer started."""
        import psutil

        return [child.pid for child in psutil.Process(self.pid).children()]

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The server stands still; the test is skipped where the system cannot do that."""
        if not hasattr(signal, "SIGSTOP"):
            pytest.skip("this system cannot stop a process")
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it as Ctrl+C does; returns its exit status."""
        self._process.send_signal(number)
        return self._process.wait(PATIENCE / 1000)

    def kill(self) -> None:
        """Make sure that it is gone."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def run_alone(coroutine: Any) -> Any:
    """Run a coroutine to its end in a thread of its own: Playwright keeps an event loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


async def until(condition: Callable[[], bool]) -> None:
    """Wait on the running loop until something holds."""
    async with asyncio.timeout(PATIENCE / 1000):
        while not condition():
            await asyncio.sleep(0.01)


class Screen:
    """A page of the viewer, seen through Playwright."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def open(self, address: str) -> None:
        """Load the page and wait until it is alive."""
        self.page.goto(address)
        self.wait("s.my_tab !== '-' && s.active_tab === s.my_tab")

    def open_ready(self, address: str) -> None:
        """Load the page and wait until the CT is shown and the model is there."""
        self.open(address)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the CT is shown, the model is there, and nothing runs."""
        self.wait("s.volume && s.model && !s.activity && s.slice_axial.text && s.slice_axial.size[0] > 100")

    def state(self, name: str) -> Any:
        """A state variable of the page."""
        return self.page.evaluate("(name) => JSON.parse(JSON.stringify(window.trame.state.get(name) ?? null))", name)

    def wait(self, condition: str, argument: Any = None) -> None:
        """Wait until an expression over the state ``s`` (and ``a``) holds. While a page loads, its state is empty."""
        holds = f"s.my_tab !== undefined && ({condition})"
        self.page.wait_for_function(
            f"(a) => {{ const s = window.trame?.state?.state; return s !== undefined && {holds}; }}",
            arg=argument,
            timeout=PATIENCE,
        )

    def idle(self) -> None:
        """Wait until nothing runs and no point waits for an answer (a preview is one)."""
        self.wait("!s.activity && (!s.points_pending || s.preview)")

    def area(self, view: str) -> Any:
        """The element of a view."""
        return self.page.locator(f"[data-view=slice_{view}]")

    def place(self, view: str, x: float, y: float) -> tuple[float, float]:
        """Page coordinates of a pixel of a view (from its top left corner)."""
        box = self.area(view).bounding_box()
        assert box is not None
        return box["x"] + x, box["y"] + y

    def click(self, view: str, x: float, y: float) -> None:
        """Move the mouse there as a person does, and click."""
        left, top = self.place(view, x, y)
        self.page.mouse.move(left - 3, top - 2)
        self.page.mouse.move(left, top)
        self.page.mouse.click(left, top)

    def wheel(self, view: str, turns: float) -> None:
        """Turn the mouse wheel over the middle of a view."""
        box = self.area(view).bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.page.mouse.wheel(0, -120 * turns)

    def ras_of(self, view: str, x: float, y: float) -> npt.NDArray[np.float64]:
        """The world position of a pixel of a view, by the slice node's own matrix."""
        values, box = self.state(f"slice_{view}"), self.area(view).bounding_box()
        width, height = values["size"]
        column, row = math.floor(x * width / box["width"]), math.floor(y * height / box["height"])
        return np.asarray(values["matrix"]) @ np.array([column, height - 1 - row, 0.0, 1.0])

    def pixel_of(self, view: str, ras: npt.ArrayLike) -> tuple[float, float]:
        """The pixel of a view at which a world position is seen."""
        values = self.state(f"slice_{view}")
        matrix = np.vstack([np.asarray(values["matrix"]), [0, 0, 0, 1]])
        x, y, _, _ = np.linalg.solve(matrix, np.append(np.asarray(ras, dtype=float), 1.0))
        return float(x), float(values["size"][1] - 1 - y)

    def picture(self, view: str) -> npt.NDArray[np.int16]:
        """What a view shows, rows by columns by RGB."""
        data = self.area(view).screenshot(timeout=PATIENCE)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.int16)

    def brightness(self, view: str) -> float:
        """The mean of what a view shows, 0 to 255; 0 while there is no picture."""
        return float(self.picture(view)[40:].mean())

    def coloured(self, view: str) -> npt.NDArray[np.bool_]:
        """The pixels of a view that are not grey: segments and points over the CT."""
        picture = self.picture(view)
        found = np.asarray(picture.max(axis=2) - picture.min(axis=2) > 24)
        found[:32] = False  # the frame's head with its slider
        return found

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that only looking can tell (pictures arrive after the state does)."""
        import time

        limit = time.monotonic() + PATIENCE / 1000
        while not condition():
            if time.monotonic() > limit:
                raise AssertionError(f"not in time: {what}")
            self.page.wait_for_timeout(50)

    def until_focused(self, element: Any) -> None:
        """Wait until an element has the keyboard."""
        self.until(lambda: element.evaluate("e => e === document.activeElement"), "the focus")

    def download(self, title: str, folder: Path) -> Path:
        """Download by the menu and return the file."""
        self.page.locator("summary", has_text="Download").click()
        with self.page.expect_download(timeout=PATIENCE) as waiting:
            self.page.get_by_role("menuitem", name=title).click()
        target = folder / waiting.value.suggested_filename
        waiting.value.save_as(target)
        return target

    def press(self, keys: str) -> None:
        """Press keys with the focus on the page."""
        self.page.keyboard.press(keys)

    def upload(self, *paths: Path) -> None:
        """Choose files in the file picker."""
        with self.page.expect_file_chooser() as waiting:
            self.page.evaluate("window.vista3d.choose(false)")
        waiting.value.set_files([str(path) for path in paths])

    def upload_folder(self, folder: Path) -> None:
        """Choose a folder in the file picker."""
        with self.page.expect_file_chooser() as waiting:
            self.page.evaluate("window.vista3d.choose(true)")
        waiting.value.set_files(str(folder))

    def message(self, text: str) -> str:
        """Wait for a message with a text, read all of it and close it."""
        found = self.page.get_by_role("alert").filter(has_text=text)
        found.wait_for()
        whole = str(found.inner_text())
        found.get_by_role("button").click()
        found.wait_for(state="detached")
        return whole

    def trigger(self, name: str, *arguments: Any) -> Any:
        """Ask the server directly: to prepare a test, not to test."""
        return self.page.evaluate("([name, args]) => window.trame.trigger(name, args)", [name, list(arguments)])

    def open_fresh(self, address: str) -> None:
        """Load the page, and put away what an earlier test left: segments, options, layout, messages."""
        self.open_ready(address)
        self.trigger("cancel")
        for name, value in (("live", True), ("preview_enabled", False), ("smooth", False)):
            self.trigger("option", name, value)
        self.trigger("set_policy", "KEEP_OTHERS")
        self.trigger("set_window", "soft")
        self.remove_segments()
        for message in self.state("messages"):
            self.trigger("close_message", message["n"])
        self.trigger("show_region", False)
        self.trigger("set_layout", "four")
        for name, value in (("chosen", []), ("class_search", ""), ("dialog", ""), ("tree_open", {}), ("renaming", "")):
            self.page.evaluate("([name, value]) => window.trame.state.set(name, value)", [name, value])
        if self.state("placing"):
            self.trigger("act", "escape")
        self.wait("!s.segments.length && !s.placing && !s.chosen.length && s.layout === 'four' && !s.messages.length")
        self.wait("!s.dialog && !s.class_search && !s.region")
        self.trigger("fit_all")
        self.idle()

    def open_in_place_of_all(self, address: str, ct: Path) -> str:
        """Load the page and upload a CT in place of whatever is open; returns its name, which no other has."""
        self.open(address)
        self.wait("!s.activity && s.model")
        return self.replace_all(ct)

    def replace_all(self, ct: Path) -> str:
        """Upload a CT in place of whatever is open; returns its name, which no other has."""
        self.remove_segments()
        name = f"askew_{next(_NUMBERS)}"
        copy = ct.with_name(f"{name}.nii.gz")
        shutil.copyfile(ct, copy)
        self.upload(copy)
        self.wait("s.volume?.name === a", name)
        self.wait_ready()
        return name

    def remove_segments(self) -> None:
        """Take all segments away."""
        for segment in self.state("segments"):
            self.trigger("remove", segment["id"])
        self.wait("!s.segments.length")

    def place_points(self, sign: str = "positive") -> None:
        """Press + or -."""
        self.page.get_by_role("button", name={"positive": "Add P", "negative": "Remove N"}[sign]).click()
        self.wait("s.placing === a", sign)

    def put_point(self, view: str, x: float, y: float) -> None:
        """Click, and wait until the point is there."""
        count = len(self.state("points"))
        self.click(view, x, y)
        self.wait("s.points.length === a", count + 1)
