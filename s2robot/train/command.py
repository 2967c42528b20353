"""`s2robot train`: the loop, on one process or many."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from s2robot.config.compose import compose
from s2robot.config.options import read_options
from s2robot.config.overrides import as_overrides
from s2robot.data.dataset import WindowDataset
from s2robot.policy.checkpoint import load_policy
from s2robot.policy.policy import Policy
from s2robot.train.announce import announcement, window_images
from s2robot.train.batches import Batches, Loader
from s2robot.train.checkpointing import Folder, identity
from s2robot.train.demos import (
    Demos,
    choose_demos,
    decide_variants,
    load_episode_features,
    mask_idle_steps,
    split_episodes,
)
from s2robot.train.init import Init, with_defaults
from s2robot.train.log import Log, check_log, open_log
from s2robot.train.memory import into_memory
from s2robot.train.model import grasp_target, normalisation
from s2robot.train.options import TrainOptions
from s2robot.train.rollouts import CURVE, Rollouts, check_rollouts
from s2robot.train.run import Run, Trainer, start, validate
from s2robot.utils.atomic_io import write_json
from s2robot.utils.distributed import World, join_world
from s2robot.utils.progress import Progress
from s2robot.utils.signals import Deferred, deferred


def main(options: TrainOptions) -> None:
    """Trains `steps` steps, or goes on to them, and leaves the policy's checkpoint in `out`."""
    options.check()
    with join_world() as world:
        if world.leads:
            check_log(options)
        torch.set_num_threads(world.threads(options.threads))
        training = _prepare(options, world)
        training.fit()
        if world.leads:
            print(training.summary())


def train_policy(demos: str | Path | Sequence[str | Path], out: str | Path, **options: Any) -> Policy:
    """Trains as `s2robot train` does, or goes on where it stopped, and loads the policy.

    Args:
        demos: a store, or several of one robot.
        out: folder of the checkpoint, `load_policy` reads it.
        options: those of the command, e.g. `steps=500`, `cameras=["front"]`; of a section:
            `policy={"width": 64}`. `encode_workers=2` needs a script that guards its main part
            (`if __name__ == "__main__":`).

    Raises UserError as the command.

    Examples:
        >>> policy = s2robot.train_policy(
        ...     "runs/demos",
        ...     "runs/new_policy",
        ...     steps=2,
        ...     warmup=1,
        ...     encoder={"name": "random-tiny", "sizes": [224]},
        ...     policy={"width": 32, "transformer": {"depth": 1, "heads": 2}},
        ... )
        >>> policy.spec.action
        ('dx [m]', 'dy [m]', 'dz [m]', 'gripper [-1 open, 1 close]')
    """
    paths = [demos] if isinstance(demos, str | Path) else list(demos)
    overrides = as_overrides({"demos": paths, "out": out, "encode_workers": 0, **options})
    main(with_defaults(read_options(TrainOptions, compose("train", overrides)), overrides))
    return load_policy(out)


def _prepare(options: TrainOptions, world: World) -> Training:
    demos = choose_demos(options)
    options, remark = decide_variants(options, demos)
    if remark and world.leads:
        print(remark, flush=True)
    check_rollouts(options, demos)
    folder = Folder.of(options, demos)
    episodes = [
        episode
        for source in demos.sources
        for episode in load_episode_features(source, demos.spec, options, world)
    ]
    if options.mask_idle:
        episodes = mask_idle_steps(episodes, demos.spec)
    training, validation = split_episodes(episodes, options.val_fraction, options.seed)
    device = world.device(options.device)
    if world.leads:
        init = Init.of(options)
        told = () if init is None else (str(init),)
        remarks = () if init and not init.refits else normalisation(demos.spec, training)
        print(*told, *remarks, grasp_target(options.policy, demos.spec, training), sep="\n")
    run = start(options, demos.spec, training, identity(options, demos), device)
    extended = folder.resume(run, options, demos)
    if options.in_memory:
        training, validation = into_memory(training), into_memory(validation)
    sizes = (options.policy.n_obs_steps, options.policy.chunk_size)
    windows = WindowDataset(training, *sizes)
    batches = Batches(
        len(windows),
        *(options.batch_size, options.seed, run.step, options.steps),
        rank=world.rank,
        processes=world.size,
        grad_accum_steps=options.grad_accum_steps,
    )
    loader = Loader(windows, batches, options.loader_threads)
    unfinished = run.step < options.steps
    if world.leads and unfinished:
        counts = (len(training), len(validation))
        told = announcement(device, run.model, folder.frozen, len(windows), counts, folder.out)
        print(*filter(None, (told, extended)), sep="\n", flush=True)
        folder.record(options, demos, run, world)
    held_out = WindowDataset(validation, *sizes)
    return Training(options, world, run, folder, loader, held_out, demos, len(training))


