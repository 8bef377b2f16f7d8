"""The protocols against the reference: MONAI's sliding window around the whole network, as the paper's code does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_lists import entry, write_case, write_list
from monai.inferers import sliding_window_inference

from VISTA3DLib.errors import ClassError, DeviceError, PromptError, VolumeError
from VISTA3DLib.evaluation.automatic_protocol import AutomaticProtocol
from VISTA3DLib.evaluation.cases import LoadedCase, load_case, read_cases
from VISTA3DLib.evaluation.click_protocol import ClickProtocol
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.object_loop import object_by_object
from VISTA3DLib.evaluation.oracle import corrected_by_oracle
from VISTA3DLib.evaluation.rows import Prediction, Refusal
from VISTA3DLib.evaluation.run import make_protocol
from VISTA3DLib.evaluation.settings import EvaluationSettings, ProtocolName
from VISTA3DLib.evaluation.window_clicks import WindowClick, centre_click
from VISTA3DLib.evaluation.window_protocol import NOTHING, Stitch, WindowProtocol, chunked, on_model_grid
from VISTA3DLib.evaluation.zero_shot_protocol import ZeroShotProtocol, next_error_click
from VISTA3DLib.geometry import Box
from VISTA3DLib.model import Model
from VISTA3DLib.preprocess import prepare_volume
from VISTA3DLib.resample import resample_nearest
from VISTA3DLib.session import Session
from VISTA3DLib.settings import find_mode
from VISTA3DLib.training.questions import is_zero_shot, question_for

UNKNOWN = 205


def a_case(folder: Path, kind: str = "oblique") -> LoadedCase:
    write_case(folder, "a", kind, 3)
    return load_case(read_cases(write_list(folder, [entry("a")])).cases[0])


@pytest.fixture
def case(tmp_path: Path) -> LoadedCase:
    return a_case(tmp_path)


def masks_of(predictions: list[Prediction | Refusal]) -> dict[int, Prediction]:
    return {p.class_id: p for p in predictions if isinstance(p, Prediction)}


def whole(case: LoadedCase, mask: BoxedMask) -> np.ndarray:
    return mask.cut(case.volume.grid.box)


def test_auto_is_the_quality_mode_of_the_engine_class_by_class(case: LoadedCase, a_model: Model) -> None:
    answers = list(AutomaticProtocol(a_model).predictions(case))
    session = Session(a_model, mode="quality")
    session.set_volume(case.volume)
    expected = session.segment_classes([1], overlapping=True)
    assert np.array_equal(whole(case, masks_of(answers)[1].mask), expected.mask(1))
    (refusal,) = [a for a in answers if isinstance(a, Refusal)]
    assert refusal.class_id == UNKNOWN
    assert isinstance(refusal.error, ClassError)


def point_prompt(model: Model, class_id: int, clicks: list[WindowClick]) -> dict[str, torch.Tensor]:
    """The reference's arguments for points of one object, written down independently of the engine."""
    special = class_id in {23, 24, 25, 26, 27, 57, 128}
    labels = [int(c.positive) + 2 * special for c in clicks]
    return {
        "point_coords": torch.tensor([[list(c.index) for c in clicks]]),
        "point_labels": torch.tensor([labels]),
        "prompt_class": torch.tensor([[class_id]]),
    }


def reference_masks(
    model: Model, case: LoadedCase, ask: Callable[[int, torch.Tensor, np.ndarray, int], torch.Tensor]
) -> dict[int, np.ndarray]:
    """Stitch what ``ask`` says about each class in each window with MONAI's sliding window; masks on the volume."""
    mode = find_mode("quality")
    prepared = prepare_volume(case.volume, model.settings, mode)
    box = prepared.grid.box
    masks = {}
    for class_id, truth in case.truths.items():
        target = torch.from_numpy(on_model_grid(truth, prepared).cut(box)).float()
        window = -1

        def predict(stacked: torch.Tensor, class_id: int = class_id) -> torch.Tensor:
            nonlocal window
            window += 1
            return ask(class_id, stacked[:, :1], stacked[0, 1].numpy() > 0, window)[None, None]

        logits = sliding_window_inference(
            torch.stack([prepared.image, target])[None],
            model.settings.window,
            1,
            predict,
            overlap=mode.overlap,
            mode="gaussian",
            padding_mode="constant",
        )
        masks[class_id] = resample_nearest((logits[0, 0] > 0).numpy(), prepared.grid, case.volume.grid)
    return masks


