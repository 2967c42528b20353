"""A task of Meta-World (MuJoCo, a Sawyer arm) with camera frames, as `env=metaworld` maps it by YAML.

Meta-World is no dependency: `pip install --no-deps metaworld==3.1.1 imageio` (docs/metaworld.md says why).
"""

# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (mujoco is compiled and has no stubs; Meta-World may be missing)

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np

from s2robot.core.errors import UserError, unknown
from s2robot.utils.gl import choose_gl, open_renderer

_FRONT = "front"
INSTALL = "pip install --no-deps metaworld==3.1.1 imageio"


class MetaWorld(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """One of Meta-World's 50 tasks. A seed decides where its things lie, whatever came before.

    The observation holds `state` (39,), Meta-World's own with the goal, whose first four numbers are the
    gripper's position (m) and opening (0 to 1), and a frame of each camera under its name. The action (4,) in
    [-1, 1] displaces the gripper by up to 1 cm along x, y and z, and closes it (1) or opens it (-1).
    `info["success"]` is Meta-World's.

    Args:
        task: e.g. `button-press-v3`.
        cameras: `front`, which looks down at where the things of most tasks lie, from the side that is open;
            or Meta-World's, e.g. `corner2`, of which those that hang upside down are turned upright.
        image_size: side of the frames in px. They are rendered without shadows, reflections and
            multisampling: on a processor in a fourteenth of the time.
        repeat: how often an action is taken; the rate is 80 Hz divided by it.

    Raises UserError where Meta-World is not installed, and for an unknown task or camera.
    """

    def __init__(
        self,
        task: str,
        cameras: Sequence[str],
        image_size: int = 224,
        repeat: int = 1,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self.sawyer = _make(task)
        self.task, self._size, self._repeat = task, image_size, repeat
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 80 / repeat}
        known = [_FRONT, *(self.sawyer.model.camera(i).name for i in range(self.sawyer.model.ncam))]
        for name in cameras:
            if name not in known:
                raise unknown("camera", name, known)
        self._cameras = list(cameras)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
        frame = gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        state = gymnasium.spaces.Box(-np.inf, np.inf, (39,), np.float64)
        self.observation_space = gymnasium.spaces.Dict({"state": state, **dict.fromkeys(cameras, frame)})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        self.sawyer.seed(int(self.np_random.integers(2**31)))
        self.sawyer.reset()
        self.state = self._settled()
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        self.state, reward, terminated, truncated, info = self.sawyer.step(action)
        for _ in range(self._repeat - 1):
            if info["success"]:
                break
            self.state, reward, terminated, truncated, info = self.sawyer.step(action)
        return self._observe(), float(reward), terminated, truncated, info

    def render(self) -> np.ndarray:
        """The first camera's frame."""
        return self._frame(self._cameras[0])

    def close(self) -> None:
        if "_renderer" in vars(self):
            self._renderer.close()

    def _settled(self) -> np.ndarray:
        """The state where things lie now: a reset moves some of them and leaves what is seen as it was."""
        import mujoco

        mujoco.mj_forward(self.sawyer.model, self.sawyer.data)
        current = self.sawyer._get_curr_obs_combined_no_goal()
        self.sawyer._prev_obs = current
        return np.hstack([current, current, self.sawyer._get_pos_goal()])

    def _observe(self) -> dict[str, np.ndarray]:
        return {"state": self.state, **{name: self._frame(name) for name in self._cameras}}

    def _frame(self, camera: str) -> np.ndarray:
        self._renderer.update_scene(self.sawyer.data, _front() if camera == _FRONT else camera)
        frame = self._renderer.render()
        return np.ascontiguousarray(frame[::-1, ::-1]) if _hangs(self.sawyer.model, camera) else frame

    @cached_property
    def _renderer(self) -> Any:
        """Opened for the first frame: gymnasium forks after it has made an environment, to see its spaces."""
        from mujoco import mjtRndFlag

        model = self.sawyer.model
        model.vis.quality.offsamples = 0
        model.vis.global_.offwidth = model.vis.global_.offheight = self._size
        renderer = open_renderer(model, self._size, self._size)
        renderer.scene.flags[mjtRndFlag.mjRND_SHADOW] = renderer.scene.flags[mjtRndFlag.mjRND_REFLECTION] = 0
        return renderer


def _make(task: str) -> Any:
    """Meta-World's own environment, with the goal in its state and things where its seed says."""
    choose_gl()
    try:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    except ImportError as error:
        raise UserError(f"env=metaworld: {error}: {INSTALL}") from error
    if task not in ALL_V3_ENVIRONMENTS:
        raise unknown("Meta-World task", task, ALL_V3_ENVIRONMENTS)
    env = ALL_V3_ENVIRONMENTS[task]()
    env._partially_observable = False  # the scripted experts need the goal
    del env.sawyer_observation_space  # cached without it
    env._set_task_called, env._freeze_rand_vec, env.seeded_rand_vec = True, False, True
    env.max_path_length = 10**9  # gymnasium counts the steps: `env.max_steps`
    return env


def _front() -> Any:
    from mujoco import MjvCamera

    camera = MjvCamera()
    camera.lookat[:], camera.distance = (0.02, 0.68, 0.08), 1.0  # m
    camera.azimuth, camera.elevation = 180, -50  # degrees: from x = 0.66 m, with y to the right
    return camera


def _hangs(model: Any, camera: str) -> bool:
    """Whether a camera is upside down: its upward axis points down in the world."""
    return camera != _FRONT and bool(model.cam_mat0[model.camera(camera).id].reshape(3, 3)[2, 1] < -1e-6)


gymnasium.register("MetaWorld-v0", entry_point="envs.metaworld:MetaWorld", max_episode_steps=500)
