"""Muon for convolutions: every direction of a kernel is learned at the same rate, so that few steps go far.

A gradient of a convolution is dominated by few directions; AdamW, which scales each number by itself, follows them.
Muon takes the momentum of the kernel as a matrix, one row an output channel, and makes all its singular values one
before it steps (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon). The step is scaled to the size that
AdamW's steps have, so that learning rates and weight decay carry over (Liu et al. 2025, arXiv 2502.16982). PyTorch's
own ``torch.optim.Muon`` takes matrices only. docs/training.md has what it brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

MOMENTUM = 0.95
_STEP_OF_ADAMW = 0.2  # root mean square of AdamW's steps, in learning rates
# Quintic of the Newton-Schulz iteration: it grows small singular values fastest and ends between 0.7 and 1.2.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.AdamW):
    """Muon for kernels of convolutions that have rows and columns, AdamW for everything else."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], *, lr: float, weight_decay: float) -> None:
        super().__init__(parameters, lr=lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step on the gradients; those of kernels are used up (None afterwards)."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and is_kernel(parameter):
                    self._step_kernel(parameter, parameter.grad, float(group["lr"]), float(group["weight_decay"]))
                    parameter.grad = None  # AdamW passes over what has none
        return super().step(closure)

    def _step_kernel(self, kernel: torch.Tensor, gradient: torch.Tensor, rate: float, decay: float) -> None:
        state = self.state[kernel]
        if not state:
            state["step"] = torch.zeros(())  # AdamW looks for it when a state is loaded
            state["momentum"] = torch.zeros_like(kernel)
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1.0 - MOMENTUM)
        ahead = gradient.lerp(momentum, MOMENTUM)  # Nesterov
        direction = orthogonalised(ahead.flatten(1).float())
        size = _STEP_OF_ADAMW * max(direction.shape) ** 0.5
        kernel.mul_(1.0 - rate * decay)
        kernel.add_(direction.reshape(kernel.shape), alpha=-rate * size)


def is_kernel(parameter: torch.Tensor) -> bool:
    """Whether a parameter is the kernel (out, in, ...) of a convolution with more than one row and column."""
    return parameter.ndim > 3 and len(parameter) > 1 and parameter[0].numel() > 1


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix with its singular values brought to about 1 (0.7 to 1.2); zero stays zero."""
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x: torch.Tensor = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-12)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
