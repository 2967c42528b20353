"""An arm of table10 at one training seed, and its stages as the commands that make them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from s2robot.config.overrides import as_override
from s2robot.reproduce.experiment import Command
from s2robot.reproduce.options import ReproduceOptions
from s2robot.reproduce.table10.plan import (
    CELLS,
    EPISODES,
    RANDOM_STARTS,
    STARTS,
    STEPS,
    STORES,
    Arm,
    arm_named,
    chosen_arms,
    seeds_of,
)


@dataclass(frozen=True)
class ArmWork:
    """An arm at one training seed: where its files lie in `out`, and what makes them."""

    arm: Arm
    seed: int
    options: ReproduceOptions

    @property
    def name(self) -> str:
        return f"{self.arm.name}_seed{self.seed}"

    @property
    def kind(self) -> Hashable:
        """Works that differ in what the plan alone decides are of one kind."""
        return self.arm.encoder, self.arm.store, self.arm.perturbation, self.arm.actor

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

    def with_options(self, options: ReproduceOptions) -> ArmWork:
        """The same under other options."""
        return replace(self, options=options)

    @property
    def _out(self) -> Path:
        return Path(self.options.out)

    @property
    def _episodes(self) -> int:
        most = self.options.episodes or EPISODES
        return min(self.arm.episodes or most, most)

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
            "steps": self.options.steps or STEPS,
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
        if arm.crop:
            encoder.append(f"encoder.crop.front={as_override(list(arm.crop))}")
        return Command("train", (*options, *encoder, *self.options.train))

    def _evaluate(self) -> Command:
        given: dict[str, object] = {"checkpoint": str(self.checkpoint), "out": str(self.evaluation)}
        o = self.options
        given["starts"] = STARTS if o.starts is None else o.starts
        given["random_starts"] = RANDOM_STARTS if o.random_starts is None else o.random_starts
        given["workers"] = o.workers
        given |= {"perturbation": self.arm.perturbation} if self.arm.perturbation else {}
        given |= {"actor": self.arm.actor} if self.arm.actor != "policy" else {}
        options = [f"{name}={as_override(value)}" for name, value in given.items()]
        return Command("evaluate", (*options, *self.options.evaluate))


def works(options: ReproduceOptions) -> list[ArmWork]:
    """The first seed of all arms comes first, then the second: whenever it is stopped, arms are comparable.

    Raises UserError for an unknown cell or arm.
    """
    arms, seeds = chosen_arms(options.cells, options.arms), options.seeds
    return [ArmWork(arm, seed, options) for seed in seeds for arm in arms if seed in seeds_of(arm, seeds)]


def find(name: str, options: ReproduceOptions) -> ArmWork | None:
    """The work of a name, as `small-1x_seed0`; None for one that the plan does not have."""
    arm, _, seed = name.rpartition("_seed")
    names = {arm.name for cell in CELLS.values() for arm in cell}
    return ArmWork(arm_named(arm), int(seed), options) if arm in names and seed.isdecimal() else None
