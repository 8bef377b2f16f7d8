"""The mean of a network's weights over its last steps, which is steadier than where the last step happened to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightMean:
    """Exponential mean of ``network``'s weights after every step of ``optimiser`` (Tarvainen and Valpola 2017).

    ``decay`` is the share of the mean that a step leaves: 0.99 looks back about a hundred steps. 0: no mean, the
    network stays as it is. Weights that are not trained stay what they are, bit for bit.
    """

    def __init__(self, network: nn.Module, optimiser: torch.optim.Optimizer, decay: float) -> None:
        self._network = network
        self._mean: AveragedModel | None = None
        if decay:
            mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
            optimiser.register_step_post_hook(lambda *_: mean.update_parameters(network))
            self._mean = mean

    @contextmanager
    def in_network(self) -> Iterator[None]:
        """The network with the mean weights, to be scored and saved."""
        if self._mean is None:
            yield
            return
        own = {k: v.clone() for k, v in self._network.state_dict().items()}
        self.keep()
        try:
            yield
        finally:
            self._network.load_state_dict(own)

    def keep(self) -> None:
        """Leave the mean in the network."""
        if self._mean is not None:
            self._network.load_state_dict(self._mean.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on; empty without a mean."""
        return {} if self._mean is None else self._mean.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""
        if self._mean is not None:
            self._mean.load_state_dict(state)
