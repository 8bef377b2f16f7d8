"""Which objects a patch is asked for, and where points lie: counts, places, labels (spec 5.4 to 5.6)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.training.clicks import with_next_clicks
from VISTA3DLib.training.losses import ObjectLoss
from VISTA3DLib.training.patches import Patch, crop_ratios
from VISTA3DLib.training.point_sampler import PointSampler, SamplerModes, dilated, eroded, inner
from VISTA3DLib.training.prompts import (
    PADDING,
    ZERO_SHOT_SHIFT,
    ObjectPrompt,
    assemble,
    choose_classes,
    class_target,
    point_counts,
)
from VISTA3DLib.training.settings import STAGES, StageSettings
from VISTA3DLib.training.steps import patch_objects

CATALOGUE = ClassCatalogue.load()
SIDE = 32
seeds = st.integers(0, 100_000)


def organs() -> torch.Tensor:
    """A liver (1) with a tumour (26) in it, and a spleen (3)."""
    label = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.long)
    label[4:20, 4:20, 4:20] = 1
    label[8:12, 8:12, 8:12] = 26
    label[22:29, 22:29, 22:29] = 3
    return label


def blocks() -> torch.Tensor:
    """Supervoxels: 64 cubes, numbered from 1; the last is air."""
    index = torch.arange(SIDE) // 8
    cubes = index[:, None, None] * 16 + index[None, :, None] * 4 + index[None, None, :] + 1
    return torch.where(cubes == 64, torch.zeros_like(cubes), cubes)


def a_patch(**changes: object) -> Patch:
    values = {
        "case": "a",
        "image": torch.zeros(1, SIDE, SIDE, SIDE),
        "label": organs(),
        "pseudo_label": None,
        "supervoxels": None,
        "class_ids": (1, 3, 5, 26),
        "pseudo_ids": (),
        "reliable": True,
    }
    return Patch(**{**values, **changes})


def voxels(points: tuple[tuple[float, float, float], ...]) -> list[tuple[int, int, int]]:
    return [(int(i), int(j), int(k)) for i, j, k in points]


@given(seeds)
def test_only_annotated_classes_are_asked_for(seed: int) -> None:
    """The tumour is in the patch; where it was not annotated it is unknown, not asked for, and not background."""
    stage = replace(STAGES["automatic"], max_foreprompt=None, max_backprompt=None)
    rng = np.random.default_rng(seed)
    present, absent = choose_classes(organs(), (1, 5), CATALOGUE, stage, rng)
    assert (present, absent) == ([1], [5])
    objects = patch_objects(a_patch(class_ids=(1, 5)), CATALOGUE, stage, rng)
    assert {o.class_id for o in objects} == {1, 5}


@given(seeds, st.integers(1, 3), st.integers(0, 2))
def test_prompts_are_capped(seed: int, fore: int, back: int) -> None:
    stage = replace(STAGES["automatic"], max_foreprompt=fore, max_backprompt=back)
    present, absent = choose_classes(organs(), (1, 3, 26, 5, 6, 7), CATALOGUE, stage, np.random.default_rng(seed))
    assert len(present) == min(fore, 3)
    assert len(absent) == min(back, 3)
    assert set(present) <= {1, 3, 26}


def test_an_organ_contains_its_tumours() -> None:
    """Ground truth of the liver includes hepatic tumour and vessel (spec 2.4)."""
    liver = class_target(organs(), 1, CATALOGUE)
    assert int(liver.sum()) == 16**3
    assert int(class_target(organs(), 26, CATALOGUE).sum()) == 4**3
    only_tumour = torch.where(organs() == 26, 26, 0)
    present, _ = choose_classes(only_tumour, (1,), CATALOGUE, STAGES["automatic"], np.random.default_rng(0))
    assert present == [1]


@given(seeds, st.integers(1, 6))
def test_the_number_of_points_follows_the_paper(seed: int, most: int) -> None:
    positive, negative = point_counts(most, np.random.default_rng(seed))
    assert 1 <= positive <= most
    assert 0 <= negative <= most


@given(seeds)
def test_positive_points_lie_inside_and_negative_points_outside(seed: int) -> None:
    sampler = PointSampler(CATALOGUE, 3, np.random.default_rng(seed))
    target = class_target(organs(), 1, CATALOGUE)
    prompt = sampler.regular(1, target)
    for voxel, label in zip(voxels(prompt.points), prompt.labels, strict=True):
        assert bool(target[voxel]) == (label == 1)
        assert all(2 <= v < SIDE - 2 for v in voxel)  # a tenth of the border is left out
    assert 1 in prompt.labels


@given(seeds)
def test_special_classes_get_their_own_labels(seed: int) -> None:
    prompt = PointSampler(CATALOGUE, 3, np.random.default_rng(seed)).regular(26, organs() == 26)
    assert set(prompt.labels) <= {2, 3}


def test_an_absent_class_has_no_points() -> None:
    prompt = PointSampler(CATALOGUE, 3, np.random.default_rng(0)).regular(5, torch.zeros(SIDE, SIDE, SIDE) > 0)
    assert prompt.points == ()


@given(seeds)
def test_part_of_an_organ_has_a_negative_point_in_the_rest_of_it(seed: int) -> None:
    sampler = PointSampler(CATALOGUE, 3, np.random.default_rng(seed))
    liver = class_target(organs(), 1, CATALOGUE)
    prompt = sampler.organ_part(1, liver, blocks())
    assert prompt is not None
    assert 0.1 <= float((prompt.target & liver).sum() / liver.sum()) <= 0.9
    assert not bool((prompt.target & ~liver).any())
    negatives = [v for v, s in zip(voxels(prompt.points), prompt.labels, strict=True) if s == 0]
    assert negatives
    assert all(bool((liver & ~prompt.target)[v]) for v in negatives)


@given(seeds)
def test_an_organ_with_a_neighbour_has_a_point_in_each(seed: int) -> None:
    sampler = PointSampler(CATALOGUE, 3, np.random.default_rng(seed))
    spleen = organs() == 3
    prompt = sampler.organ_plus(3, organs(), spleen, blocks())
    assert prompt is not None
    addition = prompt.target & ~spleen
    assert bool(addition.any())
    assert not bool((addition & (organs() > 0)).any())
    positives = [v for v, s in zip(voxels(prompt.points), prompt.labels, strict=True) if s == 1]
    assert any(bool(spleen[v]) for v in positives)
    assert any(bool(addition[v]) for v in positives)


@given(seeds)
def test_unseen_supervoxels_are_unlabelled_and_ask_for_a_new_structure(seed: int) -> None:
    prompt = PointSampler(CATALOGUE, 3, np.random.default_rng(seed)).unseen(organs(), blocks())
    assert prompt is not None
    assert prompt.zero_shot
    assert prompt.class_id > CATALOGUE.last_supported
    assert not bool((prompt.target & (organs() > 0)).any())
    assert not bool((prompt.target & (blocks() == 0)).any())


@given(seeds)
def test_a_random_supervoxel_brings_the_structures_it_covers(seed: int) -> None:
    prompt = PointSampler(CATALOGUE, 3, np.random.default_rng(seed)).random_supervoxel(organs(), blocks())
    assert prompt is not None
    for class_id in (1, 3, 26):
        structure = organs() == class_id
        inside = prompt.target & structure
        assert not bool(inside.any()) or int(inside.sum()) in {int(structure.sum()), int((inside).sum())}
    assert set(prompt.labels) <= {0, 1}


def test_modes_that_cannot_work_fall_back_to_the_class() -> None:
    nothing = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.long)
    modes = SamplerModes(organ_part=0.5, organ_plus=0.5, unseen=0.0, random=0.0)
    sampler = PointSampler(CATALOGUE, 3, np.random.default_rng(0), modes)
    prompt = sampler.varied(3, organs(), organs() == 3, nothing, manual=True)
    assert prompt.class_id == 3
    assert not prompt.zero_shot


def test_special_classes_are_never_varied() -> None:
    modes = SamplerModes(organ_part=1.0, organ_plus=0.0, unseen=0.0, random=0.0)
    sampler = PointSampler(CATALOGUE, 3, np.random.default_rng(0), modes)
    for _ in range(10):
        assert not sampler.varied(26, organs(), organs() == 26, blocks(), manual=True).zero_shot


def test_supervoxel_modes_come_as_often_as_the_paper_says() -> None:
    sampler = PointSampler(CATALOGUE, 3, np.random.default_rng(0))
    liver = class_target(organs(), 1, CATALOGUE)
    plain = sum(
        torch.equal(sampler.varied(1, organs(), liver, blocks(), manual=True).target, liver) for _ in range(100)
    )
    assert 45 <= plain <= 75  # 60 % are plain


def test_erosion_and_dilation_are_by_cubes() -> None:
    mask = torch.zeros(9, 9, 9) > 0
    mask[3:6, 3:6, 3:6] = True
    assert int(eroded(mask).sum()) == 1
    assert int(dilated(mask, 1).sum()) == 125
    thin = torch.zeros(SIDE, SIDE, SIDE) > 0
    thin[10, 10, 10] = True
    assert int(inner(thin).sum()) == 1


def prompts_of(*objects: ObjectPrompt, stage: StageSettings | None = None, seed: int = 0) -> object:
    return assemble(objects, stage or STAGES["point"], np.random.default_rng(seed))


def test_objects_without_points_are_left_out_where_only_points_ask() -> None:
    absent = ObjectPrompt(class_id=5, target=organs() == 5)
    spleen = ObjectPrompt(class_id=3, target=organs() == 3, points=((25.0, 25.0, 25.0),), labels=(1,))
    prompts = prompts_of(absent, spleen)
    assert len(prompts) == 1
    assert prompts.class_ids is None
    assert prompts_of(absent) is None


def test_new_structures_take_the_zero_shot_token_and_are_never_asked_by_class() -> None:
    new = ObjectPrompt(class_id=133, target=organs() == 3, points=((25.0, 25.0, 25.0),), labels=(1,), zero_shot=True)
    assert int(prompts_of(new).prompt_class[0, 0]) == 133 + ZERO_SHOT_SHIFT
    assert prompts_of(new, stage=STAGES["automatic"]) is None


def test_points_are_padded_to_the_same_number() -> None:
    many = ObjectPrompt(class_id=1, target=organs() == 1, points=((5.0, 5.0, 5.0),) * 3, labels=(1, 0, 1))
    one = ObjectPrompt(class_id=3, target=organs() == 3, points=((25.0, 25.0, 25.0),), labels=(1,))
    prompts = prompts_of(many, one)
    assert prompts.points.shape == (2, 3, 3)
    assert prompts.point_labels.tolist() == [[1, 0, 1], [1, PADDING, PADDING]]


@given(seeds)
def test_next_clicks_lie_in_what_was_missed_and_in_what_is_too_much(seed: int) -> None:
    target = torch.zeros(SIDE, SIDE, SIDE) > 0
    target[8:24, 8:24, 8:24] = True
    predicted = torch.zeros(SIDE, SIDE, SIDE) > 0
    predicted[8:16, 8:24, 8:24] = True
    predicted[26:30, 10:20, 10:20] = True
    first = ObjectPrompt(class_id=1, target=target, points=((10.0, 10.0, 10.0),), labels=(1,))
    prompts = prompts_of(first)
    logits = torch.where(predicted, 3.0, -3.0)[None, None]
    after = with_next_clicks(prompts, logits, CATALOGUE, np.random.default_rng(seed))
    assert after is not None
    assert after.point_labels.tolist() == [[1, 1, 0]]
    missed, extra = voxels(tuple(map(tuple, after.points[0, 1:].tolist())))
    assert bool((target & ~predicted)[missed])
    assert bool((predicted & ~target)[extra])


def test_a_perfect_answer_needs_no_further_click() -> None:
    target = organs() == 3
    prompts = prompts_of(ObjectPrompt(class_id=3, target=target, points=((25.0, 25.0, 25.0),), labels=(1,)))
    logits = torch.where(target, 3.0, -3.0)[None, None]
    assert with_next_clicks(prompts, logits, CATALOGUE, np.random.default_rng(0)) is None


def test_the_loss_prefers_the_right_answer_and_balances_manual_labels() -> None:
    target = (organs() == 1)[None, None].repeat(3, 1, 1, 1, 1)
    good, bad = torch.where(target, 6.0, -6.0), torch.where(target, -6.0, 6.0)
    manual = torch.tensor([True, False, False])
    assert float(ObjectLoss()(good, target, manual)) < 0.1 < float(ObjectLoss()(bad, target, manual))
    mixed = torch.cat([bad[:1], good[1:]])
    assert float(ObjectLoss(balance_gt=True)(mixed, target, manual)) > 1.5 * float(ObjectLoss()(mixed, target, manual))


def test_a_false_piece_of_an_absent_class_weighs_as_much_as_asked_and_a_present_class_as_before() -> None:
    absent, manual = torch.zeros(1, 1, SIDE, SIDE, SIDE), torch.tensor([True])
    logits = torch.where(organs() == 3, 3.0, -9.0)[None, None].requires_grad_()
    plain, heavy = ObjectLoss(), ObjectLoss(absent_weight=20.0)
    pulls = [torch.autograd.grad(loss(logits, absent, manual), logits)[0] for loss in (plain, heavy)]
    torch.testing.assert_close(pulls[1], 20.0 * pulls[0])
    assert float(pulls[0][(organs() == 3)[None, None]].min()) > 0
    present = (organs() == 1)[None, None]
    torch.testing.assert_close(heavy(logits, present, manual), plain(logits, present, manual))


@given(st.lists(st.integers(0, 5), min_size=2, max_size=9), st.floats(0.0, 0.9))
def test_patches_are_centred_on_background_as_often_as_asked(counts: list[int], share: float) -> None:
    ratios = crop_ratios(counts, share)
    assert [r > 0 for r in ratios[1:]] == [n > 0 for n in counts[1:]]
    assert len(set(ratios[1:]) - {0.0}) <= 1
    if counts[0] and any(counts[1:]):
        assert ratios[0] / sum(ratios) == pytest.approx(share)
    assert crop_ratios(counts, None) == [float(n > 0) for n in counts]


@pytest.mark.parametrize("kind", ["label", "pseudo"])
def test_manual_and_pseudo_labels_are_kept_apart(kind: str) -> None:
    patch = a_patch(pseudo_label=torch.where(organs() == 3, 6, 0), pseudo_ids=(6,))
    stage = replace(STAGES["automatic"], max_foreprompt=None, max_backprompt=0)
    objects = patch_objects(patch, CATALOGUE, stage, np.random.default_rng(0))
    if kind == "label":
        assert {o.class_id for o in objects if o.manual} == {1, 3, 26}
    else:
        assert {o.class_id for o in objects if not o.manual} == {6}


def test_classes_for_points_only_are_not_asked_for_by_name() -> None:
    stage = replace(STAGES["automatic"], max_foreprompt=None, max_backprompt=None)
    ids = {o.class_id for o in patch_objects(a_patch(), CATALOGUE, stage, np.random.default_rng(0), point_only=(26,))}
    assert 26 not in ids
    by_points = patch_objects(a_patch(), CATALOGUE, STAGES["point"], np.random.default_rng(0), point_only=(26,))
    assert 26 in {o.class_id for o in by_points}


def test_a_case_without_labels_is_asked_for_its_supervoxels() -> None:
    patch = a_patch(label=None, class_ids=(), supervoxels=blocks())
    objects = patch_objects(patch, CATALOGUE, STAGES["point-supervoxels"], np.random.default_rng(0))
    assert objects
    assert all(o.zero_shot and o.points for o in objects)
    assert patch_objects(patch, CATALOGUE, STAGES["point"], np.random.default_rng(0)) == []
