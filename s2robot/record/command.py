"""`s2robot record`: episodes into a demo store."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import gymnasium
import numpy as np
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from s2robot.config import instantiate
from s2robot.config.checks import check_least
from s2robot.core.errors import UserError, unknown
from s2robot.core.rollout import Outcome, run_episode
from s2robot.data.jpeg import ATTRIBUTE
from s2robot.data.lossy import lossy_frames
from s2robot.data.recorder import Recorder
from s2robot.data.store import DemoStore
from s2robot.record.demonstration import Demonstration
from s2robot.utils.provenance import versions
from s2robot.utils.workers import run_jobs

IMAGES = ("lossless", "jpeg")

Context = tuple[dict[str, Any], gymnasium.Env, Callable[[], DemoStore]]


def main(cfg: DictConfig) -> None:
    """Records until the store at `out` holds `episodes` successes; those that are there already are kept.

    A person at a device ends the session when they like.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    if not cfg.resume and os.path.lexists(cfg.out):
        raise UserError(f"{cfg.out} is there already and resume=false: name another out=")
    if cfg.device != "scripted":
        from s2robot.teleop.devices import record_person  # here: it builds on this module

        record_person(plain)
        return
    _check(plain)
    missing = _missing(plain)
    failures = 0
    done = cfg.episodes - len(missing)
    with tqdm(total=cfg.episodes, initial=done, desc="record", unit="demo") as progress:
        for attempts in run_jobs(
            _record_one, missing, workers=min(cfg.workers, len(missing)), start=_start, start_args=(plain,)
        ):
            failures += attempts - 1
            progress.set_postfix(failures=failures)
            progress.update()
    store = DemoStore.open(cfg.out)
    print(*filter(None, (_summary(store), lossy_frames(store))), sep="\n")


def _check(plain: dict[str, Any]) -> None:
    """What the scripted expert cannot do. Raises UserError."""
    if plain["robot"]["_target_"] is not None:
        raise UserError("device=scripted sees the true cube pose, which no robot knows: give device=browser")
    if plain["checkpoint"] is not None:
        raise UserError(f"checkpoint={plain['checkpoint']}: it acts beside a person, give device=browser")
    check_least(plain, 1, "episodes", "attempts")
    check_least(plain, 0, "seed", "workers")


def _missing(plain: dict[str, Any]) -> list[int]:
    """The numbers of the demos that are left to record; others make up for those dropped or damaged."""
    attributes = store_attributes(plain, _identity(plain))
    try:
        store = DemoStore.open(plain["out"])
    except UserError:
        return list(range(plain["episodes"]))  # creating the store says so where something else lies there
    check_attributes(store, attributes)
    free = (i for i in itertools.count() if not os.path.lexists(store.path / _id(i)))
    return list(itertools.islice(free, max(0, plain["episodes"] - len(store))))


def store_attributes(plain: dict[str, Any], identity: dict[str, Any]) -> dict[str, Any]:
    """What a store says of its demos: the options that made them, and how its frames are kept.

    Raises UserError for an unknown value of `images`.
    """
    if plain["images"] not in IMAGES:
        raise unknown("value of images", plain["images"], IMAGES)
    if plain["images"] == "lossless":
        return {"record": identity}
    return {"record": identity, ATTRIBUTE: {"name": plain["images"], "quality": plain["quality"]}}


def check_attributes(store: DemoStore, attributes: dict[str, Any]) -> None:
    """Raises UserError where a store was begun with other options than these, or keeps frames otherwise."""
    record = store.attributes.get("record")
    if record != attributes["record"]:
        raise UserError(
            f"{store.path} holds demos recorded with other options ({record}): "
            "give the same ones, or another out="
        )
    has, wanted = (a.get(ATTRIBUTE) or "lossless" for a in (store.attributes, attributes))
    if has != wanted:
        raise UserError(
            f"{store.path} keeps its frames as {has}, not as {wanted}: "
            "give the same images= and quality=, or another out="
        )


def _identity(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: plain[key] for key in ("device", "seed", "env", "expert")}


def _id(index: int) -> str:
    return f"{index:06d}"


def _start(plain: dict[str, Any]) -> Context:
    env = instantiate(plain["env"])
    attributes = store_attributes(plain, _identity(plain))
    return plain, env, cache(partial(DemoStore.open_or_create, plain["out"], env.robot_spec, attributes))


def _record_one(context: Context, index: int) -> int:
    """Tries episode `index` until it succeeds, and says how often.

    Each try is a pure function of (seed, index, try).
    """
    plain, env, opened = context
    for attempt in range(plain["attempts"]):
        seeds = [plain["seed"], index, attempt]
        demonstration: Demonstration = instantiate(plain["expert"], env=env, rng=np.random.default_rng(seeds))
        store = opened()  # now: an expert of another environment has refused it
        recorder = Recorder()
        env_seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
        outcome = run_episode(
            demonstration.env,
            demonstration.expert,
            seed=env_seed,
            options=demonstration.options,
            subscribers=[recorder],
        )
        if outcome.success:
            attributes = _attributes(plain, demonstration, outcome, env_seed, attempt)
            try:
                store.append(recorder.episode(attributes), _id(index))
            except UserError:
                if _id(index) not in store:  # else another process has just recorded the same
                    raise
            return attempt + 1
    raise UserError(f"the expert failed {plain['attempts']} times at episode {index} of seed {plain['seed']}")


def _attributes(
    plain: dict[str, Any], demonstration: Demonstration, outcome: Outcome, env_seed: int, attempt: int
) -> dict[str, Any]:
    return {
        "success": outcome.success,
        "seed": env_seed,
        "attempts": attempt + 1,
        "action_loss_mask": demonstration.expert.action_loss_mask,
        "cube_pose": list(demonstration.options["cube"]),
        **{name: plain[name] for name in ("task", "operator", "notes")},
        "config": _identity(plain),
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
