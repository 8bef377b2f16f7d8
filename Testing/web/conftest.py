"""What the tests of the viewer share: a browser, viewers that are started once, pages that must ask nobody else."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nibabel
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from browsing import CHROMIUM_ARGUMENTS, PATIENCE, ROOT, Screen, ViewerProcess, chromium
from hypothesis import settings as hypothesis_settings

from VISTA3DLib.phantom import PhantomSettings, make_phantom
from VISTA3DLib.volume import Volume

hypothesis_settings.register_profile("house", deadline=None)
hypothesis_settings.load_profile("house")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium; the test is skipped where there is none."""
    path = chromium()
    if path is None:
        pytest.skip("no Chromium or Chrome is installed (VISTA3D_CHROMIUM names one)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, headless=True, args=CHROMIUM_ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def screen(browser: Any) -> Iterator[Screen]:
    """A page; the test fails if it asked another host for anything, or if its scripts failed."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="dark", accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    asked: list[str] = []
    broken: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.on("weberror", lambda failure: broken.append(str(failure.error)))
    page = context.new_page()
    page.on("websocket", lambda socket: asked.append(socket.url))
    yield Screen(page)
    here = urlsplit(page.url).hostname
    context.close()
    foreign = [url for url in asked if urlsplit(url).scheme not in {"data", "blob"} and urlsplit(url).hostname != here]
    assert not foreign, f"the page asked elsewhere: {foreign}"
    assert not broken, f"the page's scripts failed: {broken}"


@pytest.fixture(scope="session")
def torso(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[ViewerProcess]:
    """A viewer that shows the phantom; several tests use it one after the other and clean up after themselves."""
    viewer = ViewerProcess(tmp_path_factory.mktemp("torso"), "--sample", "torso")
    yield viewer
    try:
        assert viewer.stop() == 0, "\n".join(viewer.lines)
        assert not [p for p in (viewer.place / "tmp").iterdir() if p.name.startswith("vista3d_")]
    finally:
        viewer.kill()


@pytest.fixture(scope="session")
def real_ct() -> Path:
    """A real CT of the abdomen; the test is skipped where the data is not there."""
    path = ROOT.parent / "shared" / "data" / "ct" / "ts_abdpelvis" / "ct.nii.gz"
    if not path.is_file():
        pytest.skip("no real CT beside the checkout")
    return path


@pytest.fixture(scope="session")
def small_volume() -> Volume:
    """A coarse part of the phantom that lies askew: quick to open and to segment, and its axes are nobody's."""
    settings = PhantomSettings(
        spacing=(5.1, 4.3, 6.7), field_of_view=(210.0, 190.0, 180.0), rotation_deg=(7.0, -11.0, 16.0), axes="RAS"
    )
    phantom = make_phantom(settings)
    return Volume(array=phantom.array, affine=phantom.affine, name="askew")


@pytest.fixture(scope="session")
def small_ct(small_volume: Volume, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a NIfTI file."""
    path = tmp_path_factory.mktemp("ct") / "askew.nii.gz"
    nibabel.save(nibabel.Nifti1Image(small_volume.array, small_volume.affine), path)
    return path


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[ViewerProcess]:
    """A viewer in which nothing is open at first, with a small limit for uploads."""
    viewer = ViewerProcess(tmp_path_factory.mktemp("empty"), "--upload-limit", "0.02")
    yield viewer
    try:
        assert viewer.stop(signal.SIGTERM) == 0, "\n".join(viewer.lines)
    finally:
        viewer.kill()
