"""Recording: what was shown is what is stored, once each, whatever happens on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import toy_loop

import demos
from demos.toy import ToyExpert, toy_demonstration
from envs.toy import Toy
from s2robot.core.spec import Observation
from s2robot.data.store import DemoStore
from s2robot.record.demonstration import Demonstration

ROOT = Path(demos.__file__).parents[1]
SMALL = "env.image_size=16"


def record(out: Path, episodes: int, *options: str) -> DemoStore:
    return DemoStore.open(toy_loop.record(out, episodes, SMALL, *options))


def refusal(capsys: pytest.CaptureFixture[str], out: Path, *options: str) -> str:
    common = ["env=toy", "expert=toy", SMALL, "workers=0", "episodes=3"]
    return toy_loop.refusal(capsys, "record", *common, f"out={out}", *options)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> DemoStore:
    return record(tmp_path_factory.mktemp("record") / "demos", 4)


def test_a_demo_is_what_the_environment_showed(four: DemoStore) -> None:
    """Its actions, run again from its seed, give its observations: nothing is shifted by a step."""
    for episode_id in four.ids():
        demo, env = four.episode(episode_id), Toy(image_size=16)
        attributes = demo.attributes
        observation, info = env.reset(seed=attributes["seed"], options=attributes["start"]["options"])
        for step in range(demo.length):
            assert np.array_equal(demo.proprio[step], observation["proprio"])
            for camera, frame in observation["images"].items():
                assert np.array_equal(demo.images(camera, step), frame)
            assert demo.time[step] == info["time"]
            assert not info["success"]
            observation, *_, info = env.step(demo.action[step])
            assert np.array_equal(demo.action_applied[step], info["action_applied"])
        assert info["success"]


def test_a_demo_says_how_it_came_about(four: DemoStore) -> None:
    attributes = four.episode("000002").attributes
    assert attributes["success"] is True
    assert attributes["attempts"] == 1
    assert attributes["action_loss_mask"] == [True] * attributes["length"]
    assert attributes["config"]["env"]["_target_"] == "envs.toy.Toy"
    assert {"s2robot", "numpy", "zarr"} <= attributes["versions"].keys()
    seeds = {four.episode(i).attributes["seed"] for i in four.ids()}
    assert len(seeds) == len(four) == 4


def test_it_goes_on_where_it_stopped(four: DemoStore, tmp_path: Path) -> None:
    record(tmp_path / "demos", 2)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "demos").rglob("*") if p.is_file()}
    store = record(tmp_path / "demos", 4)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert store.digest() == four.digest()


def test_a_gap_is_filled_with_the_demo_that_belongs_there(four: DemoStore, tmp_path: Path) -> None:
    store = record(tmp_path / "demos", 4)
    (store.path / "000001").rename(tmp_path / "gone")
    assert record(store.path, 4).digest() == four.digest()


def test_demos_are_the_same_for_any_number_of_workers(four: DemoStore, tmp_path: Path) -> None:
    assert record(tmp_path / "demos", 4, "workers=2").digest() == four.digest()


def test_another_seed_records_other_demos(four: DemoStore, tmp_path: Path) -> None:
    other = record(tmp_path / "demos", 1, "seed=1")
    assert other.episode("000000").digest() != four.episode("000000").digest()


@pytest.mark.parametrize("option", ["seed=1", "env.rate=5", "expert=cube_pick"])
def test_a_store_of_other_options_is_refused_and_kept(
    four: DemoStore, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    before = four.digest()
    said = refusal(capsys, four.path, option)
    assert f"{four.path} holds demos recorded with other options" in said
    assert four.digest() == before


def test_a_store_that_is_there_is_refused_where_nothing_is_to_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demos"
    out.mkdir()
    said = toy_loop.refusal(capsys, "record", "env=toy", "resume=false", f"out={out}")
    assert said == f"s2robot record: {out} is there already and resume=false: name another out="
    assert list(out.iterdir()) == []


def test_a_folder_of_something_else_is_refused_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert f"{tmp_path} is not empty, it holds thesis.txt" in refusal(capsys, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_unknown_device_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, tmp_path / "demos", "teleop=browsr")
    assert "unknown teleop device 'browsr': did you mean 'browser'?" in said


# Failures


class Clumsy(ToyExpert):
    """Stands still in its first two tries."""

    tries: ClassVar[int] = 0

    def __init__(self, env: Toy) -> None:
        super().__init__(env)
        Clumsy.tries += 1

    def act(self, observation: Observation) -> np.ndarray:
        action = super().act(observation)
        return action if Clumsy.tries > 2 else np.zeros(4, np.float32)


def clumsy(env: Toy, rng: np.random.Generator) -> Demonstration:
    demonstration = toy_demonstration(env, rng)
    return Demonstration(env, Clumsy(env), demonstration.start)


def test_failures_are_counted_and_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = record(tmp_path / "demos", 2, "expert._target_=test_record.clumsy")
    assert [store.episode(i).attributes["attempts"] for i in store.ids()] == [3, 1]
    assert (
        "2 demos, 0 of them with a recovery; 2 of 4 attempts failed and were not kept"
        in capsys.readouterr().out
    )


def test_an_expert_that_never_succeeds_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, tmp_path / "demos", "env.max_steps=1", "attempts=2")
    assert said.endswith("the expert failed 2 times at episode 0 of seed 0")


class Accepting(gymnasium.Wrapper):
    """Takes what is not finite for standing still, as a careless driver of an arm might."""

    def step(self, action: np.ndarray) -> Any:
        return self.env.step(np.nan_to_num(action))


class Poisoned(ToyExpert):
    def act(self, observation: Observation) -> np.ndarray:
        action = super().act(observation)
        action[1] = np.nan if len(self.action_loss_mask) == 3 else action[1]
        return action


def poisoned_from_the_second(env: Toy, rng: np.random.Generator) -> Demonstration:
    first = toy_demonstration(env, np.random.default_rng([0, 0, 0]))
    demonstration = toy_demonstration(env, rng)
    if demonstration.start == first.start:
        return first
    return Demonstration(env, Poisoned(env), demonstration.start)


def poisoned_and_accepted(env: Toy, rng: np.random.Generator) -> Demonstration:
    demonstration = poisoned_from_the_second(env, rng)
    return Demonstration(Accepting(env), demonstration.expert, demonstration.start)


@pytest.mark.parametrize(
    ("expert", "said"),
    [
        ("poisoned_from_the_second", "action is not finite in dy [m]"),
        ("poisoned_and_accepted", "action[2] 'dy [m]' is nan: expected finite numbers"),
    ],
)
def test_nan_in_an_action_ends_in_one_line_and_what_was_recorded_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], expert: str, said: str
) -> None:
    out = tmp_path / "demos"
    assert said in refusal(capsys, out, f"expert._target_=test_record.{expert}")
    store = DemoStore.open(out)
    assert store.ids() == ["000000"]
    assert store.episode("000000").attributes["success"]
    assert not list((out / ".staging").glob("*"))


def test_kill_9_loses_at_most_the_demos_being_recorded(tmp_path: Path) -> None:
    out = tmp_path / "demos"
    options = ["env=toy", "expert=toy", SMALL, f"out={out}"]
    command = [sys.executable, "-m", "s2robot.cli", "record", *options, "episodes=100000", "workers=2"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list(out.glob("0*"))) < 5:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    store = DemoStore.open(out)
    kept = store.ids()
    assert len(kept) >= 5
    assert [store.episode(i).attributes["success"] for i in kept] == [True] * len(kept)
    again = record(out, 8)
    assert set(kept) <= set(again.ids())
    whole = record(tmp_path / "uninterrupted", 8)
    assert [again.episode(i).digest() for i in whole.ids()] == [
        whole.episode(i).digest() for i in whole.ids()
    ]


def test_others_make_up_for_what_was_dropped(tmp_path: Path) -> None:
    store = record(tmp_path / "demos", 3)
    store.drop("000001")
    assert record(tmp_path / "demos", 3).ids() == ["000000", "000002", "000003"]
    assert record(tmp_path / "demos", 2).ids() == ["000000", "000002", "000003"]


def test_what_another_process_has_just_recorded_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, append = record(tmp_path / "other", 1), DemoStore.append

    def overtaken(store: DemoStore, episode: Any, episode_id: str) -> str:
        store.append_copy(other.episode(episode_id), {}, episode_id)
        return append(store, episode, episode_id)

    monkeypatch.setattr(DemoStore, "append", overtaken)
    assert record(tmp_path / "demos", 1).digest() == other.digest()


def test_a_store_inside_a_store_is_refused(
    four: DemoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = four.ids()
    assert "lies inside the demo store" in refusal(capsys, four.path / "more")
    assert four.ids() == before and not (four.path / "more").exists()


def test_instruction_operator_and_notes_are_stored(tmp_path: Path) -> None:
    attributes = record(tmp_path / "demos", 1, "operator=ada", "notes=first").episode("000000").attributes
    kept = [attributes[name] for name in ("instruction", "operator", "notes")]
    assert kept == ["pick up the cube", "ada", "first"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("episodes=0", "episodes=0: expected 1 or more"),
        ("attempts=0", "attempts=0: expected 1 or more"),
        ("seed=-1", "seed=-1: expected 0 or more"),
        ("workers=-1", "workers=-1: expected 0 or more"),
        ("checkpoint=nowhere", "no checkpoint at nowhere"),
        ("expert=cube_pick", "this expert picks cubes, not Toy's: give expert=toy for env=toy"),
    ],
)
def test_what_cannot_be_is_refused_before_a_store_is_made(
    tmp_path: Path, option: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refusal(capsys, tmp_path / "demos", option)
    assert not (tmp_path / "demos").exists()


def test_the_environment_chooses_its_expert(tmp_path: Path) -> None:
    out = tmp_path / "demos"
    assert toy_loop.s2robot("record", "env=toy", SMALL, f"out={out}", "workers=0", "episodes=1") == 0
    expert = DemoStore.open(out).episode("000000").attributes["config"]["expert"]
    assert expert == {"_target_": "demos.toy.toy_demonstration"}


def test_an_environment_without_an_expert_says_what_to_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs/env").mkdir(parents=True)
    (tmp_path / "configs/env/own.yaml").write_text("defaults:\n  - toy\n  - _self_\n")
    monkeypatch.setenv("S2ROBOT_CONFIG_DIR", str(tmp_path / "configs"))
    said = toy_loop.refusal(capsys, "record", "env=own", f"out={tmp_path / 'demos'}")
    assert "envs.toy.Toy has no scripted expert: give teleop=browser, or +expert._target_=FUNCTION" in said


def test_a_renderer_that_hangs_is_named_and_what_is_finished_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hangs = ("env._target_=hanging_env.HangingToy", "workers=1", "step_timeout=1")
    said = refusal(capsys, tmp_path / "demos", *hangs, "episodes=40")
    store = DemoStore.open(tmp_path / "demos")
    assert f"demo {len(store):06d} has not moved for " in said
    assert "worker process " in said and "is ended, what is finished is kept" in said
    assert [store.episode(i).attributes["seed"] % 2 for i in store.ids()] == [0] * len(store)
