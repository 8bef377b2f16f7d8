"""Supervoxels that are interrupted: what is there already is used, if it fits."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from odd_volumes import blobs
from tiny_sam import NEEDS_SAM, SHAPE, SLICES, Make

from VISTA3DLib.errors import CancelledError, OutputError
from VISTA3DLib.progress import Cancel, Progress
from VISTA3DLib.training import sam_views
from VISTA3DLib.training.sam_features import SliceEncoder
from VISTA3DLib.training.supervoxels import SupervoxelSettings, write_supervoxels
from VISTA3DLib.volume import Volume

pytestmark = NEEDS_SAM


def test_a_killed_run_continues_and_gives_the_same(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = make()
    encoded: list[int] = []
    inner = SliceEncoder.__call__

    def counting(self: SliceEncoder, hu: torch.Tensor) -> torch.Tensor:
        encoded.append(len(hu))
        if len(encoded) == 22:  # in the second view
            raise KeyboardInterrupt
        return inner(self, hu)

    monkeypatch.setattr(SliceEncoder, "__call__", counting)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, slices_at_once=4)
    done = json.loads((tmp_path / "progress.json").read_text())["done"]
    assert done == [12, 8, 0]
    with (tmp_path / "view-1.float32").open("ab") as file:
        file.write(b"half a slice that was being written")
    reports: list[Progress] = []
    assert np.array_equal(make(tmp_path, progress=reports.append), expected)
    assert sum(encoded) == 22 + SLICES - 20
    assert f"20 of {SLICES} slices" in "".join(r.note for r in reports)
    assert not tmp_path.exists() or not list(tmp_path.iterdir())


def test_a_process_killed_outright_is_continued_by_another(
    volume: Volume, checkpoint: Path, tmp_path: Path, make: Make
) -> None:
    """SIGKILL at the 20th slice, which no process can catch."""
    np.savez(tmp_path / "volume.npz", array=volume.array, affine=volume.affine)
    code = f"""
import os, signal
from pathlib import Path
import numpy as np, torch
from VISTA3DLib.training.supervoxels import SupervoxelSettings, make_supervoxels
from VISTA3DLib.volume import Volume
torch.set_num_threads(1)
volume = Volume(**np.load({str(tmp_path / "volume.npz")!r}))
settings = SupervoxelSettings(method="sam", segments=30, sam_checkpoint=Path({str(checkpoint)!r}))
def kill(report):
    if report.done >= 20:
        os.kill(os.getpid(), signal.SIGKILL)
make_supervoxels(volume, settings, work_folder=Path({str(tmp_path / "work")!r}), progress=kill)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    notes: list[str] = []
    assert np.array_equal(make(tmp_path / "work", progress=lambda r: notes.append(r.note)), make())
    assert f"20 of {SLICES} slices" in "".join(notes)
    assert not (tmp_path / "work").exists()


def test_a_cancelled_run_keeps_what_it_has_and_reports_progress(make: Make, tmp_path: Path) -> None:
    cancel = Cancel()
    reports: list[Progress] = []

    def stop(report: Progress) -> None:
        reports.append(report)
        if report.done >= 8:
            cancel.cancel()

    with pytest.raises(CancelledError):
        make(tmp_path, progress=stop, cancel=cancel)
    assert reports[-1].stage == "SAM features"
    assert reports[-1].total == SLICES
    assert json.loads((tmp_path / "progress.json").read_text())["done"][0] >= 8


@pytest.mark.parametrize("spoiled", ["volume", "marker", "truncated", "checkpoint"])
def test_leftovers_that_do_not_fit_are_not_used(
    make: Make, volume: Volume, checkpoint: Path, tmp_path: Path, spoiled: str
) -> None:
    cancel = Cancel()
    with pytest.raises(CancelledError):
        make(tmp_path, progress=lambda r: cancel.cancel() if r.done >= 20 else None, cancel=cancel)
    of = volume
    if spoiled == "volume":
        of = Volume(array=blobs(SHAPE, seed=1), affine=volume.affine)
    elif spoiled == "marker":
        (tmp_path / "progress.json").write_text('{"key": ')
    elif spoiled == "truncated":
        os.truncate(tmp_path / "view-0.float32", 100)
    else:
        os.utime(checkpoint)
    assert np.array_equal(make(tmp_path, of=of), make(of=of))


def test_other_files_in_the_work_folder_stay(make: Make, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    make(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_written_file_names_its_method_and_the_work_folder_is_gone(
    tmp_path: Path, volume: Volume, checkpoint: Path
) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(volume.array, volume.affine), tmp_path / "ct.nii.gz")
    settings = SupervoxelSettings(method="sam", segments=20, sam_checkpoint=checkpoint)
    write_supervoxels(tmp_path / "ct.nii.gz", tmp_path / "sv.nii.gz", settings)
    assert b"sam" in nibabel.load(tmp_path / "sv.nii.gz").header["descrip"].tobytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ct.nii.gz", "sv.nii.gz"]


def test_too_little_room_is_said_before_anything_is_encoded(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 3 * np.prod(SHAPE) * 32 * 4
    monkeypatch.setattr(SliceEncoder, "__call__", None)
    monkeypatch.setattr(sam_views.shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(OutputError, match=r"GB are free"):
        make(tmp_path)


def test_a_disk_that_fills_up_is_an_output_error(make: Make, tmp_path: Path) -> None:
    """The kernel's own refusal, by a limit on the size of files."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OutputError, match="view-0"):
            make(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert np.array_equal(make(tmp_path), make())


def test_a_work_folder_that_cannot_be_made_is_an_output_error(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        make(tmp_path / "file" / "work")
