"""LeRobotDataset v3.0, written and read by lerobot itself, in an environment of its own.

observation.images.<camera>   PNG (lossless) or video (AV1, lossy)
observation.state, action     float32: proprio and action
s2robot.action_applied        float32; were its name `action...`, policies would predict it too
s2robot.time                  float64, s
meta/s2robot.json             the sidecar
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import RobotSpec
from s2robot.data.formats.transfer import (
    EpisodeMeta,
    Incoming,
    IncomingEpisode,
    Notes,
    Outgoing,
    Sidecar,
    nominal_time,
)
from s2robot.data.frame_error import FrameError
from s2robot.data.store import Episode
from s2robot.integrations.lerobot.bridge import Message
from s2robot.integrations.lerobot.environment import EnvironmentOptions
from s2robot.integrations.lerobot.process import Bridge
from s2robot.utils.atomic_io import write_json

SIDECAR = Path("meta", "s2robot.json")
IMAGES = ("image", "video")


@dataclass(frozen=True)
class ReadOptions:
    """Of an import."""

    lerobot: EnvironmentOptions


@dataclass(frozen=True)
class WriteOptions:
    """Of an export; as `write` takes them."""

    lerobot: EnvironmentOptions
    images: Literal["image", "video"] = "image"
    instruction: str = ""


class LeRobotFormat:
    """LeRobotDataset v3.0, read and written by lerobot itself."""

    def read(self, source: Path, options: ReadOptions) -> Incoming:
        return read(source, find_python=options.lerobot.find_python)

    def write(self, outgoing: Outgoing, target: Path, options: WriteOptions) -> Notes:
        find_python = options.lerobot.find_python
        return write(
            outgoing, target, find_python=find_python, images=options.images, instruction=options.instruction
        )


_CAMERA = "observation.images."
_SERIES = {
    "proprio": "observation.state",
    "action": "action",
    "action_applied": "s2robot.action_applied",
    "time": "s2robot.time",
}
_OF_LEROBOT = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
_COMPARED = 32  # frames that are read back after an export


def write(
    outgoing: Outgoing, target: Path, *, find_python: Callable[[], Path], images: str, instruction: str
) -> Notes:
    """Writes a dataset, then reads some frames back and compares them.

    Args:
        find_python: gives the one that has lerobot; perhaps it makes its environment first.
        images: one of `IMAGES`.
        instruction: text for episodes that have no attribute `instruction`.
    """
    if images not in IMAGES:
        raise unknown("value of images", images, IMAGES)
    python, fps = find_python(), max(1, round(outgoing.spec.rate))
    with Bridge(python, "write", target) as bridge:
        bridge.send({"fps": fps, "features": _features(outgoing.spec, images)})
        for episode in outgoing.episodes:
            arrays = {_CAMERA + name: episode.images(name) for name in outgoing.spec.cameras}
            arrays |= {name: getattr(episode, ours) for ours, name in _SERIES.items()}
            arrays["s2robot.time"] = arrays["s2robot.time"][:, None]
            bridge.ask({"task": str(episode.attributes.get("instruction", instruction))}, arrays)
        bridge.end()
    write_json(target / SIDECAR, outgoing.sidecar().to_dict())
    notes = Notes(lost=outgoing.masked_steps())
    notes.kept.append("action_applied and time as s2robot.action_applied and s2robot.time")
    notes.kept.append(f"rate, ids and attributes in {SIDECAR}")
    if fps != outgoing.spec.rate:
        notes.lost.append(f"rate: lerobot counts whole frames, {fps} a second, not {outgoing.spec.rate}")
    for camera, error in _compare(outgoing, target, python).items():
        lossless = error.psnr_db is None
        (notes.kept if lossless else notes.lost).append(f"frames of {camera} as {images}, {error}")
    return notes


def _features(spec: RobotSpec, images: str) -> dict[str, Any]:
    cameras = {
        _CAMERA + name: {"dtype": images, "shape": shape, "names": ["height", "width", "channels"]}
        for name, shape in spec.cameras.items()
    }
    labels = {"proprio": spec.proprio, "action": spec.action, "action_applied": spec.action, "time": ("s",)}
    series = {
        name: {
            "dtype": "float64" if ours == "time" else "float32",
            "shape": [len(labels[ours])],
            "names": list(labels[ours]),
        }
        for ours, name in _SERIES.items()
    }
    return cameras | series


def _compare(outgoing: Outgoing, folder: Path, python: Path) -> dict[str, FrameError]:
    """Camera -> how far some of its frames, spread over all episodes, are from what they were."""
    lengths = outgoing.lengths()
    starts = np.cumsum([0, *lengths])
    steps = np.unique(np.linspace(0, starts[-1] - 1, _COMPARED).astype(int))
    of_episode = np.searchsorted(starts, steps, side="right") - 1
    episodes = outgoing.episodes
    with Bridge(python, "frames", folder) as bridge:
        _, stored = bridge.ask({"steps": steps.tolist()})
    errors = {}
    for camera in outgoing.spec.cameras:
        pairs = zip(of_episode, steps, strict=True)
        original = np.stack([episodes[i].images(camera, int(step - starts[i])) for i, step in pairs])
        errors[camera] = FrameError.between(original, stored[_CAMERA + camera])
    return errors


def read(source: Path, *, find_python: Callable[[], Path]) -> Incoming:
    """What a dataset holds; an episode at a time comes from lerobot, whose Python `find_python` gives.

    Raises UserError where there is no dataset, lerobot refuses it, or it has no state or action.
    """
    if not (source / "meta" / "info.json").is_file():
        raise UserError(f"{source} is no LeRobotDataset: it has no meta/info.json")
    bridge = Bridge(find_python(), "read", source)
    info, _ = bridge.receive()
    features: dict[str, Any] = info["features"]
    for name in ("observation.state", "action"):
        if name not in features:
            raise UserError(f"{source} has no {name}; it has {', '.join(features)}")
    cameras = {n.removeprefix(_CAMERA): n for n, f in features.items() if f["dtype"] in IMAGES}
    notes = _losses(features, cameras)
    sidecar = _sidecar(source) or _without_sidecar(features, cameras, info)
    for camera in sidecar.spec.cameras:
        if camera not in cameras:
            raise UserError(f"{source} has no frames of {camera}, which {SIDECAR} names")
    metas = sidecar.of_episodes(info["episodes"], notes)
    episodes = _episodes(bridge, sidecar.spec, cameras, metas, notes)
    return Incoming(sidecar.spec, sidecar.attributes, len(metas), episodes, notes)


def _sidecar(source: Path) -> Sidecar | None:
    path = source / SIDECAR
    if not path.is_file():
        return None
    try:
        return Sidecar.from_dict(json.loads(path.read_text()), str(path))
    except ValueError as error:
        raise UserError(f"{path} is no JSON: {error}") from error


def _without_sidecar(features: dict[str, Any], cameras: dict[str, str], info: dict[str, Any]) -> Sidecar:
    spec = RobotSpec(
        cameras={name: _height_width(features[feature]) for name, feature in cameras.items()},
        proprio=_labels("state", features["observation.state"]),
        action=_labels("action", features["action"]),
        action_space="unknown",
        rate=float(info["fps"]),
    )
    return Sidecar(spec, {}, [(None, {})] * info["episodes"])


def _height_width(feature: dict[str, Any]) -> tuple[int, int, int]:
    """(H, W, 3) of a camera, whose shape may be stated channels first."""
    shape, names = feature["shape"], feature.get("names") or [""]
    height, width = shape[1:] if str(names[0]).startswith("channel") else shape[:2]
    return height, width, 3


def _labels(name: str, feature: dict[str, Any]) -> tuple[str, ...]:
    """The names of a feature's entries, which are a list, or lists under a key, or missing."""
    names = feature.get("names")
    flat = [n for group in names.values() for n in group] if isinstance(names, dict) else names or []
    size = int(np.prod(feature["shape"]))
    return tuple(map(str, flat)) if len(flat) == size else tuple(f"{name}[{i}]" for i in range(size))


