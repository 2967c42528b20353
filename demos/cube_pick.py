"""An expert for `CubePick` that looks at the true cube pose."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import gymnasium
import numpy as np

from demos.toy import ToyExpert
from envs.cube_pick.env import EE_STEP, CubePick
from envs.cube_pick.kinematics import ArmKinematics
from envs.imperfect_channel import action_deviation
from envs.toy import Toy
from s2robot.core.errors import UserError
from s2robot.core.spec import Observation
from s2robot.record.demonstration import Demonstration, Expert
from s2robot.tasks.cube_pick import demo_position, start_at

OPEN, CLOSE = -1.0, 1.0

_GAIN = 1.6  # displacement asked for per remaining distance: the arm covers a third of it in a 10 Hz step
_ALIGNED = 0.008  # m: horizontal error at which the gripper goes down
_DOWN = 0.006  # m: vertical error at which the gripper closes
_STILL = 0.0005  # m: change of opening a step below which the fingers have met something
_MIN_CLOSE, _MAX_CLOSE = 5, 12  # steps: at 10 Hz the fingers close 8 mm a step
_GRASPED = 0.75  # share of the cube's side: a narrower opening after closing has no cube in it
_LIFT = 0.15  # m above the table
_PATIENCE = 25  # steps in one phase before starting over


class Phase(Enum):
    HOVER = auto()
    DESCEND = auto()
    CLOSING = auto()
    LIFT = auto()
    REOPEN = auto()


@dataclass(frozen=True)
class Variation:
    """What differs from one demo to the next.

    Attributes:
        hover: height above the cube at which the gripper aligns (m).
        hover_offset: where it aligns for the first time, beside the cube's centre (m, 2).
        miss: offset of a first grasp that is meant to miss (m, 3), or None.
    """

    hover: float
    hover_offset: np.ndarray
    miss: np.ndarray | None

    @classmethod
    def draw(cls, rng: np.random.Generator, miss_share: float) -> Variation:
        """Seeded; `miss_share` of the demos begin with a missed grasp, beside the cube or above it."""
        hover, offset = rng.uniform(0.05, 0.11), rng.normal(0.0, 0.004, 2)
        angle, radius = rng.uniform(-np.pi, np.pi), rng.uniform(0.025, 0.05)
        beside = np.array([radius * np.cos(angle), radius * np.sin(angle), 0.0])
        above = np.array([0.0, 0.0, rng.uniform(0.035, 0.05)])
        miss = beside if rng.random() < 0.7 else above
        return cls(hover, offset, miss if rng.random() < miss_share else None)


class ScriptedExpert:
    """Hovers over the cube, goes down, closes, lifts; starts over where a grasp has missed.

    `action_loss_mask` says of each step whether its action is worth learning: that of a planned miss is not.
    """

    def __init__(self, env: CubePick, variation: Variation) -> None:
        self._env = env
        self._variation = variation
        self._kinematics = ArmKinematics(env) if env.robot_spec.action_space == "joint" else None
        self.reset()

    def reset(self) -> None:
        self._enter(Phase.HOVER)
        self._miss = self._variation.miss
        self._opening = 0.0
        self.action_loss_mask: list[bool] = []

    def act(self, observation: Observation) -> np.ndarray:
        """The action in the environment's action space; gripper -1 open, 1 close."""
        proprio = observation["proprio"]
        joints, opening, gripper = proprio[:7], float(proprio[7]), proprio[8:11] + self._env.base_position
        cube = self._cube()
        self._advance(gripper, opening, cube)
        self._steps_in_phase += 1
        self.action_loss_mask.append(self._miss is None)
        displacement = np.clip(_GAIN * (self._target(gripper, cube) - gripper), -EE_STEP, EE_STEP)
        command = CLOSE if self._phase in (Phase.CLOSING, Phase.LIFT) else OPEN
        self._opening = opening
        if self._kinematics is None:
            return np.append(displacement, command).astype(np.float32)
        goal = gripper + displacement - self._env.base_position
        return np.append(self._kinematics.solve(joints, goal), command).astype(np.float32)

    def _cube(self) -> np.ndarray:
        x, y, _ = self._env.cube()
        cube = np.array([x, y, self._env.cube_height() + self._env.cube_rest()])
        return cube if self._miss is None else cube + self._miss

    def _advance(self, gripper: np.ndarray, opening: float, cube: np.ndarray) -> None:
        error = cube - gripper
        aligned = float(np.linalg.norm(error[:2] + self._hover_offset())) < _ALIGNED
        match self._phase:
            case Phase.HOVER if aligned and abs(error[2] + self._variation.hover) < 0.03 and opening > 0.07:
                self._enter(Phase.DESCEND)
            case Phase.DESCEND if abs(error[2]) < _DOWN or self._steps_in_phase > _PATIENCE:
                self._enter(Phase.CLOSING)
            case Phase.CLOSING if self._closed(opening):
                self._enter(Phase.LIFT if self._holds(opening) and self._miss is None else Phase.REOPEN)
                self._miss = None
            case Phase.LIFT if not self._holds(opening) or self._steps_in_phase > _PATIENCE:
                self._enter(Phase.REOPEN)
            case Phase.REOPEN if opening > 0.07:
                self._enter(Phase.HOVER)

    def _holds(self, opening: float) -> bool:
        return opening > _GRASPED * 2 * self._env.cube_half_size

    def _closed(self, opening: float) -> bool:
        still = abs(opening - self._opening) < _STILL and self._steps_in_phase >= _MIN_CLOSE
        return still or self._steps_in_phase >= _MAX_CLOSE

    def _hover_offset(self) -> np.ndarray:
        return self._variation.hover_offset if self._phase is Phase.HOVER else np.zeros(2)

    def _target(self, gripper: np.ndarray, cube: np.ndarray) -> np.ndarray:
        match self._phase:
            case Phase.HOVER:
                return cube + np.append(self._hover_offset(), self._variation.hover)
            case Phase.DESCEND | Phase.CLOSING:
                return cube
            case Phase.LIFT:
                return np.array([gripper[0], gripper[1], _LIFT])
            case Phase.REOPEN:
                return np.array([gripper[0], gripper[1], self._variation.hover])

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._steps_in_phase = 0


