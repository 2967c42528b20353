"""Why a rollout failed: by hand, on the toy and in the simulator, and what does not change the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_loop import s2robot

import s2robot.evaluation.rollouts as stage
from demos.cube_pick import ScriptedExpert, Variation
from envs.cube_pick.env import EE_STEP, CubePick
from envs.toy import STEP, Toy
from s2robot.core.rollout import run_episode
from s2robot.core.spec import Observation
from s2robot.evaluation.trace import SceneTrace
from s2robot.reports.result import count_failures, metric_medians, outcome_text
from s2robot.tasks.cube_pick import CubePickTask
from s2robot.tasks.cube_pick_failures import LABELS, Scene, classify

OPEN, SHUT, AROUND = 0.08, 0.0, 0.042  # m between the fingers; around a cube
START, CUBE = (0.0, 0.0, 0.2), (0.1, 0.0, 0.02)


def at(gripper: tuple[float, float, float], opening: float, cube: tuple[float, float, float] = CUBE) -> Scene:
    return Scene(gripper, opening, cube)


def beside(x: float, z: float = 0.0) -> tuple[float, float, float]:
    """x m short of the cube's centre and z m above it."""
    return CUBE[0] - x, CUBE[1], CUBE[2] + z


BY_HAND = {
    "it stayed away": ([at(START, OPEN)] * 5, ("never reached", 0.2059)),
    "it closed far away": ([at(START, OPEN), at(beside(0.09), SHUT)], ("never reached", 0.09)),
    "it closed on the way": (
        [at(START, OPEN), at(beside(0.09), SHUT), at(beside(0.02), SHUT)],
        ("timed out", 0.02),
    ),
    "it closed beside": (
        [at(START, OPEN), at(beside(0.03), OPEN), at(beside(0.03), SHUT)],
        ("missed", 0.03),
    ),
    "it closed above": ([at(START, OPEN), at(beside(0, 0.04), SHUT)], ("missed", 0.04)),
    "its second attempt was nearer": (
        [at(START, OPEN), at(beside(0.05), SHUT), at(beside(0.05), OPEN), at(beside(0.025), SHUT)],
        ("missed", 0.025),
    ),
    "what counts is where it closed": (
        [at(START, OPEN), at(beside(0.04), SHUT), at(beside(0.01), SHUT)],
        ("missed", 0.04),
    ),
    "it hovered": ([at(START, OPEN), at(beside(0.02), OPEN)], ("timed out", 0.02)),
    "it pushed": (
        [at(START, OPEN), at(beside(0.03), SHUT), at(CUBE, SHUT, (0.15, 0.0, 0.02))],
        ("pushed away", 0.03),
    ),
    "it let go": (
        [
            at(START, OPEN),
            at(CUBE, AROUND),
            at((0.1, 0, 0.08), AROUND, (0.1, 0, 0.08)),
            at((0.1, 0, 0.1), OPEN),
        ],
        ("grasped and dropped", None),
    ),
    "it let go elsewhere": (
        [at(START, OPEN), at((0.1, 0, 0.08), AROUND, (0.1, 0, 0.08)), at(START, OPEN, (0.2, 0, 0.02))],
        ("grasped and dropped", None),
    ),
    "it still held": (
        [at(START, OPEN), at((0.1, 0, 0.05), AROUND, (0.1, 0, 0.05))],
        ("timed out", None),
    ),
}


@pytest.mark.parametrize(("scenes", "failure"), BY_HAND.values(), ids=BY_HAND)
def test_by_hand(scenes: list[Scene], failure: tuple[str, float | None]) -> None:
    label, missed_by = failure
    found = classify(scenes)
    assert found.label == label
    assert found.metrics == ({} if missed_by is None else {"missed_by_m": pytest.approx(missed_by, abs=1e-4)})


lengths = st.floats(-0.3, 0.3)
places = st.tuples(lengths, lengths, st.floats(0, 0.3))
rollouts = st.lists(st.builds(Scene, places, st.floats(0, 0.08), places), min_size=1, max_size=12)


