"""What runs in lerobot's own environment: `python -I bridge.py ACTION FOLDER`.

It shares nothing with s2robot but `send` and `receive`: lines of JSON, each followed by raw arrays, over its
standard input and output. Whatever lerobot prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

Message = tuple[dict[str, Any], dict[str, np.ndarray]]

_REPO = "s2robot/local"  # lerobot requires a name on the hub, which is not used


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


def windows(folder: Path, source: IO[bytes], reply: IO[bytes]) -> None:
    """Answers each list of `steps` with the seconds that it took to read a window at each of them.

    A window is `size` frames and states up to the step and `size` actions from it on; the first message says
    the size.
    """
    import torch  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    first = receive(source)
    assert first is not None
    size = first[0]["size"]
    plain = _open(folder)
    observed, acted = [[i / plain.fps for i in r] for r in (range(1 - size, 1), range(size))]
    inputs = dict.fromkeys([*plain.meta.camera_keys, "observation.state"], observed)
    dataset = _open(folder, delta_timestamps={**inputs, "action": acted}, return_uint8=True)
    while message := receive(source):
        began = time.perf_counter()
        for step in message[0]["steps"]:
            dataset[step]
        send(reply, {"seconds": time.perf_counter() - began})


def robot(folder: Path, source: IO[bytes], reply: IO[bytes]) -> None:
    """Connects a robot and sends the names of its numbers, then answers messages until the stream ends.

    The first message has `type`, `options` of its config and folders of `plugins`. Then a message with an
    `action` sends it and is answered by what was `sent`; any other by the numbers that are `observed`. Frames
    are left out. Every failure is an `error`, in one line.
    """
    first = receive(source)
    assert first is not None
    try:
        device = _connected(**first[0])
    except Exception as error:  # whatever a driver raises
        send(reply, {"error": _one_line(error)})
        return
    send(reply, {"observed": _numbers(device.observation_features), "action": list(device.action_features)})
    try:
        while message := receive(source):
            send(reply, _answer(device, message[0]))
    finally:
        device.disconnect()


def _connected(type: str, options: dict[str, Any], plugins: list[str]) -> Any:
    sys.path[:0] = plugins
    import draccus  # type: ignore[import-not-found]
    import lerobot.robots as robots  # type: ignore[import-not-found]
    from lerobot.utils.import_utils import register_third_party_plugins  # type: ignore[import-not-found]

    for module in pkgutil.iter_modules(robots.__path__):  # each makes its type known
        if module.ispkg:
            with suppress(ImportError):  # an extra that this robot may not need
                importlib.import_module(f"{robots.__name__}.{module.name}")
    register_third_party_plugins()
    known = robots.RobotConfig.get_known_choices()
    if type not in known:
        raise ValueError(f"unknown robot '{type}': lerobot has {', '.join(sorted(known))}")
    device = robots.make_robot_from_config(draccus.decode(known[type], options))
    device.connect(calibrate=False)  # which would ask questions at a terminal
    if not device.is_calibrated:
        device.disconnect()
        raise ValueError(f"{type} is not calibrated: run `lerobot-calibrate` with the same id")
    return device


def _answer(device: Any, message: Mapping[str, Any]) -> dict[str, Any]:
    try:
        if "action" in message:
            sent = device.send_action(message["action"])
            return {"sent": {name: float(value) for name, value in sent.items()}}
        observed = device.get_observation()
        return {"observed": {name: float(observed[name]) for name in _numbers(device.observation_features)}}
    except Exception as error:
        return {"error": _one_line(error)}


def _numbers(features: Mapping[str, Any]) -> list[str]:
    return [name for name, kind in features.items() if kind is float]


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _open(folder: Path, **options: Any) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset  # type: ignore[import-not-found]

    return LeRobotDataset(_REPO, root=folder, **options)


def main(action: str, folder: str) -> None:
    reply = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    actions = (windows, robot)
    {a.__name__: a for a in actions}[action](Path(folder), sys.stdin.buffer, reply)


if __name__ == "__main__":
    main(*sys.argv[1:])
