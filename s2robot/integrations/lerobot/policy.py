"""A policy of ours in the shape of LeRobot's: `select_action(batch)` as its loops call it, for one robot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import Observation
from s2robot.policy.policy import ChunkExecutor, TemporalEnsemble

IMAGES, STATE = "observation.images.", "observation.state"


class LeRobotPolicy:
    """What lerobot calls a policy, around whatever executes our chunks, here or over the network.

        LeRobotPolicy(ChunkExecutor(load_policy("runs/policy")))
        LeRobotPolicy(RemotePolicy("ws://gpu-box:8000"))

    A batch is of one robot: `observation.images.CAMERA` uint8 or float in [0, 1] (1, 3, H, W), and
    `observation.state` (1, Dp) in the order of our proprioception, which is what `s2robot export` writes.
    Other entries, a task for instance, are ignored.
    """

    name = "s2robot"

    def __init__(self, executor: ChunkExecutor | TemporalEnsemble) -> None:
        self._executor = executor

    def reset(self) -> None:
        """A new episode begins."""
        self._executor.reset()

    @torch.no_grad()
    def select_action(self, batch: Mapping[str, Any]) -> Tensor:
        """The next action, float32 (1, Da), in the units of the demos. Raises UserError for another batch."""
        return torch.from_numpy(self._executor.act(_observation(batch)).copy())[None]

    @torch.no_grad()
    def predict_action_chunk(self, batch: Mapping[str, Any]) -> Tensor:
        """All actions from this observation on, float32 (1, Ta, Da); whoever calls it executes them.

        Not to be mixed with `select_action` within an episode: an observation counts once.
        """
        self._executor.policy.observe(_observation(batch))
        chunk = self._executor.policy.predict()
        return torch.from_numpy(chunk.copy())[None]

    def eval(self) -> LeRobotPolicy:
        """It is never trained here."""
        return self

    def to(self, device: str | torch.device) -> LeRobotPolicy:
        """It stays where it is: actions come back on the CPU."""
        return self


def _observation(batch: Mapping[str, Any]) -> Observation:
    if STATE not in batch:
        raise unknown("entry", STATE, batch)
    images = {
        name.removeprefix(IMAGES): _frame(name, value)
        for name, value in batch.items()
        if name.startswith(IMAGES)
    }
    return {"images": images, "proprio": _alone(STATE, batch[STATE]).astype(np.float32)}


def _frame(name: str, value: Any) -> np.ndarray:
    """uint8 (H, W, 3)."""
    image = _alone(name, value)
    if image.ndim != 3 or image.shape[0] != 3:
        raise UserError(f"{name} has the shape {(1, *image.shape)}: expected (1, 3, H, W)")
    if image.dtype != np.uint8:
        image = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def _alone(name: str, value: Any) -> np.ndarray:
    """What a batch of one holds."""
    array = torch.as_tensor(value).cpu().numpy()
    if array.ndim == 0 or len(array) != 1:
        raise UserError(f"{name} has the shape {array.shape}: expected a batch of one robot")
    return array[0]
