"""Renders recorded states of a recorded MuJoCo model."""

# pyright: reportAttributeAccessIssue=false
# (mujoco is compiled and has no stubs)

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from s2robot.core.errors import UserError, unknown
from s2robot.data.formats.quaternions import of_one_sign
from s2robot.utils.gl import choose_gl, open_renderer

choose_gl()  # before mujoco is imported: the choice cannot be changed later

import mujoco  # noqa: E402

_ROBOT_JOINT = re.compile(r"(robot|gripper)\d+_.+")
_POINTS_DOWN = np.array([1.0, 0.0, 0.0, 0.0])  # the half-space that s2robot's own robots keep to, xyzw
_GRIP_SITE = re.compile(r"gripper(\d+)_.*grip_site")


class Scene:
    """robosuite's model of one demo.

    Args:
        xml: of the model; files of robosuite that it names are searched in the robosuite installed here.
        where: what errors call it.
    """

    def __init__(self, xml: str, where: str) -> None:
        try:
            self._model = mujoco.MjModel.from_xml_string(_with_local_files(xml))
        except (ValueError, ElementTree.ParseError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"the model of {where} cannot be loaded: {reason}") from error
        self._data = mujoco.MjData(self._model)
        joints = [self._model.joint(i) for i in range(self._model.njnt)]
        self._joints = [j for j in joints if _ROBOT_JOINT.fullmatch(j.name) and len(j.qpos0) == 1]
        self._address = [int(j.qposadr[0]) for j in self._joints]
        self._grips = self._find_grips()
        self._renderer: Any = None

    @property
    def state_size(self) -> int:
        """Numbers of a flattened state: time, positions, velocities."""
        return 1 + self._model.nq + self._model.nv

    @property
    def cameras(self) -> list[str]:
        """The names of the model's cameras."""
        return [self._model.camera(i).name for i in range(self._model.ncam)]

    def check_cameras(self, names: list[str]) -> None:
        """Raises UserError for a camera that the model does not have."""
        for name in names:
            if name not in self.cameras:
                raise unknown("camera", name, self.cameras)

    def proprio_names(self) -> tuple[str, ...]:
        """The joints of arms and grippers (rad or m), then each gripper's pose in its robot's base frame."""
        hinge = mujoco.mjtJoint.mjJNT_HINGE
        joints = [f"{j.name} [{'rad' if j.type[0] == hinge else 'm'}]" for j in self._joints]
        poses = (
            (
                *(f"{name} {axis} in base frame [m]" for axis in "xyz"),
                *(f"{name} quaternion {q}" for q in "xyzw"),
            )
            for name, _ in self._grips
        )
        return (*joints, *(label for pose in poses for label in pose))

    def open_renderer(self, shape: tuple[int, int, int]) -> None:
        """For frames of one shape (H, W, 3). Raises UserError where nothing can be rendered."""
        height, width, _ = shape
        vis = self._model.vis.global_
        vis.offheight, vis.offwidth = max(vis.offheight, height), max(vis.offwidth, width)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[0] = 0  # collision geometry
        self._option.sitegroup[:] = 0  # sites are drawn only for debugging
        self._renderer = open_renderer(self._model, height, width)

    def render(self, camera: str, states: np.ndarray) -> np.ndarray:
        """Frames uint8 (T, H, W, 3) of flattened states."""
        frames = []
        for state in states:
            self._set(state)
            self._renderer.update_scene(self._data, camera, self._option)
            frames.append(self._renderer.render())
        return np.stack(frames)

    def proprio(self, states: np.ndarray) -> np.ndarray:
        """float32 (T, Dp) of an episode's flattened states."""
        joints = states[:, 1:][:, self._address]
        poses: list[list[np.ndarray]] = [[] for _ in self._grips]
        for state in states:
            self._set(state)
            for pose, (site, base) in zip(poses, self._grips, strict=True):
                pose.append(self._pose(site, base))
        arrays = [np.stack(pose) for pose in poses]
        for array in arrays:
            array[:, 3:] = of_one_sign(array[:, 3:], _POINTS_DOWN)
        return np.concatenate([joints, *arrays], axis=1).astype(np.float32)

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()

    def _set(self, state: np.ndarray) -> None:
        self._data.time = state[0]
        self._data.qpos[:] = state[1 : 1 + self._model.nq]
        self._data.qvel[:] = state[1 + self._model.nq :]
        mujoco.mj_forward(self._model, self._data)

    def _pose(self, site: str, base: str) -> np.ndarray:
        """Position (m) and quaternion (xyzw) of a gripper in its base's frame."""
        to_base = self._data.body(base).xmat.reshape(3, 3).T
        position = to_base @ (self._data.site(site).xpos - self._data.body(base).xpos)
        rotation = Rotation.from_matrix(to_base @ self._data.site(site).xmat.reshape(3, 3))
        return np.concatenate([position, rotation.as_quat()])

    def _find_grips(self) -> list[tuple[str, str]]:
        """(site, base body) of each gripper."""
        sites = [self._model.site(i).name for i in range(self._model.nsite)]
        bodies = {self._model.body(i).name for i in range(self._model.nbody)}
        found = [(site, f"robot{match[1]}_base") for site in sites if (match := _GRIP_SITE.fullmatch(site))]
        return [(site, base) for site, base in found if base in bodies]


def _with_local_files(xml: str) -> str:
    """The model with the files of the machine that recorded it replaced by those of robosuite here."""
    spec = importlib.util.find_spec("robosuite")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("robosuite is not installed, and the meshes of the model are its own")
    here = Path(next(iter(spec.submodule_search_locations)))
    root = ElementTree.fromstring(xml)
    for element in root.iter():
        parts = Path(element.get("file", "").replace("\\", "/")).parts
        if "robosuite" in parts:
            last = len(parts) - 1 - parts[::-1].index("robosuite")
            element.set("file", str(here.joinpath(*parts[last + 1 :])))
    return ElementTree.tostring(root, encoding="unicode")
