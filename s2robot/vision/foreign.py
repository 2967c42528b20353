"""Encoders and where frames are from: which is the default, and which knows our own simulator alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from s2robot.config.compose import compose
from s2robot.core.errors import UserError
from s2robot.data.origin import is_simulated
from s2robot.data.store import DemoStore
from s2robot.vision.encoders.mvp import EMBEDDED
from s2robot.vision.encoders.options import EncoderOptions

_OUR_SIMULATOR = ("envs.cube_pick.", "envs.realtime.")
_OF_REAL = "dinov2-small"  # trained on real images
_CHOOSE = ("encoder", "encoder.name", "encoder.architecture", "encoder.checkpoint", "encoder._target_")


def default_encoder(
    encoder: EncoderOptions, demos: str | Sequence[str], overrides: Sequence[str]
) -> EncoderOptions:
    """The encoder of a command; where its overrides choose none, the one for where the demos are from.

    Demos of a simulation keep the default of the YAML; those of a robot, and imported ones, get
    `dinov2-small`, under the overrides of its options. Where demos cannot be opened, nothing is changed: the
    command says why.
    """
    named = [(text.lstrip("+").partition("=")[0], text) for text in overrides]
    if any(name in _CHOOSE for name, _ in named):
        return encoder
    stores = [demos] if isinstance(demos, str) else demos
    try:
        if all(is_simulated(DemoStore.open(store)) for store in stores):
            return encoder
    except UserError:
        return encoder
    own = [text for name, text in named if name.startswith("encoder.")]
    return EncoderOptions.of(compose("encode", ["demos=unused", f"encoder={_OF_REAL}", *own]).encoder)


def foreign_frames(encoder: EncoderOptions | str, env: Mapping[str, Any] | None, whose: object) -> str | None:
    """That an encoder has never seen such frames; None where nothing speaks against it.

    Args:
        env: the section of the environment or robot they come from; None where there is none.
        whose: names them: a store, a robot.
    """
    name = encoder if isinstance(encoder, str) else encoder.name
    own = isinstance(encoder, str) or (encoder.checkpoint is None and encoder.target is None)
    if name not in EMBEDDED or not own or str((env or {}).get("_target_")).startswith(_OUR_SIMULATOR):
        return None
    return (
        f"encoder {name} was pre-trained on frames of our own simulator alone, and {whose} has others: "
        f"encoder={_OF_REAL} was trained on real images (docs/encoders.md has more)"
    )
