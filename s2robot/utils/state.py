"""The file from which a training goes on, read with the mistrust that a file needs."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from s2robot.core.errors import UserError

_DAMAGE = (
    *(RuntimeError, OSError, EOFError, pickle.UnpicklingError),
    *(AttributeError, LookupError, TypeError, ValueError, OverflowError),
)
"""What torch raises for files and states that are cut short, altered, or of something else."""


def load_state(path: Path, keys: Mapping[str, type], mend: str) -> dict[str, Any]:
    """What `torch.save` wrote there, without running code of the file's; it holds these keys of these types.

    Raises UserError for anything else; `mend` says what to do then.
    """
    with damage(path, mend):
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(f"it holds {type(state).__name__}, not names and values")
        for name, kind in keys.items():
            if type(state.get(name)) is not kind and not (kind is dict and isinstance(state.get(name), dict)):
                raise TypeError(f"{name} is {type(state.get(name)).__name__}, not {kind.__name__}")
    return state


@contextmanager
def damage(path: Path, mend: str) -> Iterator[None]:
    """Turns what is raised by a damaged file, and by the use of what it holds, into a UserError."""
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} is damaged ({reason}): {mend}") from error
