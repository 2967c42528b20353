"""`s2robot quickstart`: the whole loop in small, in one command."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2robot.commands import load_command, run_command
from s2robot.config.options import Count, Natural, to_plain
from s2robot.policy.checkpoint import checkpoint_sha256
from s2robot.reports.evaluation import read_stages
from s2robot.reports.result import headline, read_evaluation
from s2robot.utils.atomic_io import write_json
from s2robot.utils.hashing import sha256_json


@dataclass(frozen=True)
class QuickstartOptions:
    """Options of `s2robot quickstart`, see configs/quickstart.yaml."""

    out: str
    episodes: Count
    steps: Count
    workers: Natural
    seed: Natural
    record: tuple[str, ...]
    encode: tuple[str, ...]
    train: tuple[str, ...]
    evaluate: tuple[str, ...]


def main(options: QuickstartOptions) -> None:
    """Records, encodes, trains and evaluates into `out`; what is complete there is reused."""
    out = Path(options.out)
    demos, features, checkpoint = out / "demos", out / "features", out / "checkpoint"
    stages = Stages(out / "stages.json")
    common = [f"seed={options.seed}", f"workers={options.workers}"]
    data = [f"demos={demos}", f"features={features}"]
    recording = [f"out={demos}", f"episodes={options.episodes}", *common]
    stages.run("record", [*recording, *options.record])
    stages.run("encode", [*data, f"workers={options.workers}", *options.encode])
    stages.run(
        "train",
        [
            *(*data, f"encode_workers={options.workers}", f"out={checkpoint}"),
            *(f"seed={options.seed}", f"steps={options.steps}", *options.encode, *options.train),
        ],
    )
    evaluation = _evaluate(options, out, checkpoint, stages, common)
    print(f"{headline(evaluation)}: open {out / 'report.html'}")


class Stages:
    """Announces and times each stage.

    It remembers the longest time each took: later runs reuse what is there and are quick.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seconds: dict[str, float] = read_stages(path) if path.is_file() else {}

    def run(self, command: str, overrides: list[str]) -> None:
        """Runs a command with overrides as its command line would."""
        print(f"== {command}: s2robot {command} {' '.join(overrides)}", flush=True)
        began = time.monotonic()
        run_command(command, overrides)
        seconds = time.monotonic() - began
        self._seconds[command] = max(seconds, self._seconds.get(command, 0.0))
        write_json(self.path, self._seconds)
        print(f"== {command} took {seconds:.0f} s", flush=True)


def _evaluate(
    options: QuickstartOptions, out: Path, checkpoint: Path, stages: Stages, common: list[str]
) -> dict[str, Any]:
    """The evaluation of this checkpoint with these options: the one that is there, or a new one."""
    overrides = [f"checkpoint={checkpoint}", f"out={out}", f"stages={stages.path}", "overwrite=true"]
    overrides += [*common, *options.evaluate]
    stamp = out / "evaluated.json"
    _, evaluation = load_command("evaluate", overrides)
    identity = sha256_json([checkpoint_sha256(checkpoint), to_plain(evaluation)])
    path = out / "evaluation.json"
    done = path.is_file() and stamp.is_file() and stamp.read_bytes() == json.dumps(identity).encode() + b"\n"
    if not done:
        stages.run("evaluate", overrides)
        write_json(stamp, identity)
    return read_evaluation(path)
