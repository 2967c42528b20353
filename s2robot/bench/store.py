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
from omegaconf import DictConfig, OmegaConf

from s2robot.bench.layouts import Contestant, Window, contestants
from s2robot.config.checks import check_file
from s2robot.core.errors import UserError
from s2robot.data.dataset import To
from s2robot.data.formats.transfer import Outgoing
from s2robot.data.store import DemoStore
from s2robot.utils.provenance import git_state, machine, versions, write_json


def main(cfg: DictConfig) -> None:
    """Measures, prints a table and writes `out`."""
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    check_file(plain["out"], plain["overwrite"])
    torch.set_num_threads(1)
    store = DemoStore.open(plain["demos"])
    ids = [i for i in store.ids() if store.episode(i).length >= To][: plain["episodes"]]
    if not ids:
        raise UserError(f"{plain['demos']} holds no demo of {To} steps or more")
    outgoing = Outgoing(store, store.spec, ids)
    windows = draw(outgoing.lengths(), plain["windows"], plain["seed"])
    with ExitStack() as stack:
        scratch = stack.enter_context(TemporaryDirectory(prefix="s2robot-bench-", dir=plain["scratch"]))
        entered = list(contestants(outgoing, Path(scratch), plain, stack))
        rates = measure(entered, windows, plain["rounds"])
    frames = sum(outgoing.lengths()) * len(store.spec.cameras)
    rows = {
        c.name: {
            "windows_per_second": median(rates[c.name]),
            "bytes_per_frame": c.size / frames,
            "rounds": rates[c.name],
        }
        for c in entered
    }
    what = {"demos": len(ids), "frames": frames, "windows": len(windows), "seed": plain["seed"]}
    spec = store.spec.to_dict()["cameras"]
    origin = {"machine": machine(), "versions": versions(), "git": git_state()}
    write_json(plain["out"], {"layouts": rows, **what, "cameras": spec, **origin})
    for name, row in rows.items():
        size = row["bytes_per_frame"] / 1000
        print(f"{name:26} {row['windows_per_second']:8.1f} windows/s   {size:7.1f} kB a frame")


def draw(lengths: list[int], count: int, seed: int) -> list[Window]:
    """Windows that lie wholly inside their episodes, each as likely as any other."""
    every = [(episode, step) for episode, length in enumerate(lengths) for step in range(To - 1, length)]
    return [every[i] for i in np.random.default_rng(seed).integers(len(every), size=count)]


def measure(entered: list[Contestant], windows: list[Window], rounds: int) -> dict[str, list[float]]:
    """Windows a second of each, round by round in turns, after one that is not counted."""
    rates: dict[str, list[float]] = {c.name: [] for c in entered}
    for number in range(rounds + 1):
        for contestant in entered:
            rate = len(windows) / contestant.read(windows)
            if number:
                rates[contestant.name].append(rate)
    return rates
