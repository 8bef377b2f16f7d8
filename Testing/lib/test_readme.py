"""The README's examples run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from VISTA3DLib.cli.app import run

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out


def test_every_command_of_the_readme_is_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files of the examples are not there: the right answer is that, and not an unknown option."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if "vista3d" in line]
    commands = [words[1:] for words in lines if words and words[0] == "vista3d" and "--sample" not in words]
    assert len(commands) >= 4
    for words in commands:
        assert run(words) == 2
        err = capsys.readouterr().err
        assert "No such option" not in err
        assert "ct.nii.gz" in err or "dicom_folder" in err
