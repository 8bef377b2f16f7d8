"""Points: how they are written, read and checked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd_volumes import odd_affine

from VISTA3DLib.errors import PromptError, ReadError
from VISTA3DLib.geometry import Grid
from VISTA3DLib.prompts import Point, checked_points, parse_point, points_to_json, read_points

GRID = Grid(shape=(30, 20, 10), affine=odd_affine("oblique"))
finite = st.floats(-1000, 1000)


def test_a_point_is_written_as_three_numbers_and_a_sign() -> None:
    assert parse_point("12.5,-40,88,+") == Point(ras=(12.5, -40, 88), positive=True)
    assert parse_point(" 1 , 2, 3 ,-") == Point(ras=(1, 2, 3), positive=False)
    assert parse_point("1,2,3") == Point(ras=(1, 2, 3), positive=True)


def test_lps_and_voxel_points_end_at_the_same_place() -> None:
    ras = GRID.to_world((4, 5, 6))
    lps = parse_point(f"{-ras[0]},{-ras[1]},{ras[2]},-", space="lps")
    ijk = parse_point("4,5,6,-", space="ijk", grid=GRID)
    assert np.allclose(lps.ras, ras)
    assert np.allclose(ijk.ras, ras)


@pytest.mark.parametrize("text", ["", "1,2", "1,2,3,4", "a,b,c,+", "1,2,3,*", "1,2,nan,+", "1,2,inf"])
def test_what_is_no_point_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PromptError) as caught:
        parse_point(text)
    assert caught.value.fix


def test_voxel_points_without_a_volume_are_refused() -> None:
    with pytest.raises(PromptError, match="volume"):
        parse_point("1,2,3,+", space="ijk")


@given(st.lists(st.tuples(st.tuples(finite, finite, finite), st.booleans()), max_size=5))
def test_our_json_gives_the_points_back(tmp_path_factory: pytest.TempPathFactory, drawn: list) -> None:
    points = tuple(Point(ras=p, positive=s) for p, s in drawn)
    path = tmp_path_factory.mktemp("points") / "points.json"
    path.write_text(json.dumps(points_to_json(points)))
    assert read_points(path) == points


def test_voxel_points_in_a_file_use_the_volume(tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text(json.dumps({"space": "ijk", "points": [{"position": [4, 5, 6], "positive": False}]}))
    (point,) = read_points(path, grid=GRID)
    assert np.allclose(point.ras, GRID.to_world((4, 5, 6)))
    assert not point.positive


def test_slicers_markups_are_read_with_their_coordinate_system(tmp_path: Path) -> None:
    """The form that Slicer 5 writes: LPS unless it says otherwise; undefined points are left out."""
    controls = [
        {"id": "1", "label": "F-1", "position": [10.0, 20.0, 30.0], "positionStatus": "defined"},
        {"id": "2", "label": "F-2", "description": "negative", "position": [1.0, 2.0, 3.0]},
        {"id": "3", "label": "F-3-", "position": [4.0, 5.0, 6.0]},
        {"id": "4", "label": "F-4", "position": [0.0, 0.0, 0.0], "positionStatus": "undefined"},
    ]
    path = tmp_path / "F.mrk.json"
    document = {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": controls}]}
    path.write_text(json.dumps(document))
    points = read_points(path)
    assert points[0] == Point(ras=(-10, -20, 30), positive=True)
    assert [p.positive for p in points] == [True, False, False]
    document["markups"][0]["coordinateSystem"] = "RAS"
    path.write_text(json.dumps(document))
    assert read_points(path)[0].ras == (10, 20, 30)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"other": 1}', '{"points": 3}', '{"points": [{"position": [1, 2]}]}', '{"points": [5]}']
)
def test_files_that_hold_no_points_are_refused_with_their_path(tmp_path: Path, content: str) -> None:
    path = tmp_path / "points.json"
    path.write_text(content)
    with pytest.raises(ReadError, match=r"points\.json"):
        read_points(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="cannot be read"):
        read_points(tmp_path / "nothing.json")


@given(st.tuples(*[st.floats(-0.5, n - 0.5) for n in GRID.shape]))
def test_every_place_in_a_voxel_is_inside(index: tuple[float, ...]) -> None:
    inner = np.clip(index, -0.4999, np.array(GRID.shape) - 0.5001)
    point = Point(ras=tuple(GRID.to_world(inner)))
    assert checked_points([point], GRID) == (point,)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("side", [0, 1])
def test_a_place_beyond_the_outermost_voxel_is_outside(axis: int, side: int) -> None:
    index = np.array(GRID.shape) / 2.0
    index[axis] = -0.51 if side == 0 else GRID.shape[axis] - 0.49
    with pytest.raises(PromptError, match="outside"):
        checked_points([Point(ras=tuple(GRID.to_world(index)))], GRID)


@pytest.mark.parametrize(
    "document",
    [
        {"markups": [1]},
        {"markups": {"controlPoints": []}},
        {"points": {"position": [1, 2, 3]}},
        {"points": [{"ras": [1, 2, 3]}]},
        {"points": [[1, 2, 3]]},
        {"points": [{"position": [1, 2]}]},
        {"space": "world", "points": []},
        {},
        [],
    ],
)
def test_files_that_hold_no_points_are_refused(tmp_path: Path, document: object) -> None:
    path = tmp_path / "points.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ReadError, match=r"points\.json") as caught:
        read_points(path, grid=GRID)
    assert caught.value.fix
