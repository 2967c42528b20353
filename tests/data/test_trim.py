"""`demos trim`: idle steps at the ends and in long pauses are left out of a copy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from demos_command import refused, run
from hypothesis import given
from hypothesis import strategies as st
from kill_writer import made_episode
from test_store import snapshot

from s2robot.core.spec import GripperSpec, RobotSpec
from s2robot.data.store import DemoStore
from s2robot.data.tools.trim import kept_steps
from s2robot.data.validate import validate

SPEC = RobotSpec(
    {"front": (4, 6, 3)},
    ("x [m]", "opening [m]"),
    ("dx [m]", "gripper"),
    "ee_delta",
    10.0,
    (GripperSpec(1, open=-1, closed=1),),
)
MOVES = np.repeat([False, True, False, True, False], [6, 5, 9, 4, 5])
CLOSES = 11  # the first step of the pause; until step 13 the fingers move


@pytest.fixture
def store(tmp_path: Path) -> DemoStore:
    """One take: 6 idle steps, 5 of motion, a pause of 9 in which the gripper closes, 4 of motion, 5 idle."""
    made = DemoStore.create(tmp_path / "demos", SPEC, {"record": {"seed": 3}})
    steps = np.arange(len(MOVES))
    episode = made_episode(0, 0, SPEC, steps=len(MOVES))
    opening = np.clip(0.08 - 0.02 * (steps - CLOSES), 0.02, 0.08)
    x = 0.1 * np.cumsum(np.concatenate([[0], MOVES[:-1]]))
    episode.proprio = np.column_stack([x, opening]).astype(np.float32)
    episode.action = np.column_stack([0.1 * MOVES, np.where(steps < CLOSES, -1, 1)]).astype(np.float32)
    episode.time = 0.1 * steps
    episode.attributes |= {"action_loss_mask": (steps % 2 == 0).tolist(), "by_person": MOVES.tolist()}
    made.append(episode)
    return made


def test_idle_ends_are_left_out_and_nothing_else(
    store: DemoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, out = snapshot(store.path), tmp_path / "trimmed"
    code, lines = run(capsys, "trim", store.path, f"out={out}")
    assert (code, lines) == (0, [f"{out}: 1 episodes, 22 of their 29 steps"])
    made = DemoStore.open(out)
    assert validate(made) == [] and snapshot(store.path) == before
    (reader,), (source,) = made.episodes(), store.episodes()
    kept = slice(4, 26)  # 0.2 s at 10 Hz stay at both ends
    for name in ("proprio", "action", "action_applied"):
        np.testing.assert_array_equal(getattr(reader, name), getattr(source, name)[kept])
    np.testing.assert_array_equal(reader.images("front"), source.images("front", kept))
    np.testing.assert_allclose(reader.time, 0.1 * np.arange(22), atol=1e-9)
    attributes = reader.attributes
    assert attributes["action_loss_mask"] == [step % 2 == 0 for step in range(4, 26)]
    assert attributes["by_person"] == MOVES[kept].tolist()
    assert attributes["trimmed"] == {"steps": 29, "kept": [[4, 25]]}
    assert attributes["sources"] == [{"store": str(store), "id": "000000", "sha256": source.digest()}]
    assert made.attributes["record"] == {"seed": 3}


def test_a_pause_is_shortened_but_not_while_the_gripper_closes(
    store: DemoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "trimmed"
    assert run(capsys, "trim", store.path, f"out={out}", "keep=0", "pause=0.2")[0] == 0
    (reader,) = DemoStore.open(out).episodes()
    assert reader.attributes["trimmed"]["kept"] == [[6, 14], [19, 23]]
    np.testing.assert_allclose(np.diff(reader.time), 0.1, err_msg="the time goes on without a gap")
    np.testing.assert_array_equal(reader.images("front", 9), store.episodes()[0].images("front", 19))


def test_a_store_is_never_written_into(store: DemoStore, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(store.path)
    assert str(store.path) in refused(capsys, "trim", store.path, f"out={store.path}")
    assert snapshot(store.path) == before


@given(idle=st.lists(st.booleans(), min_size=1, max_size=30), keep=st.integers(0, 4), pause=st.integers(0, 5))
def test_every_step_of_motion_stays(idle: list[bool], keep: int, pause: int) -> None:
    mask = np.array(idle)
    kept = kept_steps(mask, keep, pause)
    assert kept[~mask].all() and kept.any()
    assert kept_steps(mask, len(idle), None).all()


def test_the_share_of_idle_steps_is_listed(store: DemoStore, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "list", store.path, "--idle")[1]
    assert " 66 % " in lines[-2] and "66 % idle" in lines[-1]
    assert not any("66 %" in line for line in run(capsys, "list", store.path)[1])
    assert "66 % idle" in run(capsys, "stats", store.path)[1][0]
