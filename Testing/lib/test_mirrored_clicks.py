"""Clicks on models that see every window twice, the second time with left and right exchanged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_points_parity import INSIDE, difference, our_clicks, prepared_noise

from benchmarks.reference import reference_clicks
from VISTA3DLib.model import Model
from VISTA3DLib.points import ClickEngine, ClickSet
from VISTA3DLib.preprocess import PreparedVolume
from VISTA3DLib.progress import Tracker
from VISTA3DLib.settings import NetworkSettings

SHAPE = (30, 32, 25)


@pytest.fixture(scope="module")
def a_mirror(a_model: Model) -> Model:
    return Model(a_model.network, replace(a_model.settings, mirrored_clicks=True), a_model.runtime)


def mirrored(prepared: PreparedVolume) -> PreparedVolume:
    return replace(prepared, image=prepared.image.flip(0))


def in_mirror(points: list[list[float]], width: int) -> list[list[float]]:
    return [[width - 1 - x, y, z] for x, y, z in points]


# As wide as a window, or evenly narrower: in the mirror the windows lie where they lay.
@pytest.mark.parametrize("shape", [(16, 32, 25), (8, 22, 13)])
@pytest.mark.parametrize("label", [0, 1])
def test_an_answer_is_the_mean_of_the_references_for_the_image_and_for_its_mirror_image(
    a_mirror: Model, shape: tuple[int, int, int], label: int
) -> None:
    prepared = prepared_noise(shape)
    points = [[5.0, 20.0, 11.0]]
    here = reference_clicks(a_mirror, prepared.image, points, [label])
    there = reference_clicks(a_mirror, mirrored(prepared).image, in_mirror(points, shape[0]), [label])
    assert difference(our_clicks(a_mirror, prepared, points, [label]), (here + there.flip(0)) / 2) < 1e-5


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(x=st.integers(0, 15), y=st.integers(0, 31), z=st.integers(0, 24), label=st.integers(0, 3))
def test_the_mirror_image_of_a_volume_has_the_mirror_image_as_its_answer(
    a_model: Model, a_mirror: Model, x: int, y: int, z: int, label: int
) -> None:
    prepared = prepared_noise((16, 32, 25))
    for model, same in ((a_mirror, True), (a_model, False)):
        here = our_clicks(model, prepared, [[x, y, z]], [label])
        there = our_clicks(model, mirrored(prepared), [[15.0 - x, y, z]], [label])
        assert (difference(here, there.flip(0)) < 1e-5) == same


def test_what_the_automatic_branch_says_beside_clicks_has_no_mirror(a_model: Model, a_mirror: Model) -> None:
    prepared = prepared_noise(SHAPE)
    plain, twice = (our_clicks(m, prepared, INSIDE, [1], class_id=3) for m in (a_model, a_mirror))
    assert difference(plain, twice) < 1e-6


def test_a_window_and_its_mirror_image_are_kept_for_the_next_click(
    a_mirror: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, seen = ClickEngine(a_mirror, prepared_noise(SHAPE)), []
    encode = Model.point_features
    monkeypatch.setattr(Model, "point_features", lambda self, w: seen.append(w) or encode(self, w))
    engine.warm(INSIDE[0])
    assert len(seen) == 2
    for points in (INSIDE, [*INSIDE, [17.0, 20.0, 12.0]]):
        signs = (True,) * len(points)
        clicks = ClickSet(index=np.array(points), positive=signs, labels=tuple(map(int, signs)))
        engine.logits(clicks, Tracker("windows", 1))
    assert len(seen) == 2


def test_weights_say_whether_their_clicks_have_a_mirror_and_those_that_do_not_say_have_none() -> None:
    plain = NetworkSettings().to_dict()
    assert NetworkSettings.from_dict({**plain, "mirrored_clicks": True}).mirrored_clicks
    del plain["mirrored_clicks"]
    assert not NetworkSettings.from_dict(plain).mirrored_clicks
