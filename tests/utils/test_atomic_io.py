"""Files written whole or not at all."""

from __future__ import annotations

import json
import math
import multiprocessing
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from s2robot.utils import atomic_io

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON)
def test_json_round_trip(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    atomic_io.write_json(path, value)
    assert json.loads(path.read_text()) == value


def test_json_of_numbers_that_are_not_python_s(tmp_path: Path) -> None:
    value = {
        "array": np.arange(2, dtype=np.int16),
        "number": np.float64(0.1),
        "bool": np.bool_(True),
        "path": Path("a/b"),
        "tuple": (1, math.nan, -math.inf),
        "config": OmegaConf.create({"a": 1, "b": "${a}", "c": [2]}),
        3: None,
    }
    atomic_io.write_json(tmp_path / "new" / "x.json", value)
    text = (tmp_path / "new" / "x.json").read_text()
    assert json.loads(text) == {
        "array": [0, 1],
        "number": 0.1,
        "bool": True,
        "path": "a/b",
        "tuple": [1, None, None],
        "config": {"a": 1, "b": 1, "c": [2]},
        "3": None,
    }


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    atomic_io.write_json(path, 1)
    with pytest.raises(TypeError):
        atomic_io.write_json(path, object())
    with pytest.raises(UnicodeEncodeError):
        atomic_io.write_atomic(path, "\ud800")
    assert path.read_text() == "1\n"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def _overwrite_for_ever(path: Path) -> None:
    while True:
        for letter in "ab":
            atomic_io.write_json(path, letter * 1_000_000)


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    atomic_io.write_json(path, "")
    writer = multiprocessing.get_context("fork").Process(target=_overwrite_for_ever, args=(path,))
    writer.start()
    try:
        texts = {path.read_text() for _ in range(200)}
    finally:
        writer.kill()
        writer.join()
    assert all(re.fullmatch(r'"(a{1000000}|b{1000000}|)"\n', text) for text in texts)
    assert json.loads(path.read_text()) is not None
