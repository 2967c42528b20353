"""The simulated arm in real time, behind the safety layer: in slow motion, so that any machine keeps up."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
from mistakes import refusal

from envs.realtime.robot import LiveCubePick
from envs.realtime.world import Shared, Snapshot
from s2robot.robot.arm import Mode

BOX = {"x": (0.3, 0.75), "y": (-0.3, 0.3), "z": (-0.11, 0.5)}


class _Context:
    """As multiprocessing's, within this process."""

    @staticmethod
    def Array(kind: str, size: int):
        import multiprocessing

        return multiprocessing.get_context("spawn").Array(kind, size)


def test_what_is_shared_is_read_as_it_was_written() -> None:
    shared = Shared(_Context, ["front"], 4)
    assert shared.snapshot() is None and shared.frame("front")[2] == 0
    world = Snapshot(1.5, np.arange(7.0), 0.04, np.arange(6.0), 0.3, True, 2, 9, np.arange(16.0))
    shared.publish(world)
    read = shared.snapshot()
    assert read is not None and (read.time, read.opening, read.success) == (1.5, 0.04, True)
    assert (read.slips, read.answered, read.yaw) == (2, 9, 0.3)
    for name in ("joints", "scene", "qpos"):
        assert np.array_equal(getattr(read, name), getattr(world, name))
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    shared.show("front", image, 2.5)
    assert np.array_equal(shared.frame("front")[0], image) and shared.frame("front")[1:] == (2.5, 1)


@pytest.mark.parametrize("options", [{"drop": 1.0}, {"latency": -0.1}, {"fps": 0}, {"realtime_factor": 0}])
def test_what_makes_no_sense_is_refused(options: dict) -> None:
    assert "expected" in refusal(lambda: LiveCubePick(workspace=BOX, **options))


@pytest.fixture(scope="module")
def robot() -> Iterator[LiveCubePick]:
    env = LiveCubePick(image_size=32, realtime_factor=0.05, drop=0.1, workspace=BOX)
    yield env
    env.close()


@pytest.mark.slow
def test_it_goes_where_it_is_told_at_its_rate(robot: LiveCubePick) -> None:
    before, _ = robot.reset(seed=1, options={"cube": (0.05, 0.03, 0.4)})
    assert np.allclose(robot.cube()[:2], (0.05, 0.03), atol=1e-3)
    for _ in range(8):
        after, _, _, truncated, info = robot.step(np.array([0.02, 0, 0.01, 1], np.float32))
        assert not truncated, info["stopped"]
    moved = after["proprio"][8:11] - before["proprio"][8:11]
    assert 0.03 < moved[0] < 0.16 and moved[2] > 0.01 and abs(moved[1]) < 0.01
    assert after["proprio"][7] < before["proprio"][7], "the fingers close"
    assert robot.control_rate.achieved() == pytest.approx(10.0, rel=0.05)
    assert after["images"]["front"].std() > 0


@pytest.mark.slow
def test_left_alone_it_stops_and_begins_anew(robot: LiveCubePick) -> None:
    robot.reset(seed=2)
    robot.step(np.array([0, 0, 0, -1], np.float32))
    robot.clock.sleep(0.6)
    assert robot.safe.state() is Mode.STOPPED
    *_, truncated, info = robot.step(np.array([0, 0, 0, -1], np.float32))
    assert truncated and "watchdog" in info["stopped"]
    robot.reset(seed=3)
    assert robot.step(np.array([0, 0, 0, -1], np.float32))[-1]["stopped"] is None


@pytest.mark.slow
def test_ctrl_c_at_a_terminal_leaves_the_arm_to_its_session(robot: LiveCubePick) -> None:
    robot.reset(seed=4)
    processes = multiprocessing.active_children()
    assert len(processes) >= 2
    for process in processes:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
    for _ in range(5):
        after, *_, info = robot.step(np.array([0.02, 0, 0, -1], np.float32))
        assert info["stopped"] is None
    assert after["images"]["front"].std() > 0
    assert all(process.is_alive() for process in processes)
