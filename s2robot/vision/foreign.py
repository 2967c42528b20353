"""Encoders pre-trained on our own simulator alone: said in a line where frames are from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s2robot.vision.encoders.mvp import EMBEDDED
from s2robot.vision.encoders.options import EncoderOptions

_OUR_SIMULATOR = ("envs.cube_pick.", "envs.realtime.")


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
        "encoder=dinov2-small was trained on real images (docs/encoders.md has more)"
    )
