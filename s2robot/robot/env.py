"""An arm, its cameras and the safety layer as an environment like the simulated one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np

from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import Observation
from s2robot.robot.arm import Arm, ArmCommand, ArmError, ArmState
from s2robot.robot.cameras.camera import Camera, Frame
from s2robot.robot.clock import Clock
from s2robot.robot.kinematics import quaternion
from s2robot.robot.motion_limits import MotionLimits, read_workspace
from s2robot.robot.safety import SafeArm
from s2robot.robot.safety_events import Applied, Deadlines, Stopped
from s2robot.robot.spaces import ACTION_SPACES, DISPLACEMENT, action_box, observation_space, robot_spec
from s2robot.utils.rate import ControlRate

_MISSED = 1e-3  # m and rad: further away, a pose counts as out of reach
_FRESH = 3.0  # s within which all cameras have to be fresh before an episode begins


class Scene(Protocol):
    """What a simulated scene knows and a real one does not."""

    def lay_out(self, seed: int, options: Mapping[str, Any]) -> None:
        """Begins anew, from a start's options as `env.reset` takes them."""
        ...

    def success(self) -> bool:
        """Whether the task is done."""
        ...


class RobotEnv(gymnasium.Env[Observation, np.ndarray]):
    """A robot at its own rate: `step` sends an action through the safety layer and returns at the next tick.

    Beside what a simulated environment tells, observations hold `times` (when each source was measured, s),
    and `info` holds `safety` (what the layer did to the action), `command_time` (s) and, once the arm stands
    still, `stopped` (why): the episode is then truncated, and nothing is raised.

    Args:
        cameras: by the names that the policy knows.
        action_space: `ee_delta` or `joint`, as `CubePick`'s.
        rate: control steps a second (Hz).
        home: joints (rad) at which episodes begin.
        workspace: `{x: [low, high], y: ..., z: ...}` of the gripper (m, base frame); null for none.
        margin, velocity, acceleration, max_target_lead: of `MotionLimits`. deadlines: of `Deadlines`.
        scene: of a simulated arm; without one, `mark` says what became of an episode.

    Raises UserError for options that make no sense.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        arm: Arm,
        cameras: Mapping[str, Camera],
        home: Sequence[float],
        workspace: Mapping[str, Sequence[float]] | None,
        action_space: str = "ee_delta",
        rate: float = 10.0,
        max_steps: int = 300,
        margin: float = 0.05,
        velocity: float = 0.5,
        acceleration: float = 1.0,
        max_target_lead: float = 0.3,
        deadlines: Mapping[str, float] | None = None,
        scene: Scene | None = None,
        clock: Clock | None = None,
        render_mode: str | None = "rgb_array",
    ) -> None:
        if action_space not in ACTION_SPACES:
            raise unknown("action space", action_space, ACTION_SPACES)
        if len(home) != len(arm.limits.low):
            raise UserError(f"home has {len(home)} joints: this arm has {len(arm.limits.low)}")
        self.render_mode, self.max_steps, self.clock = render_mode, max_steps, clock or Clock()
        self.cameras, self._scene, self.home = dict(cameras), scene, np.array(home, float)
        box = None if workspace is None else read_workspace(workspace)
        motion_limits = MotionLimits(
            arm.limits, arm.kinematics, box, rate, margin, velocity, acceleration, max_target_lead
        )
        self.safe = SafeArm(
            arm, motion_limits, rate, self.clock, Deadlines(**(deadlines or {})), self._captured
        )
        self.robot_spec = robot_spec(arm, {n: c.shape for n, c in self.cameras.items()}, action_space, rate)
        self.action_space = action_box(arm, action_space)
        self.observation_space = observation_space(self.robot_spec)
        self.control_rate = ControlRate(rate, self.clock.now, self.clock.sleep)
        self._kinematics, self._opening = arm.kinematics, arm.limits.opening
        (self._gripper,) = self.robot_spec.grippers
        self._is_open = self._success = False

    # ------------------------------------------------------------------ gymnasium

    def connect(self) -> None:
        """Opens the cameras and the arm. Raises UserError where one is not there: then none is left open."""
        if self._is_open:
            return
        with contextlib.ExitStack() as opened:
            for camera in self.cameras.values():
                camera.open()
                opened.callback(camera.close)
            self.safe.connect()
            opened.pop_all()
        self._is_open = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Opens what is closed, goes home, opens the gripper; a scene is laid out anew, arm and all.

        `options`, those of a `Start`, are for the scene; a real one is set up by hand.

        Raises UserError where the arm stands still after an emergency stop or a reflex, or does not start.
        """
        super().reset(seed=seed)
        self.connect()
        self._steps, self._success = 0, False
        try:
            if self._scene is None:
                self.safe.home(self.home, self._opening)
            else:
                drawn = int(self.np_random.integers(2**31)) if seed is None else seed
                self._scene.lay_out(drawn, options or {})
            self._wait_until_fresh()
            self.safe.start()
            self._state = self.safe.observe()
        except (ArmError, Stopped) as error:
            raise UserError(f"the arm does not start: {error}") from error
        self._rotation = self._kinematics.pose(self._state.joints)[1]
        return self._observation(), {"success": False, "time": 0.0, "stopped": None}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Sends an action and returns what is seen at the next tick. The reward is 1 on success, else 0."""
        if self._steps == 0:
            self.control_rate.start()
            self.control_rate.wait()
        self._steps += 1
        info: dict[str, Any] = {"safety": (), "stopped": None, "action_applied": self._nothing()}
        try:
            before = self._state
            applied, missed = self._send(action)
            info["safety"] = applied.events + (("out_of_reach",) if missed else ())
            info |= {"command_time": applied.time, "action_applied": self._taken(applied, before)}
            self.control_rate.wait()
            self._state = self.safe.observe()
        except Stopped as error:
            info |= {"stopped": str(error)}
        if self._scene is not None:
            self._success = self._scene.success()
        info |= {"success": self._success, "time": self.control_rate.now()}
        truncated = self._steps >= self.max_steps or info["stopped"] is not None
        return self._observation(), float(self._success), self._success, truncated, info

    def render(self) -> np.ndarray:
        """The first camera's newest frame, uint8 (H, W, 3)."""
        return next(iter(self.cameras.values())).latest().image

    def close(self) -> None:
        """Stops and lets go of the arm, then of the cameras."""
        if self._is_open:
            self.safe.close()
            for camera in self.cameras.values():
                camera.close()
        self._is_open = False

    # ------------------------------------------------------------------ for whoever watches over it

    def look(self) -> Observation:
        """What is seen now, without moving. Raises UserError where the arm tells nothing."""
        self.connect()
        try:
            self._state = self.safe.observe()
        except Stopped as error:
            raise UserError(str(error)) from error
        self._rotation = self._kinematics.pose(self._state.joints)[1]
        return self._observation()

    def preview(self, action: np.ndarray) -> tuple[list[str], float]:
        """What the safety layer would do to an action (Da,) now, if the arm stood still.

        Returns:
            events: their names.
            share: of the motion asked for that is left, 0 to 1.
        """
        target, missed = self._target(np.asarray(action))
        at = self._state.joints
        sent, events = self.safe.motion_limits.follow(target.joints, at, np.zeros_like(at), at)
        asked = float(np.linalg.norm(target.joints - at))
        share = min(1.0, float(np.linalg.norm(sent - at)) / asked) if asked > 0 else 1.0
        return [*events, *(("out_of_reach",) if missed else ())], share

    def mark(self, success: bool) -> None:
        """Says what became of the episode, where no scene knows."""
        self._success = success

    def stop(self, reason: str) -> None:
        """Stops the arm: the next step ends the episode."""
        self.safe.stop(reason)

    def estop(self) -> None:
        """Stops the arm until `recover`. In any thread, at any time."""
        self.safe.estop()

    def recover(self) -> None:
        """Clears an emergency stop or a reflex. Raises UserError where the arm refuses."""
        try:
            self.safe.recover()
        except Stopped as error:
            raise UserError(f"the arm does not recover: {error}") from error

    # ------------------------------------------------------------------ parts

    def _send(self, action: np.ndarray) -> tuple[Applied, bool]:
        """What became of the action, and whether it led out of reach."""
        asked = np.asarray(action)
        if asked.shape != (self.robot_spec.action_dim,):
            return self.safe.command(ArmCommand(np.zeros((*asked.shape, 0)), 0.0)), False  # refused, counted
        if not np.isfinite(asked).all():
            return self.safe.command(ArmCommand(np.full(len(self.home), np.nan), 0.0)), False  # likewise
        target, missed = self._target(asked)
        return self.safe.command(target), missed

    def _target(self, asked: np.ndarray) -> tuple[ArmCommand, bool]:
        """Where an action would bring the arm, and whether that is out of reach."""
        gripper = 0.0 if self._gripper.is_closed(asked) else self._opening
        motion = np.delete(asked, self._gripper.index)
        if self.robot_spec.action_space == "joint":
            return ArmCommand(motion.astype(float), gripper), False
        shift = np.clip(motion.astype(float), -DISPLACEMENT, DISPLACEMENT)
        goal = self._kinematics.position(self._state.joints) + shift
        joints, missed = self._kinematics.solve(self._state.joints, goal, self._rotation)
        return ArmCommand(joints, gripper), missed > _MISSED

    def _taken(self, applied: Applied, before: ArmState) -> np.ndarray:
        """What was applied, as an action (Da,)."""
        joints = applied.command.joints
        if self.robot_spec.action_space == "joint":
            return self._action(joints, applied.command.gripper)
        shift = self._kinematics.position(joints) - self._kinematics.position(before.joints)
        return self._action(shift, applied.command.gripper)

    def _nothing(self) -> np.ndarray:
        """The action that is applied while the arm stands still."""
        still = self._state.joints if self.robot_spec.action_space == "joint" else np.zeros(3)
        return self._action(still, self._state.gripper)

    def _action(self, motion: np.ndarray, opening: float) -> np.ndarray:
        """The action (Da,) of a motion and an opening (m) of the gripper."""
        gripper = self._gripper
        asked = gripper.closed if opening < self._opening / 2 else gripper.open
        return np.insert(motion, gripper.index, asked).astype(np.float32)

    def _observation(self) -> Observation:
        frames: dict[str, Frame] = {name: camera.latest() for name, camera in self.cameras.items()}
        state = self._state
        position, rotation = self._kinematics.pose(state.joints)
        proprio = np.concatenate([state.joints, [state.gripper], position, quaternion(rotation)])
        times = {"arm": state.time, **{name: frame.time for name, frame in frames.items()}}
        return {
            "images": {name: frame.image for name, frame in frames.items()},
            "proprio": proprio.astype(np.float32),
            "times": {name: np.array(value) for name, value in times.items()},
        }

    def _captured(self) -> dict[str, float]:
        return {name: camera.latest().time for name, camera in self.cameras.items()}

    def _wait_until_fresh(self) -> None:
        """A frame of each camera from after the scene was laid out, or the safety layer will refuse."""
        since = self.clock.now()
        while min(self._captured().values(), default=since) < since and self.clock.now() - since < _FRESH:
            self.clock.sleep(0.005)
