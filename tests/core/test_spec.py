"""What a robot observes and takes: through JSON and back, compared in words, checked on every action."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mistakes import refusal

from s2robot.core.spec import GRIPPER_POSITION, RobotSpec, check_action

SPEC = RobotSpec(
    cameras={"front": (48, 64, 3), "wrist": (32, 32, 3)},
    proprio=("joint1 [rad]", "gripper opening [m]"),
    action=("dx [m]", "dy [m]", "gripper [-1 open, 1 close]"),
    action_space="ee_delta",
    rate=10.0,
)

camera_names = st.text(min_size=1).filter(lambda name: not {"", ".", ".."} & set(name.split("/")))
names = st.lists(st.text(min_size=1), max_size=4, unique=True)


@given(
    cameras=st.dictionaries(camera_names, st.tuples(st.integers(1), st.integers(1), st.just(3)), max_size=3),
    proprio=names,
    action=names,
    action_space=st.text(),
    rate=st.floats(0.1, 1e3),
)
def test_a_spec_survives_json(
    cameras: dict[str, tuple[int, int, int]],
    proprio: list[str],
    action: list[str],
    action_space: str,
    rate: float,
) -> None:
    spec = RobotSpec(cameras, tuple(proprio), tuple(action), action_space, rate)
    again = RobotSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert again.difference(spec) is None
    assert (spec.proprio_dim, spec.action_dim) == (len(proprio), len(action))


def test_the_gripper_position_is_found_where_the_robot_tells_it() -> None:
    assert replace(SPEC, proprio=("q [rad]", *reversed(GRIPPER_POSITION))).gripper_position == (3, 2, 1)
    assert SPEC.gripper_position == ()
    assert replace(SPEC, proprio=GRIPPER_POSITION[:2]).gripper_position == ()


def test_a_missing_field_is_named() -> None:
    plain = SPEC.to_dict()
    del plain["rate"], plain["action"]
    assert refusal(lambda: RobotSpec.from_dict(plain)).startswith("robot spec lacks action, rate; it has ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rate": 20.0}, "rate: 10.0 against 20.0"),
        ({"action_space": "joint"}, "action_space: ee_delta against joint"),
        ({"cameras": {"front": (48, 64, 3)}}, "cameras: "),
        ({"proprio": ("joint1 [rad]",)}, "proprio: "),
    ],
)
def test_the_first_difference_is_told_in_words(change: dict, said: str) -> None:
    difference = SPEC.difference(replace(SPEC, **change))
    assert difference is not None and difference.startswith(said)


def test_fewer_cameras_of_the_same_robot() -> None:
    assert SPEC.select_cameras(None) == SPEC
    assert SPEC.select_cameras(["wrist"]) == replace(SPEC, cameras={"wrist": (32, 32, 3)})
    message = refusal(lambda: SPEC.select_cameras(["wrist", "wirst"]))
    assert message == "unknown camera 'wirst': did you mean 'wrist'? valid: front, wrist"


def test_an_action_is_taken_as_float32() -> None:
    action = check_action([0.1, 0, 1], SPEC)
    assert action.dtype == np.float32
    assert action.tolist() == [np.float32(0.1), 0.0, 1.0]


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ([0.0, 0.0], "action of shape (2,): ee_delta takes (3,): dx [m], dy [m], gripper"),
        ([[0.0, 0.0, 0.0]], "action of shape (1, 3)"),
        ([0.0, np.nan, 0.0], "action is not finite in dy [m]: [0.0, nan, 0.0]"),
        ([np.inf, 0.0, -np.inf], "action is not finite in dx [m], gripper"),
    ],
)
def test_a_bad_action_is_refused_by_name(action: list, said: str) -> None:
    assert refusal(lambda: check_action(action, SPEC)).startswith(said)
