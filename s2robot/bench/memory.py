"""The memory that a call takes at its peak, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from s2robot.bench.peer_training import peak_resident
from s2robot.utils.workers import run_jobs


def peak_memory(make: Callable[..., Callable[[], object]], *arguments: Any, device: str = "cpu") -> int:
    """Bytes that the call made by `make(*arguments)` takes beyond what there was before it.

    `make` is a function of a module and the arguments can be pickled: a new process has no memory left over
    from other calls. Of a processor, the growth of the resident memory; of a GPU, of torch's.
    """
    (taken,) = run_jobs(_measure, [device], workers=1, start=make, start_args=arguments)
    return taken


def _measure(call: Callable[[], object], device: str) -> int:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    before = peak_resident()
    call()
    return peak_resident() - before
