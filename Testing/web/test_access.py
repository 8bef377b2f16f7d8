"""The page where it is not at home: behind a token, behind a reverse proxy under a path."""

from __future__ import annotations

from pathlib import Path

from browsing import Screen, ViewerProcess
from prefix_proxy import proxy


def test_behind_a_proxy_under_a_path_with_its_token_one_clicks_uploads_and_downloads(
    screen: Screen, tmp_path: Path, small_ct: Path
) -> None:
    with proxy("some/where") as gate:
        origin = f"http://127.0.0.1:{gate.port}"
        viewer = ViewerProcess(tmp_path / "viewer", "--origin", f"{origin}/some/where", "--token", "of-the-test")
        gate.target = f"http://127.0.0.1:{viewer.port()}"
        try:
            answer = screen.page.goto(f"{origin}/some/where/")
            assert answer.status == 403
            assert viewer.address == f"{origin}/some/where/?token=of-the-test"
            screen.open(viewer.address)
            assert "token" not in screen.page.url
            screen.upload(small_ct)
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
