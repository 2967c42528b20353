"""`env=gym`: an environment that knows nothing of s2robot, by a mapping of its observation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.utils.env_checker import check_env
from mistakes import refusal
from point_env import SIZE, Expert
from toy_loop import TRAIN, s2robot
from toy_loop import refusal as refused

from envs.gym import Gym
from s2robot.config.defaults import VARIABLE
from s2robot.core.rollout import run_episode
from s2robot.core.spec import GripperSpec
from s2robot.data.store import DemoStore
from s2robot.record.demonstration import PlainExpert
from s2robot.tasks import load_task

POINT: dict[str, Any] = {"id": "point_env:Point-v0", "images": {"top": "render()"}, "proprio": "state[:2]"}
GIVEN = ("env=gym", "env.id=point_env:Point-v0", "env.images.top=render()", "env.proprio=state[:2]")


def point(**options: Any) -> Gym:
    return Gym(**(POINT | options))


def test_it_is_a_gymnasium_environment() -> None:
    env = point(images={"top": "render()", "eye": "eyes/chw"}, proprio=["state[2:]", "state[0]"])
    check_env(env, skip_render_check=True)
    assert env.render().shape == (*SIZE, 3)


def test_the_mapping_makes_the_spec_and_the_observation() -> None:
    env = point(
        proprio=["state[3,0:2]", "state[-1]"],
        proprio_names=["goal y [m]", "x [m]", "y [m]", "time"],
        action_names=["dx [m]", "dy [m]"],
        action_space="ee_delta",
        grippers=[{"index": 1, "open": 0.1, "closed": -0.1}],
        rate=20,
        max_steps=7,
    )
    spec = env.robot_spec
    assert spec.proprio == ("goal y [m]", "x [m]", "y [m]", "time")
    assert (spec.action, spec.action_space) == (("dx [m]", "dy [m]"), "ee_delta")
    assert (spec.rate, env.max_steps) == (20.0, 7)
    assert spec.grippers == (GripperSpec(1, 0.1, -0.1),)
    observation, info = env.reset(seed=3)
    own: Any = env.original.unwrapped
    np.testing.assert_allclose(observation["proprio"], [own.goal[1], 0, 0, 0], rtol=1e-6)
    assert observation["proprio"].dtype == np.float32 and info == {"success": False, "time": 0.0}
    *_, info = env.step(np.array([9, -0.05]))
    np.testing.assert_allclose(info["action_applied"], [0.1, -0.05], rtol=1e-6)
    assert info["time"] == pytest.approx(0.05)


def test_names_rate_and_limit_come_from_the_environment() -> None:
    env = point()
    assert env.robot_spec.proprio == ("state 0", "state 1")
    assert env.robot_spec.action == ("action 0", "action 1")
    assert (env.robot_spec.rate, env.max_steps) == (5.0, 12)


@pytest.mark.parametrize("entry", ["render()", "eyes/chw", "eyes/rgba", "eyes/grey"])
def test_frames_of_any_layout_and_shape(entry: str) -> None:
    env = point(images={"top": entry})
    assert env.robot_spec.cameras == {"top": (*SIZE, 3)}
    frame = env.reset(seed=0)[0]["images"]["top"]
    assert frame.dtype == np.uint8
    assert frame[0, 0].tolist() == [200] * 3 if entry == "eyes/grey" else [200, 30, 40]


def test_an_observation_that_is_one_array() -> None:
    env = point(id="point_env:PointVector-v0", proprio="observation[:2]", success="terminated")
    assert env.robot_spec.proprio == ("observation 0", "observation 1")
    assert env.reset(seed=0)[0]["proprio"].tolist() == [0, 0]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("told", ["is_success", "success", "reached"])
def test_success_ends_the_episode_and_is_counted(told: str, late: bool) -> None:
    env = point(kwargs={"told": told, "late": late}, success="reached" if told == "reached" else None)
    outcome = run_episode(env, PlainExpert(Expert(env.original, np.random.default_rng(0)), env), seed=1)
    assert outcome.success and outcome.steps < 12


def test_an_episode_that_never_tells_of_success_is_a_mistake_not_a_failure() -> None:
    def act(env: Gym) -> None:
        env.reset(seed=0)
        for _ in range(12):
            env.step(np.zeros(2))

    said = refusal(lambda: act(point(success="sucess")))
    assert said.startswith("env.success=sucess: info never held sucess; it holds is_success, near")
    said = refusal(lambda: act(point(kwargs={"told": "done"})))
    assert said.startswith("env.success=null: info never held is_success or success; it holds done, near")
    said = refusal(lambda: act(point(success="near")))
    assert said.startswith("env.success=near: info['near'] is 0.") and said.endswith("expected true or false")


def test_progress_is_told() -> None:
    env = point(progress="near")
    env.reset(seed=0)
    *_, info = env.step(np.zeros(2))
    assert 0 < info["progress"] < 1
    said = refusal(lambda: point(progress="far").step(np.zeros(2)))
    assert said == "env.progress=far: info holds is_success, near"


OFFERS = (
    "Point-v0 offers eyes/chw (3, 24, 40) uint8, eyes/grey (24, 40) uint8, eyes/rgba (24, 40, 4) uint8, "
    "state (5,) float64, render()"
)


@pytest.mark.parametrize(
    "options, begins, ends",
    [
        ({"images": {"top": "pixels"}}, "env.images: it has no entry 'pixels'; ", OFFERS),
        ({"images": {}}, "env.images: none is given; give env.images.NAME=ENTRY; ", OFFERS),
        ({"images": {"top": "state"}}, "env.images: (5,) float64 is no image: ", OFFERS),
        ({"proprio": "agent"}, "env.proprio: it has no entry 'agent'; ", OFFERS),
        ({"proprio": None}, "env.proprio: none is given; ", OFFERS),
        ({"proprio": "state[:9]"}, "env.proprio: state[:9] takes no part of the 5 numbers of state", OFFERS),
        ({"proprio": "state[5]"}, "env.proprio: state[5] takes no part of the 5 numbers", OFFERS),
        ({"proprio": "state[a]"}, "env.proprio: state[a] takes no part of the 5 numbers", OFFERS),
        ({"proprio_names": ["x"]}, "env.proprio: 1 names for 2 numbers (state 0, state 1); ", OFFERS),
        ({"action_names": ["x"]}, "env.action_names=['x']: expected 2 names", "of the action"),
        ({"id": "Pont-v0"}, "env.id=Pont-v0: Environment `Pont` doesn't exist", "registers it)"),
        ({"id": "no_such:Point-v0"}, "env.id=no_such:Point-v0: No module named 'no_such'", "--config-dir"),
        ({"kwargs": {"tlod": 1}}, "env.id=point_env:Point-v0 env.kwargs={'tlod': 1", ")"),
        ({"id": "point_env:PointForever-v0"}, "env.max_steps is missing", "steps"),
        ({"id": "CartPole-v1"}, "env.proprio: it has no entry 'state'", "observation (4,) float32, render()"),
    ],
)
def test_a_wrong_mapping_is_one_line_that_lists_what_there_is(
    options: dict[str, Any], begins: str, ends: str
) -> None:
    said = refusal(lambda: point(**options))
    assert said.startswith(begins) and said.endswith(ends), said


def test_the_task_is_named_after_the_id() -> None:
    task = load_task({"id": "a.b:c/Push-T-v12", "instruction": "push", "goal": "pushed"})
    assert (task.name, task.instruction, task.goal) == ("Push-T", "push", "pushed")
    assert [start.options for start in task.starts(3)] == [{}] * 3


# ---------------------------------------------------------------------- the command line


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gym") / "demos"
    given = ("expert._target_=point_env.Expert", "env.instruction=go there", "episodes=2", "workers=0")
    assert s2robot("record", *GIVEN, *given, f"out={out}") == 0
    return out


@pytest.fixture(scope="module")
def policy(demos: Path) -> Path:
    out = demos.parent / "policy"
    assert s2robot("train", f"demos={demos}", f"out={out}", *TRAIN) == 0
    return out


def test_an_expert_s_demos_are_successes_with_the_words_of_the_task(demos: Path) -> None:
    store = DemoStore.open(demos)
    attributes = [store.episode(i).attributes for i in store.ids()]
    assert [(a["success"], a["instruction"]) for a in attributes] == [(True, "go there")] * 2
    assert store.spec.cameras == {"top": (*SIZE, 3)}


def test_a_random_actor_s_demos_are_kept_as_they_are(tmp_path: Path) -> None:
    given = (*GIVEN, "env.max_steps=3", "expert=random", "episodes=2", "workers=0")
    assert s2robot("record", *given, f"out={tmp_path / 'demos'}") == 0
    store = DemoStore.open(tmp_path / "demos")
    assert [store.episode(i).attributes["success"] for i in store.ids()] == [False, False]
    first, second = (store.episode(i).action for i in store.ids())
    assert not np.array_equal(first, second)


def test_an_expert_that_does_not_act_and_a_mapping_that_does_not_fit_leave_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("record", *GIVEN, f"out={tmp_path / 'demos'}", "workers=0")
    said = refused(capsys, *given, "expert._target_=fractions.Fraction")
    assert said.endswith("fractions.Fraction: Fraction.__new__() got an unexpected keyword argument 'env'")
    said = refused(capsys, *given, "expert._target_=builtins.dict")
    assert said.endswith("expert=builtins.dict gives dict: expected an object with act(observation)")
    said = refused(capsys, *given, "expert=random", "env.success=nothing")
    assert "info never held nothing" in said
    assert not (tmp_path / "demos").exists()


def test_a_recorded_id_imports_nothing_unless_it_is_named(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts = ("starts=2", "workers=0", "max_steps=3")
    given = ("evaluate", f"checkpoint={policy}", *rollouts)
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "point_env")
        said = refused(capsys, *given, f"out={tmp_path / 'refused'}")
        assert "point_env" not in sys.modules
    assert "the environment id 'point_env:Point-v0', which is in no file of --config-dir" in said
    assert s2robot(*given, f"out={tmp_path / 'chosen'}", *GIVEN) == 0
    result = json.loads((tmp_path / "chosen/evaluation.json").read_text())
    assert (result["task"]["name"], result["trials"]) == ("Point", 2)
    (tmp_path / "own/env").mkdir(parents=True)
    (tmp_path / "own/env/point.yaml").write_text(yaml.safe_dump({"id": "point_env:Point-v0"}))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "own"))
    assert s2robot(*given, f"out={tmp_path / 'named'}") == 0


def test_progress_is_partial_credit_in_the_evaluation_its_page_and_comparisons(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for path, steps in zip(paths, ("max_steps=2", "max_steps=5"), strict=True):
        given = (f"checkpoint={policy}", f"out={path}", "starts=3", "workers=0", steps)
        assert s2robot("evaluate", *given, *GIVEN, "env.progress=near") == 0
    said = capsys.readouterr().out
    result = json.loads((paths[1] / "evaluation.json").read_text())
    told = [rollout["progress"] for rollout in result["rollouts"]]
    assert all(0 < value < 1 for value in told) and len(set(told)) == 3
    assert result["progress"]["mean"] == pytest.approx(np.mean(told))
    mean = f"Mean progress {np.mean(told):.2f} (95 % interval "
    assert mean in said and mean in (paths[1] / "report.html").read_text()
    assert s2robot("compare", *paths, f"out={tmp_path / 'page.html'}") == 0
    said = capsys.readouterr().out
    assert f"b: mean progress {np.mean(told):.2f} (95 % interval " in said
    assert "a v b: mean progress -" in said or "a v b: mean progress +" in said
    assert "a v b: mean progress " in (tmp_path / "page.html").read_text()
    assert s2robot("compare", *paths, "json=true", "anytime=true") == 0
    [*_, difference] = json.loads(capsys.readouterr().out)["starts"]["progress"]
    first = json.loads((paths[0] / "evaluation.json").read_text())["progress"]["mean"]
    assert difference["value"] == pytest.approx(first - np.mean(told))
    assert -1 <= difference["low"] <= difference["value"] <= difference["high"] <= 1


def test_a_recorded_id_of_the_registry_needs_no_file_but_no_arguments_either(
    tmp_path: Path,
) -> None:
    from s2robot.config.targets import instantiate_recorded

    recorded = {
        "_target_": "envs.gym.Gym",
        "id": "Point-v0",
        "images": {"top": "render()"},
        "proprio": "state",
    }
    assert isinstance(instantiate_recorded(recorded), gymnasium.Env)
    assert "is not imported" in refusal(lambda: instantiate_recorded(recorded | {"kwargs": {"told": "x"}}))
    nested = {"a": [{"env": recorded | {"id": "os:Point-v0"}}]}
    assert "is not imported" in refusal(lambda: instantiate_recorded(nested))
