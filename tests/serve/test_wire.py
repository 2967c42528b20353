"""What travels comes back the same; whatever else arrives is refused in one line, before it costs memory."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mistakes import refusal

from s2robot.core.errors import UserError
from s2robot.serve.wire import pack, unpack

DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def array(**changed: Any) -> bytes:
    """An array of 2 x 3 float32 as openpi writes it, with something changed."""
    entries = {"__ndarray__": True, "data": bytes(24), "dtype": "<f4", "shape": [2, 3], **changed}
    kept = {key.encode(): value for key, value in entries.items() if value is not ...}
    return msgpack.packb(kept)


def scalar(**changed: Any) -> bytes:
    entries = {"__npgeneric__": True, "data": 1.5, "dtype": "<f4", **changed}
    return msgpack.packb({key.encode(): value for key, value in entries.items() if value is not ...})


@given(values=ARRAYS)
def test_an_array_comes_back_bit_for_bit_whatever_its_order_in_memory(values: np.ndarray) -> None:
    for view in (values, values.T, np.asarray(np.flip(values))):
        back = unpack(pack({"a": view}))["a"]
        assert back.dtype == view.dtype and back.shape == view.shape
        assert back.tobytes() == view.tobytes()


def test_an_array_of_many_dimensions_comes_back() -> None:
    values = np.arange(12).reshape(1, 2, 1, 3, 1, 2, 1, 1)
    assert np.array_equal(unpack(pack(values)), values)


@given(message=PLAIN)
def test_plain_values_come_back(message: Any) -> None:
    assert repr(unpack(pack(message))) == repr(message)  # repr: NaN is itself again


@pytest.mark.parametrize(
    "value", [np.float32(0.1), np.int64(-3), np.bool_(True), np.uint8(255), np.float16(2)]
)
def test_a_numpy_scalar_comes_back_with_its_type(value: np.generic) -> None:
    back = unpack(pack({"s": value}))["s"]
    assert type(back) is type(value) and back == value


def test_an_array_is_written_as_openpi_writes_it() -> None:
    packed = pack({"proprio": np.array([[1, 2]], np.float32)})
    assert msgpack.unpackb(packed) == {
        "proprio": {
            b"__ndarray__": True,
            b"data": np.array([1, 2], np.float32).tobytes(),
            b"dtype": "<f4",
            b"shape": [1, 2],
        }
    }


def test_what_arrived_cannot_be_changed_through_an_array() -> None:
    with pytest.raises(ValueError, match="read-only"):
        unpack(array())[0, 0] = 1


@pytest.mark.parametrize(
    "dtype", ["|O", "O", "<c8", "|V8", "<U0", "<U", "|S0", "<M8[s]", "<m8[s]", "f4,f4", "x", ""]
)
def test_a_type_that_could_carry_anything_is_refused(dtype: str) -> None:
    for message in (array(dtype=dtype), scalar(dtype=dtype)):
        assert "does not travel; valid: |b1, |i1, <i2" in refusal(lambda message=message: unpack(message))


@pytest.mark.parametrize(
    "values", [np.array([None]), np.zeros(2, complex), np.zeros(2, "V4"), np.array(["a"])]
)
def test_nor_is_it_sent(values: np.ndarray) -> None:
    assert "does not travel" in refusal(lambda: pack(values))


def test_text_arrives_as_openpi_writes_a_prompt() -> None:
    words = np.array(["pick up", "the cube"])
    arrived = unpack(array(data=words.tobytes(), dtype=words.dtype.str, shape=[2]))
    assert np.array_equal(arrived, words)
    assert unpack(scalar(data="pick up", dtype="<U7")) == "pick up"
    assert "with 24 bytes of data" in refusal(lambda: unpack(array(dtype="<U4")))


@pytest.mark.parametrize(
    ("message", "dialect"),
    [
        ({b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [3], b"data": bytes(12)}, "msgpack-numpy's"),
        ({b"nd": False, b"type": "<f4", b"data": bytes(4)}, "msgpack-numpy's"),
        ({"nd": True, "type": "<f4", "kind": "", "shape": [3], "data": bytes(12)}, "msgpack-numpy's"),
        ({"__ndarray__": True, "data": bytes(12), "dtype": "<f4", "shape": [3]}, "text for keys"),
    ],
)
def test_an_array_of_another_dialect_is_named(message: dict[Any, Any], dialect: str) -> None:
    said = refusal(lambda: unpack(msgpack.packb({"proprio": message})))
    assert said.startswith(f"an array in {dialect}") and "expected openpi's" in said


def test_python_objects_are_not_sent() -> None:
    with pytest.raises(TypeError, match="object does not travel"):
        pack({"a": object()})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"shape": [2, 4]}, "an array of float32 (2, 4) with 24 bytes of data"),
        ({"shape": [2**62, 2**62]}, "with 24 bytes of data"),
        ({"shape": [-2, -3]}, "expected a list of whole numbers, none negative"),
        ({"shape": [True, 6]}, "expected a list of whole numbers"),
        ({"shape": [2.0, 3]}, "expected a list of whole numbers"),
        ({"shape": 6}, "expected a list of whole numbers"),
        ({"shape": [1] * 8 + [6]}, "an array of 9 dimensions: expected at most 8"),
        ({"shape": [2**62, 2**62, 0], "data": b""}, "an array of shape"),
        ({"shape": [2**64 - 1, 0], "data": b""}, "an array of shape"),
        ({"data": "text that is 24 letters."}, "an array's data is str: expected bytes"),
        ({"data": bytes(23)}, "an array of float32 (2, 3) with 23 bytes of data"),
        ({"dtype": b"<f4"}, "does not travel"),
        ({"dtype": None}, "does not travel"),
        ({"dtype": ...}, "an array is a map of __ndarray__, data, dtype and shape"),
        ({"more": 1}, "an array is a map of __ndarray__, data, dtype and shape"),
    ],
)
def test_a_damaged_array_is_refused(changed: dict[str, Any], said: str) -> None:
    assert said in refusal(lambda: unpack(array(**changed)))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dtype": "|u1", "data": 300}, "a scalar of uint8"),
        ({"dtype": "<i4", "data": float("nan")}, "a scalar of int32"),
        ({"data": "1.5"}, "a scalar's data is str: expected a number"),
        ({"data": ...}, "a scalar is a map of"),
    ],
)
def test_a_damaged_scalar_is_refused(changed: dict[str, Any], said: str) -> None:
    assert said in refusal(lambda: unpack(scalar(**changed)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",  # no type
        pack({"a": 1}) + b"\0",  # something behind it
        b"\xdd\xff\xff\xff\xff",  # promises a list of 4 billion
        b"\xdf\xff\xff\xff\xff",  # a map
        b"\xc6\xff\xff\xff\xff",  # bytes
        b"\xdb\xff\xff\xff\xff",  # text
        b"\xc9\xff\xff\xff\xff\x05",  # an extension
        b"\xc7\x00\x05",
        b"\x91" * 100_000 + b"\x01",  # lists in lists
        b"\x81\xa1a" * 100_000 + b"\x01",
        b"\xa2\xff\xff",  # no UTF-8
        b"\x81\x01\x02",  # a number as a key
        b"\x82\xa1a\x01\xa1a\x02",  # a key twice
        msgpack.packb([[]] * 257),
        msgpack.packb([[[]] * 40] * 40),
        msgpack.packb("x" * 70_000),
        msgpack.packb(msgpack.Timestamp(1, 2)),
    ],
)
def test_what_is_no_message_is_refused_and_costs_nothing(data: bytes) -> None:
    tracemalloc.start()
    try:
        refusal(lambda: unpack(data))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000 + 20 * len(data)
    finally:
        tracemalloc.stop()


def test_many_promises_within_one_another_cost_nothing() -> None:
    """Each of 1000 nested headers promises as many entries as a list may have."""
    test_what_is_no_message_is_refused_and_costs_nothing(b"\xdc" + struct.pack(">H", 256) * 1000)


@given(data=st.binary(max_size=200) | st.binary(max_size=40).map(lambda tail: array()[:30] + tail))
@example(data=b"\x80")
def test_any_bytes_are_a_message_or_a_refusal(data: bytes) -> None:
    try:
        unpack(data)
    except UserError as error:
        assert "\n" not in str(error)


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4),
    st.integers(0, 40),
)
def test_a_message_with_flipped_bits_is_a_message_or_a_refusal(
    flips: list[tuple[int, int]], cut: int
) -> None:
    whole = pack(
        {"images": {"front": np.ones((4, 4, 3), np.uint8)}, "proprio": np.ones(3, np.float32), "s": True}
    )
    data = bytearray(whole[: len(whole) - cut])
    for place, mask in flips:
        data[place % len(data)] ^= mask
    try:
        unpack(bytes(data))
    except UserError as error:
        assert "\n" not in str(error)
