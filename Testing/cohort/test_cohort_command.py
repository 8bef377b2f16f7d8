"""The command itself, in a process of its own, with a cluster that it starts and stops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from VISTA3DLib.checkpoint import save_checkpoint
from VISTA3DLib.cli.app import run
from VISTA3DLib.network import seeded_network
from VISTA3DLib.settings import NetworkSettings


def test_one_command_from_a_folder_to_a_report(tmp_path: Path, tools: SimpleNamespace) -> None:
    settings = NetworkSettings(filters=8, blocks_down=(1, 1), window=(16, 16, 16), spacing=(3.0, 3.0, 3.0))
    save_checkpoint(tmp_path / "tiny.safetensors", seeded_network(settings, 3), settings)
    tools.write_ct(tmp_path / "in put" / "a ä.nii.gz")
    (tmp_path / "in put" / "zero.mha").touch()
    arguments = [
        "cohort",
        str(tmp_path / "in put"),
        "-o",
        str(tmp_path / "out"),
        "-w",
        str(tmp_path / "tiny.safetensors"),
    ]
    arguments += ["-c", "liver,spleen", "--workers", "1", "--cpus-per-worker", "1", "--json"]

    ended = subprocess.run(
        [sys.executable, "-c", "from VISTA3DLib.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"},
        check=False,
    )

    assert ended.returncode == 0, ended.stderr[-3000:]
    summary = json.loads(ended.stdout)
    assert summary["counts"] == {"ok": 1, "failed": 1}
    assert summary["causes"] == {"empty file": 1}
    assert Path(summary["report"]).is_file()
    assert "2 scans" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere"], "No output"),
        (["nowhere", "-o", "out"], "does not exist"),
        (["nowhere", "-o", "out", "-f", "png"], "no format"),
        (["nowhere", "-o", "out", "-w", "vista3d-minni"], "Did you mean"),
        (["nowhere", "-o", "out", "-c", "livr"], "liver"),
    ],
)
def test_what_cannot_work_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["cohort", *arguments]) == 2
    assert text in capsys.readouterr().err
