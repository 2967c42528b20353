"""Chunks predicted beside the control loop: joined by time, complete in their history, never waited for."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from fake_arm import TurnedClock
from mistakes import refusal

from s2robot.core.spec import GripperSpec, Observation, RobotSpec
from s2robot.policy.execution.asynchronous import AsynchronousExecutor, ChunkBlending, PolicySilent
from s2robot.policy.policy import ChunkExecutor

TA = 6
SPEC = RobotSpec(
    cameras={},
    proprio=("step",),
    action=("step observed", "step meant", "gripper"),
    action_space="joint",
    rate=10.0,
    grippers=(GripperSpec(index=2, open=-1.0, closed=1.0),),
)


class Recording:
    """A predictor that notes how it is called, and predicts (step observed, step meant)."""

    chunk_size = TA

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None
        self.reset()

    def reset(self) -> None:
        self.steps.append("reset")
        self._observed = 0

    def observe(self, observation: Observation) -> None:
        assert self.go.wait(20)
        if self.error:
            raise self.error
        self._observed = int(observation["proprio"][0])
        self.steps.append(f"o{self._observed}")

    def record_action(self, action: np.ndarray) -> None:
        self.steps.append(f"a{int(action[1])}")

    def predict(self) -> np.ndarray:
        n = self._observed
        return np.array([[n, n + i, 1.0] for i in range(TA)], np.float32)


def observed_at(step: int, clock: TurnedClock) -> Observation:
    return {
        "images": {},
        "proprio": np.array([step], np.float32),
        "times": {"arm": np.array(clock.now() - 0.02)},
    }


class Loop:
    """A control loop at 10 Hz on a clock that stands still while the policy thinks."""

    def __init__(self, spec: RobotSpec = SPEC, **options: object) -> None:
        self.clock, self.policy = TurnedClock(), Recording()
        blending = ChunkBlending(**({"inference_slack": 0.0, "blend": 0} | options))  # type: ignore[arg-type]
        self.executor = AsynchronousExecutor(self.policy, spec, self.clock.now, blending, real=lambda s: s)
        self.executor.reset()
        self.step = 0

    def tick(self) -> np.ndarray:
        action = self.executor.act(observed_at(self.step, self.clock))
        self.step += 1
        self.clock.time += 0.1
        return action

    def taken(self) -> None:
        """Waits until the policy's thread looks at the newest observation."""
        with self.executor._changed:
            assert self.executor._changed.wait_for(lambda: self.executor._newest is None, 20)

    def settle(self, step: int) -> None:
        """Waits until the chunk of a step is there."""
        with self.executor._changed:
            assert self.executor._changed.wait_for(
                lambda: self.executor._chunks and self.executor._chunks[-1].step >= step, 20
            )


def test_the_step_that_is_due_is_executed_however_old_the_chunk() -> None:
    loop = Loop()
    assert loop.tick().tolist() == [0, 0, 1]
    loop.policy.go.clear()
    assert [loop.tick().tolist() for _ in range(3)] == [[0, 1, 1], [0, 2, 1], [0, 3, 1]]
    loop.policy.go.set()
    loop.settle(1)
    assert loop.tick()[1] == 4, "the newer chunk speaks of the same moment"
    assert loop.executor.ages[0] == pytest.approx(0.02) and max(loop.executor.ages) > 0.3
    loop.executor.close()


def test_the_history_has_every_action_once_and_in_order() -> None:
    loop = Loop()
    loop.tick()
    loop.policy.go.clear()
    loop.tick()
    loop.taken()
    loop.tick(), loop.tick()
    loop.policy.go.set()
    loop.settle(3)
    calls = [s for s in loop.policy.steps if s != "reset"]
    assert calls == ["o0", "a0", "o1", "a1", "a2", "o3"]
    loop.executor.close()


def test_a_policy_that_is_quick_enough_acts_as_it_would_in_step() -> None:
    loop, plain = Loop(inference_slack=0.05), Recording()
    synchronous = ChunkExecutor(plain, n_action_steps=1)
    for step in range(5):
        asked = synchronous.act(observed_at(step, loop.clock))
        loop.policy.go.set()
        with loop.executor._changed:  # as if the wait were long enough
            pass
        loop.executor._real = lambda s: 20.0  # type: ignore[method-assign]
        assert np.array_equal(loop.tick(), asked)
    assert [s for s in loop.policy.steps if s != "reset"] == plain.steps[1:-1]
    loop.executor.close()


