"""Pieces of a CT with a border that one can see, which the click branch is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.training.joint_steps import unnamed_objects
from VISTA3DLib.training.patches import Patch
from VISTA3DLib.training.pieces import visible_pieces
from VISTA3DLib.training.settings import STAGES

WINDOW = (48, 44, 40)
AIR, FAT, SOFT, MARROW, BONE = 0.0, 0.43, 0.51, 0.50, 0.70
STAGE = replace(STAGES["joint"], supervoxels=False, max_objects=2)
seeds = st.integers(0, 100_000)


def ball(middle: tuple[int, int, int], radius: float) -> npt.NDArray[np.bool_]:
    """The voxels around a place."""
    offsets = np.indices(WINDOW) - np.reshape(middle, (3, 1, 1, 1))
    return np.asarray(np.linalg.norm(offsets, axis=0) < radius)


LEFT, RIGHT = ball((12, 14, 20), 8), ball((26, 14, 20), 8)  # two organs that touch at a neck
SHELL, CORE = ball((36, 30, 20), 8), ball((36, 30, 20), 5)  # a bone and its marrow


def a_trunk(seed: int = 0) -> torch.Tensor:
    """Two organs and a bone in fat in air."""
    tissue = np.where(ball((24, 22, 20), 30), FAT, AIR)
    for where, value in ((LEFT | RIGHT, SOFT), (SHELL, BONE), (CORE, MARROW)):
        tissue[where] = value
    noise = np.random.default_rng(seed).normal(0.0, 0.004, WINDOW) * (tissue > AIR)
    return torch.from_numpy((tissue + noise).astype(np.float32))[None]


def overlap(mask: torch.Tensor, truth: npt.NDArray[np.bool_]) -> float:
    """Dice."""
    found = mask.numpy()
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


@settings(deadline=None, max_examples=15)
@given(seeds, st.integers(1, 3))
def test_a_piece_is_one_organ_or_a_bone_with_its_marrow_or_the_marrow(seed: int, count: int) -> None:
    masks = visible_pieces(a_trunk(seed), count, np.random.default_rng(seed))
    assert 1 <= len(masks) <= count
    for n, mask in enumerate(masks):
        assert ndimage.label(mask.numpy(), np.ones((3, 3, 3)))[1] == 1
        assert max(overlap(mask, truth) for truth in (LEFT, RIGHT, SHELL, CORE)) > 0.8
        assert not any((mask & other).any() for other in masks[:n])


def test_every_piece_is_drawn_now_and_then_and_again_with_its_seed() -> None:
    seen = set()
    for seed in range(30):
        (mask,) = visible_pieces(a_trunk(), 1, np.random.default_rng(seed))
        (again,) = visible_pieces(a_trunk(), 1, np.random.default_rng(seed))
        assert torch.equal(mask, again)
        seen.add(int(np.argmax([overlap(mask, truth) for truth in (LEFT, RIGHT, SHELL, CORE)])))
    assert seen == {0, 1, 2, 3}


def test_air_and_a_patch_full_of_one_tissue_hold_no_piece() -> None:
    for value in (AIR, SOFT):
        for seed in range(4):
            assert visible_pieces(torch.full((1, *WINDOW), value), 2, np.random.default_rng(seed)) == ()


@settings(deadline=None, max_examples=10)
@given(seeds, st.booleans())
def test_a_patch_is_asked_for_its_pieces_without_names_and_as_it_is(seed: int, mirror: bool) -> None:
    patch = Patch(
        case="trunk",
        image=a_trunk(),
        label=torch.zeros(WINDOW, dtype=torch.long),
        pseudo_label=None,
        supervoxels=None,
        class_ids=(1, 3),
        pseudo_ids=(),
        reliable=True,
    )
    rng = np.random.default_rng(seed)
    shown, asked = unnamed_objects(patch, ClassCatalogue.load(), STAGE, rng, "pieces", mirror=mirror)
    assert asked is not None
    assert asked.class_ids is None
    assert (asked.prompt_class > ClassCatalogue.load().last_supported).all()
    assert mirror or torch.equal(shown.image, patch.image)
    for row, target in enumerate(asked.targets[:, 0]):
        assert float((shown.image[0][target] > (FAT + SOFT) / 2).float().mean()) > 0.9  # neither air nor fat
        for place, sign in zip(asked.points[row].long().tolist(), asked.point_labels[row].tolist(), strict=True):
            assert sign < 0 or bool(target[tuple(place)]) == (sign == 1)
