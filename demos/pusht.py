"""A scripted expert for PushT: it tries pushes in a simulation of its own and does the best."""

# pyright: reportMissingImports=false
# (gym-pusht may be missing)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from s2robot.core.errors import UserError

_CORNERS = np.array([[-60, 0], [60, 0], [-60, 30], [60, 30], [-15, 120], [15, 120]], float)  # of the T, px
_LOW, _HIGH = 20.0, 492.0  # px, where the tip stays clear of the walls
_AROUND = 120.0  # px from the T's middle, where the tip passes it by
_SPEED = 28.0  # px a step
_RETREAT = 20.0  # px back after a push
_LONGEST = 60  # steps of a push with its approach
_STEP_COST = 0.12  # px that the corners must come nearer for each step
_LAG, _DAMPING, _TICKS, _TICK = 100.0, 20.0, 10, 0.01  # of PushT's controller: its gains, ticks a step, s


@dataclass(frozen=True)
class _State:
    """Of a simulation: tip (2,) in px, its velocity (2,), pose of the T (x, y, angle)."""

    tip: np.ndarray
    velocity: np.ndarray
    pose: np.ndarray

    @classmethod
    def of(cls, env: Any) -> _State:
        block = env.block
        return cls(
            np.array(env.agent.position),
            np.array(env.agent.velocity),
            np.array([*block.position, block.angle]),
        )


@dataclass(frozen=True)
class _Push:
    """A straight push through a point (2,) of the T (px from its origin); lengths in px, direction in rad."""

    through: np.ndarray
    distance: float
    direction: float
    length: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pose: np.ndarray) -> _Push:
        corners = corners_of(pose)
        through = rng.dirichlet(np.ones(len(corners))) @ corners - pose[:2]
        return cls(through, rng.uniform(70, 100), rng.uniform(-np.pi, np.pi), rng.uniform(60, 190))

    def varied(self, rng: np.random.Generator) -> _Push:
        through = self.through + rng.normal(0, 8, 2)
        length = max(30.0, self.length + rng.normal(0, 15))
        return _Push(through, self.distance, self.direction + rng.normal(0, 0.15), length)

    def path(self, state: _State) -> list[np.ndarray]:
        """The tip's targets, one a step: around the T to the push's start, the push, and back a little."""
        along = np.array([np.cos(self.direction), np.sin(self.direction)])
        start = _inside(state.pose[:2] + self.through - self.distance * along)
        end = _inside(start + self.length * along)
        targets = _around(state.tip, corners_of(state.pose).mean(axis=0), start)
        return [_inside(t) for t in (*targets, *_line(start, end), *_line(end, end - _RETREAT * along))]


class PushTExpert:
    """Draws pushes, tries each in a simulation of its own, varies the best one, and carries it out.

    Args:
        env: PushT, behind whatever wraps it.
        tries: pushes that are drawn, and then varied, before each is carried out.

    Raises UserError for an environment of something else.
    """

    def __init__(self, env: gymnasium.Env, rng: np.random.Generator, tries: int = 60) -> None:
        original = getattr(env.unwrapped, "original", env).unwrapped
        if type(original).__name__ != "PushTEnv":
            raise UserError(f"expert=pusht is that of env=pusht, not of {type(original).__name__}")
        self._env: Any = original
        simulation: Any = type(original)
        self._simulation = simulation(obs_type="state")
        self._simulation.reset(seed=0)
        self._rng, self._tries = rng, tries
        self._path: list[np.ndarray] = []

    def reset(self) -> None:
        """What was begun is forgotten."""
        self._path = []

    def act(self, observation: Any) -> np.ndarray:
        if not self._path:
            self._path = self._best_path(_State.of(self._env))
        return self._path.pop(0).astype(np.float32)

    def _best_path(self, state: _State) -> list[np.ndarray]:
        """Of the push after which the corners lie nearest to where they should, steps counted."""
        goal = corners_of(np.asarray(self._env.goal_pose))
        best, cost = [state.tip], np.inf
        best_push: _Push | None = None
        for attempt in range(2 * self._tries):
            if attempt < self._tries or best_push is None:
                push = _Push.draw(self._rng, state.pose)
            else:
                push = best_push.varied(self._rng)
            path = push.path(state)
            if len(path) > _LONGEST:
                continue
            off = np.linalg.norm(corners_of(self._try(state, path)) - goal, axis=1).mean()
            if off + _STEP_COST * len(path) < cost:
                best, best_push, cost = path, push, off + _STEP_COST * len(path)
        return best

    def _try(self, state: _State, path: list[np.ndarray]) -> np.ndarray:
        """The T's pose (3,) after the path, simulated as PushT does it, without pictures."""
        space, block, tip = self._simulation.space, self._simulation.block, self._simulation.agent
        block.angle, block.position = state.pose[2], tuple(state.pose[:2])
        block.velocity, block.angular_velocity = (0, 0), 0
        tip.position, tip.velocity = tuple(state.tip), tuple(state.velocity)
        for body in (block, tip):
            space.reindex_shapes_for_body(body)
        for target in path:
            x, y = float(target[0]), float(target[1])
            for _ in range(_TICKS):
                at, v = tip.position, tip.velocity
                pull_x, pull_y = _LAG * (x - at[0]) - _DAMPING * v[0], _LAG * (y - at[1]) - _DAMPING * v[1]
                tip.velocity = (v[0] + pull_x * _TICK, v[1] + pull_y * _TICK)
                space.step(_TICK)
        return _State.of(self._simulation).pose


def corners_of(pose: np.ndarray) -> np.ndarray:
    """The T's corners (6, 2) in px at a pose (x, y, angle)."""
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    return _CORNERS @ np.array([[cos, sin], [-sin, cos]]) + pose[:2]


def _inside(point: np.ndarray) -> np.ndarray:
    return np.clip(point, _LOW, _HIGH)


def _line(start: np.ndarray, end: np.ndarray) -> list[np.ndarray]:
    """From one point to another, at the tip's speed, without the first."""
    steps = max(1, int(np.ceil(np.linalg.norm(end - start) / _SPEED)))
    return [start + (end - start) * i / steps for i in range(1, steps + 1)]


def _around(tip: np.ndarray, middle: np.ndarray, to: np.ndarray) -> list[np.ndarray]:
    """Away from the middle, along a circle, and in again; straight where it is about the same direction."""
    from_angle, to_angle = (np.arctan2(*(point - middle)[::-1]) for point in (tip, to))
    turn = (to_angle - from_angle + np.pi) % (2 * np.pi) - np.pi
    away = float(np.linalg.norm(tip - middle))
    if abs(turn) < 0.5 and away > 0.9 * np.linalg.norm(to - middle):
        return _line(tip, to)
    radius = max(away, _AROUND)
    steps = max(1, int(np.ceil(abs(turn) * radius / _SPEED)))
    angles = from_angle + turn * np.arange(1, steps + 1) / steps
    arc = list(middle + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    out = middle + radius * np.array([np.cos(from_angle), np.sin(from_angle)])
    return [*(_line(tip, out) if away < _AROUND else []), *arc, *_line(arc[-1], to)]
