"""Random training windows a second: our store and feature cache beside the layouts of others.

A window is what a policy trains on: 16 steps of every camera up to a step, the proprioception of these steps
and the 16 actions from there on. All read the same windows of the same frames in turns, one process each,
with the threads that zarr and lerobot use for decoding.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from s2robot.bench.layouts import Contestant, Window, contestants
from s2robot.bench.options import BenchOptions
from s2robot.core.errors import UserError
from s2robot.data.dataset import To
from s2robot.data.formats.transfer import Outgoing
from s2robot.data.store import DemoStore


def measure(options: BenchOptions) -> tuple[dict[str, Any], list[str]]:
    """What `s2robot bench store` finds. Raises UserError where no demo is long enough for a window."""
    section = options.store
    torch.set_num_threads(1)
    store = DemoStore.open(options.demo_store)
    ids = [i for i in store.ids() if store.episode(i).length >= To][: section.episodes]
    if not ids:
        raise UserError(f"{options.demos} holds no demo of {To} steps or more")
    outgoing = Outgoing(store, store.spec, ids)
    windows = draw(outgoing.lengths(), section.windows, options.seed)
    with ExitStack() as stack:
        scratch = stack.enter_context(TemporaryDirectory(prefix="s2robot-bench-", dir=options.scratch))
        entered = list(contestants(outgoing, Path(scratch), options, stack))
        rates = measure_rates(entered, windows, section.rounds)
    frames = sum(outgoing.lengths()) * len(store.spec.cameras)
    rows = {
        c.name: {
            "windows_per_second": median(rates[c.name]),
            "bytes_per_frame": c.size / frames,
            "rounds": rates[c.name],
        }
        for c in entered
    }
    about = {"demos": len(ids), "frames": frames, "windows": len(windows), "seed": options.seed}
    lines = [
        f"{name:26} {row['windows_per_second']:8.1f} windows/s   "
        f"{row['bytes_per_frame'] / 1000:7.1f} kB a frame"
        for name, row in rows.items()
    ]
    return {"layouts": rows, **about, "cameras": store.spec.to_dict()["cameras"]}, lines


def draw(lengths: list[int], count: int, seed: int) -> list[Window]:
    """Windows that lie wholly inside their episodes, each as likely as any other."""
    every = [(episode, step) for episode, length in enumerate(lengths) for step in range(To - 1, length)]
    return [every[i] for i in np.random.default_rng(seed).integers(len(every), size=count)]


def measure_rates(entered: list[Contestant], windows: list[Window], rounds: int) -> dict[str, list[float]]:
    """Windows a second of each, round by round in turns, after one that is not counted."""
    rates: dict[str, list[float]] = {c.name: [] for c in entered}
    for number in range(rounds + 1):
        for contestant in entered:
            rate = len(windows) / contestant.read(windows)
            if number:
                rates[contestant.name].append(rate)
    return rates
