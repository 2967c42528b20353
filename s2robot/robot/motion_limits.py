"""Which joint targets may follow which: limits, speeds, accelerations and a workspace, as pure arithmetic.

A target is admitted only where the arm could still brake afterwards: from every target that was ever sent,
the braking path (each joint at its own largest deceleration) keeps within the joint limits and the workspace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from s2robot.core.errors import UserError
from s2robot.robot.arm import ArmLimits
from s2robot.robot.kinematics import Kinematics

_BISECTIONS = 5


@dataclass(frozen=True)
class Workspace:
    """A box in the arm's base frame that the gripper never leaves: (low, high) of x, y and z in m."""

    x: tuple[float, float]
    y: tuple[float, float]
    z: tuple[float, float]

    def holds(self, position: np.ndarray) -> bool:
        """Whether a position (3,) m lies within."""
        bounds = (self.x, self.y, self.z)
        return all(low <= value <= high for value, (low, high) in zip(position, bounds, strict=True))


def read_workspace(box: Mapping[str, Sequence[float]]) -> Workspace:
    """From `{x: [low, high], y: ..., z: ...}`. Raises UserError for anything else."""
    try:
        x, y, z = ((float(box[axis][0]), float(box[axis][1])) for axis in "xyz")
        if all(low < high for low, high in (x, y, z)) and len(box) == 3:
            return Workspace(x, y, z)
    except (IndexError, KeyError, TypeError, ValueError):
        pass
    raise UserError(f"workspace={dict(box)}: expected x, y and z, each with [low, high] in m")


