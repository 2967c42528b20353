"""A policy of one arm for one task, and its stages as the commands that make them."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from s2robot.config.overrides import as_override
from s2robot.reproduce.experiment import Command, choose
from s2robot.reproduce.metaworld5.plan import (
    ARMS,
    EPISODES,
    EVALUATE,
    RECORD,
    STARTS,
    TASKS,
    TRAIN,
    Arm,
)
from s2robot.reproduce.options import ReproduceOptions

_NAME = re.compile(r"(?P<arm>.+)_(?P<task>.+)_seed(?P<seed>\d+)")


@dataclass(frozen=True)
class TaskWork:
    """An arm, a task and a training seed."""

    arm: Arm
    task: str
    seed: int
    options: ReproduceOptions

    @property
    def name(self) -> str:
        return f"{self.arm.name}_{self.task}_seed{self.seed}"

    @property
    def kind(self) -> Hashable:
        """Works that differ in what the plan alone decides are of one kind."""
        return self.arm.encoder, self.arm.train

    @property
    def demos(self) -> Path:
        return self._out / "demos" / f"{self.task}_{self._image_size}"

    @property
    def checkpoint(self) -> Path:
        return self._out / "policies" / self.name

    @property
    def evaluation(self) -> Path:
        return self._out / "evaluations" / self.name

    def commands(self) -> list[Command]:
        """record, train and evaluate."""
        return [self._record(), self._train(), self._evaluate()]

    def with_options(self, options: ReproduceOptions) -> TaskWork:
        """The same under other options."""
        return replace(self, options=options)

    @property
    def _out(self) -> Path:
        return Path(self.options.out)

    @property
    def _image_size(self) -> int:
        """Frames are rendered as large as the largest scale, px: enlarging them would show nothing new."""
        return max(self.arm.sizes)

    def _record(self) -> Command:
        o = self.options
        size = () if self._image_size == 224 else (f"env.kwargs.image_size={self._image_size}",)
        chosen = ("env=metaworld", f"env.task={self.task}-v3", *size, f"episodes={o.episodes or EPISODES}")
        return Command("record", (f"out={self.demos}", *chosen, *RECORD, f"workers={o.workers}", *o.record))

    def _train(self) -> Command:
        o = self.options
        given = {
            "demos": str(self.demos),
            "out": str(self.checkpoint),
            "seed": self.seed,
            "steps": o.steps or self.arm.steps,
            "val_fraction": 0,
            "encode_workers": o.workers,
            "encoder.sizes": list(self.arm.sizes),
        }
        if self.arm.resize_to:
            given["encoder.resize_to"] = self.arm.resize_to
        options = [f"{name}={as_override(value)}" for name, value in given.items()]
        recipe = (*TRAIN, *self.arm.train)
        return Command("train", (*recipe, *o.encoder(self.arm.encoder), *options, *o.train))

    def _evaluate(self) -> Command:
        o = self.options
        starts = STARTS if o.starts is None else o.starts
        given = (f"checkpoint={self.checkpoint}", f"out={self.evaluation}", f"starts={starts}")
        return Command("evaluate", (*given, f"workers={o.workers}", *EVALUATE, *o.evaluate))


def works(options: ReproduceOptions) -> list[TaskWork]:
    """The first seed of an arm in all tasks, then of the next arm; then the second seed.

    Raises UserError for an unknown task (`cells`) or arm.
    """
    tasks = choose("cell", options.cells, TASKS)
    names = choose("arm", options.arms, [arm.name for arm in ARMS])
    arms = [arm for arm in ARMS if arm.name in names]
    return [TaskWork(arm, task, seed, options) for seed in options.seeds for arm in arms for task in tasks]


def find(name: str, options: ReproduceOptions) -> TaskWork | None:
    """The work of a name, as `small-1x_hammer_seed0`; None for one that the plan does not have."""
    found = _NAME.fullmatch(name)
    arm = next((arm for arm in ARMS if found and arm.name == found["arm"]), None)
    if found is None or arm is None or found["task"] not in TASKS:
        return None
    return TaskWork(arm, found["task"], int(found["seed"]), options)
