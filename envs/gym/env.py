"""`env=gym`: a gymnasium environment as s2robot sees it, by names of its observation's entries."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import gymnasium
import numpy as np
from omegaconf import OmegaConf

from envs.gym.entries import Vector, entries_of, find_entry, frame_of, to_frame
from envs.gym.outcome import ProgressReader, SuccessReader
from s2robot.core.errors import UserError
from s2robot.core.spec import GripperSpec, Observation, RobotSpec, check_action
from s2robot.core.task import Task
from s2robot.utils.gl import choose_gl

_RENDER = "render()"
T = TypeVar("T")


class Gym(gymnasium.Env[Observation, np.ndarray]):
    """Any gymnasium environment with an action of numbers. An episode ends at its first success.

    Attributes:
        original: the environment as `gymnasium.make` gives it. original_observation: its last one.

    Args:
        id: of gymnasium's registry; `module:Name-v0` imports the module that registers it.
        images: camera -> the entry of the observation that holds its frames, or `render()`.
        proprio: an entry, a part of one (`state[:2]`, `state[4,6]`), or a list of them, joined.
        proprio_names, action_names: one with its unit for each number.
        action_space: what the action means, a word.
        grippers: the action entries that command grippers, each `{index, open, closed}`.
        rate: control steps a second; default `render_fps` of the environment's metadata.
        success: the entry of `info` that says so, or `terminated`; default `is_success`, then `success`.
        progress: the entry of `info` that says how far the task is done, 0 to 1.
        max_steps: of an episode; default the registry's.
        kwargs: of `gymnasium.make`.
        task: default one whose starts are seeds. instruction, goal: its words; they are no concern here.

    Raises UserError where the environment cannot be made or does not offer what is asked for.
    """

    def __init__(
        self,
        id: str,
        images: Mapping[str, str],
        proprio: str | Sequence[str] | None,
        proprio_names: Sequence[str] | None = None,
        action_names: Sequence[str] | None = None,
        action_space: str = "action",
        grippers: Sequence[Mapping[str, float]] = (),
        rate: float | None = None,
        success: str | None = None,
        progress: str | None = None,
        max_steps: int | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task: Task | str | None = None,
        instruction: str = "",
        goal: str = "",
    ) -> None:
        self.render_mode = "rgb_array"
        self._images = dict(images)
        options = _plain(kwargs or {})
        if _RENDER in self._images.values():
            options.setdefault("render_mode", "rgb_array")
        self.original = _make(id, max_steps, options)
        self.max_steps = _max_steps(self.original)
        self._success, self._progress = SuccessReader(success), ProgressReader(progress)
        wanted = [proprio] if isinstance(proprio, str) else list(proprio or ())
        self._entries = entries_of(self.original.observation_space)
        self._proprio = self._mapped("proprio", lambda: Vector.select(self._entries, wanted, proprio_names))
        self.original_observation, _ = self.original.reset(seed=0)
        frames = self._mapped("images", self._frames)
        self.action_space = _action_space(self.original)
        self.robot_spec = RobotSpec(
            cameras={name: frame.shape for name, frame in frames.items()},
            proprio=self._proprio.names,
            action=_action_names(self.action_space, action_names),
            action_space=action_space,
            rate=_rate(self.original, rate),
            grippers=tuple(GripperSpec(**gripper) for gripper in _plain(grippers)),
        )
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": self.robot_spec.rate}
        self.observation_space = gymnasium.spaces.Dict(
            {
                "images": gymnasium.spaces.Dict(
                    {n: gymnasium.spaces.Box(0, 255, f.shape, np.uint8) for n, f in frames.items()}
                ),
                "proprio": self._proprio.space,
            }
        )
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """The environment's own reset; `info` holds `success` and `time` (s)."""
        super().reset(seed=seed)
        self._steps = 0
        self._success.reset()
        self.original_observation, _ = self.original.reset(seed=seed, options=options)
        return self._observe(), {"success": False, "time": 0.0}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """The action is clipped to the bounds; `info` holds it as `action_applied`, and `progress` if told.

        Raises UserError at the end of an episode in which `info` never held what tells of success.
        """
        asked = check_action(action, self.robot_spec)
        assert isinstance(self.action_space, gymnasium.spaces.Box)
        applied = np.clip(asked, self.action_space.low, self.action_space.high)
        taken = _inside(self.original.action_space, applied)
        self.original_observation, reward, terminated, truncated, told = self.original.step(taken)
        self._steps += 1
        success = self._success.read(told, terminated, ended=terminated or truncated)
        info = {"success": success, "time": self._steps / self.robot_spec.rate, "action_applied": applied}
        info |= self._progress.read(told)
        return self._observe(), float(reward), bool(terminated or success), bool(truncated), info

    def render(self) -> np.ndarray:
        """The first camera's frame, uint8 (H, W, 3)."""
        return next(iter(self._frames().values()))

    def close(self) -> None:
        self.original.close()

    def _observe(self) -> Observation:
        return {"images": self._frames(), "proprio": self._proprio.read(self.original_observation)}

    def _frames(self) -> dict[str, np.ndarray]:
        if not self._images:
            raise UserError("none is given")
        return {name: self._frame(source) for name, source in self._images.items()}

    def _frame(self, source: str) -> np.ndarray:
        if source == _RENDER:
            return to_frame(np.asarray(_rendered(self.original)))
        return frame_of(find_entry(self._entries, source), self.original_observation)

    def _mapped(self, option: str, read: Callable[[], T]) -> T:
        """What `read` gives; its UserError says which option it is of, and what there is instead."""
        try:
            return read()
        except UserError as error:
            offers = ", ".join([*map(str, self._entries), _RENDER])
            example = "env.images.NAME=ENTRY" if option == "images" else "env.proprio=ENTRY"
            name = self.original.spec.id if self.original.spec else type(self.original.unwrapped).__name__
            raise UserError(f"env.{option}: {error}; give {example}; {name} offers {offers}") from None


