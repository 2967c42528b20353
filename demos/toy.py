"""An expert for `Toy` that looks at the true cube pose."""

from __future__ import annotations

import numpy as np

from envs.toy import STEP, TOP, Toy
from s2robot.core.errors import UserError
from s2robot.core.spec import Observation
from s2robot.record.demonstration import Demonstration
from s2robot.tasks.cube_pick import demo_position, start_at


class ToyExpert:
    """Goes over the cube, down, closes and goes up, by the true cube pose."""

    def __init__(self, env: Toy) -> None:
        self._env = env
        self.reset()

    def reset(self) -> None:
        self._closed = False
        self.action_loss_mask: list[bool] = []

    def act(self, observation: Observation) -> np.ndarray:
        gripper = observation["proprio"][:3]
        cube = np.append(self._env.cube()[:2], 0.0)
        aligned = np.linalg.norm(cube[:2] - gripper[:2]) < 0.005
        self._closed = self._closed or bool(aligned and gripper[2] < 0.01)
        self.action_loss_mask.append(True)
        if self._closed:
            target, command = np.append(gripper[:2], TOP), 1.0
        else:
            target, command = np.append(cube[:2], 0.0 if aligned else TOP), -1.0
        return np.append(np.clip(target - gripper, -STEP, STEP), command).astype(np.float32)


def toy_demonstration(env: Toy, rng: np.random.Generator) -> Demonstration:
    """A demo of `Toy` with the cube anywhere in the spawn region but at the 16 evaluation positions.

    Raises UserError for another environment.
    """
    if not isinstance(env, Toy):
        raise UserError(f"expert=toy is that of env=toy, not of {type(env).__name__}")
    return Demonstration(env, ToyExpert(env), start_at(demo_position(rng)))
