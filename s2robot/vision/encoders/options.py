"""The options of an encoder: a file in `configs/encoder/`, checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from annotated_types import Len
from omegaconf import OmegaConf
from pydantic import model_validator

from s2robot.config.options import Component, Count, Natural, read_options, shown
from s2robot.core.errors import UserError, unknown
from s2robot.vision.encoders.engine import Engine
from s2robot.vision.fit import DEFAULT_FIT, Box, Fit, check_box

Sizes = Annotated[tuple[Count, ...], Len(1)]
"""Image sizes of S², the short side of each scale (px)."""

Grid = tuple[Count, Count]
"""Rows and columns of patches."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class EncoderOptions:
    """Which encoder, at which image sizes.

    Attributes:
        name: see `registry.load_encoder`; with a `target` of your own, what results call it (default: the
            target).
        sizes: image sizes of S² (px); one of them is a plain single-scale encoder.
        architecture: with `checkpoint`, the architecture of the file's weights.
        checkpoint: a file of weights, instead of those that belong to the name.
        resize_to: the scale to whose grid of patches all are resized: 0, the first one; -1, the last one, the
            finest. Or rows and columns of patches.
        fit: how frames that are not square become so, see `s2robot.vision.fit`. A section of them, one a
            camera, is also understood; its `others` is of those that it does not name.
        camera_fit: of single cameras, by their names, where it is another one.
        crop: of single cameras, the part of their frames that is encoded; None: all of every camera's.
        engine: what computes the features, see `FeatureExtractor`.
        target: `_target_`, any callable that returns an nn.Module, and its arguments. In YAML they stand
            beside the other options: what is none of these fields is an argument.
        mean, std: of a target's normalisation; None: the module takes images in [0, 1].
        prefix_tokens: of a target's tokens, how many come before the patches; None: found by a trial.
    """

    name: str
    sizes: Sizes
    architecture: str | None = None
    checkpoint: str | None = None
    resize_to: int | Grid = 0
    fit: Fit = DEFAULT_FIT
    camera_fit: Mapping[str, Fit] = field(default_factory=dict)
    crop: Mapping[str, Box] | None = None
    engine: Engine = "torch"
    target: Component | None = None
    mean: Colour | None = None
    std: Colour | None = None
    prefix_tokens: Natural | None = None

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> EncoderOptions:
        """From a plain section: of a composed configuration, or as `to_plain` wrote it into a file.

        Raises UserError where a value does not fit.
        """
        return read_options(_Section, OmegaConf.create({"encoder": section})).encoder

    def check_cameras(self, names: Collection[str]) -> None:
        """Raises UserError where a camera with a fit or a crop of its own is none of these."""
        for option, cameras in (("fit", self.camera_fit), ("crop", self.crop or ())):
            for camera in cameras:
                if camera not in names:
                    raise unknown(f"camera of encoder.{option}", camera, names)

    def __post_init__(self) -> None:
        for box in (self.crop or {}).values():
            check_box(box)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, section: Any) -> Any:
        return _gathered(section)


@dataclass(frozen=True)
class _Section:
    encoder: EncoderOptions


def _gathered(section: Any) -> Any:
    """The fields of EncoderOptions, with `_target_` and its arguments gathered in `target`."""
    if not isinstance(section, dict):
        return section
    names = {f.name for f in fields(EncoderOptions)}
    own: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in section.items() if k in names
    }
    arguments = {k: v for k, v in section.items() if k not in names}
    if arguments and "_target_" not in arguments:
        raise unknown("option of encoder", next(iter(arguments)), sorted(names))
    if arguments.get("_target_") is not None:
        own["target"] = arguments
    if isinstance(own.get("fit"), dict):
        own["camera_fit"] = own["fit"]
        own["fit"] = own["camera_fit"].pop("others", DEFAULT_FIT)
    if not isinstance(own.get("crop"), dict | None):
        given = shown(own["crop"])
        raise UserError(
            f"encoder.crop={given}: expected one a camera, encoder.crop.front=[left,top,right,bottom]"
        )
    if own.get("crop"):
        own["crop"] = {
            name: tuple(box) if isinstance(box, list) else box for name, box in own["crop"].items()
        }
    if own.get("target"):
        own.setdefault("name", own["target"]["_target_"])
    return own
