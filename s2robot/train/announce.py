"""What a training says of itself before its first step, and shows of its demos in TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from s2robot.data.windows import history_window
from s2robot.train.demos import Demos
from s2robot.vision.encoders.mvp import EMBEDDED
from s2robot.vision.encoders.options import EncoderOptions

_SHOWN = 4  # frames of a window
_OUR_SIMULATOR = ("envs.cube_pick.", "envs.realtime.")


def announcement(
    device: torch.device, model: nn.Module, frozen: int, windows: int, demos: Sequence[int], out: Path
) -> str:
    """A training in one line; `demos` are the numbers of those trained on and held out."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    is_gpu = device.type == "cuda"
    on = torch.cuda.get_device_name(device) if is_gpu else f"{torch.get_num_threads()} threads"
    held_out = f" ({demos[1]} held out)" if demos[1] else ""
    return (
        f"{device}, {on}; parameters: {trained / 1e6:.2f} M trained, {frozen / 1e6:.2f} M frozen in the "
        f"encoder; {windows} windows of {demos[0]} demos{held_out}; tensorboard --logdir {out}"
    )


def foreign_frames(encoder: EncoderOptions, demos: Demos) -> str | None:
    """In one line, that an encoder has never seen such frames; None where nothing speaks against it."""
    name = encoder.name
    if name not in EMBEDDED or encoder.checkpoint is not None or encoder.target is not None:
        return None
    foreign = [source.store for source in demos.sources if not _is_ours(source.store.attributes)]
    if not foreign:
        return None
    return (
        f"encoder {name} was pre-trained on frames of our own simulator alone, and {foreign[0]} has others: "
        "encoder=base (MVP, downloaded) or encoder=timm knows more of the world"
    )


def _is_ours(attributes: Mapping[str, Any]) -> bool:
    """Whether the demos of a store with these attributes were recorded in the simulated cube-pick scene."""
    env = attributes.get("record", {}).get("env") or {}
    return str(env.get("_target_")).startswith(_OUR_SIMULATOR)


def window_images(demos: Demos, n_obs_steps: int) -> dict[str, np.ndarray]:
    """Camera -> uint8 (H, n W, 3): frames of the window that ends in the middle of the first demo."""
    source = demos.sources[0]
    episode = source.store.episode(source.ids[0])
    steps, _ = history_window(episode.length // 2, n_obs_steps)
    chosen = steps[np.linspace(0, len(steps) - 1, min(_SHOWN, len(steps))).astype(int)]
    return {
        camera: np.concatenate([episode.images(camera, int(step)) for step in chosen], axis=1)
        for camera in demos.spec.cameras
    }
