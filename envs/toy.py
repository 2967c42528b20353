"""`s2robot/Toy-v0`: the cube-pick task without physics, for tests that must be fast.

Same observation, action, reset options and success as `CubePick`; a frame takes microseconds. A red square on
a grey table is the cube, a dark one the gripper, which shrinks as it comes down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from s2robot.core.errors import unknown
from s2robot.core.spec import GRIPPER_POSITION, GripperSpec, Observation, RobotSpec, check_action
from s2robot.core.task import Start, Task
from s2robot.tasks.cube_pick import CubePickTask, CubePose, check_options, demo_position
from s2robot.tasks.cube_pick_failures import Scene

CAMERAS = ("front", "wrist")
PERTURBATIONS = ("light",)
PROPRIO = (*GRIPPER_POSITION, "gripper opening [m]")
ORACLE = ("cube x [m]", "cube y [m]")
STEP = 0.05  # m: full scale of dx, dy, dz
_REACH = 0.015  # m: a gripper that closes this near to the cube holds it
_LIFT_HEIGHT = 0.05  # m
TOP = 0.2  # m: where the gripper starts
_HALF_VIEW = {"front": 0.2, "wrist": 0.1}  # m from the middle of the frame to its edge


class Toy(gymnasium.Env[Observation, np.ndarray]):
    """Move over the cube, go down, close, go up. Arguments as those of `CubePick`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        cameras: Sequence[str] = CAMERAS,
        image_size: int = 64,
        rate: float = 10.0,
        max_steps: int = 40,
        render_mode: str | None = "rgb_array",
        cube_size: float = 0.042,
        camera_distance: float = 1.0,
        perturb: Mapping[str, float] | None = None,
        oracle: bool = False,
        task: Task | None = None,
    ) -> None:
        self.task: Task = task or CubePickTask()
        for kind in perturb or {}:
            if kind not in PERTURBATIONS:
                raise unknown("perturbation", kind, PERTURBATIONS)
        for name in cameras:
            if name not in CAMERAS:
                raise unknown("camera", name, CAMERAS)
        self.render_mode = render_mode
        self.max_steps = max_steps
        self.robot_spec = RobotSpec(
            cameras=dict.fromkeys(cameras, (image_size, image_size, 3)),
            proprio=(*PROPRIO, *ORACLE) if oracle else PROPRIO,
            action=("dx [m]", "dy [m]", "dz [m]", "gripper [-1 open, 1 close]"),
            action_space="ee_delta",
            rate=float(rate),
            grippers=(GripperSpec(index=3, open=-1.0, closed=1.0),),
        )
        high = np.array([STEP, STEP, STEP, 1.0], np.float32)
        self.action_space = gymnasium.spaces.Box(-high, high, dtype=np.float32)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "images": gymnasium.spaces.Dict(
                    {n: gymnasium.spaces.Box(0, 255, s, np.uint8) for n, s in self.robot_spec.cameras.items()}
                ),
                "proprio": gymnasium.spaces.Box(-10.0, 10.0, (self.robot_spec.proprio_dim,), np.float32),
            }
        )
        self._oracle, self._perturb = oracle, dict(perturb or {})
        self._half, self._distance = cube_size / 2, camera_distance
        self._brightness = 1.0
        self._gripper, self._cube = np.zeros(3), np.zeros(3)
        self._opening, self._held, self._steps = 0.08, False, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """As `CubePick.reset`."""
        super().reset(seed=seed)
        x, y, _ = check_options(options) or demo_position(self.np_random)
        self._cube = np.array([x, y, 0.0])
        self._gripper = np.append(self.np_random.normal(0.0, 0.02, 2), TOP)
        self._opening, self._held, self._steps = 0.08, False, 0
        if self._perturb:
            self._brightness = 1 + self._perturb["light"] * float(self.np_random.uniform(-0.6, 0.2))
        return self._observe(), {"success": False, "time": 0.0}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """As `CubePick.step`."""
        asked = check_action(action, self.robot_spec)
        assert isinstance(self.action_space, gymnasium.spaces.Box)
        applied = np.clip(asked, self.action_space.low, self.action_space.high)
        closing, near = bool(applied[3] > 0), bool(np.linalg.norm(self._gripper - self._cube) < _REACH)
        self._held = closing and (self._held or near)
        self._gripper = np.clip(self._gripper + applied[:3], [-0.3, -0.3, 0.0], [0.3, 0.3, 0.3])
        self._opening = (0.04 if self._held else 0.0) if closing else 0.08
        self._cube = self._gripper.copy() if self._held else np.append(self._cube[:2], 0.0)
        self._steps += 1
        success = self._held and float(self._cube[2]) > _LIFT_HEIGHT
        info = {"success": success, "time": self._steps / self.robot_spec.rate, "action_applied": applied}
        return self._observe(), float(success), success, self._steps >= self.max_steps, info

    def render(self) -> np.ndarray:
        """The first camera's frame, uint8 (H, W, 3)."""
        return self._frame(next(iter(self.robot_spec.cameras)))

    def frames(self) -> dict[str, np.ndarray]:
        """As `CubePick.frames`."""
        return {name: self._frame(name) for name in self.robot_spec.cameras}

    def cube(self) -> CubePose:
        """(x, y, yaw) of the cube now: for the expert and for tests."""
        return float(self._cube[0]), float(self._cube[1]), 0.0

    def start(self) -> Start:
        """As `CubePick.start`."""
        return Start(place=self.cube())

    def scene(self) -> Scene:
        """As `CubePick.scene`."""
        return Scene(self._gripper.tolist(), self._opening, self._cube.tolist())

    def simulator_state(self) -> np.ndarray:
        """All that decides what happens next, float64."""
        return np.array([*self._gripper, *self._cube, self._opening, self._held, self._steps], np.float64)

    def _observe(self) -> Observation:
        oracle = self._cube[:2] if self._oracle else ()
        proprio = np.array([*self._gripper, self._opening, *oracle], np.float32)
        return {"images": self.frames(), "proprio": proprio}

    def _frame(self, camera: str) -> np.ndarray:
        frame = np.full(self.robot_spec.cameras[camera], 160, np.uint8)
        centre = self._gripper[:2] if camera == "wrist" else np.zeros(2)
        farther = self._distance if camera == "front" else 1.0
        scale = len(frame) / (2 * _HALF_VIEW[camera] * farther)
        gripper_half = 0.01 + 0.1 * self._gripper[2]
        _square(frame, (self._gripper[:2] - centre) * scale, gripper_half * scale, (60, 60, 60))
        _square(frame, (self._cube[:2] - centre) * scale, self._half * scale, (200, 30, 40))
        return np.clip(frame * self._brightness, 0, 255).astype(np.uint8) if self._perturb else frame


def _square(frame: np.ndarray, centre: np.ndarray, half: float, colour: tuple[int, int, int]) -> None:
    middle = len(frame) / 2
    top, left = middle + centre[0] - half, middle + centre[1] - half
    rows = slice(max(0, round(top)), max(0, round(top + 2 * half)))
    columns = slice(max(0, round(left)), max(0, round(left + 2 * half)))
    frame[rows, columns] = colour
