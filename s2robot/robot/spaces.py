"""What a real arm with its cameras observes and takes: names, units and shapes as the simulation has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from s2robot.core.spec import GRIPPER_POSITION, GripperSpec, RobotSpec
from s2robot.robot.arm import Arm

ACTION_SPACES = ("ee_delta", "joint")
DISPLACEMENT = 0.05  # m: full scale of one `ee_delta` step in x, y and z, as in the simulation
_GRIPPER = "gripper [-1 open, 1 close]"


def robot_spec(
    arm: Arm, cameras: Mapping[str, tuple[int, int, int]], action_space: str, rate: float
) -> RobotSpec:
    """What a robot with this arm and these cameras (name -> (H, W, 3)) observes and takes.

    Its actions end with the gripper's command: -1 opens, 1 closes.
    """
    joints = [f"joint{i}" for i in range(1, len(arm.limits.low) + 1)]
    quaternions = [f"gripper quaternion {axis}" for axis in "xyzw"]
    if action_space == "joint":
        action = (*(f"{name} target [rad]" for name in joints), _GRIPPER)
    else:
        action = ("dx [m]", "dy [m]", "dz [m]", _GRIPPER)
    proprio = (*(f"{j} [rad]" for j in joints), "gripper opening [m]", *GRIPPER_POSITION, *quaternions)
    gripper = GripperSpec(index=len(action) - 1, open=-1.0, closed=1.0)
    return RobotSpec(dict(cameras), proprio, action, action_space, float(rate), (gripper,))


def action_box(arm: Arm, action_space: str) -> gymnasium.spaces.Box:
    """The range of its actions."""
    low, high = arm.limits.low, arm.limits.high
    if action_space == "ee_delta":
        low, high = np.full(3, -DISPLACEMENT), np.full(3, DISPLACEMENT)
    low, high = np.append(low, -1).astype(np.float32), np.append(high, 1).astype(np.float32)
    return gymnasium.spaces.Box(low, high, dtype=np.float32)


def observation_space(spec: RobotSpec) -> gymnasium.spaces.Dict:
    """Frames, proprioception, and when each source was measured (s)."""
    images: dict[str, gymnasium.Space[Any]] = {
        name: gymnasium.spaces.Box(0, 255, shape, np.uint8) for name, shape in spec.cameras.items()
    }
    times: dict[str, gymnasium.Space[Any]] = {
        name: gymnasium.spaces.Box(-np.inf, np.inf, (), np.float64) for name in ("arm", *spec.cameras)
    }
    proprio = gymnasium.spaces.Box(-np.inf, np.inf, (spec.proprio_dim,), np.float32)
    return gymnasium.spaces.Dict(
        {
            "images": gymnasium.spaces.Dict(images),
            "proprio": proprio,
            "times": gymnasium.spaces.Dict(times),
        }
    )