def test_chunks_are_cross_faded_but_not_the_gripper() -> None:
    loop = Loop(blend=1)
    loop.tick()
    loop.tick()
    loop.settle(1)
    faded = loop.tick()
    assert faded[1] == 2 and faded[2] == 1.0
    loop.executor.close()
    place_0 = loop.executor._joined(np.array([[0.0, 4.0, -1.0], [2.0, 8.0, 1.0]]), 0)
    assert place_0.tolist() == [1.0, 6.0, 1.0]
    assert loop.executor._joined(np.array([[0.0, 4.0, -1.0], [2.0, 8.0, 1.0]]), 1).tolist() == [2.0, 8.0, 1.0]


@pytest.mark.parametrize(
    ("grippers", "blended"),
    [
        ((), [1.0, 6.0, 0.0]),  # the last entry is a yaw rate, say
        ((GripperSpec(2, -1.0, 1.0),), [1.0, 6.0, 1.0]),
        ((GripperSpec(0, 0.08, 0.0),), [2.0, 6.0, 0.0]),
        ((GripperSpec(0, 0.08, 0.0), GripperSpec(2, 0.0, 1.0)), [2.0, 6.0, 1.0]),
    ],
)
def test_only_the_entries_that_the_spec_names_as_grippers_are_not_cross_faded(
    grippers: tuple[GripperSpec, ...], blended: list[float]
) -> None:
    loop = Loop(replace(SPEC, grippers=grippers), blend=1)
    both = np.array([[0.0, 4.0, -1.0], [2.0, 8.0, 1.0]])
    assert loop.executor._joined(both, 0).tolist() == blended
    loop.executor.close()


def test_a_gripper_in_the_middle_of_the_action_is_not_cross_faded() -> None:
    spec = replace(SPEC, action=("x", "y", "gripper", "yaw rate [rad/s]"))
    loop = Loop(spec, blend=1)
    both = np.array([[0.0, 4.0, -1.0, 0.0], [2.0, 8.0, 1.0, 1.0]])
    assert loop.executor._joined(both, 0).tolist() == [1.0, 6.0, 1.0, 0.5]
    loop.executor.close()


def test_an_ensemble_averages_what_speaks_of_the_same_moment() -> None:
    loop = Loop(join="ensemble", decay=0.0)
    loop.tick()
    loop.tick()
    loop.settle(1)
    assert loop.tick().tolist() == [0.5, 2.0, 1.0]
    loop.executor.close()


def test_a_hung_policy_is_told_when_its_plan_has_run_out() -> None:
    loop = Loop(max_chunk_age=10.0)
    loop.tick()
    loop.policy.go.clear()
    with pytest.raises(PolicySilent, match="nothing to do now, after 6 steps"):
        for _ in range(TA + 1):
            loop.tick()
    loop.policy.go.set()
    loop.executor.close()


def test_a_plan_that_is_too_old_is_not_followed() -> None:
    loop = Loop(max_chunk_age=0.25)
    loop.tick()
    loop.policy.go.clear()
    loop.tick(), loop.tick()
    with pytest.raises(PolicySilent):
        loop.tick()
    loop.policy.go.set()
    loop.executor.close()


@pytest.mark.parametrize("error", [ConnectionError("cut"), TimeoutError("no answer")])
def test_a_policy_that_fails_is_told_at_once(error: Exception) -> None:
    loop = Loop()
    loop.policy.error = error
    with pytest.raises(PolicySilent, match=str(error)):
        loop.tick()
    loop.policy.error = None
    loop.executor.reset()
    assert loop.tick()[1] == 0, "the next episode begins anew"
    loop.executor.close()


def test_predictions_that_are_not_finite_are_no_chunk() -> None:
    loop = Loop()
    loop.policy.predict = lambda: np.full((TA, 3), np.nan)  # type: ignore[method-assign]
    with pytest.raises(PolicySilent, match="not finite"):
        loop.tick()
    loop.executor.close()


def test_what_a_person_did_belongs_to_the_history() -> None:
    loop = Loop()
    loop.tick()
    loop.executor.overruled(observed_at(1, loop.clock), np.array([9, 9, 0]))
    loop.step, loop.clock.time = 2, loop.clock.time + 0.1
    loop.executor._real = lambda s: 20.0  # type: ignore[method-assign]
    assert loop.tick()[1] == 2
    assert "a9" in loop.policy.steps
    loop.executor.close()


def test_mistakes_are_told() -> None:
    assert refusal(lambda: ChunkBlending(join="chnk")).startswith(
        "unknown join 'chnk': did you mean 'chunk'?"
    )
    assert "inference_slack=0.1: expected at most 0.06 s" in refusal(lambda: Loop(inference_slack=0.1))
    assert "expected no negative blend" in refusal(lambda: ChunkBlending(blend=-1))
