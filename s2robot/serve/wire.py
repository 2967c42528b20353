"""Messages: msgpack maps with numpy arrays in them, as the openpi protocol writes them. No pickle.

An array is the map `{b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [...]}`, a numpy scalar
`{b"__npgeneric__": True, b"data": number, b"dtype": "<f4"}`. Text arrays, as openpi writes a prompt, are
taken and never looked into. What arrives is measured before it is made: an array is a view of the bytes that
came, and nothing that a header merely promises is allocated.
"""

from __future__ import annotations

import math
import re
from importlib.util import find_spec
from typing import Any

import numpy as np

from s2robot.core.errors import UserError

KINDS = "biuf"
"""The kinds of numpy types that travel: truth values, whole numbers, numbers."""

_ARRAY = {b"__ndarray__", b"data", b"dtype", b"shape"}
_SCALAR = {b"__npgeneric__", b"data", b"dtype"}
_DTYPES = {
    np.dtype(order + code).str: np.dtype(order + code)
    for order in "<>"
    for code in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
}
_TEXT = re.compile(r"[<>]U[1-9]\d{0,4}|\|S[1-9]\d{0,4}")  # numpy types of text
_DIALECTS = {
    "msgpack-numpy's dialect": ({b"nd", b"type", b"data"}, {"nd", "type", "data"}),
    "text for keys": ({"__ndarray__"}, {"__npgeneric__"}),
}
"""What else is in use for arrays, and by which keys it is known."""
_MOST_DIMENSIONS = 8
_MOST_ENTRIES = 256  # of one map or list
_MOST_CONTAINERS = 1024  # maps and lists in one message
_LONGEST_TEXT = 64 * 1024  # bytes


def require_extra() -> None:
    """Raises UserError where the packages of the extra `serve` are missing."""
    missing = [name for name in ("msgpack", "websockets") if find_spec(name) is None]
    if missing:
        raise UserError(f'{" and ".join(missing)} missing: pip install "s2robot[serve]"')


def pack(message: Any) -> bytes:
    """Maps, lists, text, numbers and arrays as bytes. Raises UserError for an array of another kind."""
    import msgpack

    packed = msgpack.packb(message, default=_plain)
    assert isinstance(packed, bytes)
    return packed


def unpack(data: bytes) -> Any:
    """The inverse of `pack`; arrays come back read-only.

    Raises UserError for anything else than one well-formed message: cut short, damaged, of types that do not
    travel, an array whose bytes do not fill its shape, or more entries than a request can need.
    """
    import msgpack

    reader = _Reader()
    try:
        return msgpack.unpackb(
            data,
            object_pairs_hook=reader.map,
            list_hook=reader.list,
            ext_hook=_refuse_extension,
            max_str_len=_LONGEST_TEXT,
            max_bin_len=len(data),
            max_array_len=_MOST_ENTRIES,
            max_map_len=_MOST_ENTRIES,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException) as error:
        detail = str(error) or type(error).__name__
        raise UserError(f"no readable msgpack message of {len(data)} bytes: {detail[:200]}") from error


class _Reader:
    """Counts what one message is made of, and makes its arrays."""

    def __init__(self) -> None:
        self._containers = 0

    def list(self, entries: list[Any]) -> list[Any]:
        self._count()
        return entries

    def map(self, pairs: list[tuple[Any, Any]]) -> Any:
        self._count()
        entries = dict(pairs)
        if len(entries) < len(pairs):
            raise UserError("a map has the same key twice")
        for dialect, known in _DIALECTS.items():
            if any(keys <= entries.keys() for keys in known):
                raise UserError(f"an array in {dialect}: expected openpi's, {{b'__ndarray__': True, ...}}")
        if b"__ndarray__" in entries:
            return _array(entries)
        return _scalar(entries) if b"__npgeneric__" in entries else entries

    def _count(self) -> None:
        self._containers += 1
        if self._containers > _MOST_CONTAINERS:
            raise UserError(f"more than {_MOST_CONTAINERS} maps and lists in one message")


def _array(entries: dict[Any, Any]) -> np.ndarray:
    if entries.keys() != _ARRAY:
        raise UserError("an array is a map of __ndarray__, data, dtype and shape, all keys as bytes")
    data, dtype, shape = entries[b"data"], _dtype(entries[b"dtype"]), entries[b"shape"]
    if not isinstance(data, bytes):
        raise UserError(f"an array's data is {type(data).__name__}: expected bytes")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise UserError("an array's shape: expected a list of whole numbers, none negative")
    if len(shape) > _MOST_DIMENSIONS:
        raise UserError(f"an array of {len(shape)} dimensions: expected at most {_MOST_DIMENSIONS}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise UserError(f"an array of {dtype} {tuple(shape)} with {len(data)} bytes of data"[:200])
    try:
        return np.ndarray(shape, dtype, buffer=data)
    except (OverflowError, ValueError) as error:  # beside a 0 a dimension may be anything
        raise UserError(f"an array of shape {tuple(shape)}: {error}"[:200]) from error


def _scalar(entries: dict[Any, Any]) -> np.generic | str | bytes:
    if entries.keys() != _SCALAR:
        raise UserError("a scalar is a map of __npgeneric__, data and dtype, all keys as bytes")
    data, dtype = entries[b"data"], _dtype(entries[b"dtype"])
    if dtype.kind in "US" and isinstance(data, str | bytes):
        return data
    if not isinstance(data, bool | int | float):
        raise UserError(f"a scalar's data is {type(data).__name__}: expected a number")
    try:
        return dtype.type(data)
    except (OverflowError, ValueError) as error:
        raise UserError(f"a scalar of {dtype}: {error}") from error


def _dtype(name: Any) -> np.dtype:
    found = _DTYPES.get(name) if isinstance(name, str) else None
    if found is None and isinstance(name, str) and _TEXT.fullmatch(name):
        return np.dtype(name)
    if found is None:
        raise UserError(f"dtype {str(name)[:40]!r} does not travel; valid: {', '.join(_DTYPES)}")
    return found


def _plain(value: Any) -> dict[bytes, Any]:
    """What msgpack asks for a value it does not know."""
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(
            f"{type(value).__name__} does not travel: expected maps, lists, text, numbers, arrays"
        )
    if value.dtype.kind not in KINDS:
        raise UserError(f"an array of {value.dtype} does not travel: expected truth values or numbers")
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    return {
        b"__ndarray__": True,
        b"data": value.tobytes(),
        b"dtype": value.dtype.str,
        b"shape": value.shape,
    }


def _refuse_extension(code: int, data: bytes) -> Any:
    raise UserError(f"msgpack extension {code} does not travel")
