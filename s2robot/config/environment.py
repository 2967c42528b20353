"""A simulated environment by the name of its configuration: a file in `configs/env/`, ours or yours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from s2robot.config.compose import compose
from s2robot.config.overrides import as_overrides
from s2robot.config.targets import instantiate

if TYPE_CHECKING:
    import gymnasium


def make_env(name: str, **options: Any) -> gymnasium.Env:
    """The environment `configs/env/NAME.yaml`, e.g. `cube_pick` or `toy`.

    It observes `{"images": {camera: uint8 (H, W, 3)}, "proprio": float32 (Dp,)}`; `env.robot_spec` names
    the entries, `env.task` is what is attempted.

    Args:
        name: of the file, without `.yaml`.
        options: instead of the values in it.

    Raises:
        UserError: an unknown name or option, or ours is asked for outside a checkout: the wheel has no
            simulation.

    Examples:
        >>> env = s2robot.make_env("toy", image_size=32, cameras=["front"])
        >>> observation, info = env.reset(seed=0)
        >>> observation["images"]["front"].shape
        (32, 32, 3)
    """
    return instantiate(env_config(name, **options))


def env_config(name: str, **options: Any) -> dict[str, Any]:
    """The composed configuration of an environment, its task in it. Raises UserError as `make_env`."""
    config = compose("evaluate", as_overrides({"env": name, **{f"env.{k}": v for k, v in options.items()}}))
    plain = OmegaConf.to_container(config.env, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
