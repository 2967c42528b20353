"""Grippers and quaternions of other projects: guessed or aligned at import, and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mistakes import refusal
from replay_buffers import foreign
from test_import import imported

from s2robot.core.spec import GripperSpec, RobotSpec
from s2robot.data.formats.grippers import guess_gripper, parse_gripper
from s2robot.data.formats.quaternions import of_one_sign


def actions(opened: float, closed: float, noise: float, episodes: int = 3) -> list[np.ndarray]:
    """A grasp at step 6 of 15; the gripper is the second entry of three."""
    rng = np.random.default_rng(0)
    values = np.where(np.arange(15) < 6, opened, closed)
    return [
        np.column_stack(
            [rng.standard_normal(15), values + rng.uniform(-noise, noise, 15), rng.standard_normal(15)]
        ).astype(np.float32)
        for _ in range(episodes)
    ]


SPEC = RobotSpec({}, ("x",), ("dx", "a[1]", "yaw"), "unknown", 10.0)


@pytest.mark.parametrize(
    ("opened", "closed", "noise"),
    [(100.0, 0.0, 5.0), (0.08, 0.0, 0.005), (1.0, -1.0, 0.0), (0.0, 1.0, 0.1), (-1.0, 1.0, 0.0)],
)
def test_a_gripper_is_guessed_in_any_unit(opened: float, closed: float, noise: float) -> None:
    made = actions(opened, closed, noise)
    gripper = guess_gripper(made, SPEC)
    assert gripper is not None
    for episode in made:
        np.testing.assert_array_equal(gripper.is_closed(episode), np.arange(15) >= 6)


def test_noise_and_two_candidates_are_no_gripper() -> None:
    rng = np.random.default_rng(0)
    assert guess_gripper([rng.standard_normal((50, 3)) for _ in range(100)], SPEC) is None
    twice = [np.column_stack([a[:, 1], a[:, 1], a[:, 2]]) for a in actions(1, 0, 0)]
    assert guess_gripper(twice, SPEC) is None
    named = RobotSpec({}, ("x",), ("mode", "gripper [m]", "yaw"), "unknown", 10.0)
    found = guess_gripper(twice, named)
    assert found is not None and found.index == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("so101", GripperSpec(1, open=100, closed=0)),
        ("1:droid", GripperSpec(1, open=0, closed=1)),
        ("gripper.pos:robosuite", GripperSpec(1, open=-1, closed=1)),
        ("0:2:3", GripperSpec(0, open=3, closed=2)),
    ],
)
def test_a_gripper_is_named_by_a_convention(text: str, expected: GripperSpec) -> None:
    assert parse_gripper(text, ("x [m]", "gripper.pos")) == expected


def test_a_gripper_that_is_not_plain_is_refused() -> None:
    said = refusal(lambda: parse_gripper("umi", ("left gripper", "right gripper")))
    assert "2 entries of left gripper, right gripper are named like a gripper: give ENTRY:umi" in said
    assert "with one of so101, aloha" in refusal(lambda: parse_gripper("1:panda", ("x", "gripper")))


def test_a_guess_is_kept_in_the_store_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    action = np.concatenate(actions(100, 0, 5))
    source = foreign(tmp_path / "a.zarr", [15, 30, 45], state=np.zeros((45, 2)), action=action)
    store = imported(source, "rate=10")
    (gripper,) = store.spec.grippers
    np.testing.assert_array_equal(gripper.is_closed(store.episode("000001").action), np.arange(15) >= 6)
    assert store.ids() == ["000000", "000001", "000002"]
    assert store.attributes["imported"] == "diffusion_policy: a.zarr"
    assert "  gripper: guessed from the actions: action[1], closed at " in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.store", "a.zarr"]


def test_quaternions_neither_jump_nor_differ_by_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first episode turns by 205 degrees; the second begins at -q of the same pose, and flips."""
    half = np.radians(np.linspace(0, 205, 20)) / 2
    turn = np.column_stack([np.zeros((20, 2)), np.sin(half), np.cos(half)])
    shown = turn * np.where(turn[:, 3:] < 0, -1, 1)  # as a library gives it: w is never negative
    shown = np.concatenate([shown, -shown * np.where(np.arange(20) < 7, 1, -1)[:, None]])
    state = {"eef_quat": shown, "eef_pos": np.zeros((40, 3))}
    source = foreign(tmp_path / "a.zarr", [20, 40], action=np.random.default_rng(0).random((40, 2)), **state)
    store = imported(source, "rate=10")
    first, second = (e.proprio[:, 3:7] for e in store.episodes())
    np.testing.assert_allclose(first, turn, atol=1e-6)
    np.testing.assert_allclose(second, turn, atol=1e-6)
    assert "signs that neither jump" in capsys.readouterr().out


def test_each_episode_is_aligned_for_itself() -> None:
    reference = np.array([1.0, 0, 0, 0])
    turned = np.array([[0.6, 0.8, 0, 0], [-0.5, -np.sqrt(0.75), 0, 0], [-0.1, np.sqrt(0.99), 0, 0]])
    expected = turned * np.array([1, -1, 1])[:, None]
    np.testing.assert_allclose(of_one_sign(turned, reference), expected)
    np.testing.assert_allclose(of_one_sign(-turned, reference), expected)
