"""`s2robot evaluate`: counts a checkpoint's successes at the 16 positions, and at further ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from s2robot.config.checks import check_folder, check_least
from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import RobotSpec
from s2robot.evaluation.episodes import check_origin
from s2robot.evaluation.failures import grasp_error_in_words, in_words
from s2robot.evaluation.replay import replay
from s2robot.evaluation.rollouts import (
    EvalConfig,
    RolloutSpec,
    WorkerContext,
    jobs,
    origin,
    read_setting,
    roll_out,
    set_stage,
)
from s2robot.evaluation.unfinished import Rollout, Unfinished
from s2robot.policy.checkpoint import checkpoint_sha256, read_config
from s2robot.reports.evaluation import RolloutVideo, headline, write_report
from s2robot.statistics import wilson
from s2robot.utils.provenance import git_state, machine, versions, write_json
from s2robot.utils.workers import run_jobs

_CHOICES = {"execution": ("chunk", "ensemble"), "actor": ("policy", "expert")}
_REQUIRED = {"checkpoint": "the folder `s2robot train` wrote", "out": "the folder to write into"}
_NO_SETTINGS = ("workers", "stages", "overwrite", "replay", "position", "store")
"""Options that change no outcome."""
_PLACES = ("checkpoint", "out", "positions", "extra", "repeats", "spawn_region")
"""And those that only say where things are, and how many rollouts there are to be."""


def main(cfg: DictConfig) -> int:
    """Runs the rollouts, writes `evaluation.json` and `report.html` into `out`; or replays one of them.

    Rollouts that an earlier run with the same options has finished are not made again. Raises UserError where
    an evaluation lies there already, or rollouts with other options, unless `overwrite`.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    if plain["replay"] is not None:
        return replay(plain)
    for name, what in _REQUIRED.items():
        if plain[name] is None:
            raise UserError(f"{name} is missing: give {name}=PATH ({what})")
    for name, valid in _CHOICES.items():
        if plain[name] not in valid:
            raise unknown(name, plain[name], valid)
    out = Path(cfg.out)
    check_least(plain, 0, "positions", "extra", "workers", "seed")
    check_least(plain, 1, "max_steps")
    check_folder(out)
    if (out / "evaluation.json").exists() and not cfg.overwrite:
        raise UserError(f"{out} holds an evaluation already: give another out=, or overwrite=true")
    stages, curves = _stages(plain["stages"]), _curves(Path(cfg.checkpoint))
    torch.set_num_threads(1)
    setting, spec = read_setting(plain)
    todo = jobs(plain)
    if plain["store"] is not None:
        check_origin(plain["store"], {"device": "policy", **origin(setting)})
    unfinished = Unfinished.begin(out, _identity(setting), cfg.overwrite)
    rollouts = _roll_out_all(setting, todo, unfinished)
    evaluation = _evaluation(setting, spec, [rollout.outcome for rollout in rollouts])
    videos = [_video(rollout) for rollout in rollouts if rollout.film is not None]
    write_report(out / "report.html", evaluation, videos, curves, stages)
    write_json(out / "evaluation.json", evaluation)
    unfinished.discard()
    print(f"{headline(evaluation)}: open {out / 'report.html'}")
    if evaluation["extra"]:
        print(f"and at the further positions: {headline(evaluation['extra'])}")
    if sight := grasp_error_in_words(rollout.outcome for rollout in rollouts):
        print(sight)
    return 0


def _roll_out_all(setting: EvalConfig, todo: list[RolloutSpec], unfinished: Unfinished) -> list[Rollout]:
    """Every rollout in the order of the jobs: those that are kept, and the others."""
    done = unfinished.kept({job.index for job in todo})
    missing = [job for job in todo if job.index not in done]
    workers = min(setting.options["workers"], len(missing))
    with tqdm(total=len(todo), initial=len(done), desc="evaluate", unit="rollout") as progress:
        for rollout in run_jobs(
            _keep_rollout, missing, workers=workers, start=_start, start_args=(setting, unfinished)
        ):
            done[rollout.index] = rollout
            progress.set_postfix(successes=sum(r.outcome["success"] for r in done.values()))
            progress.update()
    return [done[job.index] for job in todo]


def _start(setting: EvalConfig, unfinished: Unfinished) -> tuple[WorkerContext, Unfinished]:
    return set_stage(setting), unfinished


def _keep_rollout(context: tuple[WorkerContext, Unfinished], job: RolloutSpec) -> Rollout:
    stage, unfinished = context
    rollout = roll_out(stage, job)
    unfinished.keep(rollout)
    return rollout


# ---------------------------------------------------------------------- what is written


def tally(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    """Successes, trials, rate, Wilson's 95 % interval, and the outcomes themselves."""
    successes, trials = sum(o["success"] for o in outcomes), len(outcomes)
    return {
        "successes": successes,
        "trials": trials,
        "success_rate": successes / trials,
        "wilson_95": list(wilson(successes, trials)),
        "positions": outcomes,
    }


def _identity(setting: EvalConfig) -> dict[str, Any]:
    """All that decides the outcome of a rollout from a position."""
    return {
        "checkpoint": checkpoint_sha256(setting.options["checkpoint"]),
        "options": {k: v for k, v in setting.options.items() if k not in (*_NO_SETTINGS, *_PLACES)},
        "env": setting.env,
        "versions": versions(),
    }


def _recorded(options: dict[str, Any]) -> dict[str, Any]:
    """The options that an evaluation tells; those for controls only where they are used."""
    left_out = set(_NO_SETTINGS)
    if options["suite"] is None:
        left_out |= {"suite", "suite_source"}
    if options["actor"] == "policy":
        left_out |= {"actor", "expert_source"}
    return {name: value for name, value in options.items() if name not in left_out}


def _evaluation(setting: EvalConfig, spec: RobotSpec, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    plain = setting.options
    channel = {} if setting.channel is None else {"channel": setting.channel}
    count = plain["positions"] * plain["repeats"]
    fixed, further = outcomes[:count], outcomes[count:]
    config = read_config(plain["checkpoint"])
    return {
        **tally(fixed or further),
        "extra": tally(further) if fixed and further else None,
        "seed": plain["seed"],
        "versions": versions(),
        "git": git_state(),
        "machine": machine(),
        "checkpoint_sha256": checkpoint_sha256(plain["checkpoint"]),
        "config": {
            "evaluate": _recorded(plain),
            "env": setting.env,
            **channel,
            **{k: config[k] for k in ("policy", "encoder", "encoder_identity", "training", "demos_sha256")},
        },
        "rate": spec.rate,
        "max_steps": setting.env["max_steps"],
        "spawn_region": plain["spawn_region"],
    }


def _video(rollout: Rollout) -> RolloutVideo:
    outcome = rollout.outcome
    x, y = (f"{100 * outcome[axis]:+.1f} cm" for axis in ("x", "y"))
    why = "" if outcome["success"] else f", {in_words(outcome)}"
    title = f"position {rollout.index}: x {x}, y {y}, {outcome['steps']} steps{why}"
    assert rollout.film is not None
    return RolloutVideo(title, outcome["success"], rollout.film)


def _curves(checkpoint: Path) -> dict[str, list[tuple[int, float]]] | None:
    path = checkpoint / "curves.json"
    return _read(path) if path.is_file() else None


def _stages(path: str | None) -> list[tuple[str, float]] | None:
    return None if path is None else list(_read(Path(path)).items())


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__}: expected names and values")
    return content
