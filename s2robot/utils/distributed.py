"""One command on one process or many: what `torchrun` says, and the few things that processes do together.

`torchrun --nproc-per-node=2 -m s2robot.cli train ...` starts two; without it there is one, and all of this
costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from s2robot.utils.provenance import usable_cores

T = TypeVar("T")

_PATIENCE = timedelta(days=1)  # one process may have much more to encode than another


@dataclass(frozen=True)
class World:
    """The processes of one command.

    Attributes:
        rank: this one's number, 0 the one that writes.
        size: how many there are.
        local_size: how many of them are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes what all have made."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Every `size`-th of the items: those of this process."""
        return list(items[self.rank :: self.size])

    def share_of_machine(self, items: Sequence[T]) -> list[T]:
        """As `share`, of what every machine has to do for itself."""
        return list(items[self.rank % self.local_size :: self.local_size])

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, on each of them."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def device(self, name: str | None) -> torch.device:
        """The device of that name, default a GPU where there is one: each process of a machine its own."""
        if name != "cuda" and (name is not None or not torch.cuda.is_available()):
            return torch.device(name or "cpu")
        return torch.device("cuda", self.rank % self.local_size)

    def threads(self, asked: int | None) -> int:
        """How many threads of torch: as asked, default one a core, shared by the processes of a machine."""
        return asked or max(1, usable_cores() // self.local_size)


@contextmanager
def join_world() -> Iterator[World]:
    """The world that `torchrun` started, or one process; its group is gone on leaving.

    With GPUs NCCL carries their gradients, and gloo whatever lies in memory.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield World(dist.get_rank(), size, int(os.environ["LOCAL_WORLD_SIZE"]))
    finally:
        dist.destroy_process_group()
