"""`s2robot bench`: one measurement, what it was made on, and what it found, as JSON and in a few lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import import_module
from typing import Any

from s2robot.bench.options import BenchOptions
from s2robot.config.checks import check_file
from s2robot.core.errors import UserError
from s2robot.utils.atomic_io import write_json
from s2robot.utils.provenance import git_state, machine, versions

Measured = tuple[dict[str, Any], Iterable[str]]
"""What the file holds, and lines for the terminal."""


_ALL = ("encode", "train", "rollout", "serve")


def main(options: BenchOptions) -> None:
    """Measures, writes `out` and prints. Raises UserError as the part `what` does."""
    if options.what != "all":
        _measure(options)
        return
    if options.demos is None or options.checkpoint is None:
        raise UserError(
            "bench all needs demos=PATH, a demo store, and checkpoint=PATH, a policy trained on it"
        )
    parts = [replace(_small(options), what=what, out=f"{options.out}/{what}.json") for what in _ALL]
    for part in parts:
        check_file(part.out, part.overwrite)
    for part in parts:
        print(f"== {part.what}", flush=True)
        _measure(part)


def _small(options: BenchOptions) -> BenchOptions:
    """At most so much of each part, without what takes long or needs another environment than ours."""
    encode, train, rollout = options.encode, options.train, options.rollout
    steps = min(encode.control_steps, 50)
    return replace(
        options,
        encode=replace(encode, rounds=min(encode.rounds, 3), control_steps=steps, memory=False),
        train=replace(train, episodes=0),
        rollout=replace(rollout, starts=min(rollout.starts, 4), workers=(1,), rounds=1),
    )


def _measure(options: BenchOptions) -> None:
    check_file(options.out, options.overwrite)
    part: Callable[[BenchOptions], Measured] = import_module(f"s2robot.bench.{options.what}").measure
    result, lines = part(options)
    origin = {"machine": machine(), "versions": versions(), "git": git_state()}
    write_json(options.out, result | origin)
    print(*lines, sep="\n")
