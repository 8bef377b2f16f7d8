"""The session: same question, same answer; clicks that segment and repair; what is refused, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_volumes import blobs, odd_affine, odd_shape

from VISTA3DLib.errors import CancelledError, ClassError, MemoryLimitError, PromptError, VolumeError
from VISTA3DLib.estimate import measured_gflops, window_gflop
from VISTA3DLib.geometry import Box
from VISTA3DLib.loading import load_model
from VISTA3DLib.model import Model
from VISTA3DLib.progress import Cancel, Progress
from VISTA3DLib.prompts import Point
from VISTA3DLib.results import MaskResult
from VISTA3DLib.session import Session
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.volume import Volume


def point_at(volume: Volume, index: tuple[float, float, float], positive: bool = True) -> Point:
    r, a, s = volume.grid.to_world(index)
    return Point(ras=(float(r), float(a), float(s)), positive=positive)


def same(a: MaskResult, b: MaskResult) -> bool:
    return a.box == b.box and np.array_equal(a.mask, b.mask)


@pytest.fixture
def a_session(a_model: Model, a_volume: Volume) -> Session:
    session = Session(a_model)
    session.set_volume(a_volume)
    return session


def test_a_session_without_a_volume_says_so(a_model: Model) -> None:
    with pytest.raises(VolumeError, match="no volume"):
        Session(a_model).segment_classes([1])


def test_a_click_gives_a_mask_in_a_tight_box(a_model: Model, an_odd_volume: Volume) -> None:
    session = Session(a_model)
    session.set_volume(an_odd_volume)
    result = session.segment_points([point_at(an_odd_volume, (16, 20, 4))])
    assert result.mask.shape == result.box.shape
    assert result.voxels > 0
    assert Box.of_mask(result.mask).shape == result.box.shape
    assert an_odd_volume.grid.box.contains_box(result.box)
    assert result.ml == pytest.approx(result.voxels * an_odd_volume.grid.voxel_ml)
    assert set(result.seconds) == {"network", "merge"}


questions = st.lists(
    st.tuples(
        st.lists(
            st.tuples(st.tuples(*[st.integers(0, n - 1) for n in odd_shape("lps")]), st.booleans()),
            min_size=1,
            max_size=3,
            unique_by=lambda c: c[0],
        ),
        st.sampled_from([None, 1, 23, 140]),
        st.booleans(),
    ),
    min_size=2,
    max_size=5,
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=questions)
def test_the_same_points_give_the_same_mask_whatever_was_asked_before(
    a_model: Model, a_volume: Volume, asked: list[tuple[list[tuple[tuple[int, int, int], bool]], int | None, bool]]
) -> None:
    base = blobs(a_volume.grid.shape, seed=9) > 100
    used = Session(a_model, cache_bytes=200_000)  # small: things are dropped and made again
    used.set_volume(a_volume)
    last = None
    for clicks, class_id, with_base in asked:
        points = [point_at(a_volume, p, s) for p, s in clicks]
        last = used.segment_points(points, class_id=class_id, base_mask=base if with_base else None)
    fresh = Session(a_model)
    fresh.set_volume(a_volume)
    assert last is not None
    assert same(last, fresh.segment_points(points, class_id=class_id, base_mask=base if with_base else None))


def test_points_and_classes_do_not_disturb_each_other(a_session: Session) -> None:
    points = [point_at(a_session.volume, (16, 20, 10))]
    before = a_session.segment_points(points)
    labels = a_session.segment_classes([1, 3, 5]).labelmap
    assert same(a_session.segment_points(points), before)
    assert np.array_equal(a_session.segment_classes([1, 3, 5]).labelmap, labels)


def test_warming_up_changes_the_time_and_not_the_answer(a_model: Model, a_volume: Volume) -> None:
    passes: list[int] = []

    class Counting(Model):
        def point_features(self, window: torch.Tensor) -> torch.Tensor:
            passes.append(1)
            return super().point_features(window)

    session = Session(Counting(a_model.network, a_model.settings, a_model.runtime))
    session.set_volume(a_volume)
    click = point_at(a_volume, (16, 20, 10))
    session.warm(click.ras)
    assert len(passes) == 1
    warmed = session.segment_points([click])
    assert len(passes) == 1
    fresh = Session(a_model)
    fresh.set_volume(a_volume)
    assert same(warmed, fresh.segment_points([click]))
    session.warm((9999.0, 0.0, 0.0))


def test_duplicate_points_count_once(a_session: Session) -> None:
    click = point_at(a_session.volume, (16, 20, 10))
    assert same(a_session.segment_points([click, click, click]), a_session.segment_points([click]))


def test_only_negative_points_give_an_empty_mask_and_a_reason(a_session: Session) -> None:
    result = a_session.segment_points([point_at(a_session.volume, (16, 20, 10), positive=False)])
    assert result.voxels == 0
    assert "no positive point" in result.notes[0]


@pytest.mark.parametrize("corner", ["first", "last"])
def test_the_outermost_voxels_can_be_clicked(a_model: Model, an_odd_volume: Volume, corner: str) -> None:
    session = Session(a_model)
    session.set_volume(an_odd_volume)
    shape = an_odd_volume.grid.shape
    index = (0, 0, 0) if corner == "first" else tuple(n - 1 for n in shape)
    half = tuple(i + (-0.49 if corner == "first" else 0.49) for i in index)
    for place in (index, half):
        session.segment_points([point_at(an_odd_volume, place)])


def test_a_point_outside_is_refused_with_its_voxel(a_session: Session) -> None:
    with pytest.raises(PromptError, match=r"outside the volume.*33 x 39 x 23"):
        a_session.segment_points([point_at(a_session.volume, (-0.51, 5, 5))])


def test_opposite_points_at_one_place_are_refused(a_session: Session) -> None:
    here = (16, 20, 10)
    with pytest.raises(PromptError, match="same place"):
        a_session.segment_points([point_at(a_session.volume, here), point_at(a_session.volume, here, False)])


def test_no_points_are_refused(a_session: Session) -> None:
    with pytest.raises(PromptError, match="no points"):
        a_session.segment_points([])


@pytest.mark.parametrize("class_id", [2, 20, 21, 16, 129])
def test_points_with_groups_or_unsupported_classes_are_refused(a_session: Session, class_id: int) -> None:
    with pytest.raises(ClassError):
        a_session.segment_points([point_at(a_session.volume, (16, 20, 10))], class_id=class_id)


def test_the_token_follows_from_the_class(a_session: Session) -> None:
    """Special classes, new structures and the rest are different questions to the network."""
    click = [point_at(a_session.volume, (16, 20, 10))]
    ordinary = a_session.segment_points(click, class_id=1)
    assert same(ordinary, a_session.segment_points(click))
    assert not same(ordinary, a_session.segment_points(click, class_id=26))
    new = a_session.segment_points(click, zero_shot=True)
    assert not same(ordinary, new)
    assert same(new, a_session.segment_points(click, class_id=140))


def test_repair_changes_only_the_box_it_reports(a_model: Model, an_odd_volume: Volume) -> None:
    base = blobs(an_odd_volume.grid.shape, seed=4) > 200
    keep = base.copy()
    session = Session(a_model)
    session.set_volume(an_odd_volume)
    points = [point_at(an_odd_volume, (16, 20, 4)), point_at(an_odd_volume, (8, 30, 6), False)]
    result = session.segment_points(points, base_mask=base)
    assert np.array_equal(base, keep)
    after = result.to_full(base)
    changed = after != base
    assert Box.of_mask(changed) == result.box or not changed.any()
    added = sum(c.voxels for c in result.changes if c.kind == "added")
    removed = sum(c.voxels for c in result.changes if c.kind == "removed")
    assert int((after & ~base).sum()) == added
    assert int((base & ~after).sum()) == removed
    for change in result.changes:
        assert change.ml == pytest.approx(change.voxels * an_odd_volume.grid.voxel_ml)
        assert change.points


def test_automatic_with_points_starts_from_the_class(a_session: Session) -> None:
    """Without a click that hits a component, what is left is the automatic mask in the window."""
    volume = a_session.volume
    automatic = a_session.segment_classes([5], overlapping=True).mask(5)
    result = a_session.segment_points([point_at(volume, (16, 20, 10))], class_id=5, automatic=True)
    assert 0 < np.mean(result.mask == automatic[result.box.slices]) <= 1


def test_automatic_with_points_needs_a_class_and_no_mask(a_session: Session) -> None:
    click = [point_at(a_session.volume, (16, 20, 10))]
    with pytest.raises(ClassError, match="class"):
        a_session.segment_points(click, automatic=True)
    with pytest.raises(PromptError, match="mask"):
        a_session.segment_points(
            click, automatic=True, class_id=1, base_mask=np.zeros(a_session.volume.grid.shape, dtype=bool)
        )


def test_a_mask_of_another_size_is_refused(a_session: Session) -> None:
    with pytest.raises(VolumeError, match="3 x 3 x 3"):
        a_session.segment_points([point_at(a_session.volume, (16, 20, 10))], base_mask=np.zeros((3, 3, 3), dtype=bool))


def test_cancelling_a_click_raises_and_changes_nothing(a_session: Session) -> None:
    cancel = Cancel()
    cancel.cancel()
    click = [point_at(a_session.volume, (16, 20, 10))]
    with pytest.raises(CancelledError):
        a_session.segment_points(click, cancel=cancel)
    assert a_session.segment_points(click).voxels > 0


class Short(Model):
    """The same network on a device that has no room for the next ``fails`` windows."""

    fails = 0

    def point_features(self, windows: torch.Tensor) -> torch.Tensor:
        if self.fails:
            self.fails -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.53 GiB.")
        return super().point_features(windows)


def test_a_click_that_finds_no_memory_gives_up_the_caches_and_says_so(a_model: Model, a_volume: Volume) -> None:
    model = Short(a_model.network, a_model.settings, a_model.runtime, id=a_model.id)
    session = Session(model)
    session.set_volume(a_volume)
    first, far = point_at(a_volume, (5, 5, 5)), point_at(a_volume, (28, 30, 18))
    session.segment_points([first])
    expected = session.segment_points([far])
    session.set_volume(a_volume)
    session.segment_points([first])
    reports: list[Progress] = []
    model.fails = 1
    again = session.segment_points([far], progress=reports.append)
    assert same(again, expected)
    assert reports[-1].done == reports[-1].total
    assert "what was kept of earlier clicks is dropped" in "".join(r.note for r in reports)
    model.fails = 2
    session.set_volume(a_volume)
    with pytest.raises(MemoryLimitError, match="One window around a click"):
        session.segment_points([far])
    assert same(session.segment_points([far]), expected)


def test_unknown_classes_are_refused_with_the_nearest_names(a_session: Session) -> None:
    with pytest.raises(ClassError) as caught:
        a_session.segment_classes(["livr"])
    assert "liver" in caught.value.fix


@pytest.mark.parametrize("branch", ["automatic", "interactive"])
def test_a_branch_that_was_not_trained_is_refused(
    make_model: Callable[..., Model], tiny_settings: NetworkSettings, a_volume: Volume, branch: str
) -> None:
    session = Session(make_model(0, replace(tiny_settings, **{branch: False})))
    session.set_volume(a_volume)
    clicks = [point_at(a_volume, (16, 20, 10))]
    ask = partial(session.segment_classes, [1]) if branch == "automatic" else partial(session.segment_points, clicks)
    with pytest.raises((ClassError, PromptError), match="not trained"):
        ask()


def test_a_volume_that_would_not_fit_is_refused_before_anything_is_allocated(a_model: Model) -> None:
    """A wrong header: 10 m a voxel makes a model grid of 3e13 voxels."""
    volume = Volume(array=np.zeros((10, 10, 10), dtype=np.int16), affine=np.diag([1e4, 1e4, 1e4, 1.0]))
    with pytest.raises(MemoryLimitError, match="GiB"):
        Session(a_model).set_volume(volume)


def test_a_failed_volume_does_not_lose_the_last_one(a_session: Session) -> None:
    with pytest.raises(MemoryLimitError):
        a_session.set_volume(Volume(array=np.zeros((10, 10, 10), dtype=np.int16), affine=np.diag([1e4, 1e4, 1e4, 1.0])))
    assert a_session.segment_classes([1]).labelmap is not None


def test_nan_voxels_are_taken_as_air_and_reported(a_model: Model) -> None:
    array = blobs(odd_shape("ras")).astype(np.float32)
    with_air = array.copy()
    with_air[:4] = -1024
    array[:4] = np.nan
    results = []
    for values in (array, with_air):
        session = Session(a_model)
        findings = session.set_volume(Volume(array=values, affine=odd_affine("ras")))
        results.append(session.segment_classes([1, 3, 5]).labelmap)
        assert ("not-finite" in {f.code for f in findings}) == bool(np.isnan(values).any())
    assert np.array_equal(*results)


def test_the_estimate_is_there_before_the_first_run(a_session: Session) -> None:
    estimate = a_session.estimate([1, 3, 5])
    assert estimate.windows > 0
    assert estimate.seconds is not None
    assert estimate.seconds > 0
    assert estimate.fits
    assert f"{estimate.windows} windows, " in str(estimate)
    assert "1 window, " in str(replace(estimate, windows=1))


def test_the_first_estimate_is_the_windows_operations_at_the_measured_speed(
    a_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("VISTA3DLib.session.measured_gflops", lambda runtime, channels: 10.0)
    estimate = a_session.estimate([1, 3, 5])
    assert estimate.seconds == pytest.approx(estimate.windows * window_gflop(a_session.model.settings) / 10.0)


def test_the_speed_is_measured_on_the_convolutions_that_the_network_takes() -> None:
    """PyTorch gives windows of 32 voxels and 16 channels to a convolution that is ten times slower."""
    model = load_model("vista3d-mini", device="cpu")
    first_level = model.network.image_encoder.encoder.layers[0]["blocks"]
    features = torch.zeros(1, 16, 64, 64, 64).contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        of_network = convolutions(lambda: first_level(features))
    assert of_network
    assert convolutions(lambda: measured_gflops(model.runtime, 16)) == of_network


def convolutions(work: Callable[[], object]) -> set[str]:
    """The kernels that convolve while something runs."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        work()
    return {e.key for e in profile.key_averages() if e.key in ("aten::mkldnn_convolution", "aten::slow_conv3d_forward")}
