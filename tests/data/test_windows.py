"""The window: one definition for training and for rollouts, padding included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from demos.toy import ToyExpert
from envs.toy import Toy
from s2robot.core.rollout import Actor, run_episode
from s2robot.core.spec import Observation
from s2robot.data.dataset import EpisodeFeatures, Ta, To, WindowDataset
from s2robot.data.recorder import Recorder
from s2robot.data.windows import chunk_window, history_window, previous_actions
from s2robot.policy.config import PolicyConfig
from s2robot.policy.policy import Policy
from s2robot.policy.trunks.transformer import Transformer
from s2robot.vision.features import FeatureExtractor

times = st.integers(0, 300)
sizes = st.integers(1, 40)


@given(times, sizes)
def test_a_history_ends_now_and_starts_no_earlier_than_the_episode(t: int, size: int) -> None:
    steps, valid = history_window(t, size)
    assert steps.shape == valid.shape == (size,)
    assert steps[-1] == t and valid[-1]
    assert valid.sum() == min(size, t + 1)
    assert np.array_equal(steps[valid], np.arange(max(0, t - size + 1), t + 1))
    assert not steps[~valid].any(), "padding repeats step 0"
    assert (np.diff(valid.astype(int)) >= 0).all(), "padding lies before what is valid"


@given(times, sizes)
def test_consecutive_histories_are_shifted_by_one(t: int, size: int) -> None:
    (now, now_valid), (following, following_valid) = history_window(t, size), history_window(t + 1, size)
    assert np.array_equal(now[1:], following[:-1])
    assert np.array_equal(now_valid[1:], following_valid[:-1])


@given(times, sizes, st.integers(1, 300))
def test_a_chunk_starts_now_and_ends_no_later_than_the_episode(t: int, size: int, rest: int) -> None:
    length = t + rest
    steps, valid = chunk_window(t, size, length)
    assert steps.shape == valid.shape == (size,)
    assert steps[0] == t and valid[0]
    assert valid.sum() == min(size, rest)
    assert np.array_equal(steps[valid], np.arange(t, min(t + size, length)))
    assert (steps[~valid] == length - 1).all(), "padding repeats the last step"


@given(times, sizes)
def test_the_action_before_each_step(t: int, size: int) -> None:
    actions = np.arange(1.0, 2 * t + 3).reshape(t + 1, 2)
    steps, _ = history_window(t, size)
    before, known = previous_actions(actions, steps)
    assert np.array_equal(known, steps > 0)
    assert np.array_equal(before[known], actions[steps[known] - 1])
    assert not before[~known].any()


@given(times, sizes)
def test_the_action_of_now_is_not_looked_at(t: int, size: int) -> None:
    actions = np.ones((t + 1, 2))
    steps, _ = history_window(t, size)
    later = actions.copy()
    later[t] = np.nan
    assert np.array_equal(previous_actions(actions, steps)[0], previous_actions(later, steps)[0])
    assert np.array_equal(previous_actions(actions, steps)[0], previous_actions(actions[:t], steps)[0])


class Follower(Actor):
    """Acts as the expert does, and asks the policy for a prediction at every step."""

    def __init__(self, expert: ToyExpert, policy: Policy) -> None:
        self.expert, self.policy = expert, policy

    def reset(self) -> None:
        self.expert.reset()
        self.policy.reset()

    def act(self, observation: Observation) -> np.ndarray:
        self.policy.observe(observation)
        self.policy.predict()
        action = self.expert.act(observation)
        self.policy.record_action(action)
        return action


@pytest.fixture(scope="module")
def rollout_and_dataset() -> tuple[list[tuple[torch.Tensor, ...]], WindowDataset, Transformer]:
    """What the transformer was given at each step of a rollout, and the windows of the same episode."""
    torch.manual_seed(0)
    env = Toy(cameras=["front"], max_steps=24)
    extractor = FeatureExtractor("random-tiny", [224], bf16=False)
    config = PolicyConfig(
        cameras={"front": extractor.map_shape()},
        proprio_dim=4,
        action_dim=4,
        width=16,
        trunk_options={"depth": 1, "heads": 2},
    )
    model = Transformer(config)
    seen: list[tuple[torch.Tensor, ...]] = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[:5]))

    class Slow(ToyExpert):
        """So that the episode is longer than the window."""

        def act(self, observation: Observation) -> np.ndarray:
            return super().act(observation) * np.array([0.3, 0.3, 0.3, 1.0], np.float32)

    recorder = Recorder()
    actor = Follower(Slow(env), Policy(model, extractor, env.robot_spec))
    run_episode(env, actor, seed=3, options={"cube": (0.05, -0.1, 0.0)}, subscribers=[recorder])
    episode = recorder.episode({})
    features = {"front": np.concatenate([extractor(frame[None]) for frame in episode.images["front"]])}
    episode = EpisodeFeatures(features, episode.proprio, episode.action, np.ones(episode.length, bool))
    return seen, WindowDataset([episode]), model


@pytest.mark.parametrize("t", range(21))
def test_dataset_and_rollout_give_equal_windows(rollout_and_dataset: Any, t: int) -> None:
    seen, dataset, model = rollout_and_dataset
    assert len(dataset) == len(seen) > 20
    visual, proprio, previous_action, known, valid = (inputs[0] for inputs in seen[t])
    window = dataset[t]
    assert torch.equal(window["proprio"], proprio), "an untrained model's normaliser changes nothing"
    assert torch.equal(window["previous_action"], previous_action)
    assert torch.equal(window["prev_action_mask"], known)
    assert torch.equal(window["timestep_pad_mask"], valid)
    assert valid.sum() == min(t + 1, To)
    with torch.inference_mode():
        pooled = model.pool("front", window["features/front"].float())
    torch.testing.assert_close(pooled, visual[:, 0], rtol=1e-4, atol=1e-4)


def test_the_window_is_16_steps_and_16_actions(rollout_and_dataset: Any) -> None:
    assert (To, Ta) == (16, 16)
    assert rollout_and_dataset[1][0]["chunk"].shape == (16, 16, 4)
