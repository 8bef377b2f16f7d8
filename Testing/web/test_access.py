"""The page where it is not at home: behind a token, behind a reverse proxy under a path."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from browsing import Screen, ViewerProcess
from prefix_proxy import proxy


def test_behind_a_proxy_under_a_path_with_its_token_one_clicks_uploads_and_downloads(
    screen: Screen, tmp_path: Path, small_ct: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    origin = f"http://127.0.0.1:{port}"
    viewer = ViewerProcess(tmp_path / "viewer", "--origin", origin, "--token", "of-the-test", port_of="own")
    try:
        with proxy(viewer.own_address, "some/where", port=port):
            answer = screen.page.goto(f"{origin}/some/where/")
            assert answer.status == 403
            screen.open(f"{origin}/some/where/?token=of-the-test")
            assert "token" not in screen.page.url
            upload(screen, small_ct)
            screen.wait_ready()
            screen.place_points()
            screen.put_point("axial", 234, 190)
            screen.idle()
            assert screen.download("Label map (.nii.gz)", tmp_path).stat().st_size > 100
            screen.page.reload()
            screen.wait("s.active_tab === s.my_tab && s.segments.length === 1")
        assert viewer.stop() == 0
    finally:
        viewer.kill()


def upload(screen: Screen, *paths: Any) -> None:
    """Choose files in the file picker."""
    with screen.page.expect_file_chooser() as waiting:
        screen.page.evaluate("window.vista3d.choose(false)")
    waiting.value.set_files([str(p) for p in paths])