class MotionLimits:
    """Clamps targets, one control step after the other.

    Args:
        limits, kinematics: of the arm.
        workspace: None for no box.
        rate: control steps a second (Hz).
        margin: from the joint limits, in rad.
        velocity, acceleration: fractions of the arm's own limits.
        max_target_lead: rad that a target may be away from where the joint was measured.

    Raises UserError for options under which nothing could move.
    """

    def __init__(
        self,
        limits: ArmLimits,
        kinematics: Kinematics,
        workspace: Workspace | None,
        rate: float,
        margin: float = 0.05,
        velocity: float = 0.5,
        acceleration: float = 1.0,
        max_target_lead: float = 0.3,
    ) -> None:
        if not (
            0 < velocity <= 1 and 0 < acceleration <= 1 and max_target_lead > 0 and margin >= 0 and rate > 0
        ):
            raise UserError(
                f"velocity={velocity} acceleration={acceleration} max_target_lead={max_target_lead} "
                f"margin={margin} rate={rate}: expected fractions above 0 up to 1, "
                "max_target_lead and rate above 0, no negative margin"
            )
        self.low, self.high = limits.low + margin, limits.high - margin
        if (self.low >= self.high).any():
            raise UserError(f"margin={margin} rad leaves some joint no room")
        self.opening, self.max_target_lead = limits.opening, max_target_lead
        self.workspace, self._kinematics = workspace, kinematics
        self.largest_step = velocity * limits.velocity / rate  # rad
        self.largest_change = acceleration * limits.acceleration / rate**2  # rad, of one step to the next

    def obstacle(self, joints: np.ndarray) -> str | None:
        """In words, why an arm cannot begin at these joints (n,) rad; None where it can."""
        for i, (value, low, high) in enumerate(zip(joints, self.low, self.high, strict=True), start=1):
            if not low <= value <= high:
                return f"joint {i} is at {value:.3f} rad: expected {low:.3f} to {high:.3f}"
        if not self._is_inside(joints):
            at = ", ".join(f"{value:.3f}" for value in self._kinematics.position(joints))
            return f"the gripper is at ({at}) m, outside {self.workspace}"
        return None

    def follow(
        self, target: np.ndarray, last: np.ndarray, step: np.ndarray, measured: np.ndarray
    ) -> tuple[np.ndarray, list[str]]:
        """The nearest admissible target, and the names of what kept it from being the one asked for.

        Args:
            target: asked for. last: sent at the step before. step: by how much that one differed from the one
                before it. measured: where the joints are. All (n,) rad.
        """
        wanted, acted = target, []
        for name, low, high in (
            ("joint_limit", self.low, self.high),
            ("max_target_lead", measured - self.max_target_lead, measured + self.max_target_lead),
        ):
            clipped = np.clip(wanted, low, high)
            if not np.array_equal(clipped, wanted):
                acted.append(name)
            wanted = clipped
        candidate, names = self._rated(np.clip(wanted, self.low, self.high) - last, last, step)
        acted += names
        if not self.can_brake(last, candidate):
            candidate = self._nearest_braking(last, step, candidate)
            acted.append("workspace")
        return np.clip(last + candidate, self.low, self.high), acted  # the clip is for rounding alone

    def can_brake(self, joints: np.ndarray, step: np.ndarray) -> bool:
        """Whether the gripper stays in the workspace if `step` (n,) rad is taken and the arm brakes then."""
        if self.workspace is None:
            return True
        while True:
            joints = joints + step
            if not self._is_inside(joints):
                return False
            if not step.any():
                return True
            step = self.braked(step)

    def braked(self, step: np.ndarray) -> np.ndarray:
        """The step after `step` where every joint brakes as hard as it may."""
        return np.sign(step) * np.maximum(np.abs(step) - self.largest_change, 0.0)

    def _rated(
        self, wanted: np.ndarray, last: np.ndarray, step: np.ndarray
    ) -> tuple[np.ndarray, Sequence[str]]:
        """`wanted` (a step, rad) within speed and acceleration, slow enough to stop at the joint limits.

        Where speed or acceleration does not suffice all joints go the same share of the way from braking to
        what is wanted: clamped one by one, they would lead the gripper off its line.
        """
        down, up = (_stoppable(d, self.largest_change) for d in (last - self.low, self.high - last))
        wanted_there = np.clip(wanted, -down, up)
        slowest, fastest = np.maximum(-down, -self.largest_step), np.minimum(up, self.largest_step)
        least, most = step - self.largest_change, step + self.largest_change
        fast = np.clip(wanted, slowest, fastest)
        acted = [("velocity", wanted, fast), ("acceleration", fast, np.clip(fast, least, most))]
        bounds = np.maximum(slowest, least), np.minimum(fastest, most)
        braking = self.braked(step)
        rated = braking + _share(wanted_there - braking, bounds[0] - braking, bounds[1] - braking)
        names = [name for name, before, after in acted if not np.array_equal(before, after)]
        return np.clip(rated, *bounds), names  # the clip is for rounding alone

    def _nearest_braking(self, last: np.ndarray, step: np.ndarray, candidate: np.ndarray) -> np.ndarray:
        """Between braking, which is admissible since `step` was, and `candidate`, which is not."""
        braking, good, bad = self.braked(step), 0.0, 1.0
        for _ in range(_BISECTIONS):
            share = (good + bad) / 2
            if self.can_brake(last, braking + share * (candidate - braking)):
                good = share
            else:
                bad = share
        return braking + good * (candidate - braking)

    def _is_inside(self, joints: np.ndarray) -> bool:
        return self.workspace is None or self.workspace.holds(self._kinematics.position(joints))


def _share(wanted: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The longest piece of `wanted`, a multiple of it, that lies between `low` (<= 0) and `high` (>= 0)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shares = np.where(wanted > 0, high, low) / wanted
    return wanted * np.clip(np.min(shares, where=wanted != 0, initial=1.0), 0.0, 1.0)


def _stoppable(distance: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The longest step (rad) after which a joint can stop within `distance`, slowing by `change` a step.

    The step s and the braking after it cover less than s + s² / (2 change).
    """
    distance = np.maximum(distance, 0.0)
    return change * (np.sqrt(1.0 + 2.0 * distance / change) - 1.0)
