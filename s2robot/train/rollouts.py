"""How well a policy does while it is trained: rollouts of its snapshots, in a process of their own beside it.

    OUT/rollouts/000400/             the policy after 400 steps, a checkpoint
    OUT/rollouts/000400/evaluation/  what `s2robot evaluate` made of it

What has been rolled out is what lies there: a training that was killed goes on with what is missing.
"""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from s2robot.commands import load_command
from s2robot.core.errors import UserError
from s2robot.data.durable import disk_errors
from s2robot.policy.checkpoint import FILES
from s2robot.reports.result import read_evaluation
from s2robot.train.checkpointing import BEST, Folder
from s2robot.train.demos import Demos
from s2robot.train.options import TrainOptions
from s2robot.train.run import Run
from s2robot.utils.atomic_io import write_atomic

CURVE = "success/rollouts"

_CHILD = """
import sys
from s2robot.utils.signals import end_with
end_with(int(sys.argv.pop(1)))
from s2robot.cli import main
sys.exit(main())
"""
"""`s2robot`, for as long as the training lives."""


class Rollouts:
    """Of the snapshots in `OUT/rollouts`, one evaluation at a time."""

    def __init__(self, folder: Folder, options: Sequence[str], keep_best: bool) -> None:
        self._folder, self._options, self._keep_best = folder, options, keep_best
        self._root = folder.out / "rollouts"
        self._process: subprocess.Popen[bytes] | None = None
        self._under_way: Path | None = None

    def snapshot(self, run: Run) -> None:
        """Saves the policy as it is and rolls it out as soon as its predecessors are done."""
        with disk_errors(f"save {self._root}"):
            self._folder.save_policy(run, self._root / f"{run.step:06d}")
        self.go_on()

    def go_on(self) -> None:
        """Takes in an evaluation that has ended and starts the next. Raises UserError where one failed."""
        if self._process is not None and self._process.poll() is None:
            return
        self._take_in()
        if waiting := self.waiting():
            self._begin(waiting[0])

    def finish(self) -> None:
        """Waits until every snapshot has been rolled out. Raises UserError where one has failed."""
        self._keep()
        self.go_on()
        while self._process is not None:
            self._process.wait()
            self.go_on()

    def is_finished(self) -> bool:
        """Whether every snapshot has been rolled out and the best of them is kept."""
        best = self._best()
        return not self.waiting() and (best is None or self._is_kept(best))

    def stop(self) -> None:
        """Ends what is under way; what is missing is made up for when the training is resumed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def curve(self, last: int) -> dict[str, list[tuple[int, float]]]:
        """The share of successes of the snapshots up to step `last`, as a curve; empty without any."""
        done = [folder for folder in self._snapshots() if _result(folder).is_file()]
        rates = [(int(folder.name), _rate(folder)) for folder in done]
        points = [point for point in rates if point[0] <= last]
        return {CURVE: points} if points else {}

    # ------------------------------------------------------------------ one evaluation

    def _begin(self, snapshot: Path) -> None:
        command = evaluation(snapshot, self._options)
        with open(snapshot / "evaluation.log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(os.getpid()), "evaluate", *command],
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is the training's
            )
        self._under_way = snapshot

    def _take_in(self) -> None:
        if self._process is None or self._under_way is None:
            return
        code, snapshot = self._process.returncode, self._under_way
        self._process = self._under_way = None
        if code:
            log = snapshot / "evaluation.log"
            said = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing was said"]
            raise UserError(f"the rollouts of {snapshot} failed ({said[0]}): see {log}")
        self._keep()

    def _keep(self) -> None:
        """Copies the best of all that have been rolled out, by whatever process, unless it is there."""
        best = self._best()
        if best is None or self._is_kept(best):
            return
        with disk_errors(f"save {self._folder.out}"):
            for name in FILES:
                write_atomic(self._folder.out / BEST / name, (best / name).read_bytes())

    def _best(self) -> Path | None:
        """Of equals the later one counts: it was trained longer."""
        rates = dict(self.curve(sys.maxsize).get(CURVE, []))
        if not (self._keep_best and rates):
            return None
        return self._root / f"{max(rates, key=lambda step: (rates[step], step)):06d}"

    def _is_kept(self, snapshot: Path) -> bool:
        places = [(snapshot / name, self._folder.out / BEST / name) for name in FILES]
        return all(b.is_file() and filecmp.cmp(a, b, shallow=False) for a, b in places)

    def waiting(self) -> list[Path]:
        """The snapshots that have not been rolled out."""
        return [folder for folder in self._snapshots() if not _result(folder).is_file()]

    def _snapshots(self) -> list[Path]:
        return sorted(path.parent for path in self._root.glob("*/model.safetensors"))


def check_rollouts(options: TrainOptions, demos: Demos) -> None:
    """Raises UserError where the rollouts that the options ask for could not be made."""
    if not options.evaluate_every:
        return
    if demos.env is None:
        raise UserError("evaluate_every: these demos come from no simulated environment, or from several")
    load_command("evaluate", evaluation(Path("checkpoint"), options.evaluate))


def evaluation(snapshot: Path, options: Sequence[str]) -> list[str]:
    """The options of `s2robot evaluate` for a snapshot."""
    out = _result(snapshot).parent
    return [f"checkpoint={snapshot}", f"out={out}", "overwrite=true", "workers=0", *options]


def _result(snapshot: Path) -> Path:
    return snapshot / "evaluation" / "evaluation.json"


def _rate(snapshot: Path) -> float:
    return float(read_evaluation(_result(snapshot))["success_rate"])
