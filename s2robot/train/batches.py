"""Which windows make a step, and their way into memory while the step before is computed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from torch import Tensor

from s2robot.core.errors import UserError
from s2robot.data.dataset import WindowDataset

Window = dict[str, Tensor]

_AHEAD = 2  # steps


class Batches:
    """Batch k as a pure function of (seed, k): windows reshuffled every epoch.

    A batch is divided into equal parts, one a process and, with accumulation, several a process one after the
    other: what process `rank` sees is a pure function of (seed, k, rank).

    Yields, for each step, this process's parts. Raises UserError where a batch cannot be divided so.
    """

    def __init__(
        self,
        windows: int,
        batch_size: int,
        seed: int,
        first: int,
        last: int,
        *,
        rank: int = 0,
        processes: int = 1,
        grad_accum_steps: int = 1,
    ) -> None:
        parts = processes * grad_accum_steps
        if grad_accum_steps < 1 or batch_size % parts:
            raise UserError(
                f"batch_size={batch_size}: cannot be divided by {processes} processes times "
                f"grad_accum_steps={grad_accum_steps}"
            )
        self._windows, self._size, self._seed = windows, batch_size, seed
        self._range = range(first, last)
        self._own = range(rank, parts, processes)
        self._part = batch_size // parts
        self._epoch, self._order = -1, np.empty(0, int)

    def __len__(self) -> int:
        return len(self._range)

    def __iter__(self) -> Iterator[list[list[int]]]:
        for k in self._range:
            starts = (k * self._size + part * self._part for part in self._own)
            yield [[self._window(i) for i in range(start, start + self._part)] for start in starts]

    def _window(self, position: int) -> int:
        epoch, index = divmod(position, self._windows)
        if epoch != self._epoch:
            rng = np.random.default_rng([self._seed, 3, epoch])
            self._epoch, self._order = epoch, rng.permutation(self._windows)
        return int(self._order[index])


class Loader:
    """The windows of batches, in order, assembled by threads ahead of whoever takes them.

    Attributes:
        waited: seconds for which the taker had to wait.
    """

    def __init__(self, windows: WindowDataset, batches: Batches, threads: int) -> None:
        if threads < 0:
            raise UserError(f"loader_threads={threads}: expected 0 (the trainer itself) or more")
        self._windows, self._batches, self._threads = windows, batches, threads
        self.waited = 0.0

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[Window]]:
        """The parts of each step, collated."""
        if self._threads == 0:
            yield from map(self._waited_for, self._batches)
            return
        # Threads suffice: copying releases Python's lock. Their results come in order, whoever is first.
        pool, pending = ThreadPoolExecutor(self._threads), deque[Future[list[Window]]]()
        try:
            for parts in self._batches:
                pending.append(pool.submit(self._assemble, parts))
                if len(pending) > _AHEAD * self._threads:
                    yield self._result(pending)
            while pending:
                yield self._result(pending)
        finally:
            pool.shutdown(cancel_futures=True)

    def _assemble(self, parts: Sequence[Sequence[int]]) -> list[Window]:
        return [self._windows.batch(part) for part in parts]

    def _waited_for(self, parts: Sequence[Sequence[int]]) -> list[Window]:
        began = time.perf_counter()
        made = self._assemble(parts)
        self.waited += time.perf_counter() - began
        return made

    def _result(self, pending: deque[Future[list[Window]]]) -> list[Window]:
        began = time.perf_counter()
        made = pending.popleft().result()
        self.waited += time.perf_counter() - began
        return made
