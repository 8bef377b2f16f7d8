"""Both branches at once: the same answers as MONAI's own forward, and as many clicks as were asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.devices import Runtime
from VISTA3DLib.network import seeded_network
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.training.distributed import World
from VISTA3DLib.training.fast_norm import layout_keeping_norms
from VISTA3DLib.training.joint import JointForward
from VISTA3DLib.training.joint_steps import JointTrainer, as_new, class_objects, click_objects
from VISTA3DLib.training.patches import Patch
from VISTA3DLib.training.prompts import ObjectPrompt, Prompts
from VISTA3DLib.training.settings import STAGES
from VISTA3DLib.training.steps import ask

SIDE = 16
SETTINGS = NetworkSettings(filters=8, blocks_down=(1, 1), window=(SIDE,) * 3, spacing=(3.0, 3.0, 3.0))
CATALOGUE = ClassCatalogue.load()
STAGE = replace(STAGES["joint"], supervoxels=False)


def a_patch(**changes: object) -> Patch:
    """A liver (1) in one half and a spleen (3) in a corner."""
    label = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.long)
    label[:8] = 1
    label[10:15, 10:15, 10:15] = 3
    image = torch.rand(1, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) + (label == 1)
    values = {"case": "a", "image": image, "label": label, "pseudo_label": None, "supervoxels": None}
    return Patch(**{**values, "class_ids": (1, 3, 5), "pseudo_ids": (), "reliable": True, **changes})


def prompts() -> Prompts:
    """Two objects with points of every label, one of them new."""
    return Prompts(
        class_ids=None,
        points=torch.tensor([[[3.0, 4.0, 5.0], [9.0, 1.0, 2.0], [0.0, 0.0, 0.0]], [[7.0, 7.0, 7.0]] * 3]),
        point_labels=torch.tensor([[1, 0, -1], [3, 2, 1]]),
        prompt_class=torch.tensor([[5], [600]]),
        targets=torch.zeros(2, 1, SIDE, SIDE, SIDE, dtype=torch.bool),
        manual=torch.ones(2, dtype=torch.bool),
    )


@pytest.mark.parametrize("fast", [False, True])
def test_the_answers_are_those_of_the_networks_own_forward(fast: bool) -> None:
    network = seeded_network(SETTINGS, 3).train()
    image, asked = a_patch().image[None], prompts()
    classes = replace(asked, class_ids=torch.tensor([[1], [9]]), points=None, point_labels=None)
    with torch.no_grad():
        expected_points, expected_classes = ask(network, image, asked), ask(network, image, classes)
        joint = JointForward(network)
        if fast:
            with layout_keeping_norms(network):
                answer = joint(image, classes.class_ids, asked, lambda p, _: p, 2)
        else:
            answer = joint(image, classes.class_ids, asked, lambda p, _: p, 2)
    assert torch.allclose(answer.classes, expected_classes, atol=1e-3)
    assert len(answer.rounds) == 2
    for _, logits in answer.rounds:
        assert torch.allclose(logits, expected_points, atol=1e-3)


def test_the_norms_are_the_networks_own_again_afterwards() -> None:
    network = seeded_network(SETTINGS, 3)
    with layout_keeping_norms(network):
        assert any("forward" in vars(m) for m in network.modules())
    assert not any("forward" in vars(m) for m in network.modules())


def test_one_step_lowers_the_loss_of_both_branches_and_adds_clicks() -> None:
    network = seeded_network(SETTINGS, 3).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    stage = replace(STAGE, skip_iterations=0.0)
    joint, asked = JointForward(network), []

    def counting(*arguments: object) -> object:
        answer = joint(*arguments)
        asked.append([p.points.shape[1] for p, _ in answer.rounds])
        return answer

    trainer = JointTrainer(counting, optimiser, CATALOGUE, stage, Runtime(device=torch.device("cpu")), World())
    losses = []
    for step in range(12):
        rng = np.random.default_rng(step)
        result = trainer.train_on(a_patch(), rng, np.random.default_rng(step))
        assert result is not None
        losses += result.losses
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert any(len(rounds) == 3 and rounds[2] == rounds[0] + 4 for rounds in asked)


def test_classes_without_a_class_prompt_are_left_to_points() -> None:
    rng = np.random.default_rng(0)
    classes = class_objects(a_patch(), CATALOGUE, STAGE, rng, point_only=(3,))
    assert classes is not None
    assert classes.class_ids is not None
    assert sorted(classes.class_ids[:, 0].tolist()) == [1, 5]
    assert bool(classes.targets[classes.class_ids[:, 0] == 5].any()) is False
    points = click_objects(a_patch(), CATALOGUE, replace(STAGE, max_objects=2), rng)
    assert points is not None
    assert {i % 512 for i in points.prompt_class[:, 0].tolist()} == {1, 3}


def test_a_patch_without_labels_has_nothing_to_ask_for() -> None:
    rng = np.random.default_rng(0)
    bare = a_patch(label=None, class_ids=())
    assert class_objects(bare, CATALOGUE, STAGE, rng) is None
    assert click_objects(bare, CATALOGUE, STAGE, rng) is None


def test_an_object_called_new_keeps_its_points_and_takes_plain_labels() -> None:
    known = ObjectPrompt(class_id=23, target=torch.zeros(2, 2, 2), points=((0, 0, 0), (1, 1, 1)), labels=(3, 2))
    new = as_new(known)
    assert new.zero_shot
    assert new.labels == (1, 0)
    assert new.points == known.points
