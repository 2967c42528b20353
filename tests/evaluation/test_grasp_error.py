"""How far from the cube vision said it was: by hand, of a policy, and in an evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_loop import s2robot

from demos.cube_pick import ScriptedExpert, Variation
from envs.cube_pick import CubePick
from envs.toy import Toy
from s2robot.core.rollout import run_episode
from s2robot.core.spec import Observation
from s2robot.evaluation.trace import GraspTrace, SceneTrace
from s2robot.policy.checkpoint import load_policy
from s2robot.policy.model import make_model
from s2robot.policy.policy import ChunkExecutor, Policy
from s2robot.reports.result import metric_medians, outcome_text
from s2robot.tasks.cube_pick_failures import Scene, grasp_error

OPEN, SHUT = 0.08, 0.0  # m between the fingers
CUBE = (0.1, 0.0, 0.02)


def at(x: float, opening: float = OPEN) -> Scene:
    return Scene((x, 0.0, 0.2), opening, CUBE)


def way(x: float, y: float = 0.0) -> np.ndarray:
    return np.array([x, y, -0.3], np.float32)


@pytest.mark.parametrize(
    ("scenes", "ways", "off"),
    [
        ([at(0.0), at(0.05)], [way(0.1), way(0.05)], 0.0),  # it sees where the cube is, from wherever
        ([at(0.0), at(0.05)], [way(0.13), way(0.05, 0.01)], 0.02),  # the median of 3 and 1 cm
        (
            [at(0.0), at(0.1, SHUT), at(0.1, OPEN)],
            [way(0.12), way(1.0), way(1.0)],
            0.02,
        ),  # until it first closes
        ([at(0.0), at(0.05), at(0.1)], [way(0.11), way(0.06)], 0.01),  # a scene after the last action
        (
            [at(0.0, SHUT), at(0.0), at(0.1, SHUT)],
            [way(0.11), way(0.11), way(1.0)],
            0.01,
        ),  # it first opens
        ([at(0.0, SHUT), at(0.05, SHUT)], [way(0.12), way(0.07)], 0.02),  # it never opens
    ],
)
def test_by_hand(scenes: list[Scene], ways: list[np.ndarray], off: float) -> None:
    assert grasp_error(scenes, ways) == pytest.approx(off, abs=1e-6)


@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_it_is_the_same_wherever_the_frame_lies(x: float, y: float, left: float, right: float) -> None:
    def moved(by: float) -> float:
        scene = Scene((by, by, 0.2), OPEN, (CUBE[0] + by, CUBE[1] + by, CUBE[2]))
        return grasp_error([scene], [np.array([x, y, 0.0])])

    assert moved(left) == pytest.approx(moved(right), abs=1e-9)
    assert moved(left) == pytest.approx(np.hypot(x - CUBE[0], y), abs=1e-9)


def with_a_guess(policy: Policy, place: list[float]) -> Policy:
    """The same policy, but for a vision that says the grasp will be at that place (m), whatever it sees."""
    model = policy.model
    model.config = replace(model.config, grasp_target="position")
    entries = list(model.config.grasp_state_indices)
    statistics = model.proprio_normalizer.statistics
    with torch.no_grad():
        model.grasp_head.weight.zero_()
        model.grasp_head.bias.copy_(
            torch.as_tensor((np.array(place) - statistics.mean[entries]) / statistics.std[entries])
        )
    return policy


def test_a_policy_says_the_way_left_in_metres(toy_checkpoint: Path) -> None:
    policy, env = load_policy(toy_checkpoint), Toy()
    observation, _ = env.reset(seed=0)
    way = np.array([0.03, -0.01, 0.0])
    place = observation["proprio"][list(policy.model.config.grasp_state_indices)] + way
    with_a_guess(policy, place.tolist()).observe(observation)
    assert policy.grasp_offset() == pytest.approx(way, abs=1e-5)


def test_a_policy_that_sees_the_way_itself_says_it_wherever_the_gripper_is(toy_checkpoint: Path) -> None:
    trained = load_policy(toy_checkpoint)
    model = make_model(
        replace(trained.model.config, grasp_target="offset"), trained.model.proprio_normalizer.statistics
    )
    entries = list(model.config.grasp_state_indices)
    way = np.array([0.03, -0.01, 0.02])
    with torch.no_grad():
        model.grasp_head.weight.zero_()
        model.grasp_head.bias.copy_(torch.as_tensor(way / model.proprio_normalizer.statistics.std[entries]))
    policy, observation = Policy(model, trained.extractor, trained.spec), dict(Toy().reset(seed=0)[0])
    for moved in (0.0, 0.1):
        policy.observe(observation | {"proprio": observation["proprio"] + np.float32(moved)})
        assert policy.grasp_offset() == pytest.approx(way, abs=1e-5)


@pytest.mark.parametrize("without", [{"grasp_weight": 0.0}, {"grasp_state_indices": ()}])
def test_a_policy_that_was_not_taught_the_place_says_nothing(toy_checkpoint: Path, without: dict) -> None:
    trained = load_policy(toy_checkpoint)
    model = make_model(replace(trained.model.config, **without))
    policy = Policy(model, trained.extractor, trained.spec)
    policy.observe(Toy().reset(seed=0)[0])
    assert policy.grasp_offset() is None


def test_a_policy_that_sees_the_cube_4_cm_off_is_told_so(toy_checkpoint: Path) -> None:
    env, cube = Toy(), (0.05, -0.02, 0.0)
    env.reset(seed=1, options={"cube": cube})
    place = np.add(env.scene().cube, [0.04, 0.0, 0.0])
    actor = ChunkExecutor(with_a_guess(load_policy(toy_checkpoint), place.tolist()))
    scenes, grasps = SceneTrace(env, env.task), GraspTrace(actor)
    run_episode(env, actor, seed=1, options={"cube": cube}, subscribers=[scenes, grasps])
    metrics = env.task.metrics(scenes.scenes, grasps.offsets)
    assert metrics == {"grasp_error_m": pytest.approx(0.04, abs=1e-4)}


# In an evaluation


def test_an_evaluation_says_how_far_off_vision_was(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    options = ("starts=2", "random_starts=1", "max_steps=3", "workers=0")
    assert s2robot("evaluate", f"checkpoint={toy_checkpoint}", f"out={tmp_path}", *options) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text())
    off = [r["metrics"]["grasp_error_m"] for r in result["rollouts"] + result["random_starts"]["rollouts"]]
    assert len(off) == 3 and all(0 < d < 1 for d in off)
    said = f"grasp error {100 * float(np.median(off)):.1f} cm (failures)"
    assert said in capsys.readouterr().out
    assert said in (tmp_path / "report.html").read_text()


def test_of_an_expert_nothing_is_said(toy_checkpoint: Path, tmp_path: Path) -> None:
    options = ("starts=1", "actor=expert", "workers=0")
    assert s2robot("evaluate", f"checkpoint={toy_checkpoint}", f"out={tmp_path}", *options) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert "grasp_error_m" not in result["rollouts"][0]["metrics"]


def test_in_words() -> None:
    missed = {
        "success": False,
        "failure": "missed",
        "failure_text": "missed by 2.7 cm",
        "metrics": {"missed_by_m": 0.027, "grasp_error_m": 0.0052},
    }
    held = {"success": True, "failure": None, "failure_text": None, "metrics": {"grasp_error_m": 0.004}}
    assert outcome_text(missed) == "missed by 2.7 cm (grasp error 0.5 cm)"
    assert metric_medians([missed, held, held]) == (
        "Medians: missed by 2.7 cm (failures), grasp error 0.4 cm (successes), grasp error 0.5 cm (failures)"
    )
    assert metric_medians([held]) == "Medians: grasp error 0.4 cm (successes)"
    assert metric_medians([{"success": True, "metrics": {}}]) == "", "where none is known"


def test_of_an_arm_that_starts_with_its_fingers_half_closed(cube_pick: CubePick) -> None:
    """The way is the true one, 3 cm aside: what is found is 3 cm, and it is found."""
    trace, ways = SceneTrace(cube_pick, cube_pick.task), []

    class Notes(ScriptedExpert):
        def act(self, observation: Observation) -> np.ndarray:
            scene = cube_pick.scene()
            ways.append(np.subtract(scene.cube, scene.gripper) + np.array([0.0, 0.03, 0.0]))
            return super().act(observation)

    actor = Notes(cube_pick, Variation(hover=0.08, hover_offset=np.zeros(2), miss=None))
    run_episode(cube_pick, actor, seed=1, options={"cube": (0.02, 0.03, 0.0)}, subscribers=[trace])
    assert trace.scenes[0].opening < 0.75 * max(scene.opening for scene in trace.scenes)
    assert grasp_error(trace.scenes, ways) == pytest.approx(0.03, abs=1e-6)
