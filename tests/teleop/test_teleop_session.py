"""A session: takes that are kept, discarded, redone and undone, and what goes wrong in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mistakes import refusal

from envs.toy import Toy
from s2robot.core.errors import UserError
from s2robot.data.store import DemoStore, Episode
from s2robot.teleop.device import Command, Event, Phase, Status
from s2robot.teleop.session import Session, SessionOptions
from tests.stress.autopilot import Autopilot

START, KEEP, DISCARD, REDO = Event.START, Event.KEEP, Event.DISCARD, Event.REDO
UNDO, HOME, STOP = Event.UNDO, Event.HOME, Event.STOP
RATE = 500.0  # Hz: a take of the toy lasts some 30 ms


class Autopiloted:
    """A session on the toy, steered by an autopilot that presses these buttons."""

    def __init__(
        self,
        out: Path,
        buttons: Iterable[Event],
        during: Mapping[int, Event] | None = None,
        make: Callable[..., Toy] = Toy,
        limit: int = 600,
        **toy: Any,
    ) -> None:
        self.env = env = make(image_size=16, **{"rate": RATE, **toy})
        self.store = DemoStore.open_or_create(out, env.robot_spec)
        self.device = Autopilot(env, buttons, during)
        options = SessionOptions(seed=0, episodes=10, limit=limit)
        self.session = Session(options, env, self.store, self.device, {"operator": "ada"})

    def run(self) -> DemoStore:
        self.session.run()
        return self.store


def run(out: Path, buttons: Iterable[Event], **options: Any) -> DemoStore:
    return Autopiloted(out, buttons, **options).run()


def starts(store: DemoStore) -> list[int]:
    return [store.episode(i).attributes["start_number"] for i in store.ids()]


# Takes


def test_what_a_person_does_is_what_a_policy_must_output(tmp_path: Path) -> None:
    """The recorded actions, run again from the recorded seed, give the recorded observations and success."""
    store = run(tmp_path / "demos", [START, KEEP, START, KEEP])
    for episode_id in store.ids():
        demo, env = store.episode(episode_id), Toy(image_size=16)
        observation, info = env.reset(seed=demo.attributes["seed"])
        assert env.start().to_dict() == demo.attributes["start"]
        for step in range(demo.length):
            assert np.array_equal(demo.proprio[step], observation["proprio"])
            assert np.array_equal(demo.images("front", step), observation["images"]["front"])
            observation, *_, info = env.step(demo.action[step])
            assert np.array_equal(demo.action_applied[step], info["action_applied"])
        assert info["success"] and demo.attributes["success"]
    assert len(store) == 2


def test_a_demo_says_who_made_it_and_how_well_time_was_kept(tmp_path: Path) -> None:
    demo = run(tmp_path / "demos", [START, KEEP]).episode("000000")
    attributes = demo.attributes
    assert attributes["operator"] == "ada"
    assert attributes["by_person"] == attributes["action_loss_mask"] == [True] * demo.length
    timing = attributes["timing"]
    assert timing["rate"] == RATE
    assert timing["achieved_rate"] == pytest.approx((demo.length - 1) / np.sum(np.diff(demo.time)), rel=0.5)
    assert timing["jitter"] > 0 and timing["overruns"] >= 0 and timing["pauses"] == []
    assert demo.time[0] == 0
    assert not np.allclose(np.diff(demo.time), 1 / RATE, rtol=1e-6), "ideal times instead of measured ones"


@pytest.mark.parametrize("verdict", [DISCARD, REDO])
def test_a_take_that_is_not_kept_is_gone_entirely(tmp_path: Path, verdict: Event) -> None:
    """What follows is as if it had never been: nothing leaks into the next demo, nothing is on the disk."""
    store = run(tmp_path / "demos", [START, verdict, START, KEEP])
    assert store.ids() == ["000000"]
    demo = store.episode("000000")
    assert demo.time[0] == 0
    assert demo.proprio[0][3] == pytest.approx(0.08), (
        "it begins with an open gripper, as the scene was laid out"
    )
    assert not list((store.path / ".staging").iterdir())
    assert {path.name for path in store.path.iterdir()} == {"000000", ".staging", "zarr.json"}
    assert starts(store) == [1 if verdict is DISCARD else 0]


def test_a_running_take_is_discarded_or_redone_at_once(tmp_path: Path) -> None:
    buttons = [START, START, KEEP]
    piloted = Autopiloted(tmp_path / "demos", buttons, {2: DISCARD})
    assert starts(piloted.run()) == [1]
    piloted = Autopiloted(tmp_path / "others", buttons, {2: REDO})
    assert starts(piloted.run()) == [0]


def test_a_take_that_is_done_before_its_success_can_be_kept(tmp_path: Path) -> None:
    piloted = Autopiloted(tmp_path / "demos", [START, KEEP], {4: KEEP})
    demo = piloted.run().episode("000000")
    assert demo.length == 4
    assert demo.attributes["success"] is False
    assert any(message.startswith("no success after 4 steps") for message in piloted.device.messages)


def test_the_environments_limit_of_steps_is_for_policies(tmp_path: Path) -> None:
    store = run(tmp_path / "demos", [START, KEEP], max_steps=3)
    assert store.episode("000000").attributes["success"]
    store = run(tmp_path / "limited", [START, KEEP], limit=3)
    assert store.episode("000000").length == 3


def test_home_lays_the_scene_out_anew(tmp_path: Path) -> None:
    assert starts(run(tmp_path / "demos", [HOME, HOME, START, KEEP])) == [2]


def test_undo_drops_the_last_demo_of_this_session_only(tmp_path: Path) -> None:
    run(tmp_path / "demos", [START, KEEP])
    piloted = Autopiloted(tmp_path / "demos", [START, KEEP, START, KEEP, *5 * [UNDO]])
    store = piloted.run()
    assert store.ids() == ["000000"]
    assert "no demo of this session is left to undo" in piloted.device.messages
    assert (store.path / ".dropped" / "000002").exists()


def test_undo_asks_first(tmp_path: Path) -> None:
    piloted = Autopiloted(tmp_path / "demos", [START, KEEP, UNDO, HOME, UNDO])
    assert piloted.run().ids() == ["000000"]
    assert piloted.device.messages.count("undo once more to drop demo 000000") == 2


def test_a_store_goes_on_with_starts_that_it_does_not_have(tmp_path: Path) -> None:
    run(tmp_path / "demos", [START, KEEP, START, DISCARD, START, KEEP])
    store = run(tmp_path / "demos", [START, KEEP])
    assert starts(store) == [0, 2, 3]
    assert len({tuple(store.episode(i).attributes["start"]["place"]) for i in store.ids()}) == 3


def test_a_pause_takes_no_time_and_no_step(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", [START, KEEP]).episode("000000")
    piloted = Autopiloted(tmp_path / "paused", [START, START, KEEP], {3: Event.PAUSE})
    paused = piloted.run().episode("000000")
    assert np.array_equal(whole.action, paused.action)
    assert len(paused.attributes["timing"]["pauses"]) == 1
    assert "nothing moves, and no time passes" in piloted.device.messages


def test_buttons_out_of_place_are_told_and_do_nothing(tmp_path: Path) -> None:
    piloted = Autopiloted(tmp_path / "demos", [KEEP, START, HOME, UNDO, KEEP], {2: HOME})
    assert len(piloted.run()) == 1
    assert "keep: not while waiting" in piloted.device.messages
    assert "home: not while recording" in piloted.device.messages
    assert "home: not while review" in piloted.device.messages


# What goes wrong


class Arm(Toy):
    """Has an emergency stop, as a real one does, and says what was done with it."""

    said: tuple[str, ...] = ()

    def estop(self) -> None:
        self.said += ("estop",)

    def recover(self) -> None:
        self.said += ("recover",)

    def step(self, action: np.ndarray) -> Any:
        assert self.said[-1:] != ("estop",), "moved while stopped"
        return super().step(action)


def test_an_emergency_stop_loses_the_take_and_holds_until_home(tmp_path: Path) -> None:
    buttons = [START, START, KEEP, HOME, START, KEEP]  # `start` and `keep` find a stopped arm
    piloted = Autopiloted(tmp_path / "demos", buttons, {3: STOP}, make=Arm)
    store = piloted.run()
    assert piloted.env.said == ("estop", "recover")
    assert starts(store) == [0]
    assert {"start: not while stopped", "keep: not while stopped"} <= set(piloted.device.messages)


class BlindOnce(Toy):
    """Its camera stops in the first take."""

    looks = 0

    def step(self, action: np.ndarray) -> Any:
        self.looks += 1
        if self.looks == 4:
            raise UserError("camera 'front' has given no frame for 0.5 s")
        return super().step(action)


def test_a_camera_that_stops_loses_only_the_running_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    piloted = Autopiloted(tmp_path / "demos", [START, HOME, START, KEEP], make=BlindOnce)
    store = piloted.run()
    assert len(store) == 1
    said = "camera 'front' has given no frame for 0.5 s"
    assert capsys.readouterr().out.splitlines().count(said) == 1
    assert any(said in message for message in piloted.device.messages)


class Buggy(Toy):
    looks = 0

    def step(self, action: np.ndarray) -> Any:
        self.looks += 1
        if self.looks == 20:
            raise ZeroDivisionError
        return super().step(action)


def test_a_bug_keeps_its_traceback_and_the_demos_that_were_kept(tmp_path: Path) -> None:
    piloted = Autopiloted(tmp_path / "demos", [START, KEEP, START, KEEP, START], make=Buggy)
    with pytest.raises(ZeroDivisionError):
        piloted.run()
    assert len(piloted.store) >= 1
    assert piloted.device.status.phase is Phase.FINISHED


class Leaving(Autopilot):
    """Its person leaves for a moment in mid-take."""

    def command(self) -> Command:
        if (
            self.status.steps == 3
            and self.status.phase is Phase.RECORDING
            and "unplugged" not in self.messages
        ):
            return Command(absence="unplugged")
        return super().command()


def test_a_device_that_goes_away_pauses_the_take(tmp_path: Path) -> None:
    piloted = Autopiloted(tmp_path / "demos", [])
    device = Leaving(piloted.env, [START, START, KEEP])
    session = Session(SessionOptions(0, 1, 600), piloted.env, piloted.store, device, {})
    session.run()
    demo = piloted.store.episode("000000")
    assert "unplugged" in device.messages
    assert len(demo.attributes["timing"]["pauses"]) == 1
    assert demo.attributes["success"]


class Interrupted(Autopilot):
    def events(self) -> list[Event]:
        if self.status.steps == 3:
            raise KeyboardInterrupt
        return super().events()


def test_ctrl_c_ends_the_session_and_keeps_what_was_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    piloted = Autopiloted(tmp_path / "demos", [START, KEEP])
    piloted.run()
    device = Interrupted(piloted.env, [START])
    session = Session(SessionOptions(0, 1, 600), piloted.env, piloted.store, device, {})
    session.run()
    assert piloted.store.ids() == ["000000"]
    assert "interrupted: the running take, if any, is not kept" in capsys.readouterr().out


# The disk


def test_the_control_loop_never_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first demo cannot get to the disk, a second take is recorded whole."""
    disk, append = threading.Event(), DemoStore.append

    def slow_append(store: DemoStore, episode: Episode, episode_id: str | None = None) -> str:
        assert disk.wait(30)
        return append(store, episode, episode_id)

    class Watching(Autopilot):
        def show(self, status: Status, images: Mapping[str, np.ndarray]) -> None:
            super().show(status, images)
            if status.phase is Phase.REVIEW and status.writing == 1:
                disk.set()

    monkeypatch.setattr(DemoStore, "append", slow_append)
    piloted = Autopiloted(tmp_path / "demos", [])
    device = Watching(piloted.env, [START, KEEP, START, KEEP])
    session = Session(SessionOptions(0, 1, 600), piloted.env, piloted.store, device, {})
    session.run()
    assert starts(piloted.store) == [0, 1]


def full_disk(monkeypatch: pytest.MonkeyPatch, refusals: int) -> None:
    """The store refuses that many times."""
    append, left = DemoStore.append, iter(range(refusals))

    def append_or_refuse(store: DemoStore, episode: Episode, episode_id: str | None = None) -> str:
        if next(left, None) is not None:
            raise UserError("cannot write to demos: No space left on device")
        return append(store, episode, episode_id)

    monkeypatch.setattr(DemoStore, "append", append_or_refuse)


def test_a_demo_that_the_disk_refuses_is_kept_in_memory_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk(monkeypatch, 1)
    store = run(tmp_path / "demos", [START, KEEP, START, KEEP])
    assert starts(store) == [0, 1]


def test_a_disk_that_stays_full_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full_disk(monkeypatch, 100)
    piloted = Autopiloted(tmp_path / "demos", [START, KEEP, START])
    said = refusal(piloted.session.run)
    assert said == "1 kept demo is lost: cannot write to demos: No space left on device"
    assert any(
        "No space left" in message and "kept in memory" in message for message in piloted.device.messages
    )
