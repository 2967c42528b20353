"""What a client sends: which keys, of which types and shapes. Read and checked before the policy sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import Observation, RobotSpec
from s2robot.serve.wire import unpack

RESET, EXECUTED = "reset", "actions_executed"
_DEEPEST = 4  # maps within maps of a request


@dataclass(frozen=True)
class Request:
    """One call of `infer`.

    Attributes:
        executed: float32 (n, Da), the actions since the last request; None where it does not say.
        reset: whether a new episode begins with this observation.
    """

    observation: Observation
    executed: np.ndarray | None
    reset: bool


class Contract:
    """Turns the bytes of a request into an observation, or refuses them in one line.

    Args:
        spec: of the robot, with the cameras that the policy sees.
        keys: a client's key -> `images/CAMERA` or `proprio`. Several that lead to `proprio` are joined in
            their order.
        resize: whether frames of another size, but of the same aspect ratio, are taken and resized.

    Raises UserError where `keys` leads to what is not observed, or twice to one image.
    """

    def __init__(self, spec: RobotSpec, keys: Mapping[str, str] | None = None, resize: bool = False) -> None:
        self.spec = spec
        self.keys = dict(keys or {})
        self.resize = resize
        self._aliases: dict[str, list[str]] = {name: [] for name in self.expected()}
        for theirs, ours in self.keys.items():
            if ours not in self._aliases:
                raise unknown(f"observation in keys={{{theirs}: ...}}", ours, self._aliases)
            self._aliases[ours].append(theirs)
        for ours, several in self._aliases.items():
            if ours != "proprio" and len(several) > 1:
                raise UserError(f"keys: {' and '.join(several)} all lead to {ours}: expected one")

    def expected(self) -> dict[str, dict[str, Any]]:
        """Key -> dtype and shape, as the metadata states it."""
        images = {
            f"images/{name}": {"dtype": "uint8", "shape": list(shape)}
            for name, shape in self.spec.cameras.items()
        }
        names = list(self.spec.proprio)
        return images | {"proprio": {"dtype": "float32", "shape": [len(names)], "names": names}}

    def optional(self) -> dict[str, dict[str, Any]]:
        """Likewise, the keys that may be left out; -1 stands for any number."""
        meaning = "the actions since the last request; without it: the first call_every of the last reply"
        return {
            RESET: {"dtype": "bool", "shape": [], "meaning": "an episode begins with this observation"},
            EXECUTED: {"dtype": "float32", "shape": [-1, self.spec.action_dim], "meaning": meaning},
        }

    def read(self, payload: bytes) -> Request:
        """Raises UserError for whatever is missing, of another type or shape, or not finite."""
        message = unpack(payload)
        if not isinstance(message, dict):
            raise UserError(f"a request is a map; this is {_described(message)}")
        sent: dict[str, Any] = {}
        for key, value in _flattened(message, "", _DEEPEST):
            if sent.setdefault(key, value) is not value:
                raise UserError(f"{_short(key)} was sent twice")
        for key in (RESET, EXECUTED):  # a map would vanish among the other keys
            if isinstance(message.get(key), dict):
                raise UserError(f"{key} is a map: expected {self.optional()[key]['dtype']}")
        images = {name: self._image(name, sent) for name in self.spec.cameras}
        observation = {"images": images, "proprio": self._proprio(sent)}
        return Request(observation, self._executed(sent), _truth(sent.get(RESET, False)))

    def _image(self, camera: str, sent: Mapping[str, Any]) -> np.ndarray:
        (key,) = self._source(f"images/{camera}", sent)
        frame, shape = sent[key], tuple(self.spec.cameras[camera])
        problem = f"{_short(key)} is {_described(frame)}: expected uint8 {shape}"
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or not frame.size:
            raise UserError(problem)
        if frame.shape == shape:
            return frame
        height, width, channels = frame.shape
        if channels != shape[2] or height * shape[1] != width * shape[0]:
            raise UserError(problem)
        if not self.resize:
            raise UserError(f"{problem}; a server started with resize=true would resize it")
        return _resized(frame, shape)

    def _proprio(self, sent: Mapping[str, Any]) -> np.ndarray:
        keys = self._source("proprio", sent)
        parts = [np.atleast_1d(_numbers(key, sent[key])) for key in keys]
        sent_as = " and ".join(map(_short, keys))
        if any(part.ndim != 1 for part in parts) or sum(map(len, parts)) != self.spec.proprio_dim:
            shapes, names = " and ".join(str(part.shape) for part in parts), ", ".join(self.spec.proprio)
            raise UserError(f"{sent_as} of shape {shapes}: expected ({self.spec.proprio_dim},): {names}")
        return _finite(sent_as, np.concatenate(parts))

    def _executed(self, sent: Mapping[str, Any]) -> np.ndarray | None:
        if sent.get(EXECUTED) is None:
            return None
        actions = _finite(EXECUTED, _numbers(EXECUTED, sent[EXECUTED]))
        if actions.ndim != 2 or actions.shape[1] != self.spec.action_dim:
            raise UserError(
                f"{EXECUTED} of shape {actions.shape}: expected (n, {self.spec.action_dim}): "
                f"{', '.join(self.spec.action)}"
            )
        return actions

    def _source(self, ours: str, sent: Mapping[str, Any]) -> list[str]:
        """The keys that hold one of our entries: its own, or those that `keys` leads to it."""
        aliases = self._aliases[ours]
        given = [key for key in aliases if key in sent]
        if ours in sent:
            if given:
                raise UserError(f"both {ours} and {given[0]} were sent: expected one of them")
            return [ours]
        if not aliases or len(given) < len(aliases):
            names = " and ".join(key for key in aliases or [ours] if key not in sent)
            has = ", ".join(map(_short, list(sent)[:12]))
            raise UserError(f"{names} missing: the request has {has or 'nothing'}")
        return aliases


def _flattened(message: Mapping[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    """`{"images": {"front": ...}}` as `images/front`."""
    for key, value in message.items():
        if not isinstance(key, str):
            raise UserError(f"key {str(key)[:40]!r} is {type(key).__name__}: expected text")
        if not isinstance(value, dict):
            yield prefix + key, value
        elif depth > 1:
            yield from _flattened(value, f"{prefix}{key}/", depth - 1)
        else:
            raise UserError(f"maps within maps, deeper than {_DEEPEST}")


def _numbers(key: str, value: Any) -> np.ndarray:
    """Float32 of an array, a number or a list of numbers."""
    if isinstance(value, list) and all(isinstance(entry, int | float) for entry in value):
        value = np.array(value, np.float64)
    if isinstance(value, float | int) and not isinstance(value, bool):
        value = np.float64(value)
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind not in "iuf":
        raise UserError(f"{_short(key)} is {_described(value)}: expected an array of numbers")
    with np.errstate(over="ignore"):
        return np.asarray(value).astype(np.float32)


def _finite(what: str, values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise UserError(f"{what} is not finite: entry {int(np.argmin(np.isfinite(values)))}")
    return values


def _truth(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise UserError(f"{RESET} is {_described(value)}: expected true or false")
    return bool(value)


def _resized(frame: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Bicubic, with antialiasing where it becomes smaller."""
    image = torch.from_numpy(frame.transpose(2, 0, 1)[None].astype(np.float32))
    larger = F.interpolate(image, shape[:2], mode="bicubic", antialias=True, align_corners=False)
    return larger[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__


def _short(key: str) -> str:
    return key if len(key) <= 60 else f"{key[:57]}..."
