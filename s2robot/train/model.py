"""The model that a training begins with, and the statistics that it normalises by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from s2robot.core.spec import RobotSpec
from s2robot.data.dataset import EpisodeFeatures
from s2robot.policy.config import PolicyConfig, PolicyOptions
from s2robot.policy.model import PolicyModel, make_model
from s2robot.policy.normalize import Normalizer, Statistics
from s2robot.train.init import Init
from s2robot.train.options import TrainOptions

_FIT_FRAMES = 512  # over all episodes: enough for each token's mean and each channel's deviation


def initial(options: TrainOptions, spec: RobotSpec, episodes: Sequence[EpisodeFeatures]) -> PolicyModel:
    """Untrained, or the model of the checkpoint that the options name.

    Raises UserError for options that no policy has, and where the checkpoint's policy is another one.
    """
    init = Init.of(options)
    if init is None:
        return untrained(options.policy, spec, episodes, options.seed)
    return _fine_tuned(init, options, spec, episodes)


def untrained(
    policy: PolicyOptions, spec: RobotSpec, episodes: Sequence[EpisodeFeatures], seed: int
) -> PolicyModel:
    """A model with the statistics of these episodes: of proprioception, actions and visual tokens.

    Seeds torch. Raises UserError for options that no policy has.
    """
    torch.manual_seed(seed)
    config = _config(_learnable(policy, episodes), spec, episodes)
    model = make_model(config, *statistics(spec, episodes))
    _fit_poolings(model, episodes, seed)
    return model


def _fine_tuned(
    init: Init, options: TrainOptions, spec: RobotSpec, episodes: Sequence[EpisodeFeatures]
) -> PolicyModel:
    """The checkpoint's model, with its own statistics or those of these episodes."""
    model = init.model(_config(options.policy, spec, episodes))
    if init.refits:
        proprio, action = statistics(spec, episodes)
        model.proprio_normalizer = Normalizer(spec.proprio_dim, proprio)
        model.action_normalizer = Normalizer(spec.action_dim, action)
        _fit_poolings(model, episodes, options.seed)
    return model


def _config(policy: PolicyOptions, spec: RobotSpec, episodes: Sequence[EpisodeFeatures]) -> PolicyConfig:
    return PolicyConfig.of(
        policy,
        cameras={name: episodes[0].shapes[name] for name in spec.cameras},
        proprio_dim=spec.proprio_dim,
        action_dim=spec.action_dim,
        grasp_state_indices=spec.gripper_position,
    )


def statistics(spec: RobotSpec, episodes: Sequence[EpisodeFeatures]) -> tuple[Statistics, Statistics]:
    """What proprioception and actions are normalised by."""
    return (
        Statistics.of([e.proprio for e in episodes], spec.proprio, positions=True),
        Statistics.of([e.action for e in episodes], spec.action),
    )


def normalisation(spec: RobotSpec, episodes: Sequence[EpisodeFeatures]) -> list[str]:
    """In a line each, the entries of proprioception and actions that are not scaled by their deviation."""
    named = zip(("proprio", "action"), statistics(spec, episodes), strict=True)
    return [f"{name}: {remark}" for name, found in named for remark in found.remarks]


def _learnable(policy: PolicyOptions, episodes: Sequence[EpisodeFeatures]) -> PolicyOptions:
    """The options, without the loss of a grasp target where no demo has a grasp."""
    grasps = any(episode.grasp() is not None for episode in episodes)
    return policy if grasps else replace(policy, grasp_weight=0.0)


def grasp_target(policy: PolicyOptions, spec: RobotSpec, episodes: Sequence[EpisodeFeatures]) -> str:
    """In one line, whether the grasp is a target of the training, and by which action entry."""
    if not policy.grasp_weight or not policy.vision:
        return "no grasp target: the options ask for none"
    if not spec.grippers:
        return "no gripper is named: no grasp target"
    gripper, grasps = spec.grippers[0], sum(episode.grasp() is not None for episode in episodes)
    where = f"gripper entry {gripper.index} ({spec.action[gripper.index]}), closed at {gripper.closed:g}"
    if not grasps:
        return f"{where}: it closes in no demo: no grasp target"
    return f"grasp target: {where}; {grasps} of {len(episodes)} demos grasp"


def _fit_poolings(model: PolicyModel, episodes: Sequence[EpisodeFeatures], seed: int) -> None:
    rng = np.random.default_rng([seed, 4])
    each = _FIT_FRAMES // len(episodes) + 1
    for name in model.config.active_cameras:
        frames = [e.features[name][int(rng.integers(e.length))] for e in episodes for _ in range(each)]
        model.camera_pooling(name).standardize.fit(torch.from_numpy(np.stack(frames)))
