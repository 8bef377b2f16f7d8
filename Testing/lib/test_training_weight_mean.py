"""The running mean of the weights: what it is, that training does not see it, and that it is what comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training import QUICK, a_datalist, a_trainer, same_parameters, settings_for  # noqa: F401

from VISTA3DLib.checkpoint import load_network
from VISTA3DLib.errors import SettingsError
from VISTA3DLib.training.settings import STAGES, OptimiserKind
from VISTA3DLib.training.trainer import LAST
from VISTA3DLib.training.weight_mean import WeightMean


@settings(max_examples=40, deadline=None)
@given(decay=st.floats(0.05, 0.999), steps=st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=8))
def test_each_step_moves_the_mean_by_its_share_towards_the_weights(decay: float, steps: list[float]) -> None:
    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    mean = WeightMean(network, optimiser, decay)
    expected = None
    for gradient in steps:
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        optimiser.step()
        now = network.weight.detach().numpy().astype(np.float64)
        expected = now if expected is None else decay * expected + (1 - decay) * now
    own = network.weight.detach().clone()
    with mean.in_network():
        np.testing.assert_allclose(network.weight.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(network.weight, own)


def test_the_network_has_its_own_weights_back_when_scoring_fails() -> None:
    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    mean = WeightMean(network, optimiser, 0.9)
    for _ in range(2):
        network(torch.ones(1, 3)).sum().backward()
        optimiser.step()
    own = network.weight.detach().clone()

    def fail_to_score() -> None:
        with mean.in_network():
            assert not torch.equal(network.weight, own)
            raise ValueError("no Dice")

    with pytest.raises(ValueError, match="no Dice"):
        fail_to_score()
    assert torch.equal(network.weight, own)


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_stage_trains_as_without_a_mean_but_scores_saves_and_hands_on_the_mean(
    a_datalist: Path,  # noqa: F811
    tmp_path: Path,
    optimiser: OptimiserKind,
) -> None:
    stage = replace(QUICK, epochs=2, optimiser=optimiser, validate_every=1)
    runs, scored = [], []
    for decay in (0.0, 0.9):
        own: list[torch.Tensor] = []
        stages = (replace(stage, mean_decay=decay), replace(stage, epochs=1))
        trainer = a_trainer(
            settings_for(a_datalist, tmp_path / str(decay), *stages),
            validate=lambda network, _, own=own: own.append(network.class_head.class_embeddings.weight.clone()) or {},
        )
        trainer.run()
        runs.append([r.loss for r in trainer._history.records])
        scored.append(own)
    assert runs[0][:2] == runs[1][:2]
    assert runs[0][2] != runs[1][2]
    assert not any(torch.equal(a, b) for a, b in zip(*scored, strict=True))


def test_what_is_saved_is_what_the_next_stage_begins_with(a_datalist: Path, tmp_path: Path) -> None:  # noqa: F811
    trainer = a_trainer(settings_for(a_datalist, tmp_path, replace(QUICK, epochs=2, mean_decay=0.9)))
    trainer.run()
    saved, _ = load_network(tmp_path / LAST)
    assert len(same_parameters(saved, trainer.network)) == len(list(saved.named_parameters()))


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_leaves_nothing_to_learn_or_is_none_is_refused(decay: float) -> None:
    with pytest.raises(SettingsError, match=f"mean_decay of stage automatic is {decay}"):
        replace(STAGES["automatic"], mean_decay=decay)
