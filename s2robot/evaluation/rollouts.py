"""One rollout of an evaluation: what decides it, who acts, and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch

from s2robot.config import instantiate
from s2robot.core.errors import UserError
from s2robot.core.rollout import Actor, Subscriber, run_episode
from s2robot.core.spec import Observation, RobotSpec
from s2robot.data.recorder import Recorder
from s2robot.evaluation.episodes import RolloutStore
from s2robot.evaluation.failures import Trace
from s2robot.evaluation.fingerprint import Fingerprint
from s2robot.evaluation.grasp_error import GraspErrorTrace
from s2robot.evaluation.unfinished import Rollout
from s2robot.policy.checkpoint import checkpoint_sha256, load_policy, read_config
from s2robot.policy.policy import ChunkExecutor, Policy, TemporalEnsemble
from s2robot.utils.video import encode_mp4

REPEAT = 10_000
"""What is between the numbers of two rollouts from the same position."""
_VIDEO_SIDE = 224  # px


class RolloutSpec(NamedTuple):
    """A rollout to be made.

    Attributes:
        index: of the position: the fixed ones are numbered first, all of them, then the further ones. So a
            position has its number, and its seed, however many are evaluated. The second rollout from it is
            numbered `REPEAT` further on, and so forth.
        pose: (x [m], y [m], yaw [rad]) of the cube.
        seed: of the environment.
        filmed: whether a film is made.
    """

    index: int
    pose: Sequence[float]
    seed: int
    filmed: bool


class EvalConfig(NamedTuple):
    """What the rollouts of an evaluation have in common, as files and other processes take it.

    Attributes:
        options: of `configs/evaluate.yaml`.
        env: config of the environment of the demos, seen through the policy's cameras, as the suite has it.
        channel: config of a wrapper that stands between the two, or None.
    """

    options: dict[str, Any]
    env: dict[str, Any]
    channel: dict[str, Any] | None = None


@dataclass(frozen=True)
class WorkerContext:
    """What a process needs for its rollouts, made once."""

    env: gymnasium.Env
    actor: Actor
    store: RolloutStore | None = None


def read_setting(plain: dict[str, Any]) -> tuple[EvalConfig, RobotSpec]:
    """The setting of an evaluation, and what its robot observes and takes.

    Raises UserError for an unknown suite, and for a checkpoint that is missing or was trained on demos of no
    simulated environment.
    """
    config = read_config(plain["checkpoint"])
    if config["env"] is None:
        raise UserError(f"{plain['checkpoint']} was trained on demos of no simulated environment")
    env = {**config["env"], "cameras": list(config["policy"]["cameras"])}
    if plain["max_steps"] is not None:
        env["max_steps"] = plain["max_steps"]
    suite = {"env": {}, "channel": None}
    if plain["suite"] is not None:
        suite = instantiate(plain["suite_source"], name=plain["suite"])
    return EvalConfig(plain, {**env, **suite["env"]}, suite["channel"]), RobotSpec.from_dict(
        config["robot_spec"]
    )


def jobs(plain: dict[str, Any]) -> list[RolloutSpec]:
    """`repeats` rollouts from the first `positions` of the fixed positions, then from `extra` further ones.

    Filmed are the first from each fixed position.
    """
    fixed = instantiate(plain["position_source"])
    count, extra, seed = plain["positions"], plain["extra"], plain["seed"]
    if not 0 <= count <= len(fixed) or extra < 0 or count + extra < 1:
        raise UserError(
            f"positions={count} extra={extra}: expected 0 to {len(fixed)} positions, "
            "any number of further ones, and at least one in all"
        )
    further = instantiate(plain["extra_source"], count=extra, seed=seed)
    if not 1 <= plain["repeats"] < 100 or len(fixed) + extra > REPEAT:
        raise UserError(
            f"repeats={plain['repeats']} extra={extra}: expected 1 to 99 rollouts from each position, "
            f"at most {REPEAT - len(fixed)} further positions"
        )
    parts = list(enumerate(fixed[:count])), list(enumerate(further, start=len(fixed)))
    chosen = [(i + k * REPEAT, pose) for part in parts for k in range(plain["repeats"]) for i, pose in part]
    return [RolloutSpec(i, pose, env_seed(seed, i), i < len(fixed)) for i, pose in chosen]


def env_seed(seed: int, index: int) -> int:
    """The environment's seed for position `index` of an evaluation."""
    return int(np.random.SeedSequence([seed, index, 6]).generate_state(1)[0])


def make_executor(policy: Policy, plain: dict[str, Any]) -> Actor:
    """How the predicted chunks become actions."""
    if plain["execution"] == "ensemble":
        return TemporalEnsemble(policy, plain["decay"])
    return ChunkExecutor(policy, plain["n_action_steps"])


def set_stage(setting: EvalConfig) -> WorkerContext:
    """The simulator, who acts in it, and where rollouts are kept, if anywhere; with one thread."""
    torch.set_num_threads(1)
    options, env = setting.options, instantiate(setting.env)
    spec = env.unwrapped.robot_spec
    if options.get("actor") == "expert":
        actor = instantiate(options["expert_source"], env=env)
    else:
        actor = make_executor(load_policy(options["checkpoint"]), options)
    if setting.channel is not None:
        env = instantiate(setting.channel, env=env)
    path = options.get("store")
    return WorkerContext(env, actor, None if path is None else RolloutStore(path, spec, origin(setting)))


def origin(setting: EvalConfig) -> dict[str, Any]:
    """Where rollouts come from, for the store that keeps them."""
    checkpoint = checkpoint_sha256(setting.options["checkpoint"])
    chosen = {
        name: setting.options[name] for name in ("seed", "actor", "execution", "n_action_steps", "decay")
    }
    return {"env": setting.env, "channel": setting.channel, "checkpoint_sha256": checkpoint, **chosen}


class FrameCollector(Subscriber):
    """The first camera's frames, for a video."""

    def on_reset(self, observation: Observation, info: dict[str, Any]) -> None:
        self.frames: list[np.ndarray] = []

    def on_step(self, observation: Observation, action: np.ndarray, info: dict[str, Any]) -> None:
        frame = next(iter(observation["images"].values()))
        self.frames.append(frame[:: max(1, len(frame) // _VIDEO_SIDE), :: max(1, len(frame) // _VIDEO_SIDE)])


def roll_out(stage: WorkerContext, job: RolloutSpec) -> Rollout:
    """A pure function of (checkpoint, options, job): order and workers change nothing."""
    env, (x, y, yaw) = stage.env, job.pose
    trace, fingerprint, collector = Trace(env), Fingerprint(env), FrameCollector()
    recorder, sight = Recorder(), GraspErrorTrace(stage.actor)
    subscribers = [trace, sight, fingerprint, *([collector] if job.filmed else [])]
    subscribers += [recorder] if stage.store is not None else []
    options = {"cube_pose": (x, y, yaw)}
    ended = run_episode(env, stage.actor, seed=job.seed, options=options, subscribers=subscribers)
    failure = trace.failure(ended.success)
    outcome = {
        "index": job.index,
        "x": x,
        "y": y,
        "yaw": yaw,
        "success": ended.success,
        "steps": ended.steps,
        "seed": job.seed,
        "failure": failure and failure.kind,
        "missed_by_m": failure and failure.missed_by,
        "grasp_error_m": sight.off_by(trace.scenes),
        "digests": fingerprint.digests(),
    }
    if stage.store is not None:
        stage.store.keep(recorder, outcome)
    film = encode_mp4(collector.frames, env.metadata["render_fps"]) if job.filmed else None
    return Rollout(job.index, outcome, film)
