"""The options of `s2robot train`; defaults and help: `configs/train.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from s2robot.config.checks import check_device, check_folder
from s2robot.config.options import Count, Natural, NonNegative, Positive, ShareBelowOne
from s2robot.core.errors import UserError
from s2robot.data.episode import MARKER
from s2robot.policy.config import PolicyOptions
from s2robot.vision.augment import Augmentation
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.encoders.registry import check_encoder

Collector = Literal["scripted", "person", "intervention", "unknown"]
"""Who collected a demo: an expert, a person, a policy until a person took over; or it does not say."""


@dataclass(frozen=True)
class Filter:
    """Which demos are trained on; None takes all."""

    success: bool | None = None
    operators: tuple[str, ...] | None = None
    collected_by: tuple[Collector, ...] | None = None


@dataclass(frozen=True)
class TrainOptions:
    """Of one training."""

    demos: str | tuple[str, ...]
    out: str
    init: str | None
    init_statistics: Literal["keep", "refit"]
    features: str | None
    filter: Filter
    mask_idle: bool
    cameras: tuple[str, ...] | None
    augment: Augmentation
    encoder: EncoderOptions
    policy: PolicyOptions
    steps: Count
    batch_size: Count
    lr: Positive
    warmup: Natural
    weight_decay: NonNegative
    grad_clip_norm: Positive
    ema_decay: ShareBelowOne
    precision: Literal["fp32", "bf16"] | None
    grad_accum_steps: Count
    device: str | None
    val_fraction: ShareBelowOne
    seed: Natural
    bf16: bool | None
    log_every: Count
    checkpoint_every: Count
    keep_best: bool
    evaluate_every: Natural
    evaluate: tuple[str, ...]
    report: bool
    wandb: str | None
    encode_workers: Natural
    loader_threads: Natural
    in_memory: bool
    threads: Count | None

    @property
    def stores(self) -> tuple[str, ...]:
        """The demo stores, one or several."""
        return (self.demos,) if isinstance(self.demos, str) else self.demos

    def check(self) -> None:
        """Raises UserError for a device, a folder or an encoder that is none."""
        check_encoder(self.encoder)
        if self.device is not None:
            check_device(self.device)
        check_folder(self.out)
        if (Path(self.out) / MARKER).exists():
            raise UserError(f"{self.out} is a demo store: give another out=")
