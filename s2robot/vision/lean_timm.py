"""timm without TorchDynamo, torch's compiler, which takes as long to import as torch itself.

timm and torchvision want two functions of it as they are imported: they get ones that import it once called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any

_DYNAMO, _UTILS = "torch._dynamo", "torch._dynamo.utils"


class _StandIn(ModuleType):
    """TorchDynamo, imported after all where something else is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system looks for
            raise AttributeError(name)
        _remove_stand_ins()
        return getattr(import_module(self.__name__), name)


def _import_timm() -> None:
    if _DYNAMO in sys.modules:
        return
    package, utils = _StandIn(_DYNAMO), _StandIn(_UTILS)
    package.__dict__["disable"] = _disable
    utils.__dict__["is_compile_supported"] = _is_compile_supported
    sys.modules |= {_DYNAMO: package, _UTILS: utils}
    try:
        import_module("timm")
    finally:
        _remove_stand_ins()


def _remove_stand_ins() -> None:
    for name in (_DYNAMO, _UTILS):
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


def _disable(function: Callable[..., Any] | None, *args: Any, **options: Any) -> Callable[..., Any]:
    if function is None:
        return lambda given: _disable(given, *args, **options)

    @wraps(function)
    def called(*given: Any, **named: Any) -> Any:
        return import_module(_DYNAMO).disable(function, *args, **options)(*given, **named)

    return called


def _is_compile_supported(device: Any) -> Any:
    return import_module(_UTILS).is_compile_supported(device)


_import_timm()
