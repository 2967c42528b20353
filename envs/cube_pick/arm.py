"""What the simulated arm observes and takes: names, spaces, and checks of the options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from envs.cube_pick.simulation import CAMERAS
from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import GRIPPER_POSITION, RobotSpec

ACTION_SPACES = ("ee_delta", "joint")
IMAGE_SIZE, MAX_IMAGE_SIZE = 448, 896  # px
EE_STEP = 0.05  # m: full scale of one `ee_delta` step in x, y and z

PROPRIO = (
    *(f"joint{i} [rad]" for i in range(1, 8)),
    "gripper opening [m]",
    *GRIPPER_POSITION,
    *(f"gripper quaternion {axis}" for axis in "xyzw"),
)
ORACLE = ("cube x in table frame [m]", "cube y in table frame [m]")
"""Further proprioception of an oracle: the upper bound of vision."""
ACTION = {
    "ee_delta": ("dx [m]", "dy [m]", "dz [m]", "gripper [-1 open, 1 close]"),
    "joint": (*(f"joint{i} target [rad]" for i in range(1, 8)), "gripper [-1 open, 1 close]"),
}


def check_arguments(cameras: Sequence[str], image_size: int, action_space: str) -> None:
    """Raises UserError for a camera, a size or an action space that there is not."""
    for name in cameras:
        if name not in CAMERAS:
            raise unknown("camera", name, CAMERAS)
    if not cameras:
        raise UserError(f"no camera given; cube_pick has {', '.join(CAMERAS)}")
    if not 16 <= image_size <= MAX_IMAGE_SIZE:
        raise UserError(f"image_size={image_size}: expected 16 to {MAX_IMAGE_SIZE} px")
    if action_space not in ACTION_SPACES:
        raise unknown("action space", action_space, ACTION_SPACES)


def check_scene(cube_size: float, camera_distance: float) -> None:
    """Raises UserError for a cube (m) that cannot be seen or held, and for a camera too near or too far."""
    if not 0.01 <= cube_size <= 0.06:
        raise UserError(f"cube_size={cube_size}: expected 0.01 to 0.06 m")
    if not 0.5 <= camera_distance <= 1.5:  # behind lies the wall
        raise UserError(f"camera_distance={camera_distance}: expected a factor from 0.5 to 1.5")


def action_box(action_space: str, joint_range: np.ndarray) -> gymnasium.spaces.Box:
    """The actions (Da,) of an action space; `joint_range` is (7, 2) in rad."""
    if action_space == "joint":
        low, high = joint_range[:, 0], joint_range[:, 1]
    else:
        low, high = np.full(3, -EE_STEP), np.full(3, EE_STEP)
    low, high = np.append(low, -1).astype(np.float32), np.append(high, 1).astype(np.float32)
    return gymnasium.spaces.Box(low, high, dtype=np.float32)


def observation_space(spec: RobotSpec) -> gymnasium.spaces.Dict:
    """The observations of a robot."""
    images: dict[str, gymnasium.Space[Any]] = {
        name: gymnasium.spaces.Box(0, 255, shape, np.uint8) for name, shape in spec.cameras.items()
    }
    proprio = gymnasium.spaces.Box(-np.inf, np.inf, (spec.proprio_dim,), np.float32)
    return gymnasium.spaces.Dict({"images": gymnasium.spaces.Dict(images), "proprio": proprio})
