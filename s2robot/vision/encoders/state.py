"""Weights as they lie in files: read without running anything of the file's, checked, hashed."""

from __future__ import annotations

import argparse
import hashlib
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from s2robot.core.errors import UserError

State = dict[str, Tensor]

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

_NESTED = ("model", "state_dict")
"""Where a training's checkpoint keeps the weights: MVP, MAE; timm."""


def check_is_there(path: Path) -> None:
    """Raises UserError where there is no file of weights."""
    if not path.is_file():
        fetched = "`s2robot doctor --encoders` fetches the published ones"
        raise UserError(f"no encoder weights at {path}: `s2robot pretrain` makes them, {fetched}")


def read_state(path: Path) -> State:
    """Name -> tensor of a `.safetensors` file, or of any other one as PyTorch's checkpoint.

    A checkpoint is unpickled by torch's reader of weights alone, which makes no object and calls no function
    that a file names; beside tensors it may hold plain values and the options of a training.

    Raises:
        UserError: no such file, a damaged one, one that holds code, one without weights.
    """
    check_is_there(path)
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is no readable safetensors file: {error}") from error
    return _tensors(_read_checkpoint(path), path)


def _read_checkpoint(path: Path) -> object:
    mmap = zipfile.is_zipfile(path)  # what is not asked for (decoder, optimiser) then stays on the disk
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # whatever a reader trips over in a file that is none of ours
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(f"{path} holds more than weights ({named[1]}): not loaded") from error
        raise UserError(f"{path} is no readable checkpoint: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    lines = [
        line for line in str(error).splitlines() if line and not line.startswith(("Weights only", "Please"))
    ]
    return f"{type(error).__name__} {lines[0][:150]}" if lines else type(error).__name__


def _tensors(content: object, path: Path) -> State:
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} holds no weights: expected tensors by name, as they are or under 'model'")
    for key, value in content.items():
        if not (isinstance(key, str) and isinstance(value, Tensor)):
            raise UserError(
                f"{path} holds no weights: {str(key)[:80]!r} is {type(value).__name__}, no tensor"
            )
    return dict(content)


def check_state(
    given: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    what: str,
    may_be_there: Callable[[str], bool] = lambda key: False,
) -> State:
    """The expected tensors of `given`, in float32 and of the shapes of `expected`.

    Raises:
        UserError: a tensor is missing, too many (unless `may_be_there` of its name: it is left out), of
            another shape, of a type that holds no weights as they are (quantised, sparse, ...), or not
            finite. `what` opens the message.
    """
    if missing := expected.keys() - given.keys():
        raise UserError(f"{what}: lacks {len(missing)} tensors, first '{min(missing)}'")
    if extra := {key for key in given.keys() - expected.keys() if not may_be_there(key)}:
        raise UserError(f"{what}: has {len(extra)} tensors too many, first '{min(extra)}'")
    for key, value in expected.items():
        if given[key].shape != value.shape:
            raise UserError(f"{what}: '{key}' is {tuple(given[key].shape)}, expected {tuple(value.shape)}")
        _check_type(given[key], value, f"{what}: '{key}'")
        if not given[key].isfinite().all():
            raise UserError(f"{what}: '{key}' holds values that are not finite")
    # A copy: the file may be mapped into memory, and may be written to while the encoder lives.
    return {key: given[key].to(_type_of(value), copy=True).contiguous() for key, value in expected.items()}


def _check_type(given: Tensor, expected: Tensor, what: str) -> None:
    if given.layout != torch.strided or given.is_meta:
        raise UserError(f"{what} is {'without values' if given.is_meta else given.layout}, expected dense")
    if expected.is_floating_point() and given.dtype not in _FLOATS:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in _FLOATS)
        raise UserError(f"{what} is {str(given.dtype).removeprefix('torch.')}, expected one of {names}")
    if not expected.is_floating_point() and (given.is_floating_point() or given.is_complex()):
        raise UserError(f"{what} is {given.dtype}, expected {expected.dtype}")


def _type_of(expected: Tensor) -> torch.dtype:
    return torch.float32 if expected.is_floating_point() else expected.dtype


def hash_weights(state: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes and float32 values: what feature caches and results are keyed by."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().float().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
