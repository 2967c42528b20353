"""Forward and inverse kinematics of a serial arm from its table of Denavit-Hartenberg parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

_DAMPING = 1e-3
_ITERATIONS = 30
_CLOSE = 1e-5  # m and rad
_LARGEST = 0.2  # rad: of one iteration, so that far goals are approached and not overshot


class Kinematics:
    """Joint angles to the gripper's pose in the arm's base frame, and back.

    Args:
        table: one row `(a [m], alpha [rad], d [m], offset [rad])` a joint, in Craig's (modified) convention:
            rotate by alpha and shift by a along x, then rotate by the joint and shift by d along z.
        tool: the gripper's frame in that of the last joint: shift along z (m), turn about z (rad).
    """

    def __init__(self, table: Sequence[Sequence[float]], tool: tuple[float, float]) -> None:
        rows = np.array(table, float)
        self._offsets = rows[:, 3]
        self._before = [_shifted(rows[i]) for i in range(len(rows))]
        self._tool = np.eye(4)
        self._tool[:3, :3] = _about_z(tool[1])
        self._tool[2, 3] = tool[0]

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

        Damped least squares: where the pose is out of reach, the nearest found.
        """
        q = np.array(joints, float)
        error = self._error(q, position, rotation)
        for _ in range(_ITERATIONS):
            if np.abs(error).max() < _CLOSE:
                break
            jacobian = self.jacobian(q)
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
        for before, angle in zip(self._before, np.asarray(joints, float) + self._offsets, strict=True):
            frame = frame @ before
            turn = np.eye(4)
            turn[:3, :3] = _about_z(angle)
            frame = frame @ turn
            frames.append(frame)
        return frames

    def _error(self, joints: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        at, turned = self.pose(joints)
        return np.concatenate([position - at, Rotation.from_matrix(rotation @ turned.T).as_rotvec()])


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """The unit quaternion (4,) xyzw of a rotation (3, 3), in the half-space of (1, 0, 0, 0): gripper down."""
    q = Rotation.from_matrix(rotation).as_quat()
    return -q if q[0] < 0 else q


def _shifted(row: np.ndarray) -> np.ndarray:
    """The part of a joint's transform that does not turn with it."""
    a, alpha, d, _ = row
    sin, cos = np.sin(alpha), np.cos(alpha)
    return np.array([[1, 0, 0, a], [0, cos, -sin, -sin * d], [0, sin, cos, cos * d], [0, 0, 0, 1]])


def _about_z(angle: float) -> np.ndarray:
    sin, cos = np.sin(angle), np.cos(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
