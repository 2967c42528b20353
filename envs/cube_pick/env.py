"""`s2robot/CubePick-v0`: a Panda picks a cube up from a table, in robosuite (MuJoCo).

Observation and action are those of a real arm: camera frames, joint angles, gripper opening and gripper pose.
Only `cube()` and success see the simulator's state.
"""

# pyright: reportAttributeAccessIssue=false
# (mujoco is compiled and has no stubs)

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import gymnasium
import numpy as np
from scipy.spatial.transform import Rotation

from envs.cube_pick.arm import (
    ACTION,
    EE_STEP,
    IMAGE_SIZE,
    ORACLE,
    PROPRIO,
    action_box,
    check_arguments,
    check_scene,
    observation_space,
)
from envs.cube_pick.perturbation import Perturbation, draw_distractors
from envs.cube_pick.simulation import (
    CAMERAS,
    CUBE_HALF_SIZE,
    Renderer,
    global_numpy_seed,
    make_simulation,
    move_front_camera,
    mujoco,
)
from s2robot.core.spec import GripperSpec, Observation, RobotSpec, check_action
from s2robot.core.task import Start, Task
from s2robot.tasks.cube_pick import CubePickTask, CubePose, check_options, demo_position
from s2robot.tasks.cube_pick_failures import Scene

if TYPE_CHECKING:
    from envs.cube_pick.kinematics import ArmKinematics

LIFT_HEIGHT = 0.05  # m above where the cube rested
HOLD_STEPS = 5  # consecutive steps at that height: 0.5 s at 10 Hz


