"""What a client may send, and what it is told where it sends something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mistakes import refusal
from serving import SPEC, observation, request

from s2robot.serve.contract import Contract, Request
from s2robot.serve.wire import pack

FRONT = SPEC.select_cameras(["front"])


def read(message: Any, contract: Contract | None = None) -> Request:
    return (contract or Contract(FRONT)).read(pack(message))


def refused(message: Any, contract: Contract | None = None) -> str:
    return refusal(lambda: read(message, contract))


def test_an_observation_is_what_was_sent() -> None:
    got = read(request(3))
    expected = observation(3)
    assert got.observation["images"].keys() == {"front"}
    assert np.array_equal(got.observation["images"]["front"], expected["images"]["front"])
    assert np.array_equal(got.observation["proprio"], expected["proprio"])
    assert (got.executed, got.reset) == (None, False)


def test_maps_within_maps_are_the_same_request() -> None:
    flat, nested = (
        request(3),
        {"images": {"front": request(3)["images/front"]}, "proprio": request(3)["proprio"]},
    )
    assert np.array_equal(
        read(flat).observation["images"]["front"], read(nested).observation["images"]["front"]
    )


def test_other_keys_do_no_harm() -> None:
    more = {
        "prompt": "pick up the cube",
        "observation/gripper": np.zeros(1),
        "nested": {"a": [1, {"b": None}]},
    }
    assert np.array_equal(read(request(1, **more)).observation["proprio"], request(1)["proprio"])


@pytest.mark.parametrize(
    "proprio", [[1, 2.5, 3], np.array([1, 2.5, 3], ">f8"), np.array([1, 2.5, 3], np.float16)]
)
def test_numbers_become_float32(proprio: Any) -> None:
    got = read(request(0, proprio=proprio)).observation["proprio"]
    assert got.dtype == np.float32 and got.tolist() == [1, 2.5, 3]


def test_the_keys_of_a_client_are_mapped_to_ours() -> None:
    keys = {
        "observation/exterior_image_1_left": "images/front",
        "observation/joint_position": "proprio",
        "observation/gripper_position": "proprio",
    }
    contract = Contract(FRONT, keys)
    frame = request(0)["images/front"]
    message = {
        "observation/exterior_image_1_left": frame,
        "observation/gripper_position": 0.5,
        "observation/joint_position": np.array([1.0, 2.0]),
        "prompt": "pick",
    }
    got = read(message, contract).observation
    assert np.array_equal(got["images"]["front"], frame)
    assert got["proprio"].tolist() == [1.0, 2.0, 0.5], "joined in the order of `keys`"
    assert np.array_equal(read(request(0), contract).observation["images"]["front"], frame), "ours still do"
    said = refused({"observation/joint_position": np.zeros(2), "images/front": frame}, contract)
    assert said.startswith("observation/gripper_position missing: the request has observation/joint_position")
    both = refused(message | {"proprio": np.zeros(3)}, contract)
    assert both == "both proprio and observation/joint_position were sent: expected one of them"


def test_keys_that_lead_nowhere_are_refused_at_the_start() -> None:
    assert refusal(lambda: Contract(FRONT, {"a": "images/fornt"})).startswith(
        "unknown observation in keys={a: ...} 'images/fornt': did you mean 'images/front'?"
    )
    assert "all lead to images/front" in refusal(
        lambda: Contract(FRONT, {"a": "images/front", "b": "images/front"})
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"images/front": np.zeros((64, 64, 3), np.uint8)},
            "is uint8 (64, 64, 3): expected uint8 (32, 32, 3); a",
        ),
        (
            {"images/front": np.zeros((32, 32, 3), np.float32)},
            "is float32 (32, 32, 3): expected uint8 (32, 32, 3)",
        ),
        (
            {"images/front": np.zeros((3, 32, 32), np.uint8)},
            "is uint8 (3, 32, 32): expected uint8 (32, 32, 3)",
        ),
        ({"images/front": np.zeros((32, 32, 4), np.uint8)}, "is uint8 (32, 32, 4): expected"),
        ({"images/front": np.zeros((0, 0, 3), np.uint8)}, "is uint8 (0, 0, 3): expected"),
        ({"images/front": np.zeros((48, 32, 3), np.uint8)}, "is uint8 (48, 32, 3): expected"),
        ({"images/front": [1, 2]}, "images/front is list: expected uint8 (32, 32, 3)"),
        ({"images/front": None}, "images/front is NoneType: expected uint8"),
        ({"proprio": np.zeros(4)}, "proprio of shape (4,): expected (3,): x [m], y [m], opening [m]"),
        ({"proprio": np.zeros((1, 3))}, "proprio of shape (1, 3): expected (3,)"),
        ({"proprio": 1.0}, "proprio of shape (1,): expected (3,)"),
        ({"proprio": np.zeros(3, bool)}, "proprio is bool (3,): expected an array of numbers"),
        ({"proprio": "abc"}, "proprio is str: expected an array of numbers"),
        ({"proprio": True}, "proprio is bool: expected an array of numbers"),
        ({"proprio": ["1", "2", "3"]}, "proprio is list: expected an array of numbers"),
        ({"proprio": np.array([0, np.nan, 0])}, "proprio is not finite: entry 1"),
        ({"proprio": np.array([0, 0, -np.inf])}, "proprio is not finite: entry 2"),
        ({"proprio": np.array([1e300, 0, 0])}, "proprio is not finite: entry 0"),
        ({"reset": 1}, "reset is int: expected true or false"),
        ({"reset": "no"}, "reset is str: expected true or false"),
        (
            {"actions_executed": np.zeros(2)},
            "actions_executed of shape (2,): expected (n, 2): dx [m], gripper",
        ),
        ({"actions_executed": np.zeros((1, 3))}, "actions_executed of shape (1, 3): expected (n, 2)"),
        ({"actions_executed": np.full((2, 2), np.nan)}, "actions_executed is not finite"),
        ({"actions_executed": {}}, "actions_executed is a map: expected float32"),
        ({"reset": {"a": True}}, "reset is a map: expected bool"),
        ({"images": {"front": 1}}, "images/front was sent twice"),
        ({"a": {"b": {"c": {"d": {"e": 1}}}}}, "maps within maps, deeper than 4"),
        ({b"proprio": 1}, "key \"b'proprio'\" is bytes: expected text"),
    ],
)
def test_what_else_is_sent_is_refused_with_what_was_expected(changed: dict[Any, Any], said: str) -> None:
    assert said in refused(request(0) | changed)


@pytest.mark.parametrize("missing", ["images/front", "proprio"])
def test_what_is_missing_is_named(missing: str) -> None:
    message = request(0)
    del message[missing]
    assert refused(message) == f"{missing} missing: the request has {next(iter(message))}"


@pytest.mark.parametrize("message", [[], None, 3, "text", np.zeros(3), {}])
def test_what_is_no_map_of_an_observation_is_refused(message: Any) -> None:
    assert (
        "a request is a map" in refused(message)
        or refused(message) == "images/front missing: the request has nothing"
    )


def test_a_long_name_does_not_make_a_long_error() -> None:
    assert len(refused({"x" * 50_000: 1})) < 200


def test_an_integer_too_large_for_a_float_is_refused() -> None:
    assert "not finite" in refused(request(0, proprio=[2**64 - 1, 1e308 * 10, 0]))


@pytest.mark.parametrize("side", [16, 64])
def test_frames_of_another_size_are_resized_where_asked_for(side: int) -> None:
    contract = Contract(FRONT, resize=True)
    ramp = (
        np.broadcast_to(np.linspace(20, 230, side)[:, None, None], (side, side, 3)).round().astype(np.uint8)
    )
    got = read(request(0) | {"images/front": ramp}, contract).observation["images"]["front"]
    assert got.shape == (32, 32, 3) and got.dtype == np.uint8
    expected = 20 + 210 * (np.arange(32) + 0.5 - 16 / side) / (32 - 32 / side)  # pixel centres stay in place
    assert np.abs(got[2:-2, 16, 0] - expected[2:-2]).max() < 3
    assert np.ptp(got[16]) <= 1
    same = request(5)["images/front"]
    assert read(request(5), contract).observation["images"]["front"].tobytes() == same.tobytes()
    assert "expected uint8 (32, 32, 3)" in refused(
        request(0) | {"images/front": np.zeros((64, 48, 3), np.uint8)}, contract
    )


def test_the_metadata_tells_what_is_expected() -> None:
    contract = Contract(SPEC)
    expected = contract.expected()
    assert expected["images/wrist"] == {"dtype": "uint8", "shape": [32, 32, 3]}
    assert expected["proprio"] == {"dtype": "float32", "shape": [3], "names": list(SPEC.proprio)}
    assert contract.optional()["actions_executed"]["shape"] == [-1, 2]
    made = {key: np.zeros(entry["shape"], entry["dtype"]) for key, entry in expected.items()}
    assert read(made, contract).observation["images"].keys() == {"front", "wrist"}
