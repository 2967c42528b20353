"""The features of a LeRobotDataset: which are cameras, which numbers, what their entries are called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CAMERA = "observation.images."
APPLIED, TIME = "s2robot.action_applied", "s2robot.time"
"""Features of our exports that lerobot has no name for."""

BOOKKEEPING = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
"""Columns that lerobot writes by itself."""

Features = Mapping[str, Mapping[str, Any]]

_PICTURES = ("image", "video")
_NUMBERS = ("float", "int", "uint", "bool")
_CHANNELS = {1: "grey", 3: "RGB", 4: "RGBA"}


def camera_feature(camera: str) -> str:
    """The feature that an exported camera becomes; a slash is none that lerobot takes."""
    return CAMERA + camera.replace("/", ".")


def camera_features(features: Features) -> dict[str, str]:
    """Camera -> feature of each that shows colours or grey, by its name without `observation.images.`."""
    found: dict[str, str] = {}
    for feature, about in features.items():
        if about["dtype"] in _PICTURES and not _other_picture(feature, about):
            name = feature.removeprefix(CAMERA)
            found[feature if name in found or (name != feature and name in features) else name] = feature
    return found


@dataclass(frozen=True)
class NumberFeature:
    """Numbers of each step, as an array (T, D) whose T is not known.

    Attributes:
        labels: the names of the D entries.
    """

    labels: tuple[str, ...]
    ndim = 2

    @property
    def shape(self) -> tuple[int, int]:
        """(0, D)."""
        return 0, len(self.labels)


def numbers(features: Features) -> dict[str, NumberFeature]:
    """Feature -> its entries, of all that are numbers and no bookkeeping of lerobot's."""
    return {
        name: NumberFeature(_labels(name, about))
        for name, about in features.items()
        if about["dtype"].startswith(_NUMBERS) and name not in BOOKKEEPING
    }


def camera_shape(feature: Mapping[str, Any]) -> tuple[int, int, int]:
    """(H, W, 3) of its frames as they are imported."""
    height, width, _ = _height_width_channels(feature)
    return height, width, 3


def conversion(feature: Mapping[str, Any]) -> str | None:
    """What importing does to the frames of a camera; None where nothing."""
    channels = _height_width_channels(feature)[2]
    return {1: "grey, now in each of three channels", 4: "RGBA, alpha is left out"}.get(channels)


def describe(name: str, feature: Mapping[str, Any]) -> str:
    """A feature that is left out, in words."""
    other = _other_picture(name, feature) if feature["dtype"] in _PICTURES else None
    return f"{name}, {other or feature['dtype']} {feature['shape']}"


def _labels(name: str, feature: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a feature's entries: a list, lists under keys, a dict name -> index, or missing."""
    size = math.prod(feature["shape"])
    flat = tuple(_flat(feature.get("names")))
    if len(flat) == size and len(set(flat)) == size:
        return flat
    short = name.removeprefix("observation.")
    return tuple(f"{short}[{i}]" for i in range(size)) if size > 1 else (short,)


def _flat(names: Any) -> list[str]:
    if isinstance(names, Mapping):
        if all(isinstance(value, int) for value in names.values()):
            return sorted(names, key=lambda name: names[name])
        return [label for group in names.values() for label in _flat(group)]
    if isinstance(names, list):
        return [label for entry in names for label in _flat(entry)]
    return [] if names is None else [str(names)]


def _other_picture(name: str, feature: Mapping[str, Any]) -> str | None:
    """What pictures show that are neither colours nor grey; None for cameras."""
    about = {**(feature.get("video_info") or {}), **(feature.get("info") or {})}
    if about.get("is_depth_map") or about.get("video.is_depth_map"):
        return "depth"
    shape = feature["shape"]
    if len(shape) not in (2, 3):
        return feature["dtype"]
    channels = _height_width_channels(feature)[2]
    if channels == 1 and "depth" in name.lower():
        return "depth"
    return None if channels in _CHANNELS else f"{feature['dtype']} of {channels} channels"


def _height_width_channels(feature: Mapping[str, Any]) -> tuple[int, int, int]:
    """The shape may be stated channels first, or without channels."""
    shape, names = feature["shape"], feature.get("names")
    if len(shape) == 2:
        return shape[0], shape[1], 1
    first = str(names[0]) if isinstance(names, list) and names else ""
    turned = shape[0] in _CHANNELS and shape[2] not in _CHANNELS
    if first.startswith("channel") or (turned and not first.startswith("height")):
        return shape[1], shape[2], shape[0]
    return shape[0], shape[1], shape[2]
