"""A run tells what the safety layer did to each fault."""

from __future__ import annotations

from forward_policy import Forward
from robots import FakeRobot

from s2robot.policy.execution.asynchronous import AsynchronousExecutor, ChunkBlending
from s2robot.robot.arm import Mode
from tests.stress.fault_injection import inject_faults


def test_faults_are_clamped_refused_and_stopped() -> None:
    env = FakeRobot()
    blending = ChunkBlending(inference_slack=0.05, max_chunk_age=5.0)
    # The clock is turned by hand, the policy's thread lives in real time: each step waits for it.
    executor = AsynchronousExecutor(Forward(), env.robot_spec, env.clock.now, blending, real=lambda _: 10.0)
    figures = inject_faults(env, executor, 4.0)
    executor.close()
    beside, nan, frozen = (figures["faults"][name] for name in ("beside", "nan", "frozen_camera"))
    assert "acceleration" in beside["events"] and 0 < beside["largest_step_rad"] < 0.15
    assert nan["events"] == ["not_finite"] and nan["largest_step_rad"] == 0.0
    assert "camera front" in frozen["stopped"] and frozen["after_s"] < 0.5
    assert (figures["steps"], figures["reflexes"], figures["watchdog"]) == (40, 0, 0)
    assert figures["stopped_before_the_last_fault"] is None and env.arm.mode is Mode.STOPPED
