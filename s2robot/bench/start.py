"""How soon a command does what it is for: the first demo of `record`, the first rollout of `evaluate`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from s2robot.bench.options import BenchOptions
from s2robot.core.errors import UserError
from s2robot.data.store import DemoStore

_POLL = 0.02  # s


def measure(options: BenchOptions) -> tuple[dict[str, Any], list[str]]:
    """What `s2robot bench start` finds. Raises UserError without a checkpoint, and where a command fails."""
    if options.checkpoint is None:
        raise UserError("bench start needs checkpoint=PATH, the folder `s2robot train` wrote")
    evaluate = ("evaluate", f"checkpoint={options.checkpoint}", "starts=1", "max_steps=1", "workers=1")
    record = ("record", "episodes=2", "workers=2", f"seed={options.seed}")
    parts: dict[str, Callable[[Path], float]] = {
        "help": lambda _: _seconds("--help"),
        "evaluate_one_step": lambda out: _seconds(*evaluate, f"out={out}"),
        "record_first_demo": lambda out: _seconds(*record, f"out={out}", until=lambda: _has_demo(out)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(options.start.rounds):
        with TemporaryDirectory(prefix="s2robot-bench-", dir=options.scratch) as scratch:
            for name, part in parts.items():
                seconds[name].append(part(Path(scratch) / name))
    lines = [f"{name:18} {median(found):6.2f} s, at most {max(found):.2f}" for name, found in seconds.items()]
    about = {"rounds": options.start.rounds, "record": record[1:], "evaluate": evaluate[1:]}
    return {"seconds": seconds, **about}, lines


def _has_demo(out: Path) -> bool:
    return (out / "zarr.json").exists() and len(DemoStore.open(out, check=False)) > 0


def _seconds(*command: str, until: Callable[[], bool] | None = None) -> float:
    """From the start of a command to its end, or till `until` holds; it is waited for either way."""
    began, seen = time.perf_counter(), None
    with subprocess.Popen(
        [sys.executable, "-m", "s2robot.cli", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while until is not None and seen is None and process.poll() is None:
            time.sleep(_POLL)
            seen = time.perf_counter() if until() else None
        _, errors = process.communicate()
    ended = time.perf_counter()
    if process.returncode:
        raise UserError(f"{' '.join(command)} failed: {errors.decode(errors='replace').strip()[-300:]}")
    return (seen or ended) - began
