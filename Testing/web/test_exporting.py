"""Files are written beside the loop, complete or not at all."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from browsing import run_alone

from VISTA3DLib.errors import OutputError
from VISTA3DWeb import exporting
from VISTA3DWeb.exporting import export


def workbench() -> Any:
    """As much of a workbench as an export looks at before it writes."""
    return SimpleNamespace(
        volume=SimpleNamespace(GetName=lambda: "CT of a: person/1"),
        segmentation=object(),
        segments=("one",),
        model=None,
    )


@pytest.fixture
def on_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that the library can write."""
    monkeypatch.setattr(exporting, "_on_grid_of_ct", lambda _: True)
    monkeypatch.setattr(exporting, "volume_grid", lambda _: None)
    monkeypatch.setattr(exporting, "segments_to_write", lambda _: [])


@pytest.mark.parametrize("kind", ["seg.nrrd", "nii.gz", "dcm"])
@pytest.mark.usefixtures("on_grid")
def test_the_loop_goes_on_while_a_file_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    loop_went_on = threading.Event()

    def write(path: Path, *_: Any, **__: Any) -> Any:
        assert loop_went_on.wait(60)  # a writer on the loop would wait in vain
        path.write_bytes(b"x")
        return SimpleNamespace(path=path)

    monkeypatch.setattr(exporting, "write_segments", write)

    async def run() -> Path:
        writing = asyncio.ensure_future(export(workbench(), None, kind, tmp_path, ()))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(loop_went_on.set)
        return await writing

    assert run_alone(run()).name == f"CT_of_a_person_1.{kind}"


@pytest.mark.usefixtures("on_grid")
def test_a_writer_without_room_is_an_error_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import numpy as np

    from VISTA3DLib.files import seg_nrrd
    from VISTA3DLib.geometry import Grid

    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")
        yield b""

    monkeypatch.setattr(seg_nrrd, "_slabs", full)
    monkeypatch.setattr(exporting, "volume_grid", lambda _: Grid(shape=(3, 4, 5), affine=np.eye(4)))
    segment = exporting.SegmentToWrite(
        id=1, name="a", color=(1, 2, 3), box=Grid(shape=(3, 4, 5), affine=np.eye(4)).box, mask=np.ones((3, 4, 5), bool)
    )
    monkeypatch.setattr(exporting, "segments_to_write", lambda _: [segment])
    with pytest.raises(OutputError, match="No space left"):
        run_alone(export(workbench(), None, "seg.nrrd", tmp_path, ()))
    assert not list(tmp_path.iterdir())


def test_an_unknown_format_and_nothing_to_write_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no format"):
        run_alone(export(workbench(), None, "exe", tmp_path, ()))
    bare = workbench()
    bare.segments = ()
    with pytest.raises(OutputError, match="no segments"):
        run_alone(export(bare, None, "nii.gz", tmp_path, ()))
    bare.volume = None
    with pytest.raises(OutputError, match="No CT"):
        run_alone(export(bare, None, "mrb", tmp_path, ()))
