"""A person above a policy: who acted is stored step by step, and only the person's actions are imitated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import toy_loop

from envs.toy import Toy
from s2robot.data.store import DemoStore, EpisodeReader
from s2robot.policy.checkpoint import load_policy
from s2robot.policy.policy import N_ACTION_STEPS, ChunkExecutor
from s2robot.teleop.device import Command, Event, Phase
from s2robot.teleop.session import Session, SessionOptions
from s2robot.teleop.supervision import Resumable
from tests.stress.autopilot import Autopilot


class Supervisor(Autopilot):
    """Lets the policy act, takes over at some steps by moving, and hands back."""

    def __init__(self, env: Toy, during: Mapping[int, Event], moves_from: int) -> None:
        super().__init__(env, [Event.START, Event.KEEP], during)
        self._moves_from = moves_from

    def command(self) -> Command:
        late = self.status.phase is Phase.RECORDING and self.status.steps >= self._moves_from
        return super().command() if late else Command()

    def events(self) -> list[Event]:
        return [e for e in super().events() if e is not Event.GRIPPER or not self._is_watching()]

    def _is_watching(self) -> bool:
        return self.status.phase is Phase.RECORDING and self.status.steps < self._moves_from


def supervise(
    out: Path, checkpoint: Path, during: Mapping[int, Event], moves_from: int, limit: int
) -> EpisodeReader:
    env = Toy(rate=200.0)
    store = DemoStore.open_or_create(out, env.robot_spec)
    policy = Resumable(partial(ChunkExecutor, load_policy(checkpoint)))
    options = SessionOptions(0, 1, limit)
    Session(options, env, store, Supervisor(env, during, moves_from), {}, policy).run()
    return store.episode("000000")


def test_a_person_who_moves_takes_over_and_who_acted_is_stored(toy_checkpoint: Path, tmp_path: Path) -> None:
    demo = supervise(tmp_path / "demos", toy_checkpoint, {}, moves_from=5, limit=300)
    by_person = demo.attributes["by_person"]
    assert by_person == [False] * 5 + [True] * (demo.length - 5)
    assert demo.attributes["action_loss_mask"] == by_person
    assert demo.attributes["success"], "the person carries it to its end"


def test_the_policy_goes_on_from_what_the_person_did(toy_checkpoint: Path, tmp_path: Path) -> None:
    """Its steps are those of the policy alone, told the same observations and actions."""
    during = {2: Event.TAKE_OVER, 6: Event.TAKE_OVER}
    demo = supervise(tmp_path / "demos", toy_checkpoint, during, moves_from=1000, limit=10)
    assert demo.attributes["by_person"] == [False] * 2 + [True] * 4 + [False] * 4
    assert not demo.action[2:6, :3].any(), "a person who takes over and does nothing stands still"
    policy, plan = load_policy(toy_checkpoint), []
    for step, by_person in enumerate(demo.attributes["by_person"]):
        images = {name: demo.images(name, step) for name in ("front", "wrist")}
        policy.observe({"images": images, "proprio": demo.proprio[step]})
        if by_person:
            plan = []
        else:
            plan = plan or list(policy.predict()[:N_ACTION_STEPS])
            np.testing.assert_allclose(demo.action[step], plan.pop(0), atol=1e-5)
        policy.record_action(demo.action[step])


def test_a_person_who_takes_over_drops_nothing(toy_checkpoint: Path, tmp_path: Path) -> None:
    demo = supervise(tmp_path / "demos", toy_checkpoint, {3: Event.TAKE_OVER}, moves_from=1000, limit=6)
    held = demo.action[2, 3] > 0
    assert (demo.action[3:, 3] == (1.0 if held else -1.0)).all()


def test_a_checkpoint_of_another_robot_is_refused(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = toy_loop.refusal(
        *(capsys, "record", "env=toy", "env.rate=5", "teleop=browser", "port=0"),
        *(f"checkpoint={toy_checkpoint}", f"out={tmp_path / 'demos'}"),
    )
    assert f"{toy_checkpoint} was trained on another robot: rate: 10.0 against 5" in said
    assert not (tmp_path / "demos").exists()
