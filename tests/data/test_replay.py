"""Recorded actions acted again: what was recorded happens again, and what was changed does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from demos_command import refused, run, run_json
from stores import write_attributes

from demos.toy import ToyExpert
from envs.toy import Toy
from s2robot.core.rollout import run_episode
from s2robot.core.task import Start
from s2robot.data.recorder import Recorder
from s2robot.data.store import DemoStore
from s2robot.data.tools.replay import replay_episode


@pytest.fixture
def store(toy_demos: Path, tmp_path: Path) -> DemoStore:
    return DemoStore.open(shutil.copytree(toy_demos, tmp_path / "demos"))


def change_attributes(store: DemoStore, episode_id: str, **changes: object) -> None:
    write_attributes(store.path / episode_id / "zarr.json", lambda attributes: attributes.update(changes))


def test_every_recorded_episode_repeats_to_the_last_bit(
    store: DemoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run_json(capsys, "replay", store.path, "workers=0")
    assert (code, said["array"], [e["id"] for e in said["episodes"]]) == (0, "action_applied", store.ids())
    for episode in said["episodes"]:
        assert (episode["recorded"], episode["replayed"], episode["deviation"]) == (True, True, 0)
        assert episode["steps"] == store.episode(episode["id"]).length
    lines = run(capsys, "replay", store.path, "workers=0")[1]
    assert lines[-1] == (
        f"{store.path}: 4 of 4 episodes succeed by their action_applied alone, 4 of 4 recorded successes, "
        "4 repeat the recorded proprioception to the last bit"
    )


def test_another_start_fails(store: DemoStore, capsys: pytest.CaptureFixture[str]) -> None:
    x, y, yaw = store.episode("000001").attributes["start"]["options"]["cube"]
    change_attributes(store, "000001", start={"options": {"cube": [-x, -y, yaw]}, "place": None})
    code, said = run_json(capsys, "replay", store.path, "workers=0")
    assert code == 1
    assert [e["replayed"] for e in said["episodes"]] == [True, False, True, True]


def test_another_seed_shows_as_deviation(store: DemoStore, capsys: pytest.CaptureFixture[str]) -> None:
    change_attributes(store, "000002", seed=1)
    _, said = run_json(capsys, "replay", store.path, "ids=[000002]", "workers=0")
    (episode,) = said["episodes"]
    assert 0 < episode["deviation"] < 0.2
    assert episode["entry"].startswith(("gripper x in base frame", "gripper y in base frame"))


def disturbed_store(path: Path) -> DemoStore:
    """An episode whose actions were pushed aside on their way: what was asked for is not what was taken."""

    class Pushed(Toy):
        def step(self, action: np.ndarray):
            return super().step(action + np.array([0.02, 0, 0, 0], np.float32))

    env, recorder = Pushed(), Recorder()
    options = {"cube": (0.05, 0.05, 0.0)}
    outcome = run_episode(env, ToyExpert(env), seed=3, options=options, subscribers=[recorder])
    config = {"env": {"_target_": "envs.toy.Toy"}}
    start = Start({"cube": [0.05, 0.05, 0.0]}).to_dict()
    attributes = {"success": outcome.success, "seed": 3, "start": start, "config": config}
    store = DemoStore.create(path, env.robot_spec)
    store.append(recorder.episode(attributes))
    return store


def test_what_was_taken_repeats_an_episode_and_what_was_asked_for_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = disturbed_store(tmp_path / "demos")
    reader = store.episode("000000")
    taken = replay_episode(Toy(), reader, store.spec, "action_applied")
    asked = replay_episode(Toy(), reader, store.spec, "action")
    assert taken.deviation < 1e-6 < 0.01 < asked.deviation
    assert taken.replayed == taken.recorded
    code, said = run_json(capsys, "replay", store.path, "array=action", "workers=0")
    assert said["episodes"][0]["deviation"] == asked.deviation
    assert code == int(bool(asked.recorded and not asked.replayed))


def test_an_episode_ends_where_its_recording_does(store: DemoStore) -> None:
    class Endless(Toy):
        def step(self, action: np.ndarray):
            observation, reward, _, _, info = super().step(action)
            return observation, reward, False, False, info

    reader = store.episode("000000")
    assert replay_episode(Endless(), reader, store.spec, "action_applied").steps == reader.length


def test_what_cannot_be_replayed_is_said(store: DemoStore, capsys: pytest.CaptureFixture[str]) -> None:
    write_attributes(store.path / "000000/zarr.json", lambda attributes: attributes.pop("seed"))
    (store.path / "000003/action_applied/c.0.0").unlink()
    code, lines = run(capsys, "replay", store.path, "workers=0")
    assert code == 1
    assert lines[1].endswith("its seed was not recorded")
    assert "action_applied is damaged" in lines[4]
    assert lines[-1].endswith("2 could not be replayed")


def test_a_store_of_no_simulator_is_refused_episode_by_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = disturbed_store(tmp_path / "demos")
    change_attributes(store, "000000", config={})
    code, lines = run(capsys, "replay", store.path, "workers=0")
    assert (code, lines[1].endswith("it was recorded in no simulated environment")) == (1, True)


def test_mistakes_are_one_line(store: DemoStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown array 'actions': did you mean 'action'?" in refused(
        capsys, "replay", store.path, "array=actions"
    )
    assert "unknown episode '9'" in refused(capsys, "replay", store.path, "ids=[9]")


def test_an_environment_that_is_none_of_ours_is_not_run(
    store: DemoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "written")
    nested = {"_target_": "s2robot.utils.atomic_io.write_atomic", "path": path, "content": "x"}
    for episode_id, env in zip(
        store.ids(), [nested, {"_target_": "envs.toy.Toy", "task": nested}, "text", {}], strict=True
    ):
        change_attributes(store, episode_id, config={"env": env})
    code, lines = run(capsys, "replay", store.path, "workers=0")
    assert code == 1
    assert "names _target_ 's2robot.utils.atomic_io.write_atomic', which is none of ours" in lines[1]
    assert "which is none of ours" in lines[2]
    assert "its config.env is 'text'" in lines[3]
    assert "its config.env is {}" in lines[4]
    assert not Path(path).exists()


@pytest.mark.slow
def test_the_simulator_repeats_disturbed_demos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import toy_loop

    options = ("episodes=3", "workers=0", "env.image_size=16")
    assert toy_loop.s2robot("record", f"out={tmp_path / 'demos'}", *options) == 0
    code, said = run_json(capsys, "replay", tmp_path / "demos", "workers=0")
    assert code == 0
    assert all(e["replayed"] and e["deviation"] == 0 for e in said["episodes"])
