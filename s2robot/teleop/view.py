"""Where the cameras look, so that a page can say which key leads where in each picture."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np


@runtime_checkable
class HasCameraAxes(Protocol):
    """An environment that knows how its cameras stand."""

    def camera_axes(self) -> dict[str, np.ndarray]:
        """Camera -> (2, 3): the directions to the right and up in its picture, in the base frame."""
        ...


def camera_axes(env: gymnasium.Env[Any, Any]) -> dict[str, list[list[float]]]:
    """Fit for JSON; empty where the environment does not know it."""
    arm = env.unwrapped
    if not isinstance(arm, HasCameraAxes):
        return {}
    return {name: np.asarray(axes, float).round(3).tolist() for name, axes in arm.camera_axes().items()}
