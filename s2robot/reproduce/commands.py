"""An arm's stages as the commands that make them, each as a user would type it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s2robot.config.overrides import as_override
from s2robot.reproduce.plan import STORES, Arm, arm_named

TARGETS = {
    "record": "s2robot.record.command:main",
    "train": "s2robot.train:main",
    "evaluate": "s2robot.evaluation.command:main",
}


@dataclass(frozen=True)
class Command:
    """`s2robot VERB OVERRIDES`."""

    verb: str
    overrides: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(["s2robot", self.verb, *self.overrides])


@dataclass(frozen=True)
class Work:
    """An arm at one training seed: where its files lie in `out`, and what makes them.

    Attributes:
        plain: the options of `configs/reproduce.yaml`.
    """

    arm: Arm
    seed: int
    plain: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.arm.name}_seed{self.seed}"

    @property
    def checkpoint(self) -> Path:
        return self._out / "policies" / f"{self.arm.trained_as or self.arm.name}_seed{self.seed}"

    @property
    def evaluation(self) -> Path:
        return self._out / "evaluations" / self.name

    @property
    def demos(self) -> Path:
        few = "" if self.arm.episodes is None else f"_{self._episodes}"
        return self._out / "demos" / f"{self.arm.store}{few}"

    def commands(self) -> list[Command]:
        """In the order in which they run; those of the arm whose checkpoints this one takes, if it does."""
        trained = self if self.arm.trained_as is None else replace(self, arm=arm_named(self.arm.trained_as))
        return [trained._record(), trained._train(), self._evaluate()]

    @property
    def _out(self) -> Path:
        return Path(self.plain["out"])

    @property
    def _episodes(self) -> int:
        return min(self.arm.episodes or self.plain["episodes"], self.plain["episodes"])

    def _record(self) -> Command:
        given = [f"out={self.demos}", f"episodes={self._episodes}", f"workers={self.plain['workers']}"]
        return Command("record", (*given, *STORES[self.arm.store], *self.plain["record"]))

    def _train(self) -> Command:
        arm = self.arm
        given = {
            "demos": str(self.demos),
            "out": str(self.checkpoint),
            "features": str(self._out / "features"),  # of all stores: the same demos are encoded once
            "seed": self.seed,
            "steps": self.plain["steps"],
            "validation": 0,
            "workers": self.plain["workers"],
            "cameras": list(arm.cameras),
            "policy.pooling": arm.pooling,
            "policy.grasp_told": arm.told,
            "policy.visual_dropout": arm.visual_dropout,
        }
        options = [f"{name}={as_override(value)}" for name, value in given.items()]
        sizes = f"encoder.sizes={as_override(list(arm.sizes))}"
        return Command("train", (*options, *self.plain[arm.encoder], sizes, *self.plain["train"]))

    def _evaluate(self) -> Command:
        given = {"checkpoint": str(self.checkpoint), "out": str(self.evaluation)}
        given |= {name: self.plain[name] for name in ("positions", "extra", "workers")}
        given |= {"suite": self.arm.suite} if self.arm.suite else {}
        given |= {"actor": self.arm.actor} if self.arm.actor != "policy" else {}
        options = [f"{name}={as_override(value)}" for name, value in given.items()]
        return Command("evaluate", (*options, *self.plain["evaluate"]))