@given(rollouts, lengths, lengths)
def test_where_the_table_stands_and_how_long_it_went_on_afterwards_change_nothing(scenes, dx, dy) -> None:
    def moved(place):
        return place[0] + dx, place[1] + dy, place[2]

    found = classify(scenes)
    assert found.label in LABELS
    assert all(value >= 0 for value in found.metrics.values())
    longer = [Scene(moved(s.gripper), s.opening, moved(s.cube)) for s in [*scenes, scenes[-1]]]
    again = classify(longer)
    assert (again.label, again.metrics) == (found.label, pytest.approx(found.metrics))


# On the toy


class Goes:
    """Goes to each place (relative to the cube, m) in turn, opens or closes there, and waits at the end."""

    def __init__(self, env: Toy, *steps: tuple[tuple[float, float, float], float]) -> None:
        self.env, self.steps = env, steps

    def reset(self) -> None:
        self.left = list(self.steps)
        self.command = -1.0
        self.cube = np.append(self.env.cube()[:2], 0.0)

    def act(self, observation: Observation) -> np.ndarray:
        gap = np.zeros(3)
        if self.left:
            offset, command = self.left[0]
            gap = self.cube + offset - observation["proprio"][:3]
            if np.abs(gap).max() < 1e-4:
                self.command = command
                self.left.pop(0)
        return np.append(np.clip(gap, -STEP, STEP), self.command).astype(np.float32)


ABOVE, ON, HIGH = (0.0, 0.0, 0.2), (0.0, 0.0, 0.0), (0.0, 0.0, 0.04)


@pytest.mark.parametrize(
    ("steps", "kind", "missed_by"),
    [
        ([], "never reached", None),
        ([(ABOVE, -1.0), ((0.03, 0.0, 0.0), 1.0)], "missed", 0.03),
        ([(ABOVE, -1.0), (ON, -1.0)], "timed out", 0.0),
        ([(ABOVE, -1.0), (ON, 1.0), (HIGH, -1.0), (HIGH, -1.0)], "grasped and dropped", None),
        ([(ABOVE, -1.0), (ON, 1.0), (HIGH, 1.0)], "timed out", None),
    ],
)
def test_on_the_toy(steps: list, kind: str, missed_by: float | None) -> None:
    env = Toy(image_size=8)
    trace = SceneTrace(env, env.task)
    outcome = run_episode(env, Goes(env, *steps), seed=0, subscribers=[trace])
    failure = trace.failure(outcome.success)
    assert failure is not None and failure.label == kind
    if missed_by is not None:
        assert failure.metrics["missed_by_m"] == pytest.approx(missed_by, abs=1e-3)


def test_a_success_is_no_failure() -> None:
    env = Toy(image_size=8)
    trace = SceneTrace(env, env.task)
    steps = [(ABOVE, -1.0), (ON, 1.0), (ABOVE, 1.0)]
    outcome = run_episode(env, Goes(env, *steps), seed=0, subscribers=[trace])
    assert outcome.success and trace.failure(outcome.success) is None
    assert len(trace.scenes) == outcome.steps + 1


def test_a_trace_begins_anew_with_each_rollout() -> None:
    env = Toy(image_size=8, max_steps=5)
    trace = SceneTrace(env, env.task)
    for _ in range(2):
        run_episode(env, Goes(env), seed=0, subscribers=[trace])
        assert len(trace.scenes) == 6


def test_where_the_cube_is_not_known_nothing_is_said() -> None:
    class Arm(gymnasium.Env):
        """Does not know where the cube is, as a real one."""

    trace = SceneTrace(Arm(), CubePickTask())
    trace.on_reset({}, {})
    trace.on_step({}, np.zeros(4), {})
    assert trace.failure(False) is None


# In the simulator


def test_the_simulator_tells_where_gripper_and_cube_are(cube_pick: CubePick) -> None:
    observation, info = cube_pick.reset(seed=1, options={"cube": (0.05, -0.1, 0.3)})
    scene = cube_pick.scene()
    np.testing.assert_allclose(scene.cube[:2], (0.05, -0.1), atol=1e-6)
    gripper = observation["proprio"][8:11] + cube_pick.base_position
    np.testing.assert_allclose(scene.gripper, gripper, atol=1e-6)
    assert scene.opening == pytest.approx(observation["proprio"][7])
    assert info.keys() == {"success", "time"}, "nothing of it where a policy looks"


