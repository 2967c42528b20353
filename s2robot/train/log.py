"""Curves while they grow: TensorBoard, and Weights & Biases where it is asked for."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from s2robot.config.options import to_plain
from s2robot.core.errors import UserError
from s2robot.train.options import TrainOptions
from s2robot.utils.atomic_io import write_atomic
from s2robot.utils.distributed import World

_WANDB_ID = "wandb_run_id.txt"


class Log:
    """Where values go beside the run's own curves."""

    def __init__(self, writer: SummaryWriter | None, wandb_run: Any = None) -> None:
        self._writer, self._wandb_run = writer, wandb_run

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Values of one step."""
        if self._writer is None:
            return
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if self._wandb_run is not None:
            self._wandb_run.log({**values, "step": step})

    def show(self, images: Mapping[str, np.ndarray]) -> None:
        """Frames of a training window, camera -> uint8 (H, W, 3), in TensorBoard."""
        if self._writer is not None:
            for camera, image in images.items():
                self._writer.add_image(f"window/{camera}", image, dataformats="HWC")


@contextmanager
def open_log(out: Path, options: TrainOptions, step: int, world: World) -> Iterator[Log]:
    """The log of a run that is at a step; what was logged beyond it before a crash is discarded.

    Only the process that leads writes one. Raises UserError where wandb is asked for and missing.
    """
    if not world.leads:
        yield Log(None)
        return
    wandb = _wandb() if options.wandb else None
    with SummaryWriter(str(out / "log"), purge_step=step) as writer:
        if wandb is None:
            yield Log(writer)
            return
        with _wandb_run(wandb, out, options) as run:
            run.define_metric("*", step_metric="step")  # rollouts end when training is further on
            yield Log(writer, run)


def check_log(options: TrainOptions) -> None:
    """Raises UserError where wandb is asked for and is missing, or has no key to log in with."""
    if options.wandb is None:
        return
    wandb = _wandb()
    needs_key = os.environ.get("WANDB_MODE") not in ("offline", "disabled", "dryrun")
    if needs_key and not (os.environ.get("WANDB_API_KEY") or wandb.api.api_key):
        raise UserError(
            f"wandb={options.wandb}: wandb has no key here: run `wandb login`, set WANDB_API_KEY, or "
            "WANDB_MODE=offline and `wandb sync` later"
        )


def _wandb_run(wandb: ModuleType, out: Path, options: TrainOptions) -> Any:
    """The run of this folder: a new one, or the one that an earlier session has begun."""
    path = out / _WANDB_ID
    if not path.is_file():
        write_atomic(path, uuid.uuid4().hex[:8])
    names = {"project": options.wandb, "name": out.name, "id": path.read_text()}
    try:
        return wandb.init(**names, resume="allow", dir=str(out), config=to_plain(options))
    except wandb.errors.Error as error:
        raise UserError(f"wandb={options.wandb}: {error}; WANDB_MODE=offline logs to a file") from error


def _wandb() -> ModuleType:
    try:
        import wandb  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError('wandb is not installed: pip install "s2robot[wandb]"') from error
    return wandb
