"""Pictures of results: which way round, which slice, what the legend says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from odd_volumes import odd_affine

from VISTA3DLib.errors import OutputError
from VISTA3DLib.geometry import Box, Grid
from VISTA3DLib.picture import Outline, check_picture, draw_picture, save_picture
from VISTA3DLib.volume import Volume

SHAPE = (21, 25, 17)


def marked(name: str, direction: tuple[float, float, float]) -> Volume:
    """Dark, with a bright blob from the middle towards ``direction`` (RAS) in each plane through the middle."""
    grid = Grid(shape=SHAPE, affine=odd_affine(name))
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    offset = grid.to_world(index) - grid.to_world((np.array(SHAPE) - 1) / 2)
    inside = (offset @ np.array(direction)) > 0.25 * np.abs(offset @ np.array(direction)).max()
    return Volume(array=np.where(inside, 200, -150).astype(np.int16), affine=grid.affine)


def balance(image: np.ndarray) -> tuple[float, float]:
    """Where the bright half lies: (-1 up .. 1 down, -1 left .. 1 right)."""
    bright = image > 0
    rows, columns = (np.linspace(-1, 1, n) for n in image.shape)
    total = max(np.count_nonzero(bright), 1)
    return float(rows @ bright.sum(axis=1)) / total, float(columns @ bright.sum(axis=0)) / total


@pytest.mark.parametrize("name", ["ras", "lps", "pir", "oblique", "anisotropic", "sheared"])
@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ((1, 0, 0), {"Axial": (0, -1), "Coronal": (0, -1)}),  # right is on the left
        ((0, 1, 0), {"Axial": (-1, 0), "Sagittal": (0, 1)}),  # front is up, and on the right from the side
        ((0, 0, 1), {"Coronal": (-1, 0), "Sagittal": (-1, 0)}),  # head is up
    ],
)
def test_planes_are_turned_as_radiologists_look_at_them(
    name: str, direction: tuple[float, float, float], expected: dict[str, tuple[int, int]]
) -> None:
    figure = draw_picture(marked(name, direction), [])
    planes = {axes.get_title().split(",")[0]: axes.images[0].get_array() for axes in figure.axes[:3]}
    assert set(planes) == {"Axial", "Coronal", "Sagittal"}
    for plane, (down, right) in expected.items():
        found = balance(np.asarray(planes[plane]))
        assert np.dot(found, (down, right)) > 0.2, (plane, found)


def test_the_slice_with_the_structure_is_shown_and_the_legend_names_it(tmp_path: Path) -> None:
    volume = Volume(array=np.full(SHAPE, -100, dtype=np.int16), affine=np.diag([2.0, 2.0, 3.0, 1.0]))
    box = Box(start=(3, 19, 12), stop=(6, 22, 14))
    ball = Outline(name="a small one", color=(255, 0, 0), box=box, mask=np.ones(box.shape, dtype=bool), ml=0.216)
    empty = Outline(name="nothing", color=(0, 255, 0), box=box, mask=np.zeros(box.shape, dtype=bool), ml=0.0)
    figure = draw_picture(volume, [ball, empty], title="a title")
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles[0] in {"Axial, slice 13 of 17", "Axial, slice 14 of 17"}
    texts = [text.get_text() for text in figure.axes[3].texts]
    assert "a small one" in texts
    assert "nothing" not in texts
    assert all(axes.collections for axes in figure.axes[:3])  # an outline in each plane
    save_picture(tmp_path / "new" / "p.png", volume, [ball])
    assert (tmp_path / "new" / "p.png").read_bytes().startswith(b"\x89PNG")


def test_outlines_surround_their_voxels_in_the_plane() -> None:
    volume = Volume(array=np.full(SHAPE, -100, dtype=np.int16), affine=np.diag([-2.0, -2.0, 3.0, 1.0]))
    box = Box(start=(3, 19, 12), stop=(6, 22, 14))
    ball = Outline(name="x", color=(255, 0, 0), box=box, mask=np.ones(box.shape, dtype=bool), ml=0.2)
    axial = draw_picture(volume, [ball]).axes[0]
    (path,) = axial.collections[0].get_paths()
    middle = path.vertices.mean(axis=0)
    assert np.allclose(middle, [(3 + 6) / 2 * 2.0, (19 + 22) / 2 * 2.0], atol=0.6)  # LPS: columns and rows as stored


def test_without_a_structure_the_middle_is_shown_and_said() -> None:
    array = np.full(SHAPE, np.nan, dtype=np.float32)
    array[0] = 40
    volume = Volume(array=array, affine=np.eye(4))
    figure = draw_picture(volume, [])
    assert figure.axes[0].get_title() == "Axial, slice 9 of 17"
    assert "Nothing was found." in [text.get_text() for text in figure.axes[3].texts]


@pytest.mark.parametrize("name", ["p.xyz", "p", "folder.png"])
def test_unusable_names_are_refused_before_anything_is_drawn(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match=name):
        check_picture(tmp_path / name)