def _losses(features: dict[str, Any], cameras: dict[str, str]) -> Notes:
    held = {*cameras.values(), *_SERIES.values(), *_OF_LEROBOT}
    notes = Notes(
        lost=[f"{name}, {f['dtype']} {f['shape']}" for name, f in features.items() if name not in held]
    )
    if _SERIES["time"] not in features:
        notes.lost.append("measured times: the dataset has none, those here are step / rate")
    if _SERIES["action_applied"] not in features:
        notes.lost.append("action_applied: the dataset does not say, taken to be the action")
    notes.lost += [
        f"{name}: {features[name]['dtype']} rounded to float32"
        for name in ("observation.state", "action")
        if features[name]["dtype"] != "float32"
    ]
    if any(features[name]["dtype"] == "video" for name in cameras.values()):
        notes.lost.append("frames: what the video's codec had lost already")
    return notes


def _episodes(
    bridge: Bridge, spec: RobotSpec, cameras: dict[str, str], metas: list[EpisodeMeta], notes: Notes
) -> Iterator[IncomingEpisode]:
    with bridge:
        for number, (episode_id, attributes) in enumerate(metas):
            load = partial(_episode, bridge.receive(), spec, cameras, attributes if episode_id else None)
            yield IncomingEpisode(episode_id or f"episode {number}", load, episode_id)


def _episode(
    message: Message, spec: RobotSpec, cameras: dict[str, str], attributes: dict[str, Any] | None
) -> Episode:
    head, arrays = message
    action = _flat(arrays["action"])
    applied, time = arrays.get(_SERIES["action_applied"]), arrays.get(_SERIES["time"])
    return Episode(
        images={camera: arrays[cameras[camera]] for camera in spec.cameras},
        proprio=_flat(arrays["observation.state"]),
        action=action,
        action_applied=action.copy() if applied is None else _flat(applied),
        time=nominal_time(len(action), spec.rate) if time is None else time.reshape(-1),
        attributes={"instruction": ", ".join(head["tasks"])} if attributes is None else attributes,
    )


def _flat(array: np.ndarray) -> np.ndarray:
    """float32 (T, D); lerobot gives what has one entry as (T,)."""
    return array.reshape(len(array), -1).astype(np.float32)
