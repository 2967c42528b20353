"""Demos of a scripted expert, in several processes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
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
from s2robot.record.demonstration import Demonstration, make_demonstration
from s2robot.record.options import RecordOptions
from s2robot.record.store import check_attributes, described, store_attributes
from s2robot.utils.progress import Progress
from s2robot.utils.provenance import versions
from s2robot.utils.workers import Heartbeat, Patience, run_jobs

Context = tuple[RecordOptions, gymnasium.Env, Callable[[], DemoStore]]


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
        raise UserError(f"checkpoint={options.checkpoint}: it acts beside a person, give teleop=browser")
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
    return {
        "teleop": options.teleop,
        "seed": options.seed,
        "env": dict(options.env),
        "expert": dict(options.expert),
    }


def _id(index: int) -> str:
    return f"{index:06d}"


def _start(options: RecordOptions) -> Context:
    env = instantiate(options.env)
    attributes = store_attributes(options, _identity(options))
    return options, env, cache(partial(DemoStore.open_or_create, options.out, env.robot_spec, attributes))


def _record_one(context: Context, index: int) -> int:
    """Tries episode `index` until it succeeds; returns the number of tries.

    Each try is a pure function of (seed, index, try).
    """
    options, env, opened = context
    for attempt in range(options.attempts):
        seeds = [options.seed, index, attempt]
        demonstration = make_demonstration(options.expert, env, np.random.default_rng(seeds))
        recorder = Recorder()
        env_seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
        outcome = run_episode(
            demonstration.env,
            demonstration.expert,
            seed=env_seed,
            options=demonstration.start.options,
            subscribers=[recorder, Heartbeat()],
        )
        if outcome.success or demonstration.keep_failures:
            attributes = _attributes(options, demonstration, outcome, env_seed, attempt)
            store = opened()  # now: whatever cannot be recorded leaves no store behind
            try:
                store.append(recorder.episode(attributes), _id(index))
            except UserError:
                if _id(index) not in store:  # else another process has just recorded the same
                    raise
            return attempt + 1
    raise UserError(f"the expert failed {options.attempts} times at episode {index} of seed {options.seed}")


def _attributes(
    options: RecordOptions, demonstration: Demonstration, outcome: Outcome, env_seed: int, attempt: int
) -> dict[str, Any]:
    return {
        "success": outcome.success,
        "seed": env_seed,
        "attempts": attempt + 1,
        "action_loss_mask": demonstration.expert.action_loss_mask,
        "start": demonstration.start.to_dict(),
        **described(options),
        "config": _identity(options),
        "versions": versions(),
    }


def _summary(store: DemoStore) -> str:
    attributes = [store.episode(i).attributes for i in store.ids()]
    attempts = sum(a["attempts"] for a in attributes)
    recovered = sum(not all(a["action_loss_mask"]) for a in attributes)
    return (
        f"{store}: {len(attributes)} demos, {recovered} of them with a recovery; "
        f"{attempts - len(attributes)} of {attempts} attempts failed and were not kept"
    )
