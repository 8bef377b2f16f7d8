"""Patches that only clicks ask for: in a mirror, and with synthetic masses in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.devices import Runtime
from VISTA3DLib.errors import SettingsError
from VISTA3DLib.network import seeded_network
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.training.distributed import World
from VISTA3DLib.training.implants import implanted
from VISTA3DLib.training.joint import JointForward
from VISTA3DLib.training.joint_steps import JointTrainer, unnamed_objects
from VISTA3DLib.training.patches import Patch
from VISTA3DLib.training.point_sampler import PointSampler
from VISTA3DLib.training.prompts import ZERO_SHOT_SHIFT
from VISTA3DLib.training.settings import STAGES

CATALOGUE = ClassCatalogue.load()
WINDOW = (32, 40, 36)
FAT, MUSCLE, BONE = 0.43, 0.50, 0.75
STAGE = replace(STAGES["joint"], supervoxels=False)
seeds = st.integers(0, 100_000)


def a_patch() -> Patch:
    """A limb: fat around muscle around bone in air, and a liver (1) on the side of low first indices."""
    i, j, _ = np.indices(WINDOW)
    distance = np.hypot(i - 16, j - 20)
    tissue = np.select([distance < 4, distance < 11, distance < 15], [BONE, MUSCLE, FAT], 0.0)
    noise = np.random.default_rng(0).normal(0.0, 0.005, WINDOW)
    label = torch.zeros(WINDOW, dtype=torch.long)
    label[4:12, 14:26, 4:30] = 1
    return Patch(
        case="limb",
        image=torch.from_numpy((tissue + noise * (tissue > 0)).astype(np.float32))[None],
        label=label,
        pseudo_label=None,
        supervoxels=label + 1,
        class_ids=(1, 3),
        pseudo_ids=(),
        reliable=True,
    )


@settings(deadline=None, max_examples=25)
@given(seeds, st.integers(1, 3))
def test_masses_are_single_pieces_of_soft_tissue_that_do_not_touch(seed: int, count: int) -> None:
    before = a_patch().image[0].numpy()
    found = implanted(a_patch().image, count, np.random.default_rng(seed))
    assert len(found.masks) <= count
    for n, mask in enumerate(found.masks):
        assert ndimage.label(mask.numpy(), np.ones((3, 3, 3)))[1] == 1
        assert np.mean(before[mask] < 0.3) < 0.02  # air
        assert np.mean(before[mask] > 0.65) < 0.02  # bone
        around = ndimage.binary_dilation(mask.numpy())
        assert not any((torch.from_numpy(around) & other).any() for k, other in enumerate(found.masks) if k != n)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_a_mass_changes_the_image_where_it_is_and_nothing_far_from_it(seed: int) -> None:
    patch = a_patch()
    was = patch.image.clone()
    found = implanted(patch.image, 1, np.random.default_rng(seed))
    assert torch.equal(patch.image, was)  # the cached case stays as it is
    if not found.masks:
        assert torch.equal(found.image, was)
        return
    changed = (found.image[0] - was[0]).abs().numpy()
    mask = found.masks[0].numpy()
    assert changed[mask].mean() > 0.002
    assert not changed[~ndimage.binary_dilation(mask, np.ones((3, 3, 3)), iterations=5)].any()


def test_masses_are_brighter_or_darker_than_what_they_replace() -> None:
    before, shifts = a_patch().image, []
    for seed in range(20):
        found = implanted(before, 1, np.random.default_rng(seed))
        shifts += [float(found.image[0][m].median() - before[0][m].median()) for m in found.masks]
    assert min(shifts) < 0 < max(shifts)
    assert np.median(np.abs(shifts)) > 0.008  # 16 HU


def test_masses_differ_from_draw_to_draw_and_repeat_with_the_seed() -> None:
    first, again, other = (implanted(a_patch().image, 2, np.random.default_rng(seed)).image for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_air_alone_takes_no_mass() -> None:
    found = implanted(torch.zeros(1, *WINDOW), 3, np.random.default_rng(0))
    assert found.masks == ()
    assert not found.image.any()


@given(st.sets(st.integers(0, 2)))
def test_a_mirror_turns_image_and_maps_alike_and_twice_is_once_more(axes: set[int]) -> None:
    patch = a_patch()
    seen = patch.mirrored(sorted(axes))
    assert seen.label is not None
    assert seen.supervoxels is not None
    place = tuple(n - 1 - p if axis in axes else p for axis, (p, n) in enumerate(zip((5, 20, 9), WINDOW, strict=True)))
    assert seen.image[0][place] == patch.image[0, 5, 20, 9]
    assert seen.label[place] == 1
    assert torch.equal(seen.supervoxels, seen.label + 1)
    assert torch.equal(seen.mirrored(sorted(axes)).image, patch.image)


@given(seeds)
def test_what_a_mirror_shows_is_asked_for_without_its_name(seed: int) -> None:
    patch, asked = unnamed_objects(a_patch(), CATALOGUE, STAGE, np.random.default_rng(seed), "labels", mirror=True)
    assert asked is not None
    assert patch.label is not None
    assert asked.class_ids is None
    assert (asked.prompt_class >= ZERO_SHOT_SHIFT).all()
    assert torch.equal(asked.targets[0, 0], patch.label == 1)
    for place, sign in zip(asked.points[0].long().tolist(), asked.point_labels[0].tolist(), strict=True):
        assert sign in (-1, 0, 1)
        if sign >= 0:
            assert bool(asked.targets[0, 0][tuple(place)]) == (sign == 1)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_masses_are_what_is_asked_for_where_they_are(seed: int) -> None:
    was = a_patch()
    patch, asked = unnamed_objects(was, CATALOGUE, STAGE, np.random.default_rng(seed), "masses", mirror=False)
    if asked is None:
        assert torch.equal(patch.image, was.image)
        return
    assert asked.class_ids is None
    assert (asked.prompt_class > CATALOGUE.last_supported).all()
    changed = (patch.image[0] - was.image[0]).abs() > 0
    for target in asked.targets[:, 0]:
        assert changed[target].float().mean() > 0.9


@pytest.mark.parametrize("drawn", ["implant_prob", "piece_prob"])
def test_a_joint_stage_of_what_has_no_name_trains_by_clicks_alone(drawn: str) -> None:
    network_settings = NetworkSettings(filters=8, blocks_down=(1, 1), window=WINDOW, spacing=(3.0, 3.0, 3.0))
    network = seeded_network(network_settings, 3).train()
    joint, seen = JointForward(network), []

    def watching(image: torch.Tensor, class_ids: object, *rest: object) -> object:
        seen.append(class_ids)
        return joint(image, class_ids, *rest)

    stage = replace(STAGE, **{"mirror_prob": 0.5, drawn: 1.0}, drop_point_prob=1.0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    trainer = JointTrainer(watching, optimiser, CATALOGUE, stage, Runtime(device=torch.device("cpu")), World())
    results = [trainer.train_on(a_patch(), *(np.random.default_rng(seed) for _ in range(2))) for seed in range(4)]
    assert any(r is not None and r.objects for r in results)
    assert set(seen) == {None}


@pytest.mark.parametrize("name", ["mirror_prob", "implant_prob", "piece_prob"])
def test_only_joint_stages_ask_for_what_has_no_name(name: str) -> None:
    with pytest.raises(SettingsError, match="only joint stages"):
        replace(STAGES["point"], **{name: 0.2})
    with pytest.raises(SettingsError, match="mirror_prob"):
        replace(STAGE, mirror_prob=1.5)


@given(seeds)
def test_central_points_lie_deep_in_the_object(seed: int) -> None:
    target = torch.zeros(WINDOW, dtype=torch.bool)
    target[4:25, 9:30, 8:29] = True  # 21 voxels wide: the middle is 11 deep
    sampler = PointSampler(CATALOGUE, 3, np.random.default_rng(seed), central_prob=1.0)
    first = sampler.regular(1, target).points[0]
    assert all(abs(p - m) <= 3 for p, m in zip(first, (14, 19, 18), strict=True))