class ActionNoise(gymnasium.ActionWrapper):
    """Disturbs what is executed, not what is recorded as asked for: the demos then show how to come back.

    (DART, Laskey et al. 2017.) The noise is 6 mm, or the joint angle that moves the gripper about as far; the
    grippers' commands are left alone.
    """

    def __init__(self, env: CubePick, scale: float, rng: np.random.Generator) -> None:
        super().__init__(env)
        self._std = action_deviation(env.robot_spec, scale)
        self._rng = rng

    def action(self, action: np.ndarray) -> np.ndarray:
        return (action + self._rng.normal(0.0, 1.0, len(action)) * self._std).astype(np.float32)


def cube_pick_demonstration(
    env: CubePick, rng: np.random.Generator, noise: float, miss_share: float
) -> Demonstration:
    """A demo of `CubePick` with the cube anywhere in the spawn region but at the 16 evaluation positions.

    Raises UserError for another environment.
    """
    if not isinstance(env, CubePick):
        raise UserError(f"this expert picks cubes, not {type(env).__name__}'s: give expert=toy for env=toy")
    start = start_at(demo_position(rng))
    expert = ScriptedExpert(env, Variation.draw(rng, miss_share))
    return Demonstration(ActionNoise(env, noise, rng), expert, start)


def plain_expert(env: CubePick | Toy) -> Expert:
    """The expert of an environment at its best, without planned misses: the upper bound of an evaluation."""
    if isinstance(env, Toy):
        return ToyExpert(env)
    return ScriptedExpert(env, Variation(hover=0.08, hover_offset=np.zeros(2), miss=None))