class CubePick(gymnasium.Env[Observation, np.ndarray]):
    """Pick the cube up and hold it.

    Args:
        cameras: any of `front` (the cube is about 9 px wide in a 224 px frame) and `wrist`.
        image_size: side of the square frames in px, rendered natively, at most 896.
        action_space: `ee_delta`: displacement of the gripper in the base frame (m, at most 0.05 a step and
            axis; orientation held) and gripper command; `joint`: absolute targets of the seven joints (rad)
            and gripper command, as real arms take them.
        rate: control steps a second (Hz).
        max_steps: the episode is truncated here.
        multisampling: samples a pixel (0: off; costs 1.4x in software rendering).
        shadows, reflections: 2x together in software rendering.
        cube_size: side of the cube (m), at most 60 mm: the gripper opens 80.
        camera_distance: of the front camera from the table's centre, as a factor.
        perturb: changes of the scene, drawn at each reset: kinds of `perturbation.KINDS` and their strengths.
        oracle: the proprioception holds the position of the cube, too: a control, no robot knows it.
        task: what is attempted; default `CubePickTask`.

    The proprioception is 7 joint angles and the gripper opening, as in the papers, and the gripper's pose in
    the robot's base frame, which forward kinematics gives on any arm: without it a small policy has to learn
    them.

    Success: the cube's centre is `LIFT_HEIGHT` above its resting height for `HOLD_STEPS` consecutive steps.
    The episode terminates there.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        cameras: Sequence[str] = ("front", "wrist"),
        image_size: int = IMAGE_SIZE,
        action_space: Literal["ee_delta", "joint"] = "ee_delta",
        rate: float = 10.0,
        max_steps: int = 80,
        multisampling: int = 0,
        shadows: bool = False,
        reflections: bool = False,
        render_mode: str | None = "rgb_array",
        cube_size: float = 2 * CUBE_HALF_SIZE,
        camera_distance: float = 1.0,
        perturb: Mapping[str, float] | None = None,
        oracle: bool = False,
        task: Task | None = None,
    ) -> None:
        self.task: Task = task or CubePickTask()
        check_arguments(cameras, image_size, action_space)
        check_scene(cube_size, camera_distance)
        self.render_mode = render_mode
        self.max_steps = max_steps
        self.cube_half_size, self._oracle = cube_size / 2, oracle
        self._simulation = make_simulation(action_space, rate, self.cube_half_size)
        self._model, self._data = self._simulation.sim.model._model, self._simulation.sim.data._data
        self._robot = self._simulation.robots[0]
        self._cube_joint = self._simulation.cube.joints[0]
        if camera_distance != 1:
            move_front_camera(self._model, self._simulation.table_offset, camera_distance)
        self._perturbation = Perturbation(self._model, perturb) if perturb else None
        self._renderer = Renderer(self._model, image_size, multisampling, shadows, reflections)
        self.robot_spec = RobotSpec(
            cameras=dict.fromkeys(cameras, (image_size, image_size, 3)),
            proprio=(*PROPRIO, *ORACLE) if oracle else PROPRIO,
            action=ACTION[action_space],
            action_space=action_space,
            rate=float(rate),
            grippers=(GripperSpec(index=len(ACTION[action_space]) - 1, open=-1.0, closed=1.0),),
        )
        self.action_space = action_box(action_space, self._joint_range())
        self.observation_space = observation_space(self.robot_spec)
        self._steps = self._steps_held = 0
        self._rest_height = 0.0
        self._home_quaternion = np.array([1.0, 0.0, 0.0, 0.0])

    # ------------------------------------------------------------------ gymnasium

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Arm near home, gripper open, cube at `options["cube"] = (x, y, yaw)` or drawn.

        Raises UserError for another option, and for a pose outside the spawn region.
        """
        super().reset(seed=seed)
        pose = check_options(options) or demo_position(self.np_random)
        arm_seed = int(self.np_random.integers(2**31))
        if self._perturbation is not None:
            self._perturbation.draw(self.np_random, pose)
        with global_numpy_seed(arm_seed):  # robosuite draws the arm's noise from numpy's global state
            self._simulation.reset()
        self._place_cube(pose)
        self._steps = self._steps_held = 0
        return self._observe(), self._info(success=False)

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One control step. The reward is 1 on success, else 0.

        Raises UserError for an action of another shape or with values that are not finite; values out of
        range are clipped, and `info["action_applied"]` is what the arm took.
        """
        asked = check_action(action, self.robot_spec)
        box = self.action_space
        assert isinstance(box, gymnasium.spaces.Box)
        applied = np.clip(asked, box.low, box.high)
        self._simulation.step(self._controller_command(applied))
        self._steps += 1
        self._steps_held = self._steps_held + 1 if self.cube_height() > LIFT_HEIGHT else 0
        success = self._steps_held >= HOLD_STEPS
        info = self._info(success) | {"action_applied": applied}
        return self._observe(), float(success), success, self._steps >= self.max_steps, info

    def render(self) -> np.ndarray:
        """The first camera's frame, uint8 (H, W, 3)."""
        return self._frame(next(iter(self.robot_spec.cameras)))

    def frames(self) -> dict[str, np.ndarray]:
        """What every camera sees now, {camera: uint8 (H, W, 3)}."""
        return {name: self._frame(name) for name in self.robot_spec.cameras}

    def camera_axes(self) -> dict[str, np.ndarray]:
        """Camera -> (2, 3): right and up in its picture, in the base frame; the wrist's as it is now."""
        frames = {
            name: self._data.cam_xmat[self._model.camera(CAMERAS[name]).id]
            for name in self.robot_spec.cameras
        }
        return {name: frame.reshape(3, 3).T[:2] for name, frame in frames.items()}

    def close(self) -> None:
        self._renderer.close()
        self._simulation.close()

    # ------------------------------------------------------------------ privileged state

    def cube(self) -> CubePose:
        """(x, y, yaw) of the cube now (m, rad; table frame): for experts and tests, never a policy."""
        qpos = self._simulation.sim.data.get_joint_qpos(self._cube_joint)
        yaw = Rotation.from_quat(qpos[3:], scalar_first=True).as_euler("zyx")[0]
        return float(qpos[0]), float(qpos[1]), float(yaw)

    def cube_height(self) -> float:
        """Height of the cube's centre above where it rested at the start (m)."""
        return float(self._simulation.sim.data.get_joint_qpos(self._cube_joint)[2]) - self._rest_height

    def cube_rest(self) -> float:
        """Height of the cube's centre above the nominal table where it rests (m)."""
        return self.cube_half_size + self._raised()

    def start(self) -> Start:
        """Where this episode began: the seed decides it, the place is that of the cube now."""
        return Start(place=self.cube())

    def kinematics(self) -> ArmKinematics:
        """The inverse kinematics of the arm: for experts and for steering by a person."""
        from envs.cube_pick.kinematics import ArmKinematics  # here: it imports this module

        return ArmKinematics(self)

    def scene(self) -> Scene:
        """Gripper and cube now (m, table frame): for the evaluation, never a policy."""
        site = self._data.site_xpos[self._robot.eef_site_id["right"]] - self._simulation.table_offset
        cube = self._simulation.sim.data.get_joint_qpos(self._cube_joint)[:3] - self._simulation.table_offset
        fingers = self._data.qpos[self._finger_indexes()]
        return Scene(site.tolist(), float(fingers[0] - fingers[1]), cube.tolist())

    def simulator_state(self) -> np.ndarray:
        """All that decides what the simulator does next, warm start of its solver included, float64."""
        kind = int(mujoco.mjtState.mjSTATE_INTEGRATION)
        state = np.empty(mujoco.mj_stateSize(self._model, kind))
        mujoco.mj_getState(self._model, self._data, state, kind)
        return state

    @cached_property
    def model_xml(self) -> str:
        """What is simulated, in MuJoCo's XML; of files only the names, since their folders differ."""
        return re.sub(r'file="[^"]*/', 'file="', self._simulation.model.get_xml())

    @property
    def base_position(self) -> np.ndarray:
        """Where the robot's base frame lies in the table frame (m)."""
        return self._robot.base_pos - self._simulation.table_offset

    @property
    def mujoco(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """The model and its state, for kinematics and for frames of arbitrary states."""
        return self._model, self._data

    def set_state(self, joints: np.ndarray, gripper: float, cube: np.ndarray) -> Observation:
        """Puts the robot and the cube anywhere, without physics, and looks: for pre-training frames.

        Args:
            joints: (7,) rad.
            gripper: opening in m.
            cube: (7,) position (m, table frame) and quaternion (wxyz).
        """
        self._data.qpos[self._robot._ref_joint_pos_indexes] = joints
        self._data.qpos[self._finger_indexes()] = (gripper / 2, -gripper / 2)
        position = np.asarray(cube[:3]) + self._simulation.table_offset
        self._simulation.sim.data.set_joint_qpos(self._cube_joint, np.concatenate([position, cube[3:]]))
        mujoco.mj_forward(self._model, self._data)
        return self._observe()

    # ------------------------------------------------------------------ parts

    def _place_cube(self, pose: CubePose) -> None:
        x, y, yaw = pose
        self._rest_height = float(self._simulation.table_offset[2]) + self.cube_rest()
        quaternion = Rotation.from_euler("z", yaw).as_quat(scalar_first=True)
        qpos = np.concatenate([[x, y, self._rest_height], quaternion])
        self._simulation.sim.data.set_joint_qpos(self._cube_joint, qpos)
        self._simulation.sim.forward()

    def _controller_command(self, action: np.ndarray) -> np.ndarray:
        if self.robot_spec.action_space == "joint":
            return action
        return np.concatenate([action[:3] / EE_STEP, np.zeros(3), action[3:]])

    def _observe(self) -> Observation:
        return {"images": self.frames(), "proprio": self._proprio()}

    def _frame(self, camera: str) -> np.ndarray:
        things = () if self._perturbation is None else self._perturbation.drawn.distractors
        table = self._simulation.table_offset
        decorate = partial(draw_distractors, distractors=things, table=table) if things else None
        return self._renderer.render(self._data, camera, decorate)

    def _raised(self) -> float:
        return 0.0 if self._perturbation is None else self._perturbation.drawn.raised

    def _proprio(self) -> np.ndarray:
        joints = self._data.qpos[self._robot._ref_joint_pos_indexes]
        fingers = self._data.qpos[self._finger_indexes()]
        site = self._robot.eef_site_id["right"]
        position = self._data.site_xpos[site] - self._robot.base_pos
        quaternion = Rotation.from_matrix(self._data.site_xmat[site].reshape(3, 3)).as_quat()
        if quaternion @ self._home_quaternion < 0:  # q and -q are one rotation: keep to one half-space
            quaternion = -quaternion
        oracle = self.cube()[:2] if self._oracle else ()
        opening = fingers[0] - fingers[1]
        return np.concatenate([joints, [opening], position, quaternion, oracle]).astype(np.float32)

    def _finger_indexes(self) -> list[int]:
        return self._robot._ref_gripper_joint_pos_indexes["right"]

    def _joint_range(self) -> np.ndarray:
        return self._model.jnt_range[self._robot._ref_joint_indexes].astype(np.float32)

    def _info(self, success: bool) -> dict[str, Any]:
        return {"success": success, "time": float(self._data.time)}
