"""What a camera cannot see need not be drawn: the wrist camera looks at a fraction of the arm's triangles.

OpenGL throws them away too, but only after it has moved every vertex, which a software renderer pays for.
"""

# pyright: reportAttributeAccessIssue=false
# (mujoco is compiled and has no stubs)

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import mujoco
import numpy as np

HIDDEN_GROUP = 5
"""A group of geoms that MuJoCo does not draw by default, and robosuite does not use."""


def out_of_view(model: mujoco.MjModel, data: mujoco.MjData, camera: int) -> np.ndarray:
    """Which geoms a camera of square images surely does not see, bool (geoms,).

    A geom is out of view if its bounding sphere lies wholly beyond one of the four sides of the camera's
    pyramid. Planes have no such sphere and always count as seen; so does everything if the camera is not
    a plain perspective one.
    """
    radius = model.geom_rbound
    if model.cam_projection[camera] or model.cam_sensorsize[camera].any():
        return np.zeros(len(radius), bool)
    half = np.deg2rad(model.cam_fovy[camera]) / 2
    right, up, back = ((data.geom_xpos - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3)).T
    sideways = np.maximum(np.abs(right), np.abs(up))
    beyond = sideways * np.cos(half) + back * np.sin(half)  # m outside the nearest side
    return (radius > 0) & (beyond > radius)


@contextlib.contextmanager
def culled(model: mujoco.MjModel, data: mujoco.MjData, camera: str) -> Iterator[None]:
    """Within it a scene is made without what the camera does not see. The frame is the same, bit for bit."""
    groups = model.geom_group.copy()
    model.geom_group[out_of_view(model, data, model.camera(camera).id)] = HIDDEN_GROUP
    try:
        yield
    finally:
        model.geom_group[:] = groups
