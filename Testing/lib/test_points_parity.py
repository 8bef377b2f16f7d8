"""The interactive branch against MONAI's point window inferer; where it differs, the reference is wrong (spec 8.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from monai.apps.vista3d.transforms import VistaPreTransformd
from monai.transforms.utils import keep_components_with_positive_points
from odd_volumes import blobs

from benchmarks.reference import reference_clicks
from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.geometry import Grid
from VISTA3DLib.merge import keep_hit_components
from VISTA3DLib.model import Model
from VISTA3DLib.points import ClickEngine, ClickSet
from VISTA3DLib.preprocess import PreparedVolume
from VISTA3DLib.progress import Tracker

Triples = Sequence[Sequence[float]]


def prepared_noise(shape: tuple[int, int, int]) -> PreparedVolume:
    """An image on the model grid, without a volume behind it: the reference takes points in model voxels."""
    grid = Grid(shape=shape, affine=np.diag([3.0, 3.0, 3.0, 1.0]))
    image = torch.from_numpy(blobs(shape, seed=5).astype(np.float32) / 1600 + 0.6).clamp(0, 1)
    return PreparedVolume(volume_grid=grid, grid=grid, image=image, crop=grid.box)


def our_clicks(
    model: Model, prepared: PreparedVolume, points: Triples, labels: Sequence[int], **options: object
) -> torch.Tensor:
    """Our logits (X, Y, Z), NaN where no window lies, with one centred window a click as in the reference."""
    class_id = options.pop("class_id", None)
    clicks = ClickSet(
        index=np.array(points, dtype=np.float64),
        positive=tuple(v % 2 == 1 for v in labels),
        labels=tuple(labels),
        zero_shot=bool(options.pop("zero_shot", False)),
    )
    engine = ClickEngine(model, prepared, shared_windows=False)
    out = torch.full(prepared.grid.shape, float("nan"))
    for patch in engine.logits(clicks, Tracker("windows", len(points)), class_id=class_id):
        values = patch.logits if class_id is None else patch.automatic
        view = out[patch.box.slices]
        view[torch.from_numpy(patch.known)] = values[torch.from_numpy(patch.known)]
    return out


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference where both are known, relative to the range; fails when different voxels are known."""
    assert torch.equal(torch.isnan(ours), torch.isnan(theirs))
    known = ~torch.isnan(theirs)
    return float((ours[known] - theirs[known]).abs().max() / theirs[known].abs().max())


INSIDE = [[17.0, 20.0, 11.0]]
BORDER = [[2.3, 29.6, 14.49]]
SMALL = (9, 22, 13)  # smaller than the window along two axes


@pytest.mark.parametrize("shape", [(30, 32, 25), SMALL])
@pytest.mark.parametrize("label", [0, 1, 2, 3])
def test_one_click_gives_the_references_logits(a_model: Model, shape: tuple[int, int, int], label: int) -> None:
    prepared = prepared_noise(shape)
    for points in (INSIDE, BORDER):
        here = np.minimum(points, np.array(shape) - 1.2).tolist()
        theirs = reference_clicks(a_model, prepared.image, here, [label])
        assert difference(our_clicks(a_model, prepared, here, [label]), theirs) < 1e-5


def test_the_zero_shot_token_is_the_references(a_model: Model) -> None:
    prepared = prepared_noise((30, 32, 25))
    theirs = reference_clicks(a_model, prepared.image, INSIDE, [1], prompt_class=133)
    known = reference_clicks(a_model, prepared.image, INSIDE, [1], prompt_class=5)
    assert difference(our_clicks(a_model, prepared, INSIDE, [1], zero_shot=True), theirs) < 1e-5
    assert difference(our_clicks(a_model, prepared, INSIDE, [1]), known) < 1e-5
    assert difference(theirs, known) > 1e-4


def test_many_clicks_in_one_window_give_the_references_logits(a_model: Model) -> None:
    """In a volume as small as the window all clicks share it; the reference then adds the same logits N times."""
    prepared = prepared_noise((16, 16, 16))
    points, labels = [[4, 5, 6], [11.3, 9, 8], [7, 13.9, 2]], [1, 0, 1]
    theirs = reference_clicks(a_model, prepared.image, points, labels) / len(points)
    assert difference(our_clicks(a_model, prepared, points, labels), theirs) < 1e-5


def test_the_automatic_logits_in_a_clicked_window_are_the_references(a_model: Model) -> None:
    """A class with a click that changes nothing leaves the automatic logits: the negative click hits no component."""
    prepared = prepared_noise((30, 32, 25))
    ours = our_clicks(a_model, prepared, INSIDE, [1], class_id=5)
    theirs = reference_clicks(a_model, prepared.image, INSIDE, [1], class_id=5, prompt_class=5)
    unchanged = torch.isclose(ours, theirs, atol=1e-5, equal_nan=True)
    assert 0.3 < float(unchanged.float().mean()) <= 1.0


def test_overlapping_windows_are_averaged_where_the_reference_adds_them(a_model: Model) -> None:
    """Spec 8.1-4: the reference's logits grow with the number of windows; the sign is the same."""
    prepared = prepared_noise((30, 32, 25))
    points = [[15.0, 16.0, 12.0], [19.0, 18.0, 13.0]]
    theirs = reference_clicks(a_model, prepared.image, points, [1, 1])
    ours = our_clicks(a_model, prepared, points, [1, 1])
    both = ~torch.isnan(theirs) & ((ours - theirs).abs() > 1e-4)
    assert torch.allclose(theirs[both], 2 * ours[both], rtol=1e-4, atol=1e-4)
    assert int(both.sum()) > 500
    assert torch.equal(ours > 0, theirs > 0)


