"""Meta-World, mapped by configs/env/metaworld.yaml; the package is installed apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mistakes import refusal
from toy_loop import TRAIN, s2robot

from s2robot.config.environment import make_env
from s2robot.core.rollout import run_episode
from s2robot.core.spec import GRIPPER_POSITION
from s2robot.data.store import DemoStore
from s2robot.evaluation.rollouts import env_seed
from s2robot.tasks import load_task
from s2robot.tasks.metaworld import INSTRUCTIONS


def test_a_task_has_its_words_without_the_package() -> None:
    task = load_task({"task": "drawer-open-v3"})
    assert (task.name, task.instruction) == ("drawer-open-v3", "open the drawer")
    assert not task.fixed_starts, "its starts are seeds"
    assert refusal(lambda: load_task({"task": "drawer-v3"})).startswith("unknown Meta-World task 'drawer-v3'")


def test_every_task_has_its_words_and_its_expert() -> None:
    pytest.importorskip("metaworld")
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.policies import ENV_POLICY_MAP

    assert set(INSTRUCTIONS) == set(ALL_V3_ENVIRONMENTS) == set(ENV_POLICY_MAP)


def test_a_seed_decides_the_start_whatever_came_before() -> None:
    pytest.importorskip("metaworld")
    env = make_env("metaworld", task="bin-picking-v3", **{"kwargs.image_size": 32})
    first, _ = env.reset(seed=3)
    block = env.unwrapped.original_observation["state"][4:7]  # type: ignore[attr-defined]
    green = (first["images"]["front"][..., 1] > 2 * first["images"]["front"][..., [0, 2]].max(axis=-1)).sum()
    assert green, "the block is where it lies, seen before the first step"
    for _ in range(5):
        env.step(np.array([1.0, 1.0, -1.0, 1.0], np.float32))
    other, _ = env.reset(seed=4)
    again, _ = env.reset(seed=3)
    np.testing.assert_array_equal(again["images"]["front"], first["images"]["front"])
    np.testing.assert_array_equal(again["proprio"], first["proprio"])
    np.testing.assert_array_equal(env.unwrapped.original_observation["state"][4:7], block)  # type: ignore[attr-defined]
    assert (other["images"]["front"] != first["images"]["front"]).any()
    env.close()


def test_the_picture_is_upright_and_the_wrong_camera_is_named() -> None:
    pytest.importorskip("metaworld")
    given = {"kwargs.image_size": 64, "kwargs.cameras": ["front", "corner4"], "kwargs.repeat": 2}
    env = make_env("metaworld", **given)
    original = env.unwrapped.original_observation  # type: ignore[attr-defined]
    for camera in ("front", "corner4"):
        grey = np.ptp(original[camera].astype(int), axis=-1) < 12
        assert grey[:16].sum() > 2 * grey[-16:].sum(), "the floor behind the table is at the top"
    assert env.unwrapped.robot_spec.rate == 40  # type: ignore[attr-defined]
    env.close()
    wrong = {"kwargs.cameras": ["corner9"], "images.front": "corner9"}
    assert refusal(lambda: make_env("metaworld", **wrong)).startswith("unknown camera 'corner9'")


def test_an_expert_of_another_environment_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("metaworld")
    given = ("env=toy", "expert=metaworld", "episodes=1", "workers=0", f"out={tmp_path / 'demos'}")
    assert s2robot("record", *given) == 2
    assert "expert=metaworld is that of env=metaworld, not of Toy" in capsys.readouterr().err


@pytest.mark.slow
def test_the_loop_from_a_demo_to_a_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("metaworld")
    demos, policy, evaluation = (tmp_path / name for name in ("demos", "policy", "evaluation"))
    given = (
        "env=metaworld",
        "env.task=button-press-v3",
        "env.kwargs.image_size=64",
        "episodes=2",
        "workers=0",
    )
    assert s2robot("record", *given, f"out={demos}") == 0
    store = DemoStore.open(demos)
    demo = store.episode(store.ids()[0])
    assert store.spec.proprio[:3] == GRIPPER_POSITION and store.spec.action_space == "ee_delta"
    assert demo.attributes["instruction"] == "press the button" and demo.attributes["success"]
    assert np.abs(demo.action[:]).max() <= 1
    held_out = {env_seed(0, i) for i in range(100)}
    assert not held_out & {store.episode(i).attributes["seed"] for i in store.ids()}
    training = [o for o in TRAIN if not o.startswith("steps=")]
    assert s2robot("train", f"demos={demos}", f"out={policy}", *training, "steps=2") == 0
    chosen = (f"checkpoint={policy}", f"out={evaluation}", "starts=2", "max_steps=3", "workers=0")
    assert s2robot("evaluate", *chosen) == 0
    capsys.readouterr()
    assert s2robot("evaluate", f"replay={evaluation}", "index=1", f"out={tmp_path / 'replays'}") == 0
    assert "bit for bit" in capsys.readouterr().out
    expert = (f"checkpoint={policy}", f"out={tmp_path / 'expert'}", "starts=1", "workers=0", "actor=expert")
    assert s2robot("evaluate", *expert) == 0
    assert "1 of 1" in capsys.readouterr().out


def test_the_expert_succeeds() -> None:
    pytest.importorskip("metaworld")
    from demos.metaworld import MetaWorldExpert

    env = make_env("metaworld", **{"kwargs.image_size": 16})
    outcome = run_episode(env, MetaWorldExpert(env), seed=1)
    assert outcome.success and outcome.steps < 100
    env.close()
