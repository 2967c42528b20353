"""Where the time of a rollout goes, and what a second worker brings.

The rollouts are those of `s2robot evaluate`, films and hashes included. Rates are of the time in which every
worker was at work: not the start of the processes, not each worker's first rollout (which warms caches up),
not the end, when one waits for the other.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from s2robot.bench.clock import Clock
from s2robot.bench.options import BenchOptions
from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.core.errors import UserError
from s2robot.evaluation.options import EvaluateOptions
from s2robot.evaluation.rollouts import (
    EvalConfig,
    RolloutSpec,
    WorkerContext,
    make_config,
    make_context,
    roll_out,
    rollout_specs,
)
from s2robot.policy.checkpoint import checkpoint_sha256
from s2robot.utils.workers import run_jobs

PARTS = ("rendering", "encoding", "policy", "physics", "rest")
"""Of a step. The rest: hashes, films, the loop itself."""


class Measured(NamedTuple):
    """One rollout: which process made it, when (s, one clock for all processes), and where its time went."""

    worker: int
    began: float
    ended: float
    steps: int
    seconds: dict[str, float]


def measure(options: BenchOptions) -> tuple[dict[str, Any], list[str]]:
    """What `s2robot bench rollout` finds. Raises UserError for too few starts."""
    section, checkpoint = options.rollout, options.checkpoint
    if checkpoint is None:
        raise UserError("bench rollout needs checkpoint=PATH, the folder `s2robot train` wrote")
    if section.starts < 2 * max(section.workers):
        raise UserError(f"rollout.starts={section.starts}: each worker needs 2, one of them to warm up")
    given = [f"checkpoint={checkpoint}", f"starts={section.starts}", f"seed={options.seed}"]
    common, _ = make_config(read_options(EvaluateOptions, compose("evaluate", given)))
    load = os.getloadavg()[0]
    rounds = [
        {workers: _measure(common, workers) for workers in section.workers} for _ in range(section.rounds)
    ]
    result = summary(rounds) | {"load_before": load}
    made = {"env": common.env, "checkpoint_sha256": checkpoint_sha256(checkpoint)}
    return result | made, lines(result)


def summary(rounds: Sequence[dict[int, list[Measured]]]) -> dict[str, Any]:
    """Shares and ms a step of each part (with the fewest workers), and steps a second of each number."""
    counts = sorted(rounds[0])
    alone = [rollout for one in rounds for rollout in one[counts[0]]]
    steps = sum(rollout.steps for rollout in alone)
    spent = {part: sum(rollout.seconds[part] for rollout in alone) for part in PARTS}
    rates = {workers: [steady_rate(one[workers]) for one in rounds] for workers in counts}
    middle = {workers: median(values) for workers, values in rates.items()}
    return {
        "rollouts": len(alone),
        "steps": steps,
        "ms_per_step": {part: 1000 * seconds / steps for part, seconds in spent.items()},
        "shares": {part: seconds / sum(spent.values()) for part, seconds in spent.items()},
        "steps_per_second": {str(workers): values for workers, values in rates.items()},
        "speedup": {str(workers): middle[workers] / middle[counts[0]] for workers in counts},
    }


def steady_rate(rollouts: Sequence[Measured]) -> float:
    """Steps a second while every worker was at work and had made its first rollout."""
    by_worker: dict[int, list[Measured]] = defaultdict(list)
    for rollout in sorted(rollouts, key=lambda r: r.began):
        by_worker[rollout.worker].append(rollout)
    begin = max(own[0].ended for own in by_worker.values())
    end = min(own[-1].ended for own in by_worker.values())
    if end <= begin:
        raise UserError("the workers were never at work together: give more rollout.starts=")
    inside = [max(0.0, min(r.ended, end) - max(r.began, begin)) / (r.ended - r.began) for r in rollouts]
    return sum(share * r.steps for share, r in zip(inside, rollouts, strict=True)) / (end - begin)


def lines(result: dict[str, Any]) -> list[str]:
    """For the terminal."""
    parts = [f"{p:10} {result['ms_per_step'][p]:7.1f} ms a step  {result['shares'][p]:4.0%}" for p in PARTS]
    rates = [
        f"{workers} workers {median(values):6.2f} steps/s  {result['speedup'][workers]:.2f}x"
        for workers, values in result["steps_per_second"].items()
    ]
    return [*parts, *rates]


def _measure(common: EvalConfig, workers: int) -> list[Measured]:
    todo = rollout_specs(common.options, common.task())
    return list(run_jobs(_timed, todo, workers=workers, start=_start, start_args=(common,)))


def _start(common: EvalConfig) -> tuple[WorkerContext, Clock]:
    context, clock = make_context(common), Clock()
    time_parts(context, clock)
    return context, clock


def time_parts(context: WorkerContext, clock: Clock) -> None:
    """From now on the clock counts what is running."""
    simulator: Any = context.env.unwrapped
    simulator.frames = clock.timed("rendering", simulator.frames)
    for name in ("reset", "step"):
        setattr(context.env, name, clock.timed("physics", getattr(context.env, name)))
    actor: Any = context.actor
    extractor = actor.policy.extractor
    extractor.of_cameras = clock.timed("encoding", extractor.of_cameras)
    actor.act = clock.timed("policy", actor.act)


def _timed(worker: tuple[WorkerContext, Clock], job: RolloutSpec) -> Measured:
    context, clock = worker
    clock.seconds.clear()
    began = time.monotonic()
    with clock.part("rest"):
        rollout = roll_out(context, job)
    seconds = {part: clock.seconds[part] for part in PARTS}
    return Measured(os.getpid(), began, time.monotonic(), rollout.outcome["steps"], seconds)