def test_a_click_on_the_very_first_voxel_counts(a_model: Model) -> None:
    """Spec 8.1-6: the reference drops a point at a window's start and answers -9999 everywhere."""
    prepared = prepared_noise((20, 20, 20))
    theirs = reference_clicks(a_model, prepared.image, [[0, 5, 5]], [1])
    ours = our_clicks(a_model, prepared, [[0, 5, 5]], [1])
    assert float(theirs[0, 5, 5]) == -9999
    assert abs(float(ours[0, 5, 5])) < 100


def test_a_click_that_rounds_onto_the_windows_end_counts(a_model: Model) -> None:
    """Spec 8.1-6: at 15.7 of 16 voxels the reference's merge reads voxel 16 and fails."""
    prepared = prepared_noise((16, 16, 16))
    points = [[15.7, 8, 8]]
    with pytest.raises(IndexError):
        reference_clicks(a_model, prepared.image, points, [1], class_id=5, prompt_class=5)
    assert torch.isfinite(our_clicks(a_model, prepared, [[15.49, 8, 8]], [1])).all()


def test_padding_points_do_not_exist_so_they_wipe_nothing(a_model: Model) -> None:
    """Spec 8.1-5: a -1 point at (0, 0, 0) makes the reference write -9999 over the volume's corner."""
    prepared = prepared_noise((30, 32, 25))
    theirs = reference_clicks(a_model, prepared.image, [*INSIDE, [0, 0, 0]], [1, -1])
    ours = our_clicks(a_model, prepared, INSIDE, [1])
    assert float(theirs[1, 1, 1]) < -9000
    known = ~torch.isnan(ours)
    assert float(ours[known].min()) > -100


def test_special_classes_are_those_of_the_training_code_not_the_bundles_default() -> None:
    """Spec 8.1-1: the bundle converts 28, 29 and 117, which are none, and leaves out 23, 24, 57 and 128."""
    catalogue = ClassCatalogue.load()

    def theirs(class_id: int) -> list[int]:
        data = VistaPreTransformd("image")({"label_prompt": [class_id], "point_labels": [0, 1]})
        return list(data["point_labels"])

    for class_id in (23, 24, 57, 128):
        assert theirs(class_id) == [0, 1]
        assert [catalogue.point_label(class_id, p) for p in (False, True)] == [2, 3]
    for class_id in (28, 29, 117):
        assert theirs(class_id) == [2, 3]
        assert [catalogue.point_label(class_id, p) for p in (False, True)] == [0, 1]


def two_balls() -> npt.NDArray[np.float32]:
    """Logits: +1 in two balls, -1 elsewhere."""
    place = np.stack(np.meshgrid(*[np.arange(24)] * 3, indexing="ij"), axis=-1)
    balls = [((place - c) ** 2).sum(-1) < 16 for c in ((6, 6, 6), (17, 17, 17))]
    return np.where(balls[0] | balls[1], 1.0, -1.0).astype(np.float32)


def test_a_click_beside_the_object_does_not_empty_the_mask() -> None:
    """Spec 8.1-8: one voxel outside the object, the reference removes everything."""
    logits, beside = two_balls(), [[6.0, 6.0, 11.0]]
    theirs = keep_components_with_positive_points(
        torch.from_numpy(logits.copy())[None, None], torch.tensor([beside]), torch.tensor([[1]])
    )
    kept, hit = keep_hit_components(logits > 0, np.array(beside), [True])
    assert not bool((theirs > 0).any())
    assert hit
    assert kept[6, 6, 6]
    assert not kept[17, 17, 17]


def test_components_without_a_positive_click_are_left_out_as_in_the_reference() -> None:
    logits, inside = two_balls(), [[6.0, 6.0, 6.0]]
    theirs = keep_components_with_positive_points(
        torch.from_numpy(logits.copy())[None, None], torch.tensor([inside]), torch.tensor([[1]])
    )
    kept, _ = keep_hit_components(logits > 0, np.array(inside), [True])
    assert np.array_equal(kept, theirs[0, 0].numpy() > 0)


def test_a_click_far_from_everything_keeps_everything() -> None:
    kept, hit = keep_hit_components(two_balls() > 0, np.array([[23.0, 0.0, 0.0]]), [True])
    assert not hit
    assert np.array_equal(kept, two_balls() > 0)


def test_a_cached_window_is_not_encoded_again_and_answers_the_same(a_model: Model) -> None:
    prepared = prepared_noise((30, 32, 25))
    passes = 0

    class Counting(Model):
        def point_features(self, window: torch.Tensor) -> torch.Tensor:
            nonlocal passes
            passes += 1
            return super().point_features(window)

    model = Counting(a_model.network, a_model.settings, a_model.runtime)
    engine = ClickEngine(model, prepared, shared_windows=True)

    def ask(points: Triples, labels: Sequence[int]) -> torch.Tensor:
        clicks = ClickSet(index=np.array(points, float), positive=tuple(v == 1 for v in labels), labels=tuple(labels))
        return engine.logits(clicks, Tracker("windows", 1))[0].logits

    first = ask(INSIDE, [1])
    assert passes == 1
    second = ask([*INSIDE, [19.0, 18.0, 12.0]], [1, 0])
    assert passes == 1  # near the first: the same window
    assert torch.equal(ask(INSIDE, [1]), first)
    fresh = ClickEngine(a_model, prepared, shared_windows=True)
    clicks = ClickSet(index=np.array([*INSIDE, [19.0, 18.0, 12.0]]), positive=(True, False), labels=(1, 0))
    assert torch.equal(fresh.logits(clicks, Tracker("windows", 1))[0].logits, second)
