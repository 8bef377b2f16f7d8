"""``vista3d evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from VISTA3DLib.cli.app import run

Console = pytest.CaptureFixture[str]


def test_the_command_prints_tables_and_files(two_cases: Path, tmp_path: Path, weights: str, capsys: Console) -> None:
    out = tmp_path / "out"
    status = run(
        ["evaluate", "--data", str(two_cases), "--protocol", "clicks", "-n", "2", "-o", str(out), "-w", weights,
         "--baselines", "region growing", "--device", "cpu", "--map", "1=liver", "--map", "2=205"]
    )  # fmt: skip
    printed = capsys.readouterr()
    assert status == 0
    assert "region growing" in printed.out
    assert "random walker" not in printed.out
    assert "report.html" in printed.out
    assert "cases: 2 of 2" in printed.err


def test_the_command_prints_json(two_cases: Path, tmp_path: Path, weights: str, capsys: Console) -> None:
    status = run(
        ["evaluate", "--data", str(two_cases), "-o", str(tmp_path / "out"), "-w", weights, "--classes", "liver",
         "--json", "--quiet", "--worst", "0"]
    )  # fmt: skip
    plain = json.loads(capsys.readouterr().out)
    assert status == 0
    assert plain["settings"]["classes"] == [1]
    assert plain["datasets"][0]["objects"] == 2
    assert plain["models"][0]["title"] == "tiny"
    assert all(Path(p).is_file() for p in plain["outputs"])
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["classes"] == plain["classes"]


def test_the_command_says_what_is_wrong(tmp_path: Path, weights: str, capsys: Console) -> None:
    for arguments, text in (
        (["--data", str(tmp_path / "none.json")], "none.json"),
        (["--data", str(tmp_path / "none.json"), "--protocol", "magic"], "magic"),
        (["--data", str(tmp_path / "none.json"), "--classes", "liverr"], "liverr"),
    ):
        assert run(["evaluate", *arguments, "-o", str(tmp_path / "out"), "-w", weights]) == 2
        assert text in capsys.readouterr().err
