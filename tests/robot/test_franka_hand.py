"""The Franka Hand's thread: what is asked for interrupts what is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from s2robot.robot.arms.franka_hand import Hand

LONG = 30.0  # s, of a motion that nobody stops: none of these tests may last that long


class Fingers:
    """A library's gripper whose motions end when they are stopped or `arrived` is set.

    `calls` holds what was called, in that order.
    """

    width = 0.04

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.called = threading.Condition()
        self.arrived = threading.Event()
        self._stopped = threading.Event()
        self.refusals = 0

    def grasp(self, *arguments: float) -> bool:
        return self._last("grasp")

    def move(self, *arguments: float) -> bool:
        return self._last("move")

    def stop(self) -> bool:
        self._note("stop")
        self._stopped.set()
        return True

    def until(self, *calls: str) -> None:
        with self.called:
            assert self.called.wait_for(lambda: self.calls == list(calls), LONG / 2), self.calls

    def _note(self, call: str) -> None:
        with self.called:
            self.calls.append(call)
            self.called.notify_all()

    def _last(self, call: str) -> bool:
        self._stopped.clear()
        self._note(call)
        if self.refusals:
            self.refusals -= 1
            raise RuntimeError("command not possible")
        for _ in range(int(LONG / 0.01)):
            if self.arrived.wait(0.005):
                return True
            if self._stopped.wait(0.005):
                raise RuntimeError("command aborted")
        pytest.fail("nobody stopped it")


@pytest.fixture
def fingers() -> Fingers:
    return Fingers()


@pytest.fixture
def hand(fingers: Fingers) -> Iterator[Hand]:
    hand = Hand(opening=0.08, force=20.0)
    hand.connect(fingers)
    yield hand
    fingers.arrived.set()
    hand.close()


def test_opening_stops_a_grasp_that_is_under_way(hand: Hand, fingers: Fingers) -> None:
    hand.ask(0.0)
    fingers.until("grasp")
    hand.ask(0.08)
    fingers.until("grasp", "stop", "move")
    hand.ask(0.0)
    fingers.until("grasp", "stop", "move", "stop", "grasp")
    assert hand.problem is None, "a motion that was stopped is no problem"


def test_a_motion_that_has_ended_is_not_stopped(hand: Hand, fingers: Fingers) -> None:
    fingers.arrived.set()
    hand.ask(0.0)
    fingers.until("grasp")
    fingers.width = 0.01
    while hand.width != 0.01:  # it is read between motions
        time.sleep(0.005)
    hand.ask(0.08)
    fingers.until("grasp", "move")


def test_what_the_hand_refuses_is_told_and_tried_again(hand: Hand, fingers: Fingers) -> None:
    fingers.refusals = 1
    fingers.arrived.set()
    hand.ask(0.0)
    fingers.until("grasp", "grasp")
    assert hand.problem == "command not possible"
