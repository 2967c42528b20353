"""A policy in LeRobot's shape acts as it does in ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mistakes import refusal

from s2robot.core.spec import Observation, RobotSpec
from s2robot.integrations.lerobot.policy import LeRobotPolicy
from s2robot.policy.config import PolicyConfig
from s2robot.policy.policy import ChunkExecutor, Policy
from s2robot.policy.trunks.transformer import Transformer
from s2robot.vision.features import FeatureExtractor

SPEC = RobotSpec({"front": (32, 32, 3)}, ("x [m]", "y [m]"), ("dx [m]", "gripper"), "ee_delta", 10.0)


@pytest.fixture(scope="module")
def policy() -> Policy:
    torch.manual_seed(0)
    extractor = FeatureExtractor("random-tiny", [224], bf16=False)
    config = PolicyConfig(
        cameras={"front": extractor.map_shape()},
        proprio_dim=SPEC.proprio_dim,
        action_dim=SPEC.action_dim,
        n_obs_steps=4,
        chunk_size=6,
        width=16,
        trunk_options={"depth": 1, "heads": 2},
    )
    return Policy(Transformer(config), extractor, SPEC)


def observation(seed: int) -> Observation:
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return {"images": {"front": frame}, "proprio": rng.standard_normal(2).astype(np.float32)}


def batch(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    seen = observation(seed)
    image = torch.from_numpy(seen["images"]["front"]).permute(2, 0, 1)[None]
    image = image if dtype is torch.uint8 else image.to(dtype) / 255
    return {
        "observation.images.front": image,
        "observation.state": torch.from_numpy(seen["proprio"])[None],
        "task": ["pick up the cube"],
    }


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_its_actions_are_those_of_the_executor(policy: Policy, dtype: torch.dtype) -> None:
    executor = ChunkExecutor(policy, 2)
    executor.reset()
    expected = [executor.act(observation(seed)) for seed in range(5)]
    theirs = LeRobotPolicy(executor).eval().to("cpu")
    theirs.reset()
    for seed in range(5):
        action = theirs.select_action(batch(seed, dtype))
        assert action.shape == (1, 2) and action.dtype == torch.float32
        np.testing.assert_array_equal(action[0], expected[seed])


def test_its_chunk_is_that_of_the_policy(policy: Policy) -> None:
    policy.reset()
    policy.observe(observation(0))
    expected = policy.predict()
    theirs = LeRobotPolicy(ChunkExecutor(policy))
    theirs.reset()
    chunk = theirs.predict_action_chunk(batch(0))
    assert chunk.shape == (1, 6, 2)
    np.testing.assert_array_equal(chunk[0], expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"observation.state": None}, "unknown entry 'observation.state'"),
        ({"observation.state": torch.zeros(2, 2)}, "has the shape (2, 2): expected a batch of one robot"),
        ({"observation.images.front": torch.zeros(1, 32, 32, 3)}, "expected (1, 3, H, W)"),
        ({"observation.state": torch.zeros(1, 3)}, "proprioception of shape (3,)"),
    ],
)
def test_other_batches_are_refused(policy: Policy, change: dict[str, Any], said: str) -> None:
    given = {name: value for name, value in (batch(0) | change).items() if value is not None}
    theirs = LeRobotPolicy(ChunkExecutor(policy))
    theirs.reset()
    assert said in refusal(lambda: theirs.select_action(given))
