"""An arm's stages as the commands that make them, each as a user would type it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from s2robot.config.options import Count, Natural
from s2robot.config.overrides import as_override
from s2robot.reproduce.plan import STORES, Arm, arm_named


@dataclass(frozen=True)
class ReproduceOptions:
    """The options of the command; their meanings are the comments of `configs/reproduce.yaml`."""

    what: Literal["table10"]
    out: str
    results: str
    plan_only: bool
    cells: tuple[str, ...] | None
    arms: tuple[str, ...] | None
    seeds: tuple[Natural, ...]
    small: tuple[str, ...]
    large: tuple[str, ...]
    random: tuple[str, ...]
    blind: tuple[str, ...]
    episodes: Count
    steps: Count
    starts: Natural
    random_starts: Natural
    workers: Natural
    record: tuple[str, ...]
    train: tuple[str, ...]
    evaluate: tuple[str, ...]

    def encoder(self, which: str) -> tuple[str, ...]:
        """The options that choose an encoder: `small`, `large`, `random` or `blind`."""
        return {"small": self.small, "large": self.large, "random": self.random, "blind": self.blind}[which]


@dataclass(frozen=True)
class Command:
    """`s2robot NAME OVERRIDES`."""

    name: str
    overrides: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(["s2robot", self.name, *self.overrides])


@dataclass(frozen=True)
class Work:
    """An arm at one training seed: where its files lie in `out`, and what makes them."""

    arm: Arm
    seed: int
    options: ReproduceOptions

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
        return Path(self.options.out)

    @property
    def _episodes(self) -> int:
        return min(self.arm.episodes or self.options.episodes, self.options.episodes)

    def _record(self) -> Command:
        given = [f"out={self.demos}", f"episodes={self._episodes}", f"workers={self.options.workers}"]
        return Command("record", (*given, *STORES[self.arm.store], *self.options.record))

    def _train(self) -> Command:
        arm = self.arm
        given = {
            "demos": str(self.demos),
            "out": str(self.checkpoint),
            "features": str(self._out / "features"),  # of all stores: the same demos are encoded once
            "seed": self.seed,
            "steps": self.options.steps,
            "val_fraction": 0,
            "encode_workers": self.options.workers,
            "cameras": list(arm.cameras),
            "policy.pooling": arm.pooling,
            "policy.grasp_conditioning": arm.grasp_conditioning,
            "policy.visual_dropout": arm.visual_dropout,
        }
        options = [f"{name}={as_override(value)}" for name, value in given.items()]
        sizes = f"encoder.sizes={as_override(list(arm.sizes))}"
        encoder = [*self.options.encoder(arm.encoder), sizes]
        if arm.resize_to:
            grid = list(arm.resize_to) if isinstance(arm.resize_to, tuple) else arm.resize_to
            encoder.append(f"encoder.resize_to={as_override(grid)}")
        return Command("train", (*options, *encoder, *self.options.train))

    def _evaluate(self) -> Command:
        given = {"checkpoint": str(self.checkpoint), "out": str(self.evaluation)}
        given |= {name: getattr(self.options, name) for name in ("starts", "random_starts", "workers")}
        given |= {"perturbation": self.arm.perturbation} if self.arm.perturbation else {}
        given |= {"actor": self.arm.actor} if self.arm.actor != "policy" else {}
        options = [f"{name}={as_override(value)}" for name, value in given.items()]
        return Command("evaluate", (*options, *self.options.evaluate))
