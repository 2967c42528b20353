"""`s2robot train`: the loop, on one process or many."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from s2robot.config.checks import check_device, check_folder, check_least
from s2robot.core.errors import UserError
from s2robot.data.dataset import WindowDataset
from s2robot.data.episode import MARKER
from s2robot.policy.config import check_policy
from s2robot.train.batches import Batches, Loader
from s2robot.train.checkpointing import Folder, identity
from s2robot.train.demos import choose_demos, load_episode_features, split_episodes
from s2robot.train.log import Log, open_log
from s2robot.train.memory import into_memory
from s2robot.train.report import write_training_report
from s2robot.train.rollouts import CURVE, Rollouts, check_rollouts
from s2robot.train.run import Run, Trainer, start, validate
from s2robot.utils.distributed import World, join_world
from s2robot.utils.provenance import write_json


def main(cfg: DictConfig) -> None:
    """Trains `steps` steps, or goes on to them, and leaves the policy's checkpoint in `out`."""
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    check_options(plain)
    with join_world() as world:
        torch.set_num_threads(world.threads(plain["threads"]))
        training = _prepare(plain, world)
        training.fit()
        if world.leads:
            print(training.summary())


def check_options(plain: dict[str, Any]) -> None:
    """What would be found out after the features are encoded, or never. Raises UserError."""
    check_least(
        plain, 1, "steps", "batch_size", "grad_accum_steps", "log_every", "checkpoint_every", "threads"
    )
    check_least(plain, 0, "seed", "warmup", "weight_decay", "encode_workers", "loader_threads")
    for name in ("lr", "grad_clip_norm"):
        if not plain[name] > 0:
            raise UserError(f"{name}={plain[name]}: expected more than 0")
    if plain["device"] is not None:
        check_device(plain["device"])
    check_policy(plain["policy"])
    check_folder(plain["out"])
    if (Path(plain["out"]) / MARKER).exists():
        raise UserError(f"{plain['out']} is a demo store: give another out=")


def _prepare(plain: dict[str, Any], world: World) -> Training:
    demos = choose_demos(plain)
    check_rollouts(plain, demos)
    episodes = [
        episode
        for source in demos.sources
        for episode in load_episode_features(source, demos.spec, plain, world)
    ]
    training, validation = split_episodes(episodes, plain["val_fraction"], plain["seed"])
    device = world.device(plain["device"])
    run = start(plain, demos.spec, training, identity(plain, demos), device)
    folder = Folder.of(plain, demos)
    folder.resume(run)
    if plain["in_memory"]:
        training, validation = into_memory(training), into_memory(validation)
    sizes = (plain["policy"]["n_obs_steps"], plain["policy"]["chunk_size"])
    windows = WindowDataset(training, *sizes)
    batches = Batches(
        len(windows),
        *(plain["batch_size"], plain["seed"], run.step, plain["steps"]),
        rank=world.rank,
        processes=world.size,
        grad_accum_steps=plain["grad_accum_steps"],
    )
    loader = Loader(windows, batches, plain["loader_threads"])
    unfinished = run.step < plain["steps"]
    if world.leads and unfinished:
        folder.record(plain, demos, run, world)
    return Training(plain, world, run, folder, loader, WindowDataset(validation, *sizes), len(training))


@dataclass
class Training:
    """Everything of one training, and the loop over it."""

    plain: dict[str, Any]
    world: World
    run: Run
    folder: Folder
    loader: Loader
    validation: WindowDataset
    demos: int

    def __post_init__(self) -> None:
        plain = self.plain
        self._trainer = Trainer(plain, self.run, self.world)
        self._rollouts: Rollouts | None = None
        if plain["evaluate_every"] and self.world.leads:
            self._rollouts = Rollouts(self.folder, plain["evaluate"], plain["keep_best"])

    def fit(self) -> None:
        """All steps that are left."""
        if self.run.step < self.plain["steps"]:
            try:
                with open_log(self.folder.out, self.plain, self.run.step, self.world) as log:
                    self._steps(log)
                    self._finish(log)
            finally:
                if self._rollouts:
                    self._rollouts.stop()
        elif self.world.leads and self._is_left():
            with open_log(self.folder.out, self.plain, self.run.step, self.world) as log:
                self._finish(log)

    def _is_left(self) -> bool:
        """Whether rollouts or the page are: a training can be killed after its last step."""
        page = self.plain["report"] and not (self.folder.out / "report.html").is_file()
        return page or (self._rollouts is not None and not self._rollouts.is_finished())

    def summary(self) -> str:
        """The training in one line."""
        values = ", ".join(f"{name} {points[-1][1]:.4f}" for name, points in self._curves().items())
        return f"{self.folder.out}: {self.run.step} steps on {self.demos} demos; {values}"

    def _steps(self, log: Log) -> None:
        plain, run, first = self.plain, self.run, self.run.step
        progress = tqdm(
            self.loader,
            desc="train",
            unit="step",
            initial=first,
            total=plain["steps"],
            disable=not self.world.leads,
        )
        began = time.perf_counter()
        for windows in progress:
            losses = self._trainer.step(windows)
            if run.step % plain["log_every"] == 0:
                self._note(log, losses, "train")
                progress.set_postfix(loss=f"{losses['total']:.4f}")
            if self._rollouts and run.step % plain["evaluate_every"] == 0:
                self._rollouts.snapshot(run)
            if run.step % plain["checkpoint_every"] == 0 or run.step == plain["steps"]:
                self._save(log)
        seconds = time.perf_counter() - began
        if self.world.leads:
            self.folder.timed(run.step - first, seconds, self.loader.waited)
            rate, share = (run.step - first) / seconds, self.loader.waited / seconds
            print(f"{rate:.2f} steps/s, {share:.1%} of the time spent waiting for data")

    def _save(self, log: Log) -> None:
        """By the process that leads; the others wait."""
        if self.world.leads:
            if len(self.validation):
                scores = validate(self.run.kept, self.validation, self.plain["batch_size"])
                self._note(log, scores, "validation")
            if self._rollouts:
                self._rollouts.go_on()
            self.folder.save(self.run, self.plain["keep_best"] and self._rollouts is None, self._curves())
        self.world.wait()

    def _note(self, log: Log, losses: dict[str, float], where: str) -> None:
        named = {f"{name}/{where}": value for name, value in losses.items()}
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
        if self.plain["report"]:
            write_training_report(self.folder.out, self._curves())

    def _curves(self) -> dict[str, list[tuple[int, float]]]:
        """Those of the run and, as far as they have been made, of its rollouts."""
        return self.run.curves | (self._rollouts.curve(self.run.step) if self._rollouts else {})
