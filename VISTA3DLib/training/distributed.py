"""Several processes that train one network (``torchrun``); alone it does nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class World:
    """Which of how many processes this is."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's part of a list, as long as every other's: the list is filled up from its beginning."""
        padded = list(items) + list(items)[: (-len(items)) % self.size]
        return padded[self.rank :: self.size]

    def any(self, flag: bool) -> bool:
        """Whether the flag is raised in any process."""
        if self.size == 1:
            return flag
        value = torch.tensor([float(flag)])
        if distributed.get_backend() == "nccl":
            value = value.cuda(self.local_rank)
        distributed.all_reduce(value, op=distributed.ReduceOp.MAX)
        return bool(value.item() > 0)

    def barrier(self) -> None:
        """Wait for the others."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined_world() -> Iterator[World]:
    """Join the processes that ``torchrun`` started, and leave them together; a world of one without it.

    A process that ends without leaving may be aborted while its connections still have threads. After an error it does
    not wait for the others: ``torchrun`` ends them.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        world = World(rank=distributed.get_rank(), size=size, local_rank=local)
        yield world
        world.barrier()
    finally:
        distributed.destroy_process_group()


def wrapped(network: torch.nn.Module, world: World) -> torch.nn.Module:
    """The network with gradients averaged over the processes; branches that took no part count as zero."""
    if world.size == 1:
        return network
    return DistributedDataParallel(network, find_unused_parameters=True)
