"""Runs the tests of this folder outside of Slicer too, on the host. Slicer itself never reads this file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "VISTA3D", ROOT / "Testing" / "host", ROOT / "Testing" / "in_slicer"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
import boot  # noqa: E402 - before the tests are imported: they import ``qt``

boot.the_host()


@pytest.fixture(scope="session", autouse=True)
def _host() -> Iterator[None]:
    yield
    boot.close_the_host()


@pytest.fixture(autouse=True)
def _no_slot_failed() -> Iterator[None]:
    import wrap

    wrap.failures.clear()
    yield
    assert not wrap.failures, "\n".join(wrap.failures)
