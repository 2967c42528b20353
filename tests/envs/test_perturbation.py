"""Changes of the simulated scene: each changes what it says, by its seed, and can be undone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mistakes import refusal

from demos.cube_pick import ScriptedExpert, Variation
from envs.cube_pick import CubePick
from envs.cube_pick.perturbation import KINDS, Perturbation
from envs.cube_pick.simulation import CAMERAS
from envs.perturbations import PERTURBATIONS, find_perturbation
from s2robot.core.rollout import run_episode

POSE = (0.03, -0.04, 0.4)
STRAIGHT = Variation(hover=0.08, hover_offset=np.zeros(2), miss=None)


@pytest.fixture(scope="module")
def env() -> Iterator[CubePick]:
    """With no changes of its own: the tests put some in."""
    made = CubePick(image_size=64)
    yield made
    made.close()


@pytest.fixture
def clean(env: CubePick) -> Iterator[dict[str, np.ndarray]]:
    """The frames without changes; afterwards the model is as it was."""
    undo = Perturbation(env.mujoco[0], {})
    yield env.reset(seed=3, options={"cube": POSE})[0]["images"]
    undo.draw(np.random.default_rng(), POSE)
    env._perturbation = None


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_is_seen_and_comes_from_the_seed(
    env: CubePick, clean: dict[str, np.ndarray], kind: str
) -> None:
    env._perturbation = Perturbation(env.mujoco[0], {kind: 3.0})
    seen = [env.reset(seed=seed, options={"cube": POSE}) for seed in (3, 4, 3)]
    front = [observation["images"]["front"] for observation, _ in seen]
    assert (front[0] != clean["front"]).mean() > 0.0005
    assert not np.array_equal(front[0], front[1])
    assert np.array_equal(front[0], front[2]), "whatever came before"


@pytest.mark.parametrize("kind", KINDS)
def test_the_arm_starts_where_it_starts_without_changes(
    env: CubePick, clean: dict[str, np.ndarray], kind: str
) -> None:
    before = env.reset(seed=3, options={"cube": POSE})[0]["proprio"]
    env._perturbation = Perturbation(env.mujoco[0], {kind: 1.0})
    after = env.reset(seed=3, options={"cube": POSE})[0]["proprio"]
    assert before.tobytes() == after.tobytes()
    assert env.cube()[:2] == POSE[:2]


def test_without_a_strength_everything_is_undone(env: CubePick, clean: dict[str, np.ndarray]) -> None:
    env._perturbation = Perturbation(env.mujoco[0], dict.fromkeys(KINDS, 1.0))
    env.reset(seed=3, options={"cube": POSE})
    env._perturbation._strengths = {}
    again = env.reset(seed=3, options={"cube": POSE})[0]["images"]
    assert all(np.array_equal(again[name], clean[name]) for name in CAMERAS)


def test_the_cube_stands_on_a_table_of_another_height(env: CubePick, clean: dict[str, np.ndarray]) -> None:
    env._perturbation = Perturbation(env.mujoco[0], {"table": 1.0})
    raised = []
    for seed in range(5):
        env.reset(seed=seed, options={"cube": POSE})
        raised.append(env._perturbation.drawn.raised)
        for _ in range(4):
            env.step(np.array([0, 0, 0, -1], np.float32))
        assert abs(env.cube_height()) < 1e-3, "it neither falls nor is pushed up"
    assert np.ptp(raised) > 0.01 and np.abs(raised).max() <= 0.02


def test_distractors_are_as_many_as_asked_for_and_not_near_the_cube(env: CubePick) -> None:
    changes = Perturbation(env.mujoco[0], {"distractors": 5})
    for seed in range(20):
        changes.draw(np.random.default_rng(seed), POSE)
        places = np.array([d.position for d in changes.drawn.distractors])
        assert len(places) == 5
        assert np.linalg.norm(places[:, :2] - POSE[:2], axis=1).min() > 0.08
    changes.draw(np.random.default_rng(0), POSE)


def test_the_expert_picks_up_in_any_scene() -> None:
    env = CubePick(image_size=16, cube_size=0.03, camera_distance=1.3, perturb=dict.fromkeys(KINDS, 1.0))
    for seed in (0, 1):
        outcome = run_episode(env, ScriptedExpert(env, STRAIGHT), seed=seed)
        assert outcome.success
    env.close()


def test_a_smaller_or_farther_cube_is_seen_smaller() -> None:
    counts = []
    changes: list[dict[str, Any]] = [{}, {"cube_size": 0.03}, {"camera_distance": 1.3}]
    for options in changes:
        env = CubePick(cameras=["front"], image_size=224, **options)
        places = ((0.05, 0.05, 0.0), (0.05, -0.1, 0.0))
        here, there = (env.reset(seed=0, options={"cube": p})[0]["images"]["front"] for p in places)
        counts.append(int((here != there).any(axis=-1).sum()))  # where the cube is, or was
        env.close()
    assert 0.35 < counts[1] / counts[0] < 0.7 and 0.45 < counts[2] / counts[0] < 0.75, counts


def test_mistakes_are_one_line(env: CubePick) -> None:
    said = refusal(lambda: Perturbation(env.mujoco[0], {"lght": 1.0}))
    assert said.startswith("unknown perturbation 'lght': did you mean 'light'?")
    assert "perturb.light=-1" in refusal(lambda: Perturbation(env.mujoco[0], {"light": -1}))
    assert "cube_size=0.1: expected" in refusal(lambda: CubePick(cube_size=0.1))
    assert "camera_distance=9" in refusal(lambda: CubePick(camera_distance=9))
    assert "unknown perturbation 'lights': did you mean 'light'?" in refusal(
        lambda: find_perturbation("lights")
    )


def test_every_perturbation_changes_something() -> None:
    for name in PERTURBATIONS:
        chosen = find_perturbation(name)
        assert chosen["env"] or chosen["channel"]["_target_"] == "envs.imperfect_channel.ImperfectChannel"
        assert set(chosen["env"].get("perturb", {})) <= set(KINDS)
