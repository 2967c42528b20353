"""From a name in the configuration to the object it names."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import hydra
from hydra.errors import InstantiationException

from s2robot.core.errors import UserError

TRUSTED = frozenset(
    {
        "envs.cube_pick.CubePick",
        "envs.imperfect_channel.ImperfectChannel",
        "envs.toy.Toy",
        "s2robot.core.task.Task",
        "s2robot.tasks.cube_pick.CubePickTask",
    }
)
"""What a config from a file may name."""

_CHECKOUT_ONLY = ("demos", "envs")


def instantiate(config: Any, **arguments: Any) -> Any:
    """Hydra's `instantiate`: the object that `_target_` names, made with the options beside it.

    Raises:
        UserError: as the object's own checks raise it (Hydra would wrap it up), or where the target is in the
            simulation and there is no checkout.
    """
    try:
        return hydra.utils.instantiate(config, **arguments)
    except InstantiationException as error:
        for cause in _causes(error):
            if isinstance(cause, UserError):
                raise cause from error
            if _is_simulation_missing(cause):
                raise _no_checkout(cause) from error
        raise


def instantiate_recorded(config: Any, **arguments: Any) -> Any:
    """As `instantiate`, of a config that a file or a network gave: only what is trusted is made.

    Raises UserError for a `_target_`, at any depth, that is none of ours.
    """
    check_trusted(config)
    return instantiate(config, **arguments)


def check_trusted(config: Any) -> None:
    """Raises UserError where a config names, at any depth, something that is none of `TRUSTED`."""
    if isinstance(config, Mapping):
        target = config.get("_target_")
        if target is not None and target not in TRUSTED:
            raise UserError(f"a file names _target_ '{target}', which is none of ours: it is not run")
        for value in config.values():
            check_trusted(value)
    elif isinstance(config, Sequence) and not isinstance(config, str):
        for value in config:
            check_trusted(value)


def locate(target: str) -> Any:
    """What `module:name` names. Raises UserError where it needs the simulation and there is no checkout."""
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if _is_simulation_missing(error):
            raise _no_checkout(error) from error
        raise


def _is_simulation_missing(error: BaseException) -> bool:
    return isinstance(error, ModuleNotFoundError) and error.name in _CHECKOUT_ONLY


def _no_checkout(error: BaseException) -> UserError:
    what = "the simulation (folders envs/ and demos/) is no part of the installed package"
    return UserError(f"{what}: run from a checkout ({error})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__
