"""robosuite's Lift with a Panda, as `CubePick` wants it: controllers, the cube's size, the renderer."""

# pyright: reportAttributeAccessIssue=false
# (mujoco is compiled and has no stubs)

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from s2robot.utils.gl import cannot_render, check_egl_device, choose_gl, open_renderer

choose_gl()  # before mujoco is imported, where that has not been done
check_egl_device()  # robosuite asserts it

try:
    import mujoco
except Exception as error:  # its GL back end raises what it likes: a missing library, an unknown name
    raise cannot_render(error) from error

import robosuite  # noqa: E402

from envs.cube_pick.culling import culled  # noqa: E402

CAMERAS = {"front": "frontview", "wrist": "robot0_eye_in_hand"}
"""Our name of a camera -> robosuite's."""
CUBE_HALF_SIZE = 0.021  # m: 42 mm, about as MVP's FrankaPick has it (45 mm)
JOINT_STIFFNESS = 200.0  # 1/s²: reaches a joint target with a time constant of 1/sqrt(200) = 0.07 s
START_NOISE = 0.02  # rad: standard deviation of the arm's joints at the start of an episode


class Renderer:
    """MuJoCo's own off-screen renderer with robosuite's visual geometry; the costly effects are optional."""

    def __init__(
        self,
        model: mujoco.MjModel,
        size: int,
        multisampling: int = 0,
        shadows: bool = False,
        reflections: bool = False,
        cull: bool = True,
    ) -> None:
        model.vis.quality.offsamples = multisampling
        model.vis.global_.offwidth = model.vis.global_.offheight = max(size, 64)
        model.light_castshadow[:] = shadows  # robosuite's arena says no
        self._model = model
        # What is out of view still throws a shadow into it.
        self._culls = cull and not (shadows or reflections)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[0] = 0  # collision geometry; what is seen is in group 1
        self._size, self._shadows, self._reflections = size, shadows, reflections

    @cached_property
    def _renderer(self) -> mujoco.Renderer:
        """Opened for the first frame: gymnasium forks after it has made an environment, to see its spaces."""
        renderer = open_renderer(self._model, self._size, self._size)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = self._shadows
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = self._reflections
        return renderer

    def render(
        self, data: mujoco.MjData, camera: str, decorate: Callable[[mujoco.MjvScene], None] | None = None
    ) -> np.ndarray:
        """One camera's frame, uint8 (size, size, 3); `decorate` may add to the scene what is only seen."""
        name = CAMERAS[camera]
        with culled(self._model, data, name) if self._culls else contextlib.nullcontext():
            self._renderer.update_scene(data, name, self._option)
        if decorate is not None:
            decorate(self._renderer.scene)
        return self._renderer.render()

    def close(self) -> None:
        if "_renderer" in vars(self):
            self._renderer.close()


def make_simulation(action_space: str, rate: float, cube_half_size: float = CUBE_HALF_SIZE) -> Any:
    """robosuite's Lift without its own rendering; `action_space` is `ee_delta` or `joint`, `rate` in Hz."""
    config: Any = robosuite.load_composite_controller_config(robot="Panda")
    if action_space == "joint":
        arm = config["body_parts"]["right"]
        gripper = arm["gripper"]
        arm.clear()
        arm.update(
            type="JOINT_POSITION",
            input_type="absolute",
            impedance_mode="fixed",
            kp=JOINT_STIFFNESS,
            damping_ratio=1,
            input_max=1,
            input_min=-1,
            output_max=0.05,
            output_min=-0.05,
            kp_limits=[0, 300],
            damping_ratio_limits=[0, 10],
            qpos_limits=None,
            interpolation=None,
            ramp_ratio=0.2,
            gripper=gripper,
        )
    with global_numpy_seed(0):  # robosuite draws the cube's size from it
        simulation = robosuite.make(
            "Lift",
            robots="Panda",
            controller_configs=config,
            control_freq=rate,
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            ignore_done=True,
            hard_reset=False,
            initialization_noise={"magnitude": START_NOISE, "type": "gaussian"},
        )
    model = simulation.sim.model._model
    for geom in simulation.cube.contact_geoms + simulation.cube.visual_geoms:
        model.geom(geom).size[:] = cube_half_size
    return simulation


def move_front_camera(model: mujoco.MjModel, table: np.ndarray, factor: float) -> None:
    """Puts it `factor` times as far from the table's centre (m), which it goes on seeing where it saw it."""
    camera = model.camera(CAMERAS["front"]).id
    model.cam_pos[camera] = table + factor * (model.cam_pos[camera] - table)


@contextlib.contextmanager
def global_numpy_seed(seed: int) -> Iterator[None]:
    """robosuite draws from numpy's global state: seeded within, and as it was before afterwards."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
