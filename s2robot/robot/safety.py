"""The safety layer between whoever asks for motion and any arm. It does not replace the hardware's own stop.

What it does to a command is counted, logged and returned with what was applied. A stop is latched: after
`stop` the next `start` goes on, after an emergency stop or a reflex nothing but an explicit `recover` does.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from s2robot.robot.arm import Arm, ArmCommand, ArmError, ArmState, Mode
from s2robot.robot.clock import Clock
from s2robot.robot.motion_limits import MotionLimits
from s2robot.robot.safety_events import Applied, Deadlines, Incident, Stopped, stale_image, stale_state

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Times = Callable[[], Mapping[str, float]]
"""Camera -> when its newest frame was captured (s)."""
_SOON = 0.3  # of a period: a command this shortly after another is refused


@dataclass
class _Motion:
    """What was sent last."""

    command: ArmCommand
    step: np.ndarray  # rad, from the command before
    time: float
    started: bool = False  # whether a command has come since `start`
    sent: float = -np.inf


class SafeArm:
    """An arm behind the safety layer. All methods may be called in any thread.

    Args:
        times: when the cameras' newest frames were captured.

    From `start` on a thread watches: without a command, a fresh state and fresh frames the arm is stopped.
    """

    def __init__(
        self,
        arm: Arm,
        motion_limits: MotionLimits,
        rate: float,
        clock: Clock | None = None,
        deadlines: Deadlines | None = None,
        times: Times = dict,
    ) -> None:
        self.arm, self.motion_limits = arm, motion_limits
        self.clock, self.deadlines = clock or Clock(), deadlines or Deadlines()
        self.counts: Counter[str] = Counter()
        self.incidents: list[Incident] = []
        self._period, self._times = 1.0 / rate, times
        self._lock = threading.RLock()  # one driver's call at a time, except for those that stop
        self._latch = threading.Lock()  # around changes of the mode; never held while the arm is called
        self._estops = 0
        self._mode, self._reason = Mode.CLOSED, "it is not connected"
        self._motion: _Motion | None = None
        self._newest: ArmState | None = None
        self._ending = threading.Event()
        self._watchdog: threading.Thread | None = None

    # ------------------------------------------------------------------ connection

    def connect(self) -> None:
        """Connects the arm, which then stands still until `start`. Raises UserError where nobody answers."""
        self.arm.connect()
        self._ending.clear()
        self._mode, self._reason = Mode.STOPPED, "it was not started"
        self._watchdog = threading.Thread(target=self._watch, name="arm watchdog", daemon=True)
        self._watchdog.start()

    def close(self) -> None:
        """Stops the arm, then lets go of it."""
        self._ending.set()
        if self._watchdog is not None:
            self._watchdog.join()
        if self._mode is not Mode.CLOSED:
            self.stop("closed")
            self.arm.close()
            self._mode, self._reason = Mode.CLOSED, "it is not connected"

    def state(self) -> Mode:
        """What the arm would do with a command."""
        return self._mode

    @property
    def reason(self) -> str:
        """Why it stands still; empty where it does not."""
        return "" if self._mode is Mode.READY else self._reason

    @property
    def target(self) -> np.ndarray:
        """The joints (n,) rad that were sent last. Raises Stopped where nothing was started yet."""
        if self._motion is None:
            raise Stopped(self._reason)
        return self._motion.command.joints

    # ------------------------------------------------------------------ motion

    def start(self) -> None:
        """Takes commands from now on, beginning where the arm is.

        Raises Stopped after an emergency stop or a reflex, where the arm stands outside its limits, and where
        its state or a camera is stale.
        """
        with self._lock:
            self._refuse_latched()
            state = self._measured()
            if problem := self.motion_limits.obstacle(state.joints) or self._stale(self.clock.now()):
                raise Stopped(problem)
            self._call(self.arm.resume)
            command = ArmCommand(state.joints.copy(), state.gripper)
            self._motion = _Motion(command, np.zeros_like(state.joints), self.clock.now())
            self._enter(Mode.READY, "")

    def observe(self) -> ArmState:
        """The newest measurement. Raises Stopped where there is none; a reflex stops."""
        with self._lock:
            return self._measured()

    def command(self, target: ArmCommand) -> Applied:
        """Sends the nearest target that is safe.

        A command that is not finite or of another shape is refused: the arm keeps to the last one, and unless
        a good one follows the watchdog stops it.

        Raises Stopped where the arm stands still, or has to now.
        """
        with self._lock:
            if self._mode is not Mode.READY:
                raise Stopped(self._reason)
            assert self._motion is not None
            now = self.clock.now()
            if refused := self._refusal(target, now):
                self._note(refused, f"asked for {np.asarray(target.joints).tolist()}"[:200])
                return Applied(self._motion.command, (refused,), now)
            if problem := self._overdue(now):
                self._halt(*problem)
            state = self._measured()
            if problem := self._stale(now):
                self._halt("stale", problem)
            return self._send(target, state)

    def home(self, joints: np.ndarray, opening: float) -> None:
        """Moves to joints (n,) rad at the driver's own speed; the arm then stands still until `start`.

        Raises Stopped after an emergency stop or a reflex, and for joints outside the limits.
        """
        with self._lock:
            self._enter(Mode.STOPPED, "it was not started")
            if problem := self.motion_limits.obstacle(joints):
                raise Stopped(f"home: {problem}")
            self._call(self.arm.resume)
            self._enter(Mode.STOPPED, "it was not started")  # an emergency stop came in between?
        self._call(lambda: self.arm.home(joints, opening))

    # ------------------------------------------------------------------ stopping

    def stop(self, reason: str = "stopped") -> None:
        """Stops until the next `start`. Does not wait for a command that is under way."""
        with self._latch:
            if self._mode is Mode.READY:
                self._mode, self._reason = Mode.STOPPED, reason
        self._quietly(self.arm.stop)

    def estop(self, reason: str = "emergency stop") -> None:
        """Stops until `recover`. Does not wait for a command that is under way."""
        with self._latch:
            self._mode, self._reason = Mode.ESTOP, reason
            self._estops += 1
        self._quietly(self.arm.estop)
        self._note("estop", reason)

    def recover(self) -> None:
        """Clears an emergency stop or a reflex; the arm then stands still until `start`.

        Raises Stopped where the arm refuses.
        """
        with self._lock:
            if self._mode is Mode.CLOSED:
                raise Stopped(self._reason)
            before = self._estops
            self._call(self.arm.recover)
            with self._latch:
                if self._estops == before:  # else somebody has stopped it again meanwhile
                    self._mode, self._reason = Mode.STOPPED, "it was not started"
            self._note("recover", "")

    # ------------------------------------------------------------------ parts

    def _send(self, target: ArmCommand, state: ArmState) -> Applied:
        motion = self._motion
        assert motion is not None
        joints, events = self.motion_limits.follow(
            np.asarray(target.joints, float), motion.command.joints, motion.step, state.joints
        )
        if np.abs(joints - state.joints).max() > 2 * self.motion_limits.max_target_lead:
            self._halt("blocked", "the arm does not follow")
        gripper = float(np.clip(target.gripper, 0.0, self.motion_limits.opening))
        if gripper != target.gripper:
            events.append("gripper")
        command = ArmCommand(joints, gripper)
        if self._mode is not Mode.READY:  # an emergency stop waits for nobody
            raise Stopped(self._reason)
        self._call(lambda: self.arm.command(command))
        sent = self.clock.now()
        self._motion = _Motion(command, joints - motion.command.joints, sent, True, sent)
        for event in events:
            self._note(event, "")
        return Applied(command, tuple(events), sent)

    def _refusal(self, target: ArmCommand, now: float) -> str | None:
        assert self._motion is not None
        joints = np.asarray(target.joints)
        if joints.shape != self._motion.command.joints.shape or np.ndim(target.gripper):
            return "wrong_shape"
        if joints.dtype.kind not in "iuf" or not (np.isfinite(joints).all() and np.isfinite(target.gripper)):
            return "not_finite"
        return "too_soon" if 0 <= now - self._motion.sent < _SOON * self._period else None

    def _measured(self) -> ArmState:
        """The newest state. A reflex, a lost arm and nonsense stop."""
        if self._mode is Mode.CLOSED:
            raise Stopped(self._reason)
        state = self._call(self.arm.observe)
        if state.fault is not None:
            self._reflex(state.fault)
        if not (np.isfinite(state.joints).all() and np.isfinite([state.gripper, state.time]).all()):
            self._halt("not_finite", "the arm measures what is not finite")
        self._newest = state
        return state

    def _reflex(self, fault: str) -> None:
        with self._latch:
            known = self._mode in (Mode.ESTOP, Mode.FAULT)
            if self._mode is not Mode.ESTOP:
                self._mode, self._reason = Mode.FAULT, f"reflex: {fault}"
        self._quietly(self.arm.stop)
        if not known:
            self._note("reflex", fault)
        raise Stopped(self._reason)

    def _stale(self, now: float) -> str | None:
        """In words, what is too old to act on."""
        state = stale_state(self._newest, now, self.deadlines)
        return state or stale_image(self._times(), now, self.deadlines)

    def _overdue(self, now: float) -> tuple[str, str] | None:
        """Kind and words, where the last command is too long ago or time has run backwards."""
        motion = self._motion
        if self._mode is not Mode.READY or motion is None or not motion.started:
            return None
        silence = now - motion.time
        if silence < 0:
            return "clock", f"the clock went back by {-silence:.2f} s"
        most = self.deadlines.command
        return ("watchdog", f"no command for {silence:.2f} s") if silence > most else None

    def _watch(self) -> None:
        """Looks four times within the shortest deadline."""
        deadlines = self.deadlines
        pause = self.clock.real(min(deadlines.command, deadlines.state, deadlines.image) / 4)
        while not self._ending.wait(pause):
            self._look()

    def _look(self) -> None:
        """One look of the watchdog. It takes no lock: a command that hangs must not keep it from stopping."""
        motion = self._motion
        if self._mode is not Mode.READY or motion is None or not motion.started:
            return
        now = self.clock.now()
        problem = self._overdue(now)
        if problem is None and (images := stale_image(self._times(), now, self.deadlines)):
            problem = "stale", images
        if problem and self._mode is Mode.READY:
            self.stop(": ".join(problem))
            self._note(*problem)

    def _refuse_latched(self) -> None:
        if self._mode in (Mode.CLOSED, Mode.ESTOP, Mode.FAULT):
            raise Stopped(self._reason)

    def _enter(self, mode: Mode, reason: str) -> None:
        """Changes the mode. Raises Stopped where the present one is latched."""
        with self._latch:
            self._refuse_latched()
            self._mode, self._reason = mode, reason

    def _halt(self, kind: str, detail: str) -> None:
        """Stops, and says so to whoever called."""
        self.stop(f"{kind}: {detail}")
        self._note(kind, detail)
        raise Stopped(self._reason)

    def _call(self, action: Callable[[], Result]) -> Result:
        """What a driver's call returns. Where the arm is lost it is stopped as well as can be."""
        try:
            return action()
        except (ArmError, OSError) as error:
            detail = " ".join(str(error).split()) or type(error).__name__
            self.stop(f"arm lost: {detail}")
            self._note("arm_lost", detail)
            raise Stopped(f"arm lost: {detail}") from error

    def _quietly(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self._note("stop_failed", str(error))

    def _note(self, kind: str, detail: str) -> None:
        self.counts[kind] += 1
        self.incidents.append(Incident(self.clock.now(), kind, detail))
        log.log(logging.INFO if not detail else logging.WARNING, "safety: %s %s", kind, detail)
