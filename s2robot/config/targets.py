"""From a name in the configuration to the object it names."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

import hydra
from hydra.errors import InstantiationException

from s2robot.config.trust import check_imports, check_trusted
from s2robot.core.errors import UserError

_CHECKOUT_ONLY = ("demos", "envs")


def instantiate(config: Any, **arguments: Any) -> Any:
    """Hydra's `instantiate`: the object that `_target_` names, made with the options beside it.

    Raises:
        UserError: as the object's own checks raise it (Hydra would wrap it up), where the target is in the
            simulation and there is no checkout, and where it does not take these arguments.
    """
    try:
        return hydra.utils.instantiate(config, **arguments)
    except InstantiationException as error:
        for cause in _causes(error):
            if isinstance(cause, UserError):
                raise cause from error
            if _is_simulation_missing(cause):
                raise _no_checkout(cause) from error
            if isinstance(cause, TypeError) and cause.__traceback__ and cause.__traceback__.tb_next is None:
                raise UserError(f"{config['_target_']}: {cause}") from error  # the call itself did not fit
        if str(error).startswith("Error locating target"):
            cause = " ".join(str(next(_causes(error), "")).split())
            raise UserError(f"{str(error).partition(',')[0]}: {cause}") from error
        raise


def instantiate_recorded(config: Any, **arguments: Any) -> Any:
    """As `instantiate`, of a config that a file or a network gave: only what is trusted is made.

    Raises UserError as `check_trusted` and `check_imports`.
    """
    check_trusted(config)
    check_imports(config)
    return instantiate(config, **arguments)


def locate(target: str) -> Any:
    """What `module:name` names. Raises UserError where it needs the simulation and there is no checkout."""
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if _is_simulation_missing(error):
            raise _no_checkout(error) from error
        raise


def check_installed(config: Mapping[str, Any]) -> None:
    """Raises UserError where a config names the simulation and there is no checkout, before work starts."""
    package = str(config.get("_target_")).partition(".")[0]
    if package in _CHECKOUT_ONLY and importlib.util.find_spec(package) is None:
        raise _no_checkout(ModuleNotFoundError(f"No module named {package!r}"))


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