class Pushes:
    """Goes down in front of the cube, its gripper closed, and on through where the cube lies."""

    def __init__(self, env: CubePick) -> None:
        self.env = env

    def reset(self) -> None:
        x, y, _ = self.env.cube()
        self.left = [
            np.array([x - 0.07, y, 0.1]),
            np.array([x - 0.07, y, 0.02]),
            np.array([x + 0.06, y, 0.02]),
        ]

    def act(self, observation: Observation) -> np.ndarray:
        gap = self.left[0] - self.env.scene().gripper
        if np.abs(gap).max() < 0.01 and len(self.left) > 1:
            self.left.pop(0)
        return np.append(np.clip(1.6 * gap, -EE_STEP, EE_STEP), 1.0).astype(np.float32)


def miss_of_4_cm(env: CubePick) -> ScriptedExpert:
    return ScriptedExpert(
        env, Variation(hover=0.08, hover_offset=np.zeros(2), miss=np.array([0.04, 0.0, 0.0]))
    )


@pytest.mark.parametrize(
    ("actor", "kind", "least", "most"),
    [(miss_of_4_cm, "missed", 0.035, 0.045), (Pushes, "pushed away", 0.0, 0.06)],
)
def test_in_the_simulator(
    cube_pick: CubePick, monkeypatch: pytest.MonkeyPatch, actor: Any, kind: str, least: float, most: float
) -> None:
    monkeypatch.setattr(cube_pick, "max_steps", 26)
    trace = SceneTrace(cube_pick, cube_pick.task)
    options = {"cube": (0.02, 0.03, 0.0)}
    outcome = run_episode(cube_pick, actor(cube_pick), seed=1, options=options, subscribers=[trace])
    failure = trace.failure(outcome.success)
    assert failure is not None and failure.label == kind
    assert least < failure.metrics["missed_by_m"] < most


# In an evaluation


class Waits:
    def reset(self) -> None:
        pass

    def act(self, observation: Observation) -> np.ndarray:
        return np.array([0.0, 0.0, 0.0, -1.0], np.float32)


def test_an_evaluation_says_why_it_failed(
    toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "make_executor", lambda policy, plain: Waits())
    options = ("starts=2", "random_starts=1", "max_steps=3", "workers=0")
    assert s2robot("evaluate", f"checkpoint={toy_checkpoint}", f"out={tmp_path}", *options) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text())
    for outcome in result["rollouts"] + result["random_starts"]["rollouts"]:
        assert outcome["failure"] == "never reached"
        assert 0.15 < outcome["metrics"]["missed_by_m"] < 0.4
    page = (tmp_path / "report.html").read_text()
    assert "Failures: 2 never reached" in page
    assert page.count("✗ never reached, missed by ") == 3


def rollout(scenes: list[Scene]) -> dict[str, Any]:
    found = classify(scenes)
    return {
        "success": False,
        "failure": found.label,
        "failure_text": found.text,
        "metrics": dict(found.metrics),
    }


def test_counted_and_in_words() -> None:
    held = {"success": True, "failure": None, "failure_text": None, "metrics": {}}
    names = ("it closed beside", "it stayed away", "it let go", "it closed above", "it pushed")
    rollouts = [held, *(rollout(BY_HAND[name][0]) for name in names)]
    assert count_failures(rollouts, LABELS) == {
        "never reached": 1,
        "missed": 2,
        "pushed away": 1,
        "grasped and dropped": 1,
    }
    assert list(count_failures(rollouts, LABELS)) == [label for label in LABELS if label != "timed out"]
    assert [outcome_text(rollout) for rollout in rollouts[1:]] == [
        "missed by 3.0 cm",
        "never reached, missed by 20.6 cm",
        "grasped and dropped",
        "missed by 4.0 cm",
        "pushed away, missed by 3.0 cm",
    ]
    unknown = {"success": False, "failure": None, "failure_text": None, "metrics": {}}
    assert outcome_text(unknown) == "failed", "where nothing is known"
    assert count_failures([unknown], LABELS) == {} and metric_medians([unknown]) == ""
