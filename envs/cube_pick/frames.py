"""Frames of random robot and cube states, for masked visual pre-training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial.transform import Rotation

from envs.cube_pick import CubePick
from envs.cube_pick.kinematics import TOOL_DOWN, ArmKinematics
from envs.cube_pick.simulation import CUBE_HALF_SIZE
from s2robot.tasks.cube_pick import demo_position

_REACH = np.array([[-0.2, -0.25, 0.02], [0.2, 0.25, 0.35]])  # m, table frame: where the gripper is put
_HOME = np.array([0.0, 0.196, 0.0, -2.618, 0.0, 2.942, 0.785])  # rad: robosuite's Panda


class RandomFrames:
    """State i of a seed: a pure function of both, so that rendering may be split and resumed anywhere.

    The gripper is anywhere over the table (half of the states), close to the cube (three tenths), or holds it
    (two tenths), tilted a little; the cube never lies at one of the 16 evaluation positions.

    Args:
        perturb: as of `envs.cube_pick.CubePick`: light, texture, camera, drawn anew for each state; None: one
            room, outside which an encoder need not know what it sees.
    """

    def __init__(self, seed: int, image_size: int = 448, perturb: Mapping[str, float] | None = None) -> None:
        self._seed, self._varied = seed, perturb is not None
        self._env = CubePick(image_size=image_size, perturb=perturb)
        self._env.reset(seed=seed)
        self._kinematics = ArmKinematics(self._env)
        self.cameras = list(self._env.robot_spec.cameras)

    def __call__(self, index: int) -> dict[str, np.ndarray]:
        """{camera: uint8 (H, W, 3)} of state `index`."""
        rng = np.random.default_rng([self._seed, index])
        if self._varied:
            self._env.reset(seed=int(np.random.default_rng([self._seed, index, 1]).integers(2**31)))
        x, y, yaw = demo_position(rng)
        cube = np.array([x, y, CUBE_HALF_SIZE])
        gripper, opening, held = self._gripper(rng, cube)
        tilt = Rotation.from_rotvec(rng.normal(0.0, [0.08, 0.08, 0.15]))
        joints = self._kinematics.solve(
            _HOME + rng.normal(0.0, 0.1, 7), gripper - self._env.base_position, tilt.as_matrix() @ TOOL_DOWN
        )
        quaternion = Rotation.from_euler("z", yaw).as_quat(scalar_first=True)
        cube_state = np.concatenate([gripper if held else cube, quaternion])
        return self._env.set_state(joints, opening, cube_state)["images"]

    def close(self) -> None:
        self._env.close()

    @staticmethod
    def _gripper(rng: np.random.Generator, cube: np.ndarray) -> tuple[np.ndarray, float, bool]:
        """Position (m, table frame), opening (m), and whether it holds the cube."""
        kind = rng.choice(["anywhere", "close", "holds"], p=[0.5, 0.3, 0.2])
        if kind == "close":
            return cube + rng.normal(0.0, 0.03, 3) * [1, 1, 0] + [0, 0, rng.uniform(0.0, 0.15)], 0.08, False
        if kind == "holds":
            return cube + np.array([0.0, 0.0, rng.uniform(0.0, 0.25)]), 2 * CUBE_HALF_SIZE, True
        return rng.uniform(*_REACH), rng.uniform(0.0, 0.08), False
