"""Muon: kernels step along all their directions alike, the rest as with AdamW."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training import QUICK, same_parameters

from VISTA3DLib.errors import SettingsError
from VISTA3DLib.training.muon import Muon, is_kernel, orthogonalised

RATE, DECAY = 2e-3, 1e-4


def a_network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv3d(1, 6, 3, padding=1),
        torch.nn.InstanceNorm3d(6, affine=True),
        torch.nn.ReLU(),
        torch.nn.ConvTranspose3d(6, 4, 2, stride=2),
        torch.nn.Conv3d(4, 1, 1),
    ).to(memory_format=torch.channels_last_3d)


def backward(network: torch.nn.Module, seed: int = 0) -> float:
    random = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 1, 6, 6, 6, generator=random)
    target = torch.nn.functional.interpolate(image, scale_factor=2).roll(1, 2)
    network.zero_grad(set_to_none=True)
    loss = torch.nn.functional.mse_loss(network(image), target)
    loss.backward()
    return float(loss.detach())


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(2, 40), columns=st.integers(2, 40), scale=st.floats(1e-6, 1e4), seed=st.integers(0, 999))
def test_all_directions_of_a_matrix_become_alike_whatever_its_size(
    rows: int, columns: int, scale: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    left = np.linalg.qr(random.normal(size=(rows, rows)))[0]
    right = np.linalg.qr(random.normal(size=(columns, columns)))[0]
    rank = min(rows, columns)
    strengths = np.geomspace(1.0, 0.05, rank)
    matrix = torch.from_numpy(scale * (left[:, :rank] * strengths) @ right[:rank]).float()
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_no_gradient_gives_no_step_and_no_nan() -> None:
    assert torch.equal(orthogonalised(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_kernels_with_one_row_or_column_and_vectors_are_no_matrices() -> None:
    found = [n for n, p in a_network().named_parameters() if is_kernel(p)]
    assert found == ["0.weight", "3.weight"]  # the last convolution has one output channel


def test_a_kernel_steps_along_all_its_directions_by_adamw_s_size() -> None:
    network = a_network()
    before = deepcopy(network)
    backward(network)
    Muon(network.parameters(), lr=RATE, weight_decay=0.0).step()
    for layer in (0, 3):
        step = (network[layer].weight - before[layer].weight).flatten(1).detach()
        values = torch.linalg.svdvals(step) / (RATE * 0.2 * max(step.shape) ** 0.5)
        assert values.min() > 0.3
        assert values.max() < 1.3


def test_a_kernel_steps_against_its_gradient() -> None:
    network = a_network()
    before, _ = deepcopy(network), backward(network)
    gradient = network[0].weight.grad.clone()
    Muon(network.parameters(), lr=RATE, weight_decay=0.0).step()
    step = (network[0].weight - before[0].weight).detach()
    assert float((step * gradient).sum()) < 0


def test_everything_else_steps_as_with_adamw() -> None:
    ours, theirs = a_network(), a_network()
    muon = Muon(ours.parameters(), lr=RATE, weight_decay=DECAY)
    adamw = torch.optim.AdamW(theirs.parameters(), lr=RATE, weight_decay=DECAY)
    for network, optimiser in ((ours, muon), (theirs, adamw)):
        backward(network)
        optimiser.step()
    assert same_parameters(ours, theirs) == ["0.bias", "1.weight", "1.bias", "3.bias", "4.weight", "4.bias"]


def test_frozen_and_unused_parameters_stay() -> None:
    network = a_network()
    network[0].weight.requires_grad_(False)
    before = network[0].weight.clone()
    backward(network)
    Muon(network.parameters(), lr=RATE, weight_decay=0.5).step()
    assert torch.equal(network[0].weight, before)


def test_an_unknown_optimiser_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match="sgd") as refused:
        replace(QUICK, optimiser="sgd")
    assert "muon" in refused.value.fix
