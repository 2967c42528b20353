"""A leader arm, as far as there is none: servos on a serial line that speak Dynamixel's protocol 2.0."""

from __future__ import annotations

import os
import pty
import select
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import toy_loop
from mistakes import refusal

from s2robot.core.errors import UserError
from s2robot.core.spec import GripperSpec, RobotSpec
from s2robot.teleop.device import Event, Phase, Status
from s2robot.teleop.leader import DynamixelBus, Leader, LeaderOptions, Servos
from s2robot.teleop.steering import make_steering

if TYPE_CHECKING:
    from envs.cube_pick import CubePick

SIGNS = [1, -1, 1, 1, 1, -1, 1]
ARM = np.array([0.0, 0.2, 0.0, -2.6, 0.0, 2.9, 0.8])
QUARTERS = np.array([3, 2, 1, 4, 0, 3, 4]) * np.pi / 2  # as the horns of a leader are mounted
OPEN, CLOSED = 3.4, 2.65


def build(**changes: Any) -> LeaderOptions:
    defaults: dict[str, Any] = {
        "port": "/dev/none",
        "baud": 57600,
        "ids": [1, 2, 3, 4, 5, 6, 7],
        "signs": SIGNS,
        "offsets": None,
        "gripper": 8,
        "open": OPEN,
        "closed": CLOSED,
    }
    return LeaderOptions(**defaults | changes)


def servo_angles(arm: np.ndarray, trigger: float = OPEN) -> np.ndarray:
    """What the servos show while the leader stands as the arm does."""
    return np.append((arm + QUARTERS) * SIGNS, trigger)


# The bus


class Bus:
    """A serial line with servos on it."""

    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.name = os.ttyname(self._slave)
        self.positions = dict.fromkeys(range(1, 9), 2048)
        self.answers, self._plugged = True, True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        self._plugged = False
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)

    def _serve(self) -> None:
        received = b""
        while self._plugged:
            if not select.select([self._master], [], [], 0.02)[0]:
                continue
            received += os.read(self._master, 256)
            while len(received) >= 7 and len(received) >= (size := 7 + received[5] + 256 * received[6]):
                self._answer(received[:size])
                received = received[size:]

    def _answer(self, packet: bytes) -> None:
        assert packet[:5] == b"\xff\xff\xfd\x00\xfe" and packet[7] == 0x82, "a sync read to all"
        assert packet[8:12] == bytes([132, 0, 4, 0]), "of the present position"
        for servo in packet[12:-2]:
            if self.answers and servo in self.positions:
                os.write(self._master, self._status(servo))

    def _status(self, servo: int) -> bytes:
        from dynamixel_sdk import PacketHandler

        position = self.positions[servo].to_bytes(4, "little", signed=True)
        body = b"\xff\xff\xfd\x00" + bytes([servo, 8, 0, 0x55, 0]) + position
        return body + PacketHandler(2.0).updateCRC(0, list(body), len(body)).to_bytes(2, "little")


@pytest.fixture
def bus() -> Iterator[Bus]:
    pytest.importorskip("dynamixel_sdk", reason="needs the extra leader")
    bus = Bus()
    yield bus
    if bus._plugged:
        bus.unplug()


def test_positions_become_angles(bus: Bus) -> None:
    bus.positions |= {1: 0, 2: 1024, 3: -1024, 8: 4095}
    servos = DynamixelBus(bus.name, 57600, range(1, 9))
    expected = np.array([0, 0.5, -0.5, *4 * [1.0], 2 * 4095 / 4096]) * np.pi
    np.testing.assert_allclose(servos.read(), expected)
    servos.close()


def test_servos_that_do_not_answer_are_told_and_so_is_a_line_that_is_gone(bus: Bus) -> None:
    servos = DynamixelBus(bus.name, 57600, [1, 2])
    bus.answers = False
    said = refusal(servos.read)
    assert said.startswith(f"teleop=leader: servos [1, 2] at {bus.name}: ") and "no status packet" in said
    bus.unplug()
    assert refusal(servos.read).startswith(f"teleop=leader: {bus.name} is gone: ")
    servos.close()


def test_a_port_or_a_rate_that_does_not_exist_is_told_in_one_line(bus: Bus, tmp_path: Path) -> None:
    missing = tmp_path / "ttyUSB7"
    said = refusal(lambda: DynamixelBus(str(missing), 57600, [1]))
    assert said.startswith(f"teleop=leader: {missing} cannot be opened: ")
    assert "leader.baud=12345" in refusal(lambda: DynamixelBus(bus.name, 12345, [1]))


# The arm


class Held:
    """Servos that show what the test says."""

    def __init__(self, angles: np.ndarray) -> None:
        self.angles, self.plugged = angles, True

    def read(self) -> np.ndarray:
        if not self.plugged:
            raise UserError("gone")
        return self.angles

    def close(self) -> None:
        pass


