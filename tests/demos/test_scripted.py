"""The scripted expert: it picks the cube up, comes back from a miss, and says which steps were the miss."""

from __future__ import annotations

import numpy as np
import pytest

from demos.cube_pick import ActionNoise, Variation, cube_pick_demonstration
from demos.toy import toy_demonstration
from envs.cube_pick import CubePick
from envs.toy import Toy
from s2robot.core.rollout import Outcome, run_episode
from s2robot.record.demonstration import Demonstration
from s2robot.tasks.cube_pick import EXCLUSION_RADIUS, evaluation_positions


@pytest.fixture(params=["ee_delta", "joint"])
def env(request: pytest.FixtureRequest) -> CubePick:
    return request.getfixturevalue("cube_pick" if request.param == "ee_delta" else "cube_pick_joint")


def made(env: CubePick, seed: int, noise: float = 1.0, miss_share: float = 0.0) -> Demonstration:
    return cube_pick_demonstration(env, np.random.default_rng(seed), noise, miss_share)


def run(demonstration: Demonstration, seed: int = 0) -> Outcome:
    return run_episode(
        demonstration.env, demonstration.expert, seed=seed, options=dict(demonstration.start.options)
    )


def test_it_picks_the_cube_up(env: CubePick) -> None:
    demonstration = made(env, seed=0)
    outcome = run(demonstration)
    assert outcome.success
    assert demonstration.expert.action_loss_mask == [True] * outcome.steps


@pytest.mark.parametrize("cube_size", [0.02, 0.06])
def test_it_picks_up_smaller_and_larger_cubes(cube_size: float) -> None:
    env = CubePick(("front",), image_size=16, cube_size=cube_size)
    try:
        assert run(made(env, seed=0)).success
    finally:
        env.close()


@pytest.mark.parametrize("seed", [2, 3])
def test_it_comes_back_from_a_planned_miss(env: CubePick, seed: int) -> None:
    demonstration = made(env, seed, miss_share=1.0)
    outcome = run(demonstration)
    action_loss_mask = demonstration.expert.action_loss_mask
    assert outcome.success
    assert len(action_loss_mask) == outcome.steps
    first = action_loss_mask.index(True)
    assert first > 5
    assert action_loss_mask == [False] * first + [True] * (outcome.steps - first)


def test_one_seed_is_one_demo(cube_pick: CubePick) -> None:
    ends = []
    for _ in range(2):
        outcome = run(made(cube_pick, 4))
        ends.append((outcome.steps, cube_pick.cube()))
    assert ends[0] == ends[1]


def test_noise_disturbs_what_is_executed_but_not_the_gripper(env: CubePick) -> None:
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    action = (env.action_space.low + env.action_space.high) / 2
    action[-1] = -1
    for scale, disturbed in ((0.0, False), (1.0, True)):
        *_, info = ActionNoise(env, scale, rng).step(action)
        differences = np.abs(info["action_applied"] - action)
        assert differences[-1] == 0
        assert (differences[:-1] > 0).all() == disturbed
        assert differences.max() < 0.1


def test_demos_vary_and_as_many_miss_as_were_asked_for() -> None:
    rng = np.random.default_rng(0)
    drawn = [Variation.draw(rng, miss_share=0.25) for _ in range(400)]
    assert 70 < sum(variation.miss is not None for variation in drawn) < 130
    assert np.ptp([variation.hover for variation in drawn]) > 0.05
    assert all(v.miss is None for v in (Variation.draw(rng, miss_share=0.0) for _ in range(20)))


def test_the_cube_keeps_away_from_the_evaluation_positions(cube_pick: CubePick) -> None:
    toy = Toy(image_size=16)
    for seed in range(100):
        for demonstration in (made(cube_pick, seed), toy_demonstration(toy, np.random.default_rng(seed))):
            x, y, _ = demonstration.start.options["cube"]
            assert min(np.hypot(x - a, y - b) for a, b, _ in evaluation_positions()) >= EXCLUSION_RADIUS


@pytest.mark.slow
def test_98_of_100_demos_succeed(env: CubePick) -> None:
    outcomes = [run(made(env, 1000 + seed, miss_share=0.15), seed) for seed in range(100)]
    assert sum(outcome.success for outcome in outcomes) >= 98
