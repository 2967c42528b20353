"""A real recording by robosuite's own collector, in the layout its `collect_human_demonstrations` writes."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from envs.cube_pick.simulation import global_numpy_seed, mujoco, robosuite

RATE = 20.0


@dataclass
class Recording:
    """What was seen while recording, to compare with what is imported.

    Attributes:
        states: per demo (T, 1 + nq + nv). actions: per demo (T, 7).
        joints: per demo (T, 9), of arm and fingers. grip: per demo (T, 3), position in the world (m).
        frames: per demo and camera (T, 64, 64, 3), as MuJoCo drew the living simulation.
    """

    path: Path
    states: list[np.ndarray]
    actions: list[np.ndarray]
    joints: list[np.ndarray]
    grip: list[np.ndarray]
    frames: list[dict[str, np.ndarray]]


def record_lift(folder: Path, demos: int = 2, steps: int = 8) -> Recording:
    """Random actions in Lift, recorded by `DataCollectionWrapper`."""
    from robosuite.wrappers import DataCollectionWrapper

    config: Any = robosuite.load_composite_controller_config(robot="Panda")
    options = {"env_name": "Lift", "robots": "Panda", "controller_configs": config}
    with global_numpy_seed(1), contextlib.redirect_stdout(io.StringIO()):
        env: Any = robosuite.make(
            **options,
            control_freq=RATE,
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            ignore_done=True,
        )
        env = DataCollectionWrapper(env, str(folder / "raw"))
        recording = Recording(folder / "demo.hdf5", [], [], [], [], [])
        with h5py.File(recording.path, "w") as file:
            data = file.create_group("data")
            data.attrs["env"] = "Lift"
            data.attrs["env_info"] = json.dumps(options)
            data.attrs["repository_version"] = robosuite.__version__
            for number in range(1, demos + 1):
                _record_demo(env, data.create_group(f"demo_{number}"), steps, recording)
        env.close()
    return recording


def _record_demo(env: Any, group: h5py.Group, steps: int, recording: Recording) -> None:
    rng = np.random.default_rng(len(recording.states))
    env.reset()
    renderer = mujoco.Renderer(env.sim.model._model, 64, 64)
    seen = []
    for _ in range(steps):
        seen.append(_look(env, renderer))
        env.step(np.append(rng.uniform(-1, 1, 6), rng.choice([-1.0, 1.0])))
    renderer.close()
    # As gather_demonstrations_as_hdf5 does: the last state has no action.
    states = np.array(env.states[:-1])
    actions = np.array([info["actions"] for info in env.action_infos])
    group.attrs["model_file"] = env._current_task_instance_xml
    group.create_dataset("states", data=states)
    group.create_dataset("actions", data=actions)
    recording.states.append(states)
    recording.actions.append(actions)
    recording.joints.append(np.array([s["joints"] for s in seen]))
    recording.grip.append(np.array([s["grip"] for s in seen]))
    recording.frames.append({name: np.stack([s["frames"][name] for s in seen]) for name in seen[0]["frames"]})


def _look(env: Any, renderer: Any) -> dict[str, Any]:
    model, data = env.sim.model._model, copy.copy(env.sim.data._data)
    mujoco.mj_forward(model, data)  # a step leaves poses that are a sub-step older than its joints
    robot = env.robots[0]
    indexes = [*robot._ref_joint_pos_indexes, *robot._ref_gripper_joint_pos_indexes["right"]]
    frames = {name: _draw(renderer, data, name) for name in ("agentview", "robot0_eye_in_hand")}
    grip = data.site_xpos[robot.eef_site_id["right"]] - robot.base_pos
    return {"joints": data.qpos[indexes].copy(), "grip": grip, "frames": frames}


def _draw(renderer: Any, data: Any, camera: str) -> np.ndarray:
    option = mujoco.MjvOption()
    option.geomgroup[0] = 0
    option.sitegroup[:] = 0
    renderer.update_scene(data, camera, option)
    return renderer.render()