def same_but_for_close_calls(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """The stitched sums differ by rounding: a voxel in ten thousand may fall on the other side."""
    return int((ours != theirs).sum()) <= 1e-4 * ours.size and bool(theirs.any())


@pytest.mark.parametrize("kind", ["oblique", "anisotropic", "small"])
def test_point_equals_a_click_in_every_window_of_the_reference(tmp_path: Path, a_model: Model, kind: str) -> None:
    case = a_case(tmp_path, "lps" if kind == "small" else kind)
    if kind == "small":  # windows that do not show an object vote against it where they overlap those that do
        corner = Box(start=(2, 3, 2), stop=(7, 9, 5))
        case = replace(case, truths={i: BoxedMask(box=corner, mask=np.ones(corner.shape, dtype=bool)) for i in (1, 3)})
    given = dict.fromkeys(case.truths, 0)

    @torch.no_grad()
    def ask(class_id: int, image: torch.Tensor, target: np.ndarray, _: int) -> torch.Tensor:
        if not target.any():
            return torch.full(target.shape, NOTHING)
        given[class_id] += 1
        return a_model.network(image, **point_prompt(a_model, class_id, [centre_click(target)]))[0, 0]

    theirs = reference_masks(a_model, case, ask)
    ours = masks_of(list(WindowProtocol(a_model, EvaluationSettings(protocol="point")).predictions(case)))
    for class_id, mask in theirs.items():
        assert same_but_for_close_calls(whole(case, ours[class_id].mask), mask)
        assert ours[class_id].clicks == given[class_id] > 1


def test_auto_and_point_equals_the_oracle_in_every_window_of_the_reference(case: LoadedCase, a_model: Model) -> None:
    settings = EvaluationSettings(protocol="auto+point", seed=5)

    @torch.no_grad()
    def ask(class_id: int, image: torch.Tensor, target: np.ndarray, number: int) -> torch.Tensor:
        automatic = torch.full(target.shape, NOTHING)
        if class_id != UNKNOWN:
            automatic = a_model.network(image, class_vector=torch.tensor([[class_id]]))[0, 0]
        rng = np.random.default_rng((settings.seed, class_id, number))
        return corrected_by_oracle(
            automatic,
            target,
            lambda clicks: a_model.network(image, **point_prompt(a_model, class_id, list(clicks)))[0, 0],
            rng,
        )[0]

    theirs = reference_masks(a_model, case, ask)
    ours = masks_of(list(WindowProtocol(a_model, settings).predictions(case)))
    for class_id, mask in theirs.items():
        assert same_but_for_close_calls(whole(case, ours[class_id].mask), mask)


def test_zero_shot_equals_the_reference_with_all_clicks_in_every_window(case: LoadedCase, a_model: Model) -> None:
    settings = EvaluationSettings(protocol="zero-shot", clicks=3, seed=2)
    answers = [p for p in ZeroShotProtocol(a_model, settings).predictions(case) if isinstance(p, Prediction)]
    mode = find_mode("quality")
    prepared = prepare_volume(case.volume, a_model.settings, mode)
    truth = case.truths[UNKNOWN]
    target = on_model_grid(truth, prepared).cut(prepared.grid.box)
    rng = np.random.default_rng((settings.seed, UNKNOWN))
    clicks = [centre_click(target)]
    mine = [a for a in answers if a.class_id == UNKNOWN]
    assert len(mine) == 3
    for number, answer in enumerate(mine, start=1):
        marks = torch.zeros(3, *prepared.grid.shape)
        marks[0] = prepared.image
        for order, click in enumerate(clicks, start=1):
            marks[1][click.index], marks[2][click.index] = order, float(click.positive)

        @torch.no_grad()
        def ask(stacked: torch.Tensor) -> torch.Tensor:
            order = stacked[0, 1]
            places = [torch.argwhere(order == n)[0] for n in sorted(order[order > 0].tolist())]
            if not places:
                return torch.full((1, 1, *order.shape), NOTHING)
            labels = torch.tensor([[int(stacked[0, 2][tuple(p)]) for p in places]])
            coordinates = torch.stack(places)[None]
            return a_model.network(
                stacked[:, :1], point_coords=coordinates, point_labels=labels, prompt_class=torch.tensor([[600]])
            )

        logits = sliding_window_inference(
            marks[None], a_model.settings.window, 1, ask, overlap=mode.overlap, mode="gaussian"
        )
        predicted = (logits[0, 0] > 0).numpy()
        predicted[:, :, ~target.any(axis=(0, 1))] = False
        theirs = resample_nearest(predicted, prepared.grid, case.volume.grid)
        assert int((whole(case, answer.mask) != theirs).sum()) <= 1e-4 * theirs.size
        following = next_error_click(predicted, target, rng, flat=number < 10)
        assert following is not None
        clicks.append(following)


def test_a_zero_shot_click_lies_in_the_core_of_the_larger_error() -> None:
    rng = np.random.default_rng(0)
    target, predicted = np.zeros((20, 20, 12), dtype=bool), np.zeros((20, 20, 12), dtype=bool)
    target[2:9, 2:9, 2:9] = True
    predicted[11:18, 11:19, 2:10] = True
    click = next_error_click(predicted, target, rng, flat=False)
    assert click is not None
    assert not click.positive
    assert all(a < v < b for v, a, b in zip(click.index, (11, 11, 2), (17, 18, 9), strict=True))
    thin = np.zeros_like(target)
    thin[2:9, 2:9, 5] = True
    assert next_error_click(np.zeros_like(thin), thin, rng, flat=False) is None
    click = next_error_click(np.zeros_like(thin), thin, rng, flat=True)
    assert click is not None
    assert click.positive
    assert next_error_click(target, target, rng, flat=True) is None


def test_few_classes_at_a_time_give_the_same_masks(
    case: LoadedCase, a_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = EvaluationSettings(protocol="auto+point")
    together = masks_of(list(WindowProtocol(a_model, settings).predictions(case)))
    monkeypatch.setattr("VISTA3DLib.evaluation.window_protocol.free_bytes", lambda _: 0)
    apart = masks_of(list(WindowProtocol(a_model, settings).predictions(case)))
    for class_id, prediction in together.items():
        assert np.array_equal(whole(case, prediction.mask), whole(case, apart[class_id].mask))
        assert prediction.clicks == apart[class_id].clicks


def test_classes_are_put_together_as_far_as_they_fit() -> None:
    stitches = {i: Stitch(Box.whole((10, 10, 10))) for i in range(5)}
    assert [list(c) for c in chunked(stitches, 2 * 4000)] == [[0, 1], [2, 3], [4]]
    assert [list(c) for c in chunked(stitches, 1)] == [[0], [1], [2], [3], [4]]


def test_what_is_predicted_as_tumour_is_taken_from_its_organ(case: LoadedCase, a_model: Model) -> None:
    known = replace(case, truths={1: case.truths[1], 26: case.truths[UNKNOWN]})
    pair = replace(known, subtract=((1, 26),))
    plain = masks_of(list(AutomaticProtocol(a_model).predictions(known)))
    cut = masks_of(list(AutomaticProtocol(a_model).predictions(pair)))
    expected = whole(case, plain[1].mask) & ~whole(case, plain[26].mask)
    assert np.array_equal(whole(case, cut[1].mask), expected)
    assert np.array_equal(whole(case, cut[26].mask), whole(case, plain[26].mask))


@pytest.mark.parametrize("protocol", ["auto", "point", "auto+point"])
def test_a_tumour_is_cut_out_of_its_organ_when_only_the_organ_is_scored(
    case: LoadedCase, a_model: Model, protocol: ProtocolName
) -> None:
    both = replace(case, truths={1: case.truths[1], 26: case.truths[UNKNOWN]}, subtract=((1, 26),))
    asked = make_protocol(a_model, EvaluationSettings(protocol=protocol))
    expected = masks_of(list(asked.predictions(both)))
    alone = masks_of(list(asked.predictions(both.scoring([1]))))
    assert set(alone) == {1}
    assert np.array_equal(whole(case, alone[1].mask), whole(case, expected[1].mask))
    uncut = masks_of(list(asked.predictions(replace(both.scoring([1]), subtract=()))))
    assert whole(case, alone[1].mask).sum() < whole(case, uncut[1].mask).sum()


def test_clicks_start_from_the_same_organ_when_only_the_organ_is_scored(case: LoadedCase, a_model: Model) -> None:
    both = replace(case, truths={1: case.truths[1], 26: case.truths[UNKNOWN]}, subtract=((1, 26),))
    asked = make_protocol(a_model, EvaluationSettings(protocol="clicks", clicks=1, start_from_auto=True))
    starts = [
        next(p for p in asked.predictions(c) if isinstance(p, Prediction) and p.class_id == 1)
        for c in (both, both.scoring([1]))
    ]
    assert starts[0].clicks == 0
    assert np.array_equal(*(whole(case, start.mask) for start in starts))


def test_an_object_that_cannot_be_asked_for_does_not_take_the_others_with_it(case: LoadedCase) -> None:
    def ask(class_id: int, truth: BoxedMask) -> Iterator[Prediction | Refusal]:
        yield Prediction(class_id=class_id, mask=truth, clicks=1)
        if class_id == 1:
            raise VolumeError("too thin", "thicken it")

    answers = list(object_by_object(case, lambda: ask))
    assert [(a.class_id, isinstance(a, Refusal)) for a in answers] == [(1, False), (1, True), (UNKNOWN, False)]

    def broken(class_id: int, truth: BoxedMask) -> Iterator[Prediction | Refusal]:
        raise DeviceError("gone", "restart")
        yield

    with pytest.raises(DeviceError):
        list(object_by_object(case, lambda: broken))


def test_each_click_is_answered_like_a_person_s(case: LoadedCase, a_model: Model) -> None:
    settings = EvaluationSettings(protocol="clicks", clicks=4, baselines=())
    answers = [p for p in ClickProtocol(a_model, settings).predictions(case) if isinstance(p, Prediction)]
    session = Session(a_model)
    session.set_volume(case.volume)
    for class_id in case.truths:
        mine = [a for a in answers if a.class_id == class_id]
        assert [a.clicks for a in mine] == list(range(1, len(mine) + 1))
        assert len(mine) > 1
        points = [a.click.on(case.volume.grid) for a in mine if a.click is not None]
        question = question_for(class_id, a_model.settings.catalogue)
        expected = session.segment_points(points, class_id=question.class_id, zero_shot=question.zero_shot)
        assert np.array_equal(whole(case, mine[-1].mask), expected.to_full())


def test_clicks_can_start_from_the_automatic_mask(case: LoadedCase, a_model: Model) -> None:
    settings = EvaluationSettings(protocol="clicks", clicks=2, start_from_auto=True)
    answers = [p for p in ClickProtocol(a_model, settings).predictions(case) if isinstance(p, Prediction)]
    liver = [a for a in answers if a.class_id == 1]
    assert [a.clicks for a in liver] == [0, 1, 2]
    session = Session(a_model)
    session.set_volume(case.volume)
    automatic = session.segment_classes([1], overlapping=True).mask(1)
    assert np.array_equal(whole(case, liver[0].mask), automatic)
    points = [a.click.on(case.volume.grid) for a in liver if a.click is not None]
    repaired = session.segment_points(points, class_id=1, base_mask=automatic).to_full(automatic)
    assert np.array_equal(whole(case, liver[-1].mask), repaired)
    assert [a.clicks for a in answers if a.class_id == UNKNOWN] == [1, 2]  # the model has no automatic mask of it


def test_structures_that_no_model_knows_are_asked_as_new_ones(a_model: Model) -> None:
    catalogue = a_model.settings.catalogue
    lesion, liver, group = (question_for(i, catalogue) for i in (UNKNOWN, 1, 2))
    assert (lesion.class_id, lesion.zero_shot) == (None, True)
    assert (liver.class_id, liver.zero_shot) == (1, False)
    assert (group.class_id, group.zero_shot) == (None, False)
    assert [is_zero_shot(q, catalogue) for q in (lesion, liver, group)] == [True, False, False]


@pytest.mark.parametrize("protocol", ["point", "auto+point", "zero-shot", "clicks"])
def test_a_model_without_the_branch_is_refused(a_model: Model, protocol: ProtocolName) -> None:
    automatic = Model(
        a_model.network, replace(a_model.settings, interactive=False), a_model.runtime, id="automatic only"
    )
    settings = EvaluationSettings(protocol=protocol)
    with pytest.raises(PromptError, match="automatic only"):
        make_protocol(automatic, settings)


def test_a_model_without_the_automatic_branch_is_refused(a_model: Model) -> None:
    interactive = Model(a_model.network, replace(a_model.settings, automatic=False), a_model.runtime, id="points only")
    with pytest.raises(ClassError, match="points only"):
        AutomaticProtocol(interactive)
