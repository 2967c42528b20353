"""Options whose mistakes would show only after the work: numbers, scales and where results go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError


def check_least(cfg: Mapping[Any, Any], least: float, *names: str) -> None:
    """Raises UserError where an option of these names is given and below `least`."""
    for name in names:
        if cfg[name] is not None and not cfg[name] >= least:
            raise UserError(f"{name}={cfg[name]}: expected {least:g} or more")


def check_scales(name: str, scales: Any) -> None:
    """Raises UserError for what is no list of sets of image scales (px)."""
    for sizes in scales:
        listed = isinstance(sizes, Sequence) and len(sizes) > 0
        if not listed or not all(type(size) is int and size >= 1 for size in sizes):
            raise UserError(f"{name}={scales}: expected lists of px, such as [[224],[224,448]]")


def check_device(name: str) -> None:
    """Raises UserError for what is no processor and none of the GPUs here; nothing is put on any of them."""
    import torch  # here: most commands that check something need no torch

    gpus = torch.cuda.device_count()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type != "cpu" and not (device.type == "cuda" and (device.index or 0) < gpus):
        raise UserError(f"device={name}: expected cpu, or cuda where there is a GPU (here are {gpus})")


def check_file(out: str | Path, overwrite: bool) -> None:
    """Raises UserError where `out` cannot become a file, or is one that `overwrite` does not give up."""
    path = Path(out)
    if path.is_dir():
        raise UserError(f"out={out} is a folder: expected a file")
    if path.exists() and not overwrite:
        raise UserError(f"{out} exists already: give another out=, or overwrite=true")
    check_folder(path.parent)


def check_folder(out: str | Path) -> None:
    """Raises UserError where `out` is no folder and cannot become one."""
    path = Path(out)
    nearest = next(p for p in (path, *path.parents) if p.exists())
    if not nearest.is_dir():
        raise UserError(f"{nearest} is a file: expected a folder, or another out=")
