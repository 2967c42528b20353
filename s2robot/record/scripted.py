"""Demos of a scripted expert, in several processes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import gymnasium
import numpy as np

from s2robot.config import instantiate
from s2robot.config.targets import check_installed
from s2robot.core.errors import UserError
from s2robot.core.rollout import Outcome, run_episode
from s2robot.data.lossy import lossy_frames
from s2robot.data.recorder import Recorder
from s2robot.data.store import DemoStore
from s2robot.policy.checkpoint import find_checkpoint
from s2robot.record.checkpoint import ActingCheckpoint, load_acting
from s2robot.record.demonstration import Demonstration, make_demonstration
from s2robot.record.options import RecordOptions
from s2robot.record.store import check_attributes, described, store_attributes
from s2robot.record.takeover import TakeOver
from s2robot.teleop.supervision import make_overrulable
from s2robot.utils.progress import Progress
from s2robot.utils.provenance import versions
from s2robot.utils.workers import Heartbeat, Patience, run_jobs

Context = tuple[RecordOptions, gymnasium.Env, Callable[[], DemoStore], ActingCheckpoint | None]


def record_scripted(options: RecordOptions) -> None:
    """Records until the store holds `episodes` successes, and prints a summary.

    Raises UserError for a robot or a checkpoint, an environment without an expert, a store of something else,
    and an expert that fails `attempts` times.
    """
    check_scripted(options)
    missing = _missing(options)
    failures = 0
    done = options.episodes - len(missing)
    with Progress(total=options.episodes, initial=done, desc="record", unit="demo") as progress:
        for attempts in run_jobs(
            _record_one,
            missing,
            workers=min(options.workers, len(missing)),
            start=_start,
            start_args=(options,),
            patience=Patience(options.start_timeout, options.step_timeout, lambda i: f"demo {_id(i)}"),
        ):
            failures += attempts - 1
            progress.set_postfix(failures=failures)
            progress.update()
    store = DemoStore.open(options.out)
    print(*filter(None, (_summary(store), lossy_frames(store))), sep="\n")


def check_scripted(options: RecordOptions) -> None:
    """Raises UserError for what a scripted expert cannot do."""
    if options.robot["_target_"] is not None:
        raise UserError(
            "teleop=none: a scripted expert needs the simulator's state, which no robot "
            "knows: give teleop=browser"
        )
    check_installed(options.env)
    if options.checkpoint is not None:
        find_checkpoint(options.checkpoint)
    if not options.expert:
        raise UserError(
            f"{options.env['_target_']} has no scripted expert: give teleop=browser, "
            "or +expert._target_=FUNCTION"
        )


def _missing(options: RecordOptions) -> list[int]:
    """The numbers of the demos that are left to record; others make up for those dropped or damaged."""
    attributes = store_attributes(options, _identity(options))
    try:
        store = DemoStore.open(options.out)
    except UserError:
        return list(range(options.episodes))  # creating the store says so where something else lies there
    check_attributes(store, attributes)
    free = (i for i in itertools.count() if not os.path.lexists(store.path / _id(i)))
    return list(itertools.islice(free, max(0, options.episodes - len(store))))


def _identity(options: RecordOptions) -> dict[str, Any]:
    takes_over = {} if options.checkpoint is None else {"takeover_after": options.takeover_after}
    return {
        "teleop": options.teleop,
        "seed": options.seed,
        "env": dict(options.env),
        "expert": dict(options.expert),
        **takes_over,
    }


def _id(index: int) -> str:
    return f"{index:06d}"


def _start(options: RecordOptions) -> Context:
    env = instantiate(options.env)
    attributes = store_attributes(options, _identity(options))
    acting = None if options.checkpoint is None else load_acting(options.checkpoint)
    if acting is not None:
        acting.check(env.unwrapped.robot_spec)
    opened = cache(partial(DemoStore.open_or_create, options.out, env.robot_spec, attributes))
    return options, env, opened, acting


def _record_one(context: Context, index: int) -> int:
    """Tries episode `index` until it succeeds; returns the number of tries.

    Each try is a pure function of (seed, index, try). Where a policy acts first, an episode that it finishes
    alone holds nothing to learn, and is tried anew.
    """
    options, env, opened, acting = context
    for attempt in range(options.attempts):
        seeds = [options.seed, index, attempt]
        demonstration = make_demonstration(options.expert, env, np.random.default_rng(seeds))
        if acting is not None:
            policy = make_overrulable(acting.policy, env)
            expert = TakeOver(demonstration.expert, policy, options.takeover_after)
            demonstration = replace(demonstration, expert=expert)
        recorder = Recorder()
        env_seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
        outcome = run_episode(
            demonstration.env,
            demonstration.expert,
            seed=env_seed,
            options=demonstration.start.options,
            subscribers=[recorder, Heartbeat()],
        )
        is_demo = outcome.success or demonstration.keep_failures
        if is_demo and any(demonstration.expert.action_loss_mask):
            attributes = _attributes(options, demonstration, outcome, env_seed, attempt)
            attributes |= {} if acting is None else {"policy": acting.origin}
            store = opened()  # now: whatever cannot be recorded leaves no store behind
            try:
                store.append(recorder.episode(attributes), _id(index))
            except UserError:
                if _id(index) not in store:  # else another process has just recorded the same
                    raise
            return attempt + 1
    or_alone = "" if acting is None else ", or the policy succeeded alone,"
    raise UserError(
        f"the expert failed{or_alone} {options.attempts} times at episode {index} of seed {options.seed}"
    )


def _attributes(
    options: RecordOptions, demonstration: Demonstration, outcome: Outcome, env_seed: int, attempt: int
) -> dict[str, Any]:
    by_person = getattr(demonstration.expert, "by_person", None)
    return {
        "success": outcome.success,
        "seed": env_seed,
        "attempts": attempt + 1,
        **({} if by_person is None else {"by_person": by_person}),
        "action_loss_mask": demonstration.expert.action_loss_mask,
        "start": demonstration.start.to_dict(),
        **described(options),
        "config": _identity(options),
        "versions": versions(),
    }


def _summary(store: DemoStore) -> str:
    attributes = [store.episode(i).attributes for i in store.ids()]
    attempts = sum(a["attempts"] for a in attributes)
    if any("policy" in a for a in attributes):
        return f"{store}: {len(attributes)} demos in which the expert took over from the policy"
    recovered = sum(not all(a["action_loss_mask"]) for a in attributes)
    return (
        f"{store}: {len(attributes)} demos, {recovered} of them with a recovery; "
        f"{attempts - len(attributes)} of {attempts} attempts failed and were not kept"
    )
