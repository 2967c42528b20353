"""One rollout of an evaluation: what decides it, who acts, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium
import numpy as np

from s2robot.config.targets import instantiate, instantiate_recorded
from s2robot.config.trust import check_imports
from s2robot.core.errors import UserError
from s2robot.core.rollout import Actor, Subscriber, run_episode
from s2robot.core.spec import Observation, RobotSpec
from s2robot.core.task import Start, Task
from s2robot.data.recorder import Recorder
from s2robot.evaluation.episodes import RolloutStore
from s2robot.evaluation.fingerprint import Fingerprint
from s2robot.evaluation.options import EvaluateOptions, RolloutOptions
from s2robot.evaluation.trace import GraspTrace, SceneTrace
from s2robot.evaluation.unfinished import Rollout
from s2robot.policy.checkpoint import checkpoint_sha256, load_policy, read_config
from s2robot.tasks import load_task
from s2robot.utils.video import encode_mp4, side_by_side
from s2robot.utils.workers import Heartbeat

if TYPE_CHECKING:
    from s2robot.policy.policy import Policy

REPEAT = 10_000
"""What is between the indices of two rollouts from the same start."""
_FILMED = 16  # the first so many seeds, of a task without fixed starts


@dataclass(frozen=True)
class RolloutSpec:
    """A rollout to be made.

    Attributes:
        index: the fixed starts are numbered first, all of them, then the random ones. So a start has its
            index, and its seed, however many are evaluated. The second rollout from it is numbered `REPEAT`
            further on, and so forth.
        start: where it begins.
        seed: of the environment.
        filmed: whether a film is made.
    """

    index: int
    start: Start
    seed: int
    filmed: bool


class EvalConfig(NamedTuple):
    """What the rollouts of an evaluation have in common, as files and other processes take it.

    Attributes:
        options: as the evaluation keeps them.
        env: config of the environment, seen through the policy's cameras, as the perturbation has it.
        channel: config of a wrapper that stands between policy and environment, or None.
        is_chosen: the user chose the environment; otherwise a file names it, and only what is ours is made.
        store: path of the demo store that keeps the rollouts, or None.
    """

    options: RolloutOptions
    env: dict[str, Any]
    channel: dict[str, Any] | None = None
    is_chosen: bool = False
    store: str | None = None

    @property
    def checkpoint(self) -> str:
        if self.options.checkpoint is None:
            raise UserError("checkpoint is missing: give checkpoint=PATH (the folder `s2robot train` wrote)")
        return self.options.checkpoint

    def make(self, config: Any, **arguments: Any) -> Any:
        """Instantiates the environment or its task."""
        return (instantiate if self.is_chosen else instantiate_recorded)(config, **arguments)

    def task(self) -> Task:
        """The task, made without the simulator."""
        return load_task(self.env, self.make)


@dataclass(frozen=True)
class WorkerContext:
    """What a process needs for its rollouts, made once."""

    env: gymnasium.Env
    task: Task
    actor: Actor
    store: RolloutStore | None = None


def make_config(options: EvaluateOptions) -> tuple[EvalConfig, RobotSpec]:
    """What the rollouts have in common, and what the policy's robot observes and takes.

    Raises UserError for an unknown perturbation, and for a checkpoint that is missing or was trained on demos
    of no simulated environment while none is chosen.
    """
    recorded = options.recorded()
    config = read_config(EvalConfig(recorded, {}).checkpoint)
    env = dict(options.env or config["env"] or {})
    if not env:
        raise UserError(
            f"{options.checkpoint} was trained on demos of no simulated environment: choose one, "
            "e.g. env=toy, or score=offline: the error of its actions on demos"
        )
    if "cameras" in env:
        env["cameras"] = list(config["policy"]["cameras"])
    if options.max_steps is not None:
        env["max_steps"] = options.max_steps
    if options.env is None:
        check_imports(env)
    common = EvalConfig(recorded, env, None, options.env is not None, options.store)
    if options.perturbation is not None:
        changes = perturbation(common.task(), options.perturbation)
        common = common._replace(env={**env, **changes["env"]}, channel=changes["channel"])
    return common, RobotSpec.from_dict(config["robot_spec"])


def perturbation(task: Task, name: str) -> dict[str, Any]:
    """What a perturbation of a task changes. Raises UserError for one that the task does not have."""
    if task.perturbations is None:
        raise UserError(f"perturbation={name}: the task {task.name} has none")
    return instantiate(task.perturbations, name=name)


def rollout_specs(options: RolloutOptions, task: Task) -> list[RolloutSpec]:
    """`repeats` rollouts from the first `starts` of the fixed starts, then from the random ones.

    Filmed are the first from each fixed start; of a task without fixed starts, the first few.
    """
    count, extra, seed = options.starts, options.random_starts, options.seed
    fixed = len(task.fixed_starts)
    if not fixed and extra:
        raise UserError(
            f"random_starts={extra}: the starts of {task.name} are seeds: give starts={count + extra}"
        )
    first = task.starts(count)
    if count + extra < 1 or max(fixed, count) + extra > REPEAT:
        raise UserError(
            f"starts={count} random_starts={extra}: expected 1 or more in all, "
            f"and at most {REPEAT - fixed} random ones"
        )
    parts = list(enumerate(first)), list(enumerate(task.random_starts(extra, seed), start=fixed))
    chosen = [(i + k * REPEAT, start) for part in parts for k in range(options.repeats) for i, start in part]
    return [RolloutSpec(i, start, env_seed(seed, i), i < (fixed or _FILMED)) for i, start in chosen]


def env_seed(seed: int, index: int) -> int:
    """The environment's seed for rollout `index` of an evaluation."""
    return int(np.random.SeedSequence([seed, index, 6]).generate_state(1)[0])


