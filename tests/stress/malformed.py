"""Messages that no client would send on purpose, for `tests.stress.fuzz` and the tests.

Each of `MESSAGES` takes a generator and a well-formed request (as a map) and gives the bytes or the text of a
message; `socket_attack` gives what is written to the bare socket.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from s2robot.serve.wire import pack

Maker = Callable[[np.random.Generator, Mapping[str, Any]], bytes | str]

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_EDGE = 200  # bytes at either end of a message, where its keys are


def noise(rng: np.random.Generator, request: Mapping[str, Any]) -> bytes:
    """Random bytes."""
    return rng.bytes(int(rng.integers(0, 300)))


def flipped(rng: np.random.Generator, request: Mapping[str, Any]) -> bytes:
    """A request with some bits changed, mostly outside the frames."""
    data = bytearray(pack(request))
    for _ in range(int(rng.integers(1, 6))):
        place = int(rng.integers(len(data))) if rng.random() < 0.2 else _near_an_end(rng, len(data))
        data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


def cut(rng: np.random.Generator, request: Mapping[str, Any]) -> bytes:
    """A request that ends too early, or has something behind it."""
    data = pack(request)
    if rng.random() < 0.2:
        return data + rng.bytes(int(rng.integers(1, 50)))
    return data[: int(rng.integers(len(data)))]


def spliced(rng: np.random.Generator, request: Mapping[str, Any]) -> bytes:
    """A request with a stretch of it elsewhere."""
    data = pack(request)
    a, b, c = (_near_an_end(rng, len(data)) for _ in range(3))
    return data[:a] + data[min(b, c) : min(b, c) + 100] + data[a:]


def wrong_value(rng: np.random.Generator, request: Mapping[str, Any]) -> bytes:
    """A request in which an entry is something else."""
    changed = dict(request)
    key = str(rng.choice([*request, "reset", "actions_executed", "images", "more"]))
    changed[key] = _hostile(rng)
    return _packed(changed)


def wrong_keys(rng: np.random.Generator, request: Mapping[str, Any]) -> bytes:
    """A request that lacks an entry, or has it under a name of another kind."""
    changed: dict[Any, Any] = dict(request)
    value = changed.pop(str(rng.choice(list(request))))
    if rng.random() < 0.7:
        others: list[Any] = [b"proprio", "x" * 70_000, "images/front/", "\x1b[2J", "", "images"]
        changed[others[int(rng.integers(len(others)))]] = value
    return _packed(changed)


def promises(rng: np.random.Generator, request: Mapping[str, Any]) -> bytes:
    """Headers that promise up to 4 GB of what never comes, or nest without end."""
    header = [b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"][int(rng.integers(5))]
    promise = header + struct.pack(">I", int(rng.integers(2**32, dtype=np.uint64)))
    depth = int(rng.integers(1, 3000))
    return [promise, b"\x91" * depth + promise, b"\x81\xa1a" * depth, b"\xdc\x01\x00" * depth][
        int(rng.integers(4))
    ]


def no_map(rng: np.random.Generator, request: Mapping[str, Any]) -> bytes:
    """A well-formed message that is no request."""
    return _packed(_hostile(rng))


def text(rng: np.random.Generator, request: Mapping[str, Any]) -> str:
    """A text message."""
    return "".join(map(chr, rng.integers(0, 0xD7FF, int(rng.integers(0, 100)))))


def too_large(rng: np.random.Generator, request: Mapping[str, Any]) -> bytes:
    """More than the server takes."""
    return bytes(8_000_001)


MESSAGES: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (noise, flipped, cut, spliced, wrong_value, wrong_keys, promises, no_map, text)
}
"""The kinds of malformed messages; `too_large` is left to those who have the time."""


def _near_an_end(rng: np.random.Generator, length: int) -> int:
    offset = int(rng.integers(min(_EDGE, length)))
    return offset if rng.random() < 0.5 else length - 1 - offset


def _hostile(rng: np.random.Generator) -> Any:
    """A value that a careless server would trip over."""
    plain: list[Any] = [
        None,
        True,
        -1,
        2**64 - 1,
        math.nan,
        math.inf,
        1e308,
        "",
        "x" * 1000,
        b"",
        b"\0" * 1000,
    ]
    nested: list[Any] = [[], {}, [[]] * 300, {"a": {"b": {"c": {"d": {"e": {}}}}}}, [None] * 256, {"": []}]
    arrays = [_array(rng) for _ in range(12)]
    values = [plain, nested, arrays][int(rng.integers(3))]
    return values[int(rng.integers(len(values)))]


def _array(rng: np.random.Generator) -> dict[bytes, Any]:
    """An array of which the type, the shape or the data is not what it should be."""
    dtypes = [
        "|O",
        "<c16",
        "|V8",
        "<U4",
        "<M8[s]",
        "f4,f4",
        "",
        "<f4",
        "<f4",
        "|u1",
        ">f8",
        "|b1",
        b"<f4",
        7,
        None,
    ]
    shapes = [
        [2**62, 2**62],
        [-1, 3],
        [0],
        [2**64 - 1, 0],
        [3],
        [1] * 40,
        [],
        "3",
        [3.0],
        None,
        [True],
        [[3]],
    ]
    data = [b"", b"\0" * 12, b"\xff" * 12, b"\x7f\xc0\0\0" * 3, rng.bytes(24), "text", None, 12, [0, 0, 0]]
    array = {
        b"__ndarray__": True,
        b"data": data[int(rng.integers(len(data)))],
        b"dtype": dtypes[int(rng.integers(len(dtypes)))],
        b"shape": shapes[int(rng.integers(len(shapes)))],
    }
    if rng.random() < 0.1:
        del array[list(array)[int(rng.integers(4))]]
    if rng.random() < 0.1:
        array[b"__npgeneric__"] = array.pop(b"__ndarray__", True)
    return array


def _packed(message: Any) -> bytes:
    import msgpack

    def encoded(value: Any) -> Any:
        return msgpack.unpackb(pack(value)) if isinstance(value, np.ndarray | np.generic) else value

    packed = msgpack.packb(message, default=encoded)
    assert isinstance(packed, bytes)
    return packed


# ---------------------------------------------------------------------- below the messages


def frame(
    opcode: int, data: bytes, *, masked: bool = True, first: int = 0x80, length: int | None = None
) -> bytes:
    """A websocket frame; the length that it states may be another than it has."""
    stated = len(data) if length is None else length
    head = bytes([first | opcode, (0x80 if masked else 0) | 127]) + struct.pack(">Q", stated)
    return head + (bytes(4) if masked else b"") + data


def socket_attack(rng: np.random.Generator) -> bytes:
    """What is written to a bare socket."""
    attacks: list[Callable[[], bytes]] = [
        lambda: rng.bytes(int(rng.integers(1, 2000))),
        lambda: _mutated(rng, HANDSHAKE),
        lambda: HANDSHAKE[: int(rng.integers(len(HANDSHAKE)))],
        lambda: b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * int(rng.integers(1, 500)) + b"\r\n",
        lambda: b"GET /" + b"a" * int(rng.integers(1, 20_000)) + b" HTTP/1.1\r\n\r\n",
        lambda: HANDSHAKE + rng.bytes(int(rng.integers(1, 500))),
        lambda: HANDSHAKE + frame(int(rng.integers(16)), rng.bytes(10), first=int(rng.integers(16)) << 4),
        lambda: HANDSHAKE + frame(2, b"\x80", masked=False),
        lambda: HANDSHAKE + frame(2, b"\x80", length=int(rng.integers(2**63, dtype=np.uint64))),
        lambda: HANDSHAKE + frame(9, bytes(200)),
        lambda: HANDSHAKE + frame(8, rng.bytes(int(rng.integers(0, 10)))),
        lambda: HANDSHAKE + frame(2, b"\x80", first=0) * int(rng.integers(1, 50)),
        lambda: HANDSHAKE + frame(2, b"", first=0) + frame(0, b"", first=0) * int(rng.integers(1, 3000)),
        lambda: HANDSHAKE + frame(1, b"\xff\xfe"),
    ]
    return attacks[int(rng.integers(len(attacks)))]()


def _mutated(rng: np.random.Generator, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
    return bytes(changed)
