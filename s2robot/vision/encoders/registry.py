"""Encoders by name: each family of names has one maker, and `encoder._target_` any callable.

A family is a function `make(name, checkpoint) -> Encoder` in a file of its own and an entry in `FAMILIES`.

An encoder of your own needs none of that. `encoder._target_`, on the command line or in a file in
`configs/encoder/`, names any callable that returns an nn.Module; the options beside it are its arguments:

    # FOLDER/encoder/mine.yaml, for --config-dir FOLDER
    _target_: my_package.make_model     # -> nn.Module: float (B, 3, S, S) -> (B, P + N, C) or (B, C, h, w)
    weights: runs/mine.pt               # an argument of make_model
    sizes: [224]                        # image sizes (px); S is the smallest
    mean: [0.485, 0.456, 0.406]         # optional; without mean and std the module takes images in [0, 1]
    std: [0.229, 0.224, 0.225]

It is frozen, in eval mode, without gradients. P and the grid are found by a trial run (or given as
`prefix_tokens`). Its identity is the hash of its weights, of the source of the callable's module and of its
arguments.

A checkpoint records the `_target_`, and runs it only where a file of your own (in `--config-dir` or
`configs/encoder/`) names it too, see `s2robot.config.trust`: a file from elsewhere runs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from s2robot.core.errors import UserError, unknown
from s2robot.vision.encoders.blind import NAME as BLIND
from s2robot.vision.encoders.blind import BlindEncoder
from s2robot.vision.encoders.callable_encoder import make_callable_encoder
from s2robot.vision.encoders.encoder import Encoder
from s2robot.vision.encoders.mvp import (
    ARCHITECTURES,
    EMBEDDED,
    load_mvp,
    load_mvp_file,
    random_mvp,
    weights_missing,
)
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.encoders.pretrained import PRETRAINED, load_pretrained
from s2robot.vision.encoders.published import PUBLISHED
from s2robot.vision.encoders.state import check_is_there
from s2robot.vision.encoders.timm_encoder import load_timm

_FILES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class Family:
    """Encoders whose names are alike.

    Attributes:
        names: as errors list them.
        owns: whether a name is one of them.
        make: from the name and a file of weights (None: its own). Raises UserError.
        takes_checkpoint: whether weights from a file make sense.
    """

    names: tuple[str, ...]
    owns: Callable[[str], bool]
    make: Callable[[str, str | Path | None], Encoder]
    takes_checkpoint: bool = True


def _is_timm(name: str) -> bool:
    return name.removeprefix("random-").startswith("timm:")


def _is_path(name: str) -> bool:
    """Whether that is a file, there or not: timm:hf-hub:OWNER/NAME is none."""
    return not _is_timm(name) and (os.sep in name or Path(name).suffix in _FILES)


FAMILIES = (
    Family((), _is_path, lambda name, _: load_mvp_file(Path(name), name), takes_checkpoint=False),
    Family((BLIND,), lambda name: name == BLIND, lambda *_: BlindEncoder(), takes_checkpoint=False),
    Family(("random-timm:NAME",), lambda n: n.startswith("random-timm:"), load_timm, takes_checkpoint=False),
    Family(("timm:NAME",), _is_timm, load_timm),
    Family(
        tuple(f"random-{architecture}" for architecture in ARCHITECTURES),
        lambda name: name.startswith("random-"),
        lambda name, _: random_mvp(name),
        takes_checkpoint=False,
    ),
    Family(tuple(PRETRAINED), lambda name: name in PRETRAINED, load_pretrained),
    Family((*EMBEDDED, *PUBLISHED), lambda name: name in (*EMBEDDED, *PUBLISHED, *ARCHITECTURES), load_mvp),
)
"""The first that owns a name makes it."""


def load_encoder(
    name_or_path: str | Path = "mvp-tiny-sim",
    checkpoint: str | Path | None = None,
    image_size: int | None = None,
) -> Encoder:
    """The frozen encoder of that name: uint8 (B, H, W, 3) or float (B, 3, H, W) to tokens (B, 1 + N, C).

    Args:
        name_or_path: one of
            - an embedded encoder (`mvp-tiny-sim`, `mvp-tiny-rooms`);
            - a published one (`mvp-base-egosoup`, see `published.py`): downloaded at its first use;
            - one trained on real images (`dinov2-small`, `efficientnet-lite0`, see `pretrained.py`): from
              Hugging Face's cache, a file, an installed package, or the hub;
            - a file that `s2robot pretrain` wrote or MVP published, whose architecture its shapes tell: a
              `Path`, or a string that is none of the names here;
            - with `checkpoint`, an architecture (`tiny`, `small`, `base`, `large`);
            - `random-ARCHITECTURE`: a frozen random initialisation (seed 0), the control of every probe; its
              last bits depend on the processor's instruction set;
            - `blind`: tokens of zeros, the control without vision;
            - `timm:NAME`, any model of timm that gives a square grid of features, with its weights, and
              `random-timm:NAME`: see `timm_encoder.py`.
        checkpoint: a local file to take the weights from: safetensors, or a checkpoint of PyTorch's.
        image_size: side of the images (px); default the side it was trained at (256 for `mvp-large-egosoup`,
            which the S² paper ran at 224: Table 10).

    Raises:
        UserError: unknown name, missing, damaged or malicious file, weights of another architecture, a
            published encoder that cannot be fetched, an image size it cannot run at.

    Examples:
        >>> encoder = s2robot.load_encoder("mvp-tiny-sim")
        >>> encoder(torch.zeros(2, 224, 224, 3, dtype=torch.uint8)).shape
        torch.Size([2, 197, 192])
    """
    encoder = _load(name_or_path, checkpoint)
    if image_size is not None:
        encoder.set_image_size(image_size)
    return encoder


def make_encoder(options: EncoderOptions) -> Encoder:
    """The encoder that options name. Raises UserError as `load_encoder` and `make_callable_encoder`."""
    if options.target is not None:
        return make_callable_encoder(options)
    return load_encoder(_named(options), options.checkpoint)


def check_encoder(options: EncoderOptions) -> None:
    """Raises UserError where `make_encoder` would, as far as that shows without reading weights."""
    if options.target is not None:
        return
    name, checkpoint = _named(options), options.checkpoint
    family = _family(name, checkpoint)
    file = checkpoint or (name if family is FAMILIES[0] else None)
    if file is not None:
        check_is_there(Path(file).expanduser())
    elif name in ARCHITECTURES:
        raise weights_missing(name)


def _named(options: EncoderOptions) -> str:
    with_weights = options.checkpoint is not None and options.architecture is not None
    return str(options.architecture) if with_weights else options.name


def _load(name_or_path: str | Path, checkpoint: str | Path | None) -> Encoder:
    return _family(name_or_path, checkpoint).make(str(name_or_path), checkpoint)


def _family(name_or_path: str | Path, checkpoint: str | Path | None) -> Family:
    """The family that makes it. Raises UserError for an unknown name, and weights beside its own."""
    name = str(name_or_path)
    family = FAMILIES[0] if isinstance(name_or_path, Path) else _family_of(name)
    if family is None:
        if checkpoint is None and Path(name).is_file():
            return FAMILIES[0]
        names = [name for family in FAMILIES for name in family.names]
        known = names if checkpoint is None else [*ARCHITECTURES, *EMBEDDED, *PUBLISHED, *PRETRAINED]
        raise unknown("encoder" if checkpoint is None else "architecture", name, known)
    if checkpoint is not None and not family.takes_checkpoint:
        if family is FAMILIES[0]:
            raise UserError(f"{name} and checkpoint={checkpoint}: one file was expected")
        raise UserError(f"{name} has weights of its own: give it no checkpoint (here {checkpoint})")
    return family


def _family_of(name: str) -> Family | None:
    return next((family for family in FAMILIES if family.owns(name)), None)
