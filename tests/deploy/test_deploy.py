"""`s2robot deploy`: checks before anything moves, what is kept of each rollout, and who may stop it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forward_policy import Forward
from mistakes import refusal
from robots import FakeRobot

from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.core.spec import Observation
from s2robot.core.task import Start, Task
from s2robot.data.store import DemoStore
from s2robot.deploy.checks import Check, dry_run, look, refuse
from s2robot.deploy.command import Deployment
from s2robot.deploy.operator import Mark, Nobody, Terminal
from s2robot.deploy.options import DeployOptions
from s2robot.deploy.result import outcomes, write
from s2robot.deploy.rollout import roll_out
from s2robot.policy.execution.asynchronous import AsynchronousExecutor, ChunkBlending
from s2robot.reports.result import read_evaluation
from s2robot.robot.arm import Mode
from s2robot.tasks.cube_pick import CubePickTask, evaluation_positions
from s2robot.teleop.device import Event
from s2robot.teleop.human import TakeEnded

TASK = CubePickTask()


def options(*overrides: str) -> DeployOptions:
    return read_options(DeployOptions, compose("deploy", ["out=unused", "starts=3", *overrides]))


class Judging(FakeRobot):
    """Succeeds once the gripper has come far enough forward, where `wins`."""

    wins = True

    def step(self, action: np.ndarray):
        observation, reward, terminated, truncated, info = super().step(action)
        if self.wins and self._steps == 5:
            info["success"] = terminated = True
        return observation, reward, terminated, truncated, info


@pytest.fixture
def rig() -> Any:
    env, policy = Judging(max_steps=8), Forward()
    executor = AsynchronousExecutor(policy, env.robot_spec, env.clock.now, ChunkBlending(inference_slack=0.0))
    yield env, policy, executor
    executor.close()
    env.close()


def test_checks_find_a_robot_that_is_as_it_must_be(rig: Any) -> None:
    env, _, executor = rig
    checks = look(env, env.robot_spec) + dry_run(env, executor, 0.5, 0.5)
    assert [c.name for c in checks if not c.good] == [], checks
    assert {"robot", "clock", "camera front", "arm", "rate", "dry run"} <= {c.name for c in checks}
    assert env.arm.sent == [], "nothing has moved"
    refuse(checks, force=False)


def test_checks_find_what_is_wrong(rig: Any) -> None:
    env, _, _ = rig
    env.connect()
    env.eyes["front"].freeze()
    env.clock.time += 5
    env.arm.fault = "joint_reflex"
    other = FakeRobot(action_space="joint").robot_spec
    failed = {check.name: check.found for check in look(env, other) if not check.good}
    assert failed.keys() == {"robot", "camera front", "arm"}
    assert failed["arm"] == "reflex: joint_reflex" and "action" in failed["robot"]
    said = refusal(lambda: refuse(look(env, other), force=False))
    assert said.startswith("nothing was moved: robot, camera front, arm failed; force=true")
    assert all(check.good for check in look(env, env.robot_spec, recover=True) if check.name == "arm")


def dry_run_of(action: list[float], **options: Any) -> Check:
    env, policy = Judging(max_steps=8, **options), Forward()
    policy.action = np.array(action, np.float32)
    executor = AsynchronousExecutor(policy, env.robot_spec, env.clock.now, ChunkBlending(inference_slack=0.0))
    env.connect()
    *_, check = dry_run(env, executor, 0.5, max_clamped=0.5)
    executor.close()
    env.close()
    return check


def test_a_dry_run_fails_where_the_safety_layer_would_change_too_much() -> None:
    quick = [0.05, 0.0, -0.05, -1.0]  # faster than the arm may start: slowed, as it will be in a rollout
    check = dry_run_of(quick)
    assert check.good and "changed 0 and slowed 5" in check.found, check
    degrees = [0.0, 11.0, 0.0, -101.0, 0.0, 112.0, 45.0, -1.0]  # of joints in rad
    check = dry_run_of(degrees, action_space="joint")
    assert not check.good
    assert check.found.startswith("of 5 actions the safety layer would have changed 5 (joint_limit 5")
    said = refusal(lambda: refuse([check], force=False, realtime_factor=1.0))
    assert said == "nothing was moved: dry run failed; force=true goes on all the same"


def test_a_dry_run_fails_where_next_to_nothing_is_left_of_a_motion() -> None:
    check = dry_run_of([0.05, 0.0, 0.0, -1.0], velocity=0.01, acceleration=0.01)
    assert not check.good and check.found.endswith("(median): less than 5%"), check


def test_a_slow_computer_is_told_what_helps() -> None:
    slow = [Check("rate", False, "3 of 10 Hz", is_speed=True), Check("dry run", True, "")]
    said = refusal(lambda: refuse(slow, force=False, realtime_factor=1.0))
    assert said == (
        "nothing was moved: rate failed; this computer is too slow: robot.realtime_factor=0.25 simulates in "
        "slow motion"
    )
    said = refusal(lambda: refuse(slow, force=False))
    assert "this computer is too slow" in said and "server=" in said and "realtime" not in said


def deployment(rig: Any, store: DemoStore, *overrides: str, task: Task = TASK) -> Deployment:
    env, _, executor = rig
    return Deployment(options(*overrides), env, executor, task, store)


def test_rollouts_are_kept_counted_and_not_made_twice(rig: Any, tmp_path: Path) -> None:
    env, _, _ = rig
    store = DemoStore.create(tmp_path / "demos", env.robot_spec)
    deployment(rig, store, "starts=1").run(Nobody())
    env.wins = False
    deployment(rig, store, "operator=ada").run(Nobody())
    found = outcomes(store)
    assert [found[i]["success"] for i in range(3)] == [True, False, False]
    starts = [Start.from_dict(outcome["start"]) for outcome in found.values()]
    assert [start.place for start in starts] == evaluation_positions()[:3]
    assert list(deployment(rig, store).starts()) == []
    first, last = store.episodes()[0], store.episodes()[2]
    assert first.length == 5 and first.attributes["timing"]["achieved_rate"] == pytest.approx(10.0)
    assert first.attributes["start"] == TASK.fixed_starts[0].to_dict()
    assert first.attributes["instruction"] == "pick up the cube" and last.attributes["operator"] == "ada"
    ages = first.attributes["capture_to_command"]
    assert len(ages) == 5 and all(0 <= age < 1 for age in ages)
    about = {"checkpoint_sha256": "0" * 64, "config": {}, "max_steps": 8, "seed": 0}
    write(tmp_path, store, TASK, about)
    evaluation = read_evaluation(tmp_path)
    assert (evaluation["successes"], evaluation["trials"]) == (1, 3)
    assert evaluation["task"]["name"] == "cube_pick"
    assert evaluation["robot"]["steps"] == 5 + 8 + 8
    assert "1 of 3" in (tmp_path / "report.html").read_text()


def test_a_task_without_fixed_starts_is_counted_over_seeds(rig: Any, tmp_path: Path) -> None:
    env, _, _ = rig
    env.wins = False
    store = DemoStore.create(tmp_path / "demos", env.robot_spec)
    task = Task("peg", "insert the peg", "inserted the peg")
    asked: list[str] = []
    answers = iter(["", "y", "", "n"])
    terminal = Terminal(env, task, lambda question: asked.append(question) or next(answers))
    deployment(rig, store, "starts=2", task=task).run(terminal)
    assert [outcome["success"] for outcome in outcomes(store).values()] == [True, False]
    seeds = [outcome["seed"] for outcome in outcomes(store).values()]
    assert len(set(seeds)) == 2
    assert asked[0].startswith("Rollout 0: set the scene up. Enter")
    assert asked[1].startswith("Did it succeed (inserted the peg)?")


def test_where_the_operator_sets_the_scene_up_freely_no_start_is_done_and_all_are_reported(
    rig: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env, _, _ = rig
    store = DemoStore.create(tmp_path / "demos", env.robot_spec)
    about = {"checkpoint_sha256": "0" * 64, "config": {}, "max_steps": 8, "seed": 0}
    write(tmp_path, store, TASK, about)
    said = f"no rollout was made: no evaluation.json and no report.html in {tmp_path}"
    assert capsys.readouterr().out.strip() == said
    for _ in range(2):
        deployment(rig, store, "starts=0", "rollouts=2").run(Nobody())
    assert len(store) == 4 and outcomes(store) == {}
    assert len(list(deployment(rig, store).starts())) == 3
    write(tmp_path, store, TASK, about)
    evaluation = read_evaluation(tmp_path)
    assert (evaluation["successes"], evaluation["trials"]) == (4, 4)
    assert [rollout["index"] for rollout in evaluation["rollouts"]] == [0, 1, 2, 3]


def test_a_policy_that_fails_stops_the_arm_and_counts_as_a_failure(rig: Any) -> None:
    env, policy, executor = rig
    policy.error = ConnectionError("the network is cut")
    rollout = roll_out(env, executor, Nobody(), TASK, Start(), 0)
    assert rollout.mark is Mark.FAILURE and "the network is cut" in str(rollout.stopped)
    assert env.arm.mode is Mode.STOPPED


def test_a_reflex_ends_the_rollout_with_its_reason(rig: Any) -> None:
    env, policy, executor = rig
    observe = policy.observe

    def reflex(observation: Observation) -> None:
        observe(observation)
        env.arm.fault = "cartesian_reflex"

    policy.observe = reflex
    assert roll_out(env, executor, Nobody(), TASK, Start(), 0).stopped == "reflex: cartesian_reflex"


class Scripted(Nobody):
    """Steers at one step and presses a button at another."""

    def __init__(self, steers: int = -1, presses: tuple[int, Event] | None = None) -> None:
        self.step, self.steers, self.presses = 0, steers, presses

    def attend(self, observation: Observation) -> np.ndarray | None:
        self.step += 1
        if self.presses and self.step == self.presses[0]:
            raise TakeEnded(self.presses[1])
        return np.array([0, 0.004, 0, -1], np.float32) if self.step == self.steers else None


def test_an_operator_who_steers_is_noted(rig: Any) -> None:
    env, _, executor = rig
    rollout = roll_out(env, executor, Scripted(steers=2), TASK, Start(), 0)
    assert rollout.by_person == [False, True, False, False, False]
    assert rollout.recorder.episode({}).action[1].tolist() == pytest.approx([0, 0.004, 0, -1])


@pytest.mark.parametrize(
    ("event", "mark"),
    [(Event.KEEP, Mark.SUCCESS), (Event.DISCARD, Mark.FAILURE), (Event.REDO, Mark.REPEAT)],
)
def test_an_operator_ends_a_rollout(rig: Any, event: Event, mark: Mark) -> None:
    env, _, executor = rig
    rollout = roll_out(env, executor, Scripted(presses=(3, event)), TASK, Start(), 0)
    assert (rollout.mark, rollout.steps, env.arm.mode) == (mark, 2, Mode.STOPPED)


def test_what_does_not_count_is_made_again(rig: Any, tmp_path: Path) -> None:
    env, _, _ = rig
    store = DemoStore.create(tmp_path / "demos", env.robot_spec)
    answers = iter(["", "r", "", "y", "q"])
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return next(answers)

    deployment(rig, store).run(Terminal(env, TASK, ask))
    assert [(o["index"], o["success"]) for o in outcomes(store).values()] == [(0, True)]
    assert asked[0].startswith("Position 0: from the table's middle 8.7 cm towards the robot, 11.7 cm to")
    assert asked[0] == asked[2] != asked[4]


def test_at_the_terminal_a_latched_stop_is_cleared_by_the_operator_alone(rig: Any) -> None:
    env, _, _ = rig
    env.connect()
    env.estop()
    asked = []
    terminal = Terminal(env, TASK, lambda question: asked.append(question) or "")
    assert terminal.ready("here")
    assert asked[0] == "emergency stop. Enter: clear it; q: end " and env.safe.state() is Mode.STOPPED