def shown(leader: Leader, arm: np.ndarray = ARM, **changes: Any) -> Leader:
    status = Status(phase=Phase.RECORDING, proprio=[*arm, 0.08], **changes)
    leader.show(status, {})
    return leader


def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stopped() -> float:
    """A clock in which no reading grows old, however slow the machine is."""
    return 0.0


@pytest.fixture
def held() -> Held:
    return Held(servo_angles(ARM))


@pytest.fixture
def leader(held: Held) -> Iterator[Leader]:
    leader = shown(Leader(build(), lambda: held, stopped))
    yield leader
    leader.close()


def test_the_arm_is_where_the_leader_is_whichever_way_its_horns_are_mounted(
    leader: Leader, held: Held
) -> None:
    np.testing.assert_allclose(leader.command().joints, ARM, atol=1e-9)
    moved = ARM + np.linspace(-0.3, 0.3, 7)
    held.angles = servo_angles(moved)
    until(lambda: np.allclose(leader.command().joints, moved, atol=1e-9))


def test_given_offsets_are_used_and_whole_turns_do_not_matter(held: Held) -> None:
    held.angles = servo_angles(ARM) + np.eye(8)[0] * 2 * np.pi
    leader = shown(Leader(build(offsets=(QUARTERS + 0.1).tolist()), lambda: held, stopped))
    np.testing.assert_allclose(leader.command().joints, ARM - 0.1, atol=1e-9)
    leader.close()


def test_a_leader_that_is_not_where_the_arm_is_moves_nothing(leader: Leader, held: Held) -> None:
    assert leader.command().joints is not None
    held.angles = servo_angles(ARM + 0.7 * np.eye(7)[2])
    until(lambda: leader.command().absence)
    command = leader.command()
    assert command.absence == "the leader's joint 3 is +0.70 rad off the arm's: bring it"
    assert not command.moves


def test_the_trigger_is_the_gripper(leader: Leader, held: Held) -> None:
    assert leader.events() == []
    held.angles = servo_angles(ARM, CLOSED)
    until(lambda: leader.events() == [Event.GRIPPER])
    shown(leader, closed=True)
    held.angles = servo_angles(ARM, (OPEN + CLOSED) / 2)
    until(lambda: np.isclose(leader._angles[-1], held.angles[-1]))
    assert leader.events() == [], "halfway it stays as it was"
    held.angles = servo_angles(ARM, OPEN)
    until(lambda: leader.events() == [Event.GRIPPER])


def test_an_unplugged_leader_moves_nothing_and_may_come_back(held: Held) -> None:
    servos: list[Servos] = [held]
    leader = shown(Leader(build(), lambda: servos[-1]))
    held.plugged = False
    until(lambda: leader.command().absence == "the leader arm does not answer")
    servos.append(Held(servo_angles(ARM + 0.1)))
    until(lambda: leader.command().moves)
    np.testing.assert_allclose(leader.command().joints, ARM + 0.1, atol=1e-9)
    leader.close()


def test_the_simulated_arm_follows_the_leader(held: Held, cube_pick_joint: CubePick) -> None:
    env = cube_pick_joint
    observation, _ = env.reset(seed=0, options={"cube": (0.1, 0.1, 0.0)})
    start = observation["proprio"][:7].astype(float)
    held.angles = servo_angles(start)
    leader = shown(Leader(build(), lambda: held, stopped), start)
    steering = make_steering(env)
    np.testing.assert_allclose(leader.command().joints, start, atol=1e-9)
    wanted = start + 0.2 * np.eye(7)[0]
    held.angles = servo_angles(wanted)
    until(lambda: np.allclose(leader.command().joints, wanted))
    for _ in range(12):
        shown(leader, observation["proprio"][:7])
        observation, *_ = env.step(steering.action(observation, leader.command(), closed=False))
    assert observation["proprio"][:7] - start == pytest.approx(wanted - start, abs=0.03)
    leader.close()


# Mistakes


def test_a_leader_that_does_not_fit_the_robot_is_refused() -> None:
    spec = RobotSpec({}, (), tuple("abcdefgh"), "joint", 10.0, (GripperSpec(7, -1.0, 1.0),))
    build().check(spec)
    assert refusal(lambda: build(signs=[1, 1]).check(spec)) == "leader.signs=[1, 1]: expected 7, one a joint"
    displaced = RobotSpec({}, (), tuple("abcd"), "ee_delta", 10.0)
    assert refusal(lambda: build().check(displaced)).endswith("give env.action_space=joint")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("teleop=leader",), "join another, for example teleop=leader+browser"),
        (("teleop=leader+browser",), "teleop=leader moves joints, and actions are ee_delta"),
        (("teleop=leader+browser", "checkpoint=runs/policy"), "cannot watch over a checkpoint="),
    ],
)
def test_a_mistake_in_the_options_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], part: str
) -> None:
    said = toy_loop.refusal(capsys, "record", "env=toy", f"out={tmp_path / 'demos'}", *options)
    assert part in said
