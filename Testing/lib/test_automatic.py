"""The feature ring: batches, half precision, memory that runs out, cancelling, kept features, regions, borders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from VISTA3DLib.automatic import FeatureRing, stream_axes
from VISTA3DLib.errors import CancelledError, MemoryLimitError, VolumeError
from VISTA3DLib.geometry import Box
from VISTA3DLib.model import Model
from VISTA3DLib.progress import Cancel, Progress
from VISTA3DLib.session import Session
from VISTA3DLib.volume import Volume

CLASSES = (1, 3, 5, 6, 12, 14)


class Watched(Model):
    """The same network; counts its windows and fails with an out-of-memory error when it is told to."""

    def __init__(self, model: Model, fails: Callable[[int, int], bool] = lambda windows, batch: False) -> None:
        super().__init__(model.network, model.settings, model.runtime, id=model.id)
        self.windows = 0
        self._fails = fails

    def automatic_features(self, windows: torch.Tensor) -> torch.Tensor:
        if self._fails(self.windows, len(windows)):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.53 GiB.")
        self.windows += len(windows)
        return super().automatic_features(windows)


def prepared_session(model: Model, volume: Volume) -> Session:
    session = Session(model)
    session.set_volume(volume)
    return session


def labels_of(session: Session, **options: object) -> np.ndarray:
    labels = session.segment_classes(CLASSES, **options).labelmap
    assert labels is not None
    return labels


def test_the_longest_axis_is_streamed() -> None:
    assert stream_axes((10, 30, 20)) == (1, 0, 2)
    assert stream_axes((10, 10, 10)) == (0, 1, 2)


@pytest.mark.parametrize("batch", [2, 3, 8])
def test_batches_of_windows_give_the_same_labels(a_model: Model, a_volume: Volume, batch: int) -> None:
    session = prepared_session(a_model, a_volume)
    assert np.array_equal(labels_of(session, batch=batch), labels_of(session))


def test_a_half_precision_ring_changes_few_labels(a_model: Model, a_volume: Volume) -> None:
    session = prepared_session(a_model, a_volume)
    half = labels_of(session, ring_dtype=torch.float16)
    assert np.mean(half != labels_of(session)) < 2e-3


def test_the_ring_reuses_planes_without_leaking_into_later_ones() -> None:
    ring = FeatureRing(1, (4, 2, 2), (2, 2), (0, 1, 2), torch.ones(4, 2, 2))
    ring.allocate(torch.device("cpu"), torch.float32)
    seen: list[float] = []
    for start in (0, 3, 6):
        ring.add((start, 0, 0), torch.full((1, 4, 2, 2), float(start + 1)))
        for _, _, sums, weights in ring.take(start, start + 3):
            seen += (sums[0, :, 0, 0] / weights[:, 0, 0]).tolist()
    assert seen == [1, 1, 1, 2.5, 4, 4, 5.5, 7, 7]


def test_progress_counts_every_window_and_estimates_the_time_left(a_model: Model, a_volume: Volume) -> None:
    session = prepared_session(a_model, a_volume)
    reports: list[Progress] = []
    labels_of(session, progress=reports.append)
    assert [r.done for r in reports] == list(range(len(reports)))
    assert reports[-1].done == reports[-1].total == session.estimate(CLASSES).windows
    assert reports[0].seconds_left is None
    assert all(r.seconds_left is not None and r.seconds_left >= 0 for r in reports[1:])


@pytest.mark.parametrize("after", [0, 1, 3])
def test_cancel_stops_within_one_window_and_leaves_the_session_usable(
    a_model: Model, a_volume: Volume, after: int
) -> None:
    model, cancel = Watched(a_model), Cancel()
    session = prepared_session(model, a_volume)

    def watch(report: Progress) -> None:
        if report.done >= after:
            cancel.cancel()

    with pytest.raises(CancelledError):
        session.segment_classes(CLASSES, progress=watch, cancel=cancel)
    assert model.windows <= after + 1
    assert np.array_equal(labels_of(session), labels_of(prepared_session(a_model, a_volume)))


def test_out_of_memory_halves_the_batch_and_says_so(a_model: Model, a_volume: Volume) -> None:
    session = prepared_session(Watched(a_model, lambda windows, batch: batch > 2), a_volume)
    result = session.segment_classes(CLASSES, batch=8)
    assert np.array_equal(result.labelmap, labels_of(prepared_session(a_model, a_volume)))
    assert [n for n in result.notes if "windows at once" in n] == [
        "Out of memory: 4 instead of 8 windows at once.",
        "Out of memory: 2 instead of 4 windows at once.",
    ]


def test_out_of_memory_in_the_middle_loses_no_window(a_model: Model, a_volume: Volume) -> None:
    model = Watched(a_model, lambda windows, batch: windows >= 4 and batch > 1)
    session = prepared_session(model, a_volume)
    result = session.segment_classes(CLASSES, batch=2)
    assert np.array_equal(result.labelmap, labels_of(prepared_session(a_model, a_volume)))
    assert model.windows == session.estimate(CLASSES).windows


def test_when_nothing_is_left_to_shrink_the_error_says_what_to_do(a_model: Model, a_volume: Volume) -> None:
    session = prepared_session(Watched(a_model, lambda windows, batch: True), a_volume)
    with pytest.raises(MemoryLimitError, match="One window") as caught:
        session.segment_classes(CLASSES, batch=4)
    assert "--device cpu" in caught.value.fix


def test_a_ring_that_shrinks_keeps_its_sums() -> None:
    """On this CPU the ring starts at half precision, the step before the last; a GPU takes the step before it too."""
    ring = FeatureRing(2, (4, 2, 2), (2, 2), (0, 1, 2), torch.ones(4, 2, 2))
    ring.allocate(torch.device("cpu"), torch.float16)
    ring.add((0, 0, 0), torch.arange(32.0).reshape(2, 4, 2, 2))
    before = ring.sums.float().clone()
    assert ring.smallest
    assert "CPU" in ring.shrink()
    assert ring.sums.dtype == torch.float32
    assert torch.equal(ring.sums, before)


def test_other_errors_of_the_network_are_not_taken_for_memory(a_model: Model, a_volume: Volume) -> None:
    class Broken(Model):
        def automatic_features(self, windows: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("expected scalar type Half but found Float")

    session = prepared_session(Broken(a_model.network, a_model.settings, a_model.runtime), a_volume)
    with pytest.raises(RuntimeError, match="scalar type"):
        session.segment_classes(CLASSES)


def test_kept_features_answer_further_classes_without_the_network(a_model: Model, a_volume: Volume) -> None:
    model = Watched(a_model)
    session = prepared_session(model, a_volume)
    session.segment_classes([1], keep_features=True)
    passes = model.windows
    later = labels_of(session)
    assert model.windows == passes
    assert np.array_equal(later, labels_of(prepared_session(a_model, a_volume)))
    session.drop_features()
    labels_of(session)
    assert model.windows == 2 * passes


def test_kept_features_do_not_outlive_their_volume(a_model: Model, a_volume: Volume) -> None:
    model = Watched(a_model)
    session = prepared_session(model, a_volume)
    session.segment_classes([1], keep_features=True)
    passes = model.windows
    session.set_volume(Volume(array=a_volume.array[::-1].copy(), affine=a_volume.affine))
    labels_of(session)
    assert model.windows > passes


def test_overlapping_masks_hold_every_label_and_more(a_model: Model, an_odd_volume: Volume) -> None:
    session = prepared_session(a_model, an_odd_volume)
    labels = labels_of(session)
    masks = session.segment_classes(CLASSES, overlapping=True)
    total = np.zeros(labels.shape, dtype=int)
    for class_id in CLASSES:
        mask = masks.mask(class_id)
        assert not ((labels == class_id) & ~mask).any()
        total += mask
    assert np.array_equal(total > 0, labels > 0)
    assert total.max() > 1
    assert masks.voxel_counts() == {c: int(masks.mask(c).sum()) for c in CLASSES}


def test_a_mask_of_one_class_does_not_depend_on_the_others(a_model: Model, a_volume: Volume) -> None:
    session = prepared_session(a_model, a_volume)
    together = session.segment_classes(CLASSES, overlapping=True).mask(5)
    assert np.array_equal(together, session.segment_classes([5], overlapping=True).mask(5))


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
def test_nothing_outside_the_region_of_interest_is_set(
    a_model: Model, an_odd_volume: Volume, overlapping: bool, smooth: bool
) -> None:
    model = Watched(a_model)
    session = prepared_session(model, an_odd_volume)
    roi = Box(start=(5, 9, 3), stop=(14, 20, 8))
    result = session.segment_classes(CLASSES, roi=roi, overlapping=overlapping, smooth=smooth)
    outside = np.ones(an_odd_volume.grid.shape, dtype=bool)
    outside[roi.slices] = False
    found = np.any([result.mask(c) for c in CLASSES], axis=0)
    assert found.any()
    assert not (found & outside).any()
    assert model.windows <= session.estimate(CLASSES).windows


def test_a_region_of_interest_runs_only_the_windows_it_needs(a_model: Model) -> None:
    volume = Volume(array=np.full((64, 64, 64), 100, dtype=np.int16), affine=np.diag([3.0, 3.0, 3.0, 1.0]))
    model = Watched(a_model)
    session = prepared_session(model, volume)
    session.segment_classes(CLASSES, roi=Box(start=(60, 60, 60), stop=(64, 64, 64)))
    assert model.windows == 1


def test_a_region_outside_the_volume_is_an_error(a_model: Model, a_volume: Volume) -> None:
    session = prepared_session(a_model, a_volume)
    with pytest.raises(VolumeError, match="region of interest"):
        session.segment_classes(CLASSES, roi=Box(start=(500, 0, 0), stop=(600, 9, 9)))


def test_groups_come_back_as_members_or_merged(a_model: Model, a_volume: Volume) -> None:
    session = prepared_session(a_model, a_volume)
    members = session.segment_classes(["kidney", "liver"])
    merged = session.segment_classes(["kidney", "liver"], merge_groups=True)
    assert members.class_ids == (14, 5, 1)
    assert merged.class_ids == (2, 1)
    assert np.array_equal(merged.mask(2), members.mask(14) | members.mask(5))
    assert np.array_equal(merged.mask(1), members.mask(1))
    both = session.segment_classes(["kidney"], merge_groups=True, overlapping=True)
    parts = session.segment_classes(["kidney"], overlapping=True)
    assert np.array_equal(both.mask(2), parts.mask(14) | parts.mask(5))


def test_smooth_labels_are_the_same_where_ct_voxels_lie_on_model_voxels(a_model: Model) -> None:
    """On the model's own grid there is nothing to interpolate."""
    rng = np.random.default_rng(0)
    volume = Volume(array=rng.integers(-900, 900, (20, 24, 18), dtype=np.int16), affine=np.diag([3.0, 3.0, 3.0, 1.0]))
    session = prepared_session(a_model, volume)
    assert np.array_equal(labels_of(session, smooth=True), labels_of(session))


