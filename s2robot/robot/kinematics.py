"""Forward and inverse kinematics of a serial arm, from how its joints follow each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

_DAMPING = 1e-3
_ITERATIONS = 30
_CLOSE = 1e-5  # m and rad
_LARGEST = 0.2  # rad: of one iteration, so that far goals are approached and not overshot
_TURN = 0.01  # m/rad: what a turn counts where there are too few joints for every pose


class Kinematics:
    """Joint angles to the gripper's pose in the arm's base frame, and back.

    Args:
        joints: one transform (4, 4) a joint: its frame, at angle 0, in that of the joint before; it turns
            about its z axis.
        tool: the gripper's frame in that of the last joint.
    """

    def __init__(self, joints: Sequence[np.ndarray], tool: np.ndarray) -> None:
        self._before, self._tool = [np.array(joint, float) for joint in joints], np.array(tool, float)
        turn = 1.0 if len(joints) >= 6 else _TURN
        self._weights = np.array([1.0, 1.0, 1.0, turn, turn, turn])

    @classmethod
    def from_table(cls, table: Sequence[Sequence[float]], tool: tuple[float, float]) -> Kinematics:
        """From a table of Denavit-Hartenberg parameters.

        Args:
            table: one row `(a [m], alpha [rad], d [m], offset [rad])` a joint, in Craig's (modified)
                convention: rotate by alpha and shift by a along x, then rotate by the joint and shift by d
                along z.
            tool: the gripper's frame in that of the last joint: shift along z (m), turn about z (rad).
        """
        joints = []
        for a, alpha, d, offset in table:
            sin, cos = np.sin(alpha), np.cos(alpha)
            fixed = np.array([[1, 0, 0, a], [0, cos, -sin, -sin * d], [0, sin, cos, cos * d], [0, 0, 0, 1]])
            joints.append(fixed @ _turned(offset))
        end = _turned(tool[1])
        end[2, 3] = tool[0]
        return cls(joints, end)

    @classmethod
    def from_frames(
        cls,
        joints: Sequence[tuple[Sequence[float], Sequence[float]]],
        tool: tuple[Sequence[float], Sequence[float]],
    ) -> Kinematics:
        """From frames as MJCF and URDF files give them: position (3,) m and unit quaternion (4,) xyzw."""
        return cls([_frame(*joint) for joint in joints], _frame(*tool))

    def pose(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gripper's position (3,) m and rotation (3, 3) at joints (n,) rad."""
        frame = self._frames(joints)[-1] @ self._tool
        return frame[:3, 3], frame[:3, :3]

    def position(self, joints: np.ndarray) -> np.ndarray:
        """The gripper's position (3,) m."""
        return self.pose(joints)[0]

    def solve(
        self, joints: np.ndarray, position: np.ndarray, rotation: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Joints (n,) rad near `joints` whose gripper is at a pose, and by how much (m, rad) they miss it.

        Damped least squares: where the pose is out of reach, the nearest found. An arm of fewer than six
        joints goes for the position first, and turns count for little in how much it misses.
        """
        q = np.array(joints, float)
        error = self._error(q, position, rotation)
        for _ in range(_ITERATIONS):
            if np.abs(error).max() < _CLOSE:
                break
            jacobian = self._weights[:, None] * self.jacobian(q)
            squared = jacobian @ jacobian.T + _DAMPING**2 * np.eye(6)
            step = jacobian.T @ np.linalg.solve(squared, error)
            q = q + step * min(1.0, _LARGEST / max(np.abs(step).max(), 1e-12))
            error = self._error(q, position, rotation)
        return q, float(np.abs(error).max())

    def jacobian(self, joints: np.ndarray) -> np.ndarray:
        """(6, n): the gripper's velocity (m/s) and angular velocity (rad/s) for joint velocities (rad/s)."""
        frames = self._frames(joints)
        end = (frames[-1] @ self._tool)[:3, 3]
        axes = np.stack([frame[:3, 2] for frame in frames])
        arms = end - np.stack([frame[:3, 3] for frame in frames])
        return np.concatenate([np.cross(axes, arms), axes], axis=1).T

    def _frames(self, joints: np.ndarray) -> list[np.ndarray]:
        frame, frames = np.eye(4), []
        for before, angle in zip(self._before, np.asarray(joints, float), strict=True):
            frame = frame @ before @ _turned(angle)
            frames.append(frame)
        return frames

    def _error(self, joints: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        at, turned = self.pose(joints)
        turn = Rotation.from_matrix(rotation @ turned.T).as_rotvec()
        return self._weights * np.concatenate([position - at, turn])


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """The unit quaternion (4,) xyzw of a rotation (3, 3), in the half-space of (1, 0, 0, 0): gripper down."""
    q = Rotation.from_matrix(rotation).as_quat()
    return -q if q[0] < 0 else q


def _frame(position: Sequence[float], quaternion_xyzw: Sequence[float]) -> np.ndarray:
    frame = np.eye(4)
    frame[:3, :3], frame[:3, 3] = Rotation.from_quat(quaternion_xyzw).as_matrix(), position
    return frame


def _turned(angle: float) -> np.ndarray:
    """A turn about z (4, 4)."""
    frame, sin, cos = np.eye(4), np.sin(angle), np.cos(angle)
    frame[:2, :2] = [[cos, -sin], [sin, cos]]
    return frame
