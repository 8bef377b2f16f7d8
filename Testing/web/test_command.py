"""``vista3d view`` at the command line: what is refused, and what it says where the viewer is not installed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from VISTA3DLib.cli.app import run
from VISTA3DWeb.options import DEFAULT_PORT, ViewerOptions
from VISTA3DWeb.serve import address, free_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sample", "knee"], "There is no sample 'knee'"),
        (["missing.nii.gz", "--sample", "torso"], "either a CT or --sample"),
        (["missing.nii.gz"], "does not exist"),
        (["--port", "70000"], "no port"),
        (["--origin", "gpu"], "no origin"),
        (["--host", "192.0.2.1"], "address 192.0.2.1 cannot be used"),  # an address of nobody
    ],
)
def test_what_cannot_be_opened_is_an_error_with_a_way_out(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["view", *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_port_that_is_taken_is_an_error_and_the_usual_one_gives_way() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Exception, match=f"Port {port}"):
            free_port(ViewerOptions(port=port))
    with socket.socket() as usual:
        usual.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # somebody else has it
            usual.bind(("127.0.0.1", DEFAULT_PORT))
            usual.listen()
        assert free_port(ViewerOptions()) == 0


def test_a_port_that_is_taken_while_the_viewer_starts_is_an_error_too() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = command(
            "from VISTA3DWeb import serve; serve.free_port = lambda options: options.port",
            "--port",
            str(taken.getsockname()[1]),
        )
    assert done.returncode == 2
    assert "cannot be used" in done.stderr


def test_the_address_holds_the_token_and_the_path_of_the_proxy() -> None:
    assert address(ViewerOptions(), 8765) == "http://127.0.0.1:8765/"
    assert address(ViewerOptions(host="::1"), 1) == "http://[::1]:1/"
    public = ViewerOptions(origins=("https://gpu.example.org/a/b/",), token="t")
    assert address(public, 8765) == "https://gpu.example.org/a/b/?token=t"


def test_without_the_extra_the_command_says_what_to_install() -> None:
    done = command("import sys; sys.modules['trame_slicer'] = None", "--sample", "torso")
    assert done.returncode == 2
    assert "The viewer is not installed" in done.stderr
    assert "vista3d-slicer[engine,web]" in done.stderr


def command(before: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``vista3d view --no-open ARGUMENTS`` in a process in which something was done before."""
    return subprocess.run(
        [sys.executable, "-c", f"{before}; from VISTA3DLib.cli import main; main()", "view", "--no-open", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "VISTA3D")]), "COLUMNS": "200"},
        check=False,
    )
