"""The same training on one process and on several: the same curve, and what it takes in time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from s2robot.bench.options import BenchOptions
from s2robot.commands import load_command
from s2robot.core.errors import UserError
from s2robot.data.dataset import WindowDataset
from s2robot.train.demos import choose_demos, decide_variants, load_episode_features, split_episodes
from s2robot.train.options import TrainOptions
from s2robot.utils.distributed import World

Curve = list[tuple[int, float]]


def measure(options: BenchOptions) -> tuple[dict[str, Any], Iterator[str]]:
    """What `s2robot bench processes` finds. Raises UserError where a training fails."""
    steps, windows = _length(options)
    given = [f"demos={options.demo_store}", f"steps={steps}", "report=false", *options.training]
    runs: dict[str, Any] = {}
    with TemporaryDirectory(prefix="s2robot-bench-", dir=options.scratch) as scratch:
        for processes in options.processes.counts:
            out = Path(scratch, str(processes))
            seconds = _train(processes, [*given, f"out={out}"])
            curves: dict[str, Curve] = json.loads((out / "curves.json").read_text())
            runs[str(processes)] = {"seconds": seconds, "curves": curves}
    differences = _differences(runs)
    about = {
        "epochs": options.processes.epochs,
        "steps": steps,
        "windows": windows,
        "train": list(options.training),
    }
    return {"runs": runs, "differences": differences, **about}, _lines(runs, differences)


def _length(bench: BenchOptions) -> tuple[int, int]:
    """Steps that take each training window `epochs` times, and how many windows there are."""
    given = [f"demos={bench.demo_store}", "out=unused", *bench.training]
    options: TrainOptions = load_command("train", given)[1]
    demos = choose_demos(options)
    options, _ = decide_variants(options, demos)
    episodes = [
        t for source in demos.sources for t in load_episode_features(source, demos.spec, options, World())
    ]
    windows = len(WindowDataset(split_episodes(episodes, options.val_fraction, options.seed)[0]))
    return bench.processes.epochs * -(-windows // options.batch_size), windows


def _train(processes: int, given: Sequence[str]) -> float:
    """Seconds that the whole command takes."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
    start = [sys.executable, *(torchrun if processes > 1 else ()), "-m", "s2robot.cli", "train", *given]
    began = time.perf_counter()
    if subprocess.run(start).returncode:
        raise UserError(f"training on {processes} processes failed: see above")
    return time.perf_counter() - began


def _differences(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Processes -> curve -> how far its end is from that of the first run, as a share of it.

    Dropout is each process's own, so training is as noisy as with another seed: the last tenth is averaged.
    """
    first, *others = runs
    ends = {processes: dict(_ends(run["curves"])) for processes, run in runs.items()}
    return {
        processes: {name: abs(ends[processes][name] / value - 1) for name, value in ends[first].items()}
        for processes in others
    }


def _ends(curves: Mapping[str, Curve]) -> Iterator[tuple[str, float]]:
    for name, points in curves.items():
        values = [value for _, value in points]
        yield name, float(np.mean(values[-max(1, len(values) // 10) :]))


def _lines(
    runs: Mapping[str, Mapping[str, Any]], differences: Mapping[str, Mapping[str, float]]
) -> Iterator[str]:
    for processes, run in runs.items():
        worst = max(differences.get(processes, {"": 0.0}).items(), key=lambda item: item[1])
        ends = f", {worst[0]} {worst[1]:.1%} off at its end" if processes in differences else ""
        yield f"{processes} process{'es' if processes != '1' else ''}: {run['seconds']:.0f} s{ends}"
