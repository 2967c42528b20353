"""One command on one process or many: what `torchrun` says, and the few things that processes do together.

Any launcher will do that sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.

`torchrun --nproc-per-node=2 -m s2robot.cli train ...` starts two; without it there is one, and all of this
costs nothing.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from s2robot.core.errors import UserError
from s2robot.utils.provenance import usable_cores

T = TypeVar("T")

_NUMBERS = ("RANK", "MASTER_PORT", "LOCAL_WORLD_SIZE")
_NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")

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

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers, on each of them."""
        if self.size == 1:
            return number
        numbers = torch.tensor([number])
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)

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

    With GPUs NCCL carries their gradients, and gloo whatever lies in memory. Raises UserError where several
    processes were started and the environment does not say how they find each other.
    """
    size = _size()
    if size == 1:
        yield World()
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        rank = dist.get_rank()
        yield World(rank, size, _local_size(rank, size))
    finally:
        dist.destroy_process_group()


def _size() -> int:
    """How many processes were started. Raises UserError where they could not find each other."""
    environ = os.environ
    if (size := environ.get("WORLD_SIZE", "1")) == "1":
        if (tasks := environ.get("SLURM_STEP_NUM_TASKS", "1")) != "1":
            raise UserError(
                f"srun started {tasks} processes that do not know each other: start one torchrun a machine, "
                "srun --ntasks-per-node=1 torchrun --nproc-per-node=N -m s2robot.cli ..."
            )
        return 1
    missing = [name for name in _NEEDED if not environ.get(name)]
    if missing:
        raise UserError(f"WORLD_SIZE={size} without {' and '.join(missing)}: torchrun sets all of them")
    wrong = [name for name in ("WORLD_SIZE", *_NUMBERS) if not environ.get(name, "0").isdecimal()]
    if wrong or int(environ["RANK"]) >= int(size):
        given = " ".join(f"{name}={environ.get(name)}" for name in ("RANK", *(wrong or ["WORLD_SIZE"])))
        raise UserError(f"{given}: expected whole numbers, RANK from 0 and below WORLD_SIZE")
    return int(size)


def _local_size(rank: int, size: int) -> int:
    """How many processes are on this machine: torchrun says so, others (Kubeflow, mpirun) do not."""
    if given := os.environ.get("LOCAL_WORLD_SIZE"):
        return int(given)
    hosts = torch.zeros(size, dtype=torch.int64)
    hosts[rank] = int.from_bytes(hashlib.sha256(socket.gethostname().encode()).digest()[:7], "big")
    dist.all_reduce(hosts)
    here = [i for i, host in enumerate(hosts.tolist()) if host == hosts[rank]]
    if here[-1] - here[0] + 1 > len(here) or here[0] % len(here):
        raise UserError(f"RANK={here} are on one machine: expected consecutive ones, as many on each machine")
    return len(here)
