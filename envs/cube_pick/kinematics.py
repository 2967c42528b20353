"""Inverse kinematics of the simulated arm, with mink on the environment's own MuJoCo model."""

from __future__ import annotations

import mink
import numpy as np

from envs.cube_pick import CubePick

TOOL_DOWN = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
"""Rotation of the gripper at home: pointing down, fingers opening along the robot's y."""

_GRIPPER = "gripper0_right_grip_site"
_ITERATIONS = 20
_TOLERANCE = 1e-4  # m and rad


class ArmKinematics:
    """Joint angles that bring the gripper to a pose given in the robot's base frame."""

    def __init__(self, env: CubePick) -> None:
        self._model, _ = env.mujoco
        self._base = np.array(self._model.body("robot0_base").pos)
        self._arm = [int(self._model.joint(f"robot0_joint{i}").qposadr[0]) for i in range(1, 8)]
        self._frame = mink.FrameTask(_GRIPPER, "site", position_cost=1.0, orientation_cost=0.3)
        self._posture = mink.PostureTask(self._model, cost=1e-3)
        self._tasks = [self._frame, self._posture]
        self._limits = [mink.ConfigurationLimit(self._model)]

    def solve(self, joints: np.ndarray, position: np.ndarray, rotation: np.ndarray = TOOL_DOWN) -> np.ndarray:
        """Joint angles (7,) rad near `joints` whose gripper is at `position` (3,) m and `rotation` (3, 3).

        Stays within the joint limits; where the pose is out of reach, the nearest that was found.
        """
        q = self._model.qpos0.copy()
        q[self._arm] = joints
        configuration = mink.Configuration(self._model, q)
        self._posture.set_target(q)
        target = mink.SE3.from_rotation_and_translation(mink.SO3.from_matrix(rotation), position + self._base)
        self._frame.set_target(target)
        for _ in range(_ITERATIONS):
            velocity = mink.solve_ik(configuration, self._tasks, dt=1.0, solver="daqp", limits=self._limits)
            configuration.integrate_inplace(velocity, 1.0)
            if np.linalg.norm(self._frame.compute_error(configuration)) < _TOLERANCE:
                break
        return configuration.q[self._arm]
