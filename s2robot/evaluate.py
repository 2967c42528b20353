"""`s2robot evaluate`: counts a checkpoint's successes at the 16 positions, and at further ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from s2robot.config import instantiate
from s2robot.errors import UserError, unknown
from s2robot.failures import Trace, in_words
from s2robot.policy.checkpoint import checkpoint_sha256, load_policy, read_config
from s2robot.policy.policy import ChunkExecutor, Policy, TemporalEnsemble
from s2robot.provenance import machine, versions, write_json
from s2robot.report import RolloutVideo, headline, write_report
from s2robot.rollout import Actor, Subscriber, run_episode
from s2robot.spec import Observation, RobotSpec
from s2robot.statistics import wilson
from s2robot.video import encode_mp4
from s2robot.workers import run_jobs

EXECUTIONS = ("chunk", "ensemble")
_VIDEO_SIDE = 224  # px


def main(cfg: DictConfig) -> None:
    """Runs the rollouts, writes `evaluation.json` and `report.html` into `out`.

    Raises UserError where an evaluation lies there already, unless `overwrite`.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    if cfg.execution not in EXECUTIONS:
        raise unknown("execution", cfg.execution, EXECUTIONS)
    out = Path(cfg.out)
    if (out / "evaluation.json").exists() and not cfg.overwrite:
        raise UserError(f"{out} holds an evaluation already: give another out=, or overwrite=true")
    torch.set_num_threads(1)
    env, spec = environment(plain)
    poses = positions(plain)
    jobs = [(i, pose, i < plain["positions"]) for i, pose in enumerate(poses)]
    results: dict[int, tuple[dict[str, Any], bytes | None]] = {}
    with tqdm(total=len(jobs), desc="evaluate", unit="rollout") as progress:
        for index, outcome, video in run_jobs(
            _roll_out, jobs, workers=min(cfg.workers, len(jobs)), start=_start, start_args=(plain, env)
        ):
            results[index] = (outcome, video)
            progress.set_postfix(successes=sum(o["success"] for o, _ in results.values()))
            progress.update()
    ordered = [results[i] for i in range(len(jobs))]
    evaluation = _evaluation(plain, env, spec, [outcome for outcome, _ in ordered])
    write_json(out / "evaluation.json", evaluation)
    videos = [_video(i, o, v) for i, (o, v) in enumerate(ordered) if v is not None]
    write_report(out / "report.html", evaluation, videos, _curves(Path(cfg.checkpoint)), _stages(cfg.stages))
    print(f"{headline(evaluation)}: open {out / 'report.html'}")
    if evaluation["extra"]:
        print(f"and at the further positions: {headline(evaluation['extra'])}")


def environment(plain: dict[str, Any]) -> tuple[dict[str, Any], RobotSpec]:
    """The config of the environment of the demos, seen through the policy's cameras; its spec."""
    config = read_config(plain["checkpoint"])
    if config["env"] is None:
        raise UserError(f"{plain['checkpoint']} was trained on demos of no simulated environment")
    env = {**config["env"], "cameras": list(config["policy"]["cameras"])}
    if plain["max_steps"] is not None:
        env["max_steps"] = plain["max_steps"]
    return env, RobotSpec.from_dict(config["robot_spec"])


def positions(plain: dict[str, Any]) -> list[Sequence[float]]:
    """The first `positions` of the 16 and `extra` further ones: (x [m], y [m], yaw [rad])."""
    fixed = instantiate(plain["position_source"])
    count, extra = plain["positions"], plain["extra"]
    if not 0 <= count <= len(fixed) or extra < 0 or count + extra < 1:
        raise UserError(
            f"positions={count} extra={extra}: expected 0 to {len(fixed)} positions, "
            "any number of further ones, and at least one in all"
        )
    return [*fixed[:count], *instantiate(plain["extra_source"], count=extra, seed=plain["seed"])]


# ---------------------------------------------------------------------- one rollout


class FrameCollector(Subscriber):
    """The first camera's frames, for a video."""

    def on_reset(self, observation: Observation, info: dict[str, Any]) -> None:
        self.frames: list[np.ndarray] = []

    def on_step(self, observation: Observation, action: np.ndarray, info: dict[str, Any]) -> None:
        frame = next(iter(observation["images"].values()))
        self.frames.append(frame[:: max(1, len(frame) // _VIDEO_SIDE), :: max(1, len(frame) // _VIDEO_SIDE)])


def make_executor(policy: Policy, plain: dict[str, Any]) -> Actor:
    """How the predicted chunks become actions."""
    if plain["execution"] == "ensemble":
        return TemporalEnsemble(policy, plain["decay"])
    return ChunkExecutor(policy, plain["horizon"])


def _start(plain: dict[str, Any], env: dict[str, Any]) -> tuple[dict[str, Any], gymnasium.Env, Actor]:
    torch.set_num_threads(1)
    return plain, instantiate(env), make_executor(load_policy(plain["checkpoint"]), plain)


def _roll_out(
    context: tuple[dict[str, Any], gymnasium.Env, Actor], job: tuple[int, Sequence[float], bool]
) -> tuple[int, dict[str, Any], bytes | None]:
    """Rollout i is a pure function of (checkpoint, seed, i): order and workers change nothing."""
    plain, env, executor = context
    index, (x, y, yaw), filmed = job
    seed = int(np.random.SeedSequence([plain["seed"], index, 6]).generate_state(1)[0])
    trace, collector = Trace(env), FrameCollector()
    options, subscribers = {"cube_pose": (x, y, yaw)}, [trace, collector] if filmed else [trace]
    outcome = run_episode(env, executor, seed=seed, options=options, subscribers=subscribers)
    result = {"x": x, "y": y, "yaw": yaw, "success": outcome.success, "steps": outcome.steps, "seed": seed}
    failure = trace.failure(outcome.success)
    result["failure"] = failure and failure.kind
    result["missed_by_m"] = failure and failure.missed_by
    return index, result, encode_mp4(collector.frames, env.metadata["render_fps"]) if filmed else None


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


def _evaluation(
    plain: dict[str, Any], env: dict[str, Any], spec: RobotSpec, outcomes: list[dict[str, Any]]
) -> dict[str, Any]:
    fixed, further = outcomes[: plain["positions"]], outcomes[plain["positions"] :]
    config = read_config(plain["checkpoint"])
    return {
        **tally(fixed or further),
        "extra": tally(further) if fixed and further else None,
        "seed": plain["seed"],
        "versions": versions(),
        "machine": machine(),
        "checkpoint_sha256": checkpoint_sha256(plain["checkpoint"]),
        "config": {
            "evaluate": {k: v for k, v in plain.items() if k not in ("workers", "stages", "overwrite")},
            "env": env,
            **{k: config[k] for k in ("policy", "encoder", "encoder_identity", "training", "demos_sha256")},
        },
        "rate": spec.rate,
        "max_steps": env["max_steps"],
        "rectangle": plain["rectangle"],
    }


def _video(index: int, outcome: dict[str, Any], mp4: bytes) -> RolloutVideo:
    x, y = (f"{100 * outcome[axis]:+.1f} cm" for axis in ("x", "y"))
    why = "" if outcome["success"] else f", {in_words(outcome)}"
    title = f"position {index}: x {x}, y {y}, {outcome['steps']} steps{why}"
    return RolloutVideo(title, outcome["success"], mp4)


def _curves(checkpoint: Path) -> dict[str, list[tuple[int, float]]] | None:
    path = checkpoint / "curves.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _stages(path: str | None) -> list[tuple[str, float]] | None:
    return None if path is None else list(json.loads(Path(path).read_text()).items())
