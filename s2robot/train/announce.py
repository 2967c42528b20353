"""What a training says of itself before its first step, and shows of its demos in TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from s2robot.data.windows import history_window
from s2robot.train.demos import Demos

_SHOWN = 4  # frames of a window


def announcement(
    device: torch.device, model: nn.Module, frozen: str, windows: int, demos: Sequence[int], out: Path
) -> str:
    """A training in one line.

    Args:
        frozen: of the encoder, in words.
        demos: the numbers of those trained on and held out.
    """
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    is_gpu = device.type == "cuda"
    on = torch.cuda.get_device_name(device) if is_gpu else f"{torch.get_num_threads()} threads"
    held_out = f" ({demos[1]} held out)" if demos[1] else ""
    return (
        f"{device}, {on}; parameters: {trained / 1e6:.2f} M trained, {frozen}; "
        f"{windows} windows of {demos[0]} demos{held_out}; tensorboard --logdir {out}"
    )


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
