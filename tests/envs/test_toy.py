"""The physics-free twin of `CubePick`: the same contract, and its expert picks the cube up."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st
from mistakes import refusal

import envs
from demos.toy import ToyExpert
from envs.toy import STEP, Toy
from s2robot.core.rollout import run_episode
from s2robot.tasks.cube_pick import X_RANGE, Y_RANGE

poses = st.tuples(st.floats(*X_RANGE), st.floats(*Y_RANGE), st.floats(-np.pi, np.pi))


def test_it_is_a_gymnasium_environment() -> None:
    assert envs.__name__ == "envs"  # whose import registers it
    env = gymnasium.make("s2robot/Toy-v0", image_size=32)
    check_env(env.unwrapped, skip_render_check=True)
    assert env.metadata["render_fps"] == 10


@given(poses, st.integers(0, 2**31))
def test_the_expert_picks_the_cube_up_wherever_it_lies(pose: tuple[float, float, float], seed: int) -> None:
    env = Toy(image_size=16)
    expert = ToyExpert(env)
    outcome = run_episode(env, expert, seed=seed, options={"cube": pose})
    assert outcome.success
    assert expert.action_loss_mask == [True] * outcome.steps


def test_the_same_seed_is_the_same_episode() -> None:
    env = Toy(image_size=32)
    first, _ = env.reset(seed=4)
    other, _ = env.reset(seed=5)
    again, _ = env.reset(seed=4)
    assert first["images"]["front"].tobytes() == again["images"]["front"].tobytes()
    assert first["proprio"].tobytes() == again["proprio"].tobytes()
    assert first["proprio"].tobytes() != other["proprio"].tobytes()


def test_the_cube_lies_where_it_is_put_and_shows_there() -> None:
    env = Toy(cameras=["front"], image_size=64)
    observation, _ = env.reset(seed=0, options={"cube": (0.1, -0.1, 0.3)})
    assert env.cube()[:2] == (0.1, -0.1)
    red = np.argwhere((observation["images"]["front"] == (200, 30, 40)).all(-1))
    np.testing.assert_allclose(red.mean(0), [48, 16], atol=1)
    assert np.array_equal(env.render(), observation["images"]["front"])


def test_a_gripper_that_closes_elsewhere_holds_nothing() -> None:
    env = Toy(image_size=16, max_steps=8)
    env.reset(seed=0, options={"cube": (0.1, 0.1, 0.0)})
    for _ in range(7):
        *_, terminated, truncated, info = env.step(np.array([0, 0, STEP, 1], np.float32))
        assert not (terminated or truncated or info["success"])
    assert env.step(np.zeros(4))[3]


def test_what_is_out_of_range_is_clipped_and_told() -> None:
    env = Toy(image_size=16)
    env.reset(seed=0)
    *_, info = env.step(np.array([9, -9, 0.01, 5], np.float32))
    np.testing.assert_allclose(info["action_applied"], [STEP, -STEP, 0.01, 1], rtol=1e-6)
    assert info["time"] == pytest.approx(0.1)


def test_mistakes_are_told_in_one_line() -> None:
    env = Toy(image_size=16)
    assert refusal(lambda: Toy(cameras=["top"])) == "unknown camera 'top': valid: front, wrist"
    assert refusal(lambda: env.reset(options={"cube": (1, 0, 0)})).startswith("cube=(1, 0, 0)")
    said = refusal(lambda: env.reset(options={"cube": (0, 0)}))
    assert said.startswith("cube=(0, 0): expected (x")
    said = refusal(lambda: env.reset(options={"cub": (0, 0, 0)}))
    assert said == "unknown reset option 'cub': did you mean 'cube'? valid: cube"
    env.reset(seed=0)
    assert "not finite" in refusal(lambda: env.step(np.full(4, np.nan)))
