"""`s2robot evaluate score=offline`: how far a policy's actions are from those of demos. No success rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s2robot.config.compose import compose
from s2robot.config.options import read_options
from s2robot.config.overrides import as_overrides
from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.copies import chosen
from s2robot.data.dataset import EpisodeFeatures, WindowDataset
from s2robot.data.store import DemoStore
from s2robot.evaluation.options import EvaluateOptions
from s2robot.policy.checkpoint import checkpoint_sha256, load_policy, read_config
from s2robot.policy.model import PolicyModel
from s2robot.policy.policy import Policy
from s2robot.reports.offline import CAVEAT, summary, write_offline_report
from s2robot.statistics.means import bootstrap_interval
from s2robot.train.demos import (
    Demos,
    Source,
    choose_demos,
    held_out_indices,
    load_episode_features,
    passes,
)
from s2robot.train.init import Init, with_defaults
from s2robot.train.options import Filter, TrainOptions
from s2robot.utils.atomic_io import write_json
from s2robot.utils.distributed import World
from s2robot.utils.progress import Progress
from s2robot.utils.provenance import git_state, machine, today, versions

RESULT = "offline.json"
_BATCH = 32


@dataclass(frozen=True)
class Errors:
    """Of one episode, means over its steps; all (Ta, Da), in the units of the actions; nan where none counts.

    Attributes:
        policy: between predicted and demonstrated actions.
        mean, hold: of two that look at nothing: the mean action of the training, and the last action again.
    """

    policy: np.ndarray
    mean: np.ndarray
    hold: np.ndarray


def score_offline(options: EvaluateOptions, checkpoint: str, out: Path) -> int:
    """Writes `offline.json` and `report.html` into `out`.

    Raises UserError where one lies there already, the demos are of another robot, or none was held out.
    """
    if (out / RESULT).exists() and not options.overwrite:
        raise UserError(f"{out} holds an offline score already: give another out=, or overwrite=true")
    config = read_config(checkpoint)
    chosen_demos = _demos(options, checkpoint, config)
    policy, reading = chosen_demos.policy, chosen_demos.reading
    errors, spec = {}, policy.spec
    for source in chosen_demos.demos.sources:
        episodes = load_episode_features(source, chosen_demos.demos.spec, reading, World())
        for name, episode in Progress(
            list(zip(source.ids, episodes, strict=True)), desc="score", unit="demo"
        ):
            errors[f"{source.store}/{name}"] = episode_errors(policy.model, episode)
    result = {
        "schema": 1,
        "score": "offline",
        "caveat": CAVEAT,
        "which": chosen_demos.which,
        "checkpoint_sha256": checkpoint_sha256(checkpoint),
        "demos": [source.to_dict() for source in chosen_demos.demos.sources],
        "rate": spec.rate,
        "entries": _entries(spec, errors),
        "episodes": {name: _plain(found.policy) for name, found in errors.items()},
        "config": {
            n: config[n] for n in ("policy", "encoder", "encoder_identity", "training", "demos_sha256")
        },
        "versions": versions(),
        "git": git_state(),
        "date": today(),
        "machine": machine(),
    }
    write_offline_report(out / "report.html", result)
    write_json(out / RESULT, result)
    print(summary(result), f"{CAVEAT} Open {out / 'report.html'}", sep="\n")
    return 0


# ---------------------------------------------------------------------- which demos


@dataclass(frozen=True)
class _Chosen:
    """The demos that are scored, in words too, and what reads and scores them."""

    demos: Demos
    which: str
    policy: Policy
    reading: TrainOptions


def _demos(options: EvaluateOptions, checkpoint: str, config: Mapping[str, Any]) -> _Chosen:
    training = config["training"]
    paths = training["demos"] if options.demos is None else options.demos
    given = {"demos": paths, "out": "unused", "init": checkpoint, "encode_workers": 0}
    overrides = as_overrides(given)
    reading = with_defaults(read_options(TrainOptions, compose("train", overrides)), overrides)
    if options.demos is None and not options.ids:
        reading = replace(reading, filter=read_options(Filter, training["filter"]))
    demos = choose_demos(reading)
    policy = load_policy(checkpoint)
    if init := Init.of(reading):
        init.check(demos.spec, policy.extractor.identity)
    if options.ids:
        demos, which = _named(demos, options), "the episodes that were named"
    elif options.demos is None:
        demos, which = _held_out(demos, config), "the demos that the training held out"
    else:
        which = f"all demos of {options.demos}"
    seen = _trained_on(demos, training)
    return _Chosen(demos, which + (", some of which it was trained on" if seen else ""), policy, reading)


def _named(demos: Demos, options: EvaluateOptions) -> Demos:
    if len(demos.sources) != 1:
        raise UserError("ids= of several stores: name one of them by demos=")
    store = demos.sources[0].store
    return replace(demos, sources=(Source(store, tuple(chosen(store, options.ids))),))


def _held_out(demos: Demos, config: Mapping[str, Any]) -> Demos:
    """Those of the training. Raises UserError where there are none, or the stores have changed since."""
    training = config["training"]
    if demos.digest != config["demos_sha256"]:
        raise UserError("the demos have changed since the training: name some that it has not seen by demos=")
    held_out = held_out_indices(len(demos), training["val_fraction"], training["seed"])
    if not held_out:
        raise UserError("the training held out no demos: name some that it has not seen by demos=")
    pairs = [(source, name) for source in demos.sources for name in source.ids]
    kept = [pairs[i] for i in held_out]
    sources = [Source(s.store, tuple(n for source, n in kept if source is s)) for s in demos.sources]
    return replace(demos, sources=tuple(source for source in sources if source.ids))


def _trained_on(demos: Demos, training: Mapping[str, Any]) -> bool:
    """Whether an episode is of a store of the training, and was not held out."""
    stores = [training["demos"]] if isinstance(training["demos"], str) else training["demos"]
    named = {(str(s.store), name) for s in demos.sources for name in s.ids if str(s.store) in stores}
    if not named:
        return False
    wanted = read_options(Filter, training["filter"])
    everything = [(str(s), i) for s in map(DemoStore.open, stores) for i in _ids(s, wanted)]
    held_out = held_out_indices(len(everything), training["val_fraction"], training["seed"])
    return bool(named - {everything[i] for i in held_out})


def _ids(store: DemoStore, wanted: Filter) -> list[str]:
    return [i for i in store.ids() if wanted == Filter() or passes(store.episode(i).attributes, wanted)]


# ---------------------------------------------------------------------- errors


@torch.inference_mode()
def episode_errors(model: PolicyModel, episode: EpisodeFeatures) -> Errors:
    """Of the chunk predicted at each step, with the demo's own history; planned misses do not count."""
    model.eval()
    windows = WindowDataset([episode], model.config.n_obs_steps, model.config.chunk_size)
    mean = model.action_normalizer.mean.numpy()
    noise = torch.Generator().manual_seed(0)  # a flow's
    shape = (model.config.chunk_size, model.config.action_dim)
    sums, counts = np.zeros((3, *shape)), np.zeros((shape[0], 1))
    for first in range(0, len(windows), _BATCH):
        window = windows.batch(range(first, min(first + _BATCH, len(windows))))
        target, mask = window["chunk"][:, -1].numpy(), window["action_loss_mask"][:, -1, :, None].numpy()
        held = np.where(
            window["prev_action_mask"][:, -1:, None].numpy(), window["previous_action"][:, -1:].numpy(), mean
        )
        for total, guess in zip(sums, (model.chunks(window, noise).numpy(), mean, held), strict=True):
            total += (np.abs(guess - target) * mask).sum(axis=0)
        counts += mask.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return Errors(*(sums / counts))


def _entries(spec: RobotSpec, errors: Mapping[str, Errors]) -> dict[str, Any]:
    """Of each action entry: the error over the chunk and at each step of it, with intervals over episodes."""
    policy, mean, hold = (
        np.stack([getattr(e, name) for e in errors.values()]) for name in ("policy", "mean", "hold")
    )
    return {
        label: {
            "error": _interval(np.nanmean(policy[:, :, d], axis=1)),
            "mean_action_error": float(np.nanmean(mean[:, :, d])),
            "last_action_error": float(np.nanmean(hold[:, :, d])),
            "by_step": [_interval(policy[:, h, d]) for h in range(policy.shape[1])],
        }
        for d, label in enumerate(spec.action)
    }


def _interval(values: np.ndarray) -> dict[str, Any]:
    """The mean over episodes, with the bootstrap's 95 % interval where there are several."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {"mean": None, "bootstrap_95": None}
    interval = list(bootstrap_interval(known.tolist())) if len(known) > 1 else None
    return {"mean": float(known.mean()), "bootstrap_95": interval}


def _plain(array: np.ndarray) -> list[list[float | None]]:
    return [[float(v) if np.isfinite(v) else None for v in row] for row in array]