@dataclass
class Training:
    """Everything of one training, and the loop over it."""

    options: TrainOptions
    world: World
    run: Run
    folder: Folder
    loader: Loader
    validation: WindowDataset
    demos: Demos
    trained_on: int

    def __post_init__(self) -> None:
        options = self.options
        self._trainer = Trainer(options, self.run, self.world)
        self._rollouts: Rollouts | None = None
        if options.evaluate_every and self.world.leads:
            self._rollouts = Rollouts(self.folder, options.evaluate, options.keep_best)

    def fit(self) -> None:
        """All steps that are left."""
        if self.run.step < self.options.steps:
            try:
                with open_log(self.folder.out, self.options, self.run.step, self.world) as log:
                    self._steps(log)
                    self._finish(log)
            finally:
                if self._rollouts:
                    self._rollouts.stop()
        elif self.world.leads and self._is_left():
            with open_log(self.folder.out, self.options, self.run.step, self.world) as log:
                self._finish(log)

    def _is_left(self) -> bool:
        """Whether rollouts or the page are: a training can be killed after its last step."""
        page = self.options.report and not (self.folder.out / "report.html").is_file()
        return page or (self._rollouts is not None and not self._rollouts.is_finished())

    def summary(self) -> str:
        """The training in one line."""
        values = ", ".join(f"{name} {points[-1][1]:.4f}" for name, points in self._curves().items())
        return f"{self.folder.out}: {self.run.step} steps on {self.trained_on} demos; {values}"

    def _steps(self, log: Log) -> None:
        options, run, first = self.options, self.run, self.run.step
        progress = Progress(
            self.loader,
            desc="train",
            unit="step",
            initial=first,
            total=options.steps,
            disable=not self.world.leads,
        )
        if self.world.leads and first == 0:
            log.show(window_images(self.demos, options.policy.n_obs_steps))
        began = time.perf_counter()
        with deferred() as signals:
            for windows in progress:
                losses = self._trainer.step(windows)
                progress.set_postfix(loss=f"{losses['total']:.4f}", refresh=False)
                if run.step % options.log_every == 0:
                    self._note(log, losses, "train")
                    log.add(self._trainer.optimisation(), run.step)
                if self._rollouts and run.step % options.evaluate_every == 0:
                    self._rollouts.snapshot(run)
                is_due = run.step % options.checkpoint_every == 0 or run.step == options.steps
                if is_due:
                    self._save(log)
                if number := self.world.largest(signals.number):
                    self._obey(signals, number, saved=is_due)
        seconds = time.perf_counter() - began
        if self.world.leads:
            self.folder.timed(run.step - first, seconds, self.loader.waited)
            rate, share = (run.step - first) / seconds, self.loader.waited / seconds
            print(f"{rate:.2f} steps/s, {share:.1%} of the time spent waiting for data")

    def _obey(self, signals: Deferred, number: int, saved: bool) -> None:
        """Saves the step of now, without scoring it, and does what the signal asks for."""
        if self.world.leads:
            if not saved:
                self.folder.save(self.run, False, self._curves())
            at = f"{self.folder.out}: step {self.run.step} of {self.options.steps} is saved"
            print(f"{at}, the same command goes on from there", file=sys.stderr)
        self.world.wait()
        signals.deliver(number)

    def _save(self, log: Log) -> None:
        """By the process that leads; the others wait."""
        if self.world.leads:
            if len(self.validation):
                scores = validate(self.run.kept, self.validation, self.options.batch_size)
                self._note(log, scores, "validation")
            if self._rollouts:
                self._rollouts.go_on()
            self.folder.save(self.run, self.options.keep_best and self._rollouts is None, self._curves())
        self.world.wait()

    def _note(self, log: Log, losses: dict[str, float], where: str) -> None:
        has_grasp = self.run.model.config.predicts_grasp
        named = {f"{name}/{where}": value for name, value in losses.items() if has_grasp or name != "grasp"}
        for name, value in named.items():
            self.run.log(name, value)
        log.add(named, self.run.step)

    def _finish(self, log: Log) -> None:
        """Rollouts that are still to be made, and the page."""
        if not self.world.leads:
            return
        if self._rollouts:
            self._rollouts.finish()
            for step, rate in self._curves().get(CURVE, []):
                log.add({CURVE: rate}, step)
            write_json(self.folder.out / "curves.json", self._curves())
        if self.options.report:
            from s2robot.train.report import write_training_report  # here: Matplotlib takes a second

            write_training_report(self.folder.out, self._curves())

    def _curves(self) -> dict[str, list[tuple[int, float]]]:
        """Those of the run and, as far as they have been made, of its rollouts."""
        return self.run.curves | (self._rollouts.curve(self.run.step) if self._rollouts else {})
