"""The viewer on a real CT, named at the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from browsing import Screen, ViewerProcess

from VISTA3DLib.files.read import read_volume


def test_a_real_ct_is_shown_clicked_and_the_point_lies_where_the_pixel_is(
    real_ct: Path, screen: Screen, tmp_path: Path
) -> None:
    viewer = ViewerProcess(tmp_path, str(real_ct))
    try:
        screen.open_ready(viewer.address)
        volume = read_volume(real_ct)
        picture = screen.picture("axial")
        assert picture[60:300, 120:350].mean() > 20  # a body, not an empty picture
        screen.place_points()
        screen.put_point("axial", 230, 185)
        ras = np.asarray(screen.state("points")[0]["ras"])
        assert np.allclose(ras, screen.ras_of("axial", 230, 185), atol=1e-3)
        index = np.rint(volume.grid.to_voxel(ras)).astype(int)
        hu = float(volume.array[tuple(index)])
        grey = float(np.clip((hu - (40 - 200)) / 400, 0, 1) * 255)  # the soft tissue window
        assert abs(picture[183:188, 228:233].mean() - grey) < 60  # what was seen there is what the voxel holds
        screen.idle()
        assert " ml" in screen.state("segments")[0]["ml"]
        assert viewer.stop() == 0
    finally:
        viewer.kill()