def _make(env_id: str, max_steps: int | None, options: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    module, colon, name = env_id.rpartition(":")
    choose_gl()  # its simulator may be mujoco
    try:
        if colon:
            importlib.import_module(module)
        return gymnasium.make(name, max_episode_steps=max_steps, **options)
    except ModuleNotFoundError as error:
        raise UserError(
            f"env.id={env_id}: {error}: install it, or name its folder by --config-dir"
        ) from error
    except gymnasium.error.Error as error:
        hint = "" if colon else " (MODULE:ID imports the module that registers it)"
        raise UserError(f"env.id={env_id}: {' '.join(str(error).split())}{hint}") from error
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise UserError(f"env.id={env_id} env.kwargs={dict(options)}: {error}") from error


def _rendered(env: gymnasium.Env[Any, Any]) -> Any:
    try:
        return env.render()
    except gymnasium.error.DependencyNotInstalled as error:
        raise UserError(f"render(): {' '.join(str(error).split())}") from error


def _max_steps(env: gymnasium.Env[Any, Any]) -> int:
    limit = env.spec.max_episode_steps if env.spec else None
    if limit is None:
        raise UserError("env.max_steps is missing: the environment itself has no limit of steps")
    return limit


def _rate(env: gymnasium.Env[Any, Any], rate: float | None) -> float:
    rate = rate or env.metadata.get("render_fps")
    if not rate:
        raise UserError("env.rate is missing (Hz): the environment's metadata hold no render_fps")
    return float(rate)


def _action_space(env: gymnasium.Env[Any, Any]) -> gymnasium.spaces.Box:
    space = env.action_space
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise UserError(f"the environment's action is {space}: expected a Box of one dimension")
    return gymnasium.spaces.Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)


def _inside(space: gymnasium.Space[Any], action: np.ndarray) -> np.ndarray:
    """The action in the environment's own precision, in which float32's 0.1 is more than its bound of 0.1."""
    assert isinstance(space, gymnasium.spaces.Box)
    return np.clip(action.astype(space.dtype), space.low, space.high)


def _action_names(space: gymnasium.spaces.Box, names: Sequence[str] | None) -> tuple[str, ...]:
    count = space.shape[0]
    if names is None:
        return tuple(f"action {i}" for i in range(count))
    if len(names) != count:
        raise UserError(f"env.action_names={list(names)}: expected {count} names, one an entry of the action")
    return tuple(names)


def _plain(config: Any) -> Any:
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