def make_executor(policy: Policy, options: RolloutOptions) -> Actor:
    """How the predicted chunks become actions."""
    from s2robot.policy.policy import ChunkExecutor, TemporalEnsemble

    if options.execution == "ensemble":
        return TemporalEnsemble(policy, options.decay)
    return ChunkExecutor(policy, options.n_action_steps)


def make_context(common: EvalConfig) -> WorkerContext:
    """The simulator, who acts in it, and where rollouts are kept, if anywhere; with one thread.

    Raises UserError where the task has no expert, and where a chosen environment is not the policy's.
    """
    import torch  # here: the process that only hands out rollouts is at its first one seconds earlier

    torch.set_num_threads(1)
    env = common.make(common.env)
    spec, task = env.unwrapped.robot_spec, common.task()
    if common.options.actor == "expert":
        if task.expert is None:
            raise UserError(f"actor=expert: the task {task.name} has no scripted expert")
        actor = instantiate(task.expert, env=env)
    else:
        policy = load_policy(common.checkpoint)
        if common.is_chosen:
            _check_same_robot(spec, policy.spec)
        actor = make_executor(policy, common.options)
    if common.channel is not None:
        env = instantiate_recorded(common.channel, env=env)
    path = common.store
    return WorkerContext(env, task, actor, None if path is None else RolloutStore(path, spec, origin(common)))


def _check_same_robot(spec: RobotSpec, trained: RobotSpec) -> None:
    """Raises UserError where the environment has other entries or cameras than the policy was trained on."""
    for name in ("proprio", "action", "action_space"):
        mine, theirs = getattr(spec, name), getattr(trained, name)
        if mine != theirs:
            raise UserError(f"the environment is not the policy's: {name}: {mine} against {theirs}")
    if missing := [name for name in trained.cameras if name not in spec.cameras]:
        raise UserError(
            f"the environment is not the policy's: it lacks the cameras {', '.join(missing)}; "
            f"it has {', '.join(spec.cameras)}"
        )


def origin(common: EvalConfig) -> dict[str, Any]:
    """Where rollouts come from, for the store that keeps them."""
    chosen = {
        name: getattr(common.options, name)
        for name in ("seed", "actor", "execution", "n_action_steps", "decay")
    }
    sha256 = checkpoint_sha256(common.checkpoint)
    return {"env": common.env, "channel": common.channel, "checkpoint_sha256": sha256, **chosen}


class FrameCollector(Subscriber):
    """The frames of all cameras side by side, for a video."""

    def on_reset(self, observation: Observation, info: dict[str, Any]) -> None:
        self.frames: list[np.ndarray] = []

    def on_step(self, observation: Observation, action: np.ndarray, info: dict[str, Any]) -> None:
        self.frames.append(side_by_side(observation["images"].values()))


def roll_out(context: WorkerContext, spec: RolloutSpec) -> Rollout:
    """A pure function of (checkpoint, options, spec): order and workers change nothing."""
    env = context.env
    scenes, grasps = SceneTrace(env, context.task), GraspTrace(context.actor)
    fingerprint, collector, recorder = Fingerprint(env), FrameCollector(), Recorder()
    subscribers = [Heartbeat(), scenes, grasps, fingerprint, *([collector] if spec.filmed else [])]
    subscribers += [recorder] if context.store is not None else []
    ended = run_episode(
        env, context.actor, seed=spec.seed, options=spec.start.options, subscribers=subscribers
    )
    failure = scenes.failure(ended.success)
    outcome = {
        "index": spec.index,
        "start": spec.start.to_dict(),
        "success": ended.success,
        "steps": ended.steps,
        **({} if ended.progress is None else {"progress": ended.progress}),
        "seed": spec.seed,
        "failure": failure and failure.label,
        "failure_text": failure and failure.text,
        "metrics": {
            **(failure.metrics if failure else {}),
            **context.task.metrics(scenes.scenes, grasps.offsets),
        },
        "digests": fingerprint.digests(),
    }
    if context.store is not None:
        context.store.keep(recorder, outcome)
    film = encode_mp4(collector.frames, env.get_wrapper_attr("robot_spec").rate) if spec.filmed else None
    return Rollout(spec.index, outcome, film)
