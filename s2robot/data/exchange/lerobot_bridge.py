"""What runs in lerobot's own environment: `python -I lerobot_bridge.py write|read|frames FOLDER`.

It shares nothing with s2robot but `send` and `receive`: lines of JSON, each followed by raw arrays, over its
standard input and output. Whatever lerobot prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

Message = tuple[dict[str, Any], dict[str, np.ndarray]]

_REPO = "s2robot/local"  # lerobot wants a name for the hub, which is never asked


def send(stream: IO[bytes], head: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Writes one message: plain JSON and arrays of numbers."""
    arrays = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    shapes = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
    stream.write(json.dumps({"head": head, "arrays": shapes}).encode() + b"\n")
    for array in arrays.values():
        stream.write(array.reshape(-1).view(np.uint8).data)
    stream.flush()


def receive(stream: IO[bytes]) -> Message | None:
    """Reads one message; None at the end of the stream. Raises EOFError where it ends inside a message."""
    line = stream.readline()
    if not line:
        return None
    message = json.loads(line)
    arrays = {name: _read(stream, np.dtype(d), shape) for name, (d, shape) in message["arrays"].items()}
    return message["head"], arrays


def _read(stream: IO[bytes], dtype: np.dtype, shape: list[int]) -> np.ndarray:
    data = bytearray(dtype.itemsize * int(np.prod(shape)))
    view = memoryview(data)
    while view:
        count = stream.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise EOFError("the other side ended inside a message")
        view = view[count:]
    return np.frombuffer(data, dtype).reshape(shape)


def write(folder: Path, source: IO[bytes], reply: IO[bytes]) -> None:
    """Makes a dataset: a head with `fps` and `features`, then an episode a message with its `task`."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset  # type: ignore[import-not-found]

    first = receive(source)
    assert first is not None
    features = {name: {**f, "shape": tuple(f["shape"])} for name, f in first[0]["features"].items()}
    dataset = LeRobotDataset.create(_REPO, first[0]["fps"], features, root=folder)
    while message := receive(source):
        head, arrays = message
        for step in range(len(next(iter(arrays.values())))):
            dataset.add_frame({name: array[step] for name, array in arrays.items()} | {"task": head["task"]})
        dataset.save_episode(parallel_encoding=False)
        send(reply, {})
    dataset.finalize()
    send(reply, {})


def read(folder: Path, source: IO[bytes], reply: IO[bytes]) -> None:
    """Tells `fps`, `features` and the number of `episodes`, then gives an episode a message."""
    dataset = _open(folder)
    features = {name: {**f, "shape": list(f["shape"])} for name, f in dataset.meta.features.items()}
    send(reply, {"fps": dataset.fps, "features": features, "episodes": dataset.num_episodes})
    cameras = list(dataset.meta.camera_keys)
    series = [
        n for n, f in features.items() if n not in cameras and not f["dtype"].startswith(("str", "lang"))
    ]
    table = dataset.hf_dataset.select_columns(series).with_format("numpy")
    for index in range(dataset.num_episodes):
        episode = dataset.meta.episodes[index]
        steps = range(episode["dataset_from_index"], episode["dataset_to_index"])
        arrays = {name: np.asarray(column) for name, column in table[steps.start : steps.stop].items()}
        send(reply, {"tasks": list(episode["tasks"])}, {**arrays, **_frames(dataset, cameras, steps)})


def frames(folder: Path, source: IO[bytes], reply: IO[bytes]) -> None:
    """Answers each list of `steps` (counted over all episodes) with their frames."""
    dataset = _open(folder)
    while message := receive(source):
        send(reply, {}, _frames(dataset, list(dataset.meta.camera_keys), message[0]["steps"]))


def _open(folder: Path) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset  # type: ignore[import-not-found]

    return LeRobotDataset(_REPO, root=folder)


def _frames(dataset: Any, cameras: list[str], steps: Any) -> dict[str, np.ndarray]:
    """Camera -> uint8 (n, H, W, 3), as lerobot gives them one by one."""
    found: dict[str, list[np.ndarray]] = {camera: [] for camera in cameras}
    for step in steps:
        item = dataset[step]
        for camera in cameras:
            found[camera].append((item[camera].permute(1, 2, 0) * 255).round().byte().numpy())
    return {camera: np.stack(pictures) for camera, pictures in found.items()}


def main(action: str, folder: str) -> None:
    reply = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    {"write": write, "read": read, "frames": frames}[action](Path(folder), sys.stdin.buffer, reply)


if __name__ == "__main__":
    main(*sys.argv[1:])