def test_smooth_borders_follow_interpolated_logits(a_model: Model, an_odd_volume: Volume) -> None:
    """Against a plain computation: all logits at once, interpolated by scipy, the largest positive one wins."""
    from scipy.ndimage import map_coordinates

    session = prepared_session(a_model, an_odd_volume)
    ours = labels_of(session, smooth=True, keep_features=True)
    prepared, keeper = session._prepared, next(iter(session._kept.values()))
    features = keeper.normalised(Box.whole(prepared.crop.shape)).numpy()
    logits = np.einsum("kc,cxyz->kxyz", a_model.class_embeddings(CLASSES).numpy(), features)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in an_odd_volume.grid.shape], indexing="ij"), axis=-1)
    place = prepared.grid.to_voxel(an_odd_volume.grid.to_world(index)) - np.array(prepared.crop.start)
    at = np.moveaxis(place.clip(0, np.array(prepared.crop.shape) - 1), -1, 0)
    fine = np.stack([map_coordinates(k, at, order=1) for k in logits])
    winner = np.where(fine.max(0) > 0, np.array(CLASSES)[fine.argmax(0)], 0)
    inside = np.all((place > -0.499) & (place < np.array(prepared.crop.shape) - 0.501), axis=-1)
    assert np.mean(ours[inside] != winner[inside]) < 1e-3
    assert np.mean(ours != labels_of(session)) > 0.01
