"""Hashes of files, folders and JSON values."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2robot.core.errors import UserError
from s2robot.utils import hashing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert hashing.sha256_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_hash_of_a_folder_depends_on_names_and_contents_that_match(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("1")
    (tmp_path / "b.bin").write_text("2")
    everything, texts = hashing.sha256_folder(tmp_path), hashing.sha256_folder(tmp_path, ["**/*.txt"])
    assert everything != texts
    (tmp_path / "b.bin").write_text("3")
    assert hashing.sha256_folder(tmp_path) != everything
    assert hashing.sha256_folder(tmp_path, ["**/*.txt"]) == texts
    (tmp_path / "sub" / "a.txt").rename(tmp_path / "sub" / "c.txt")
    assert hashing.sha256_folder(tmp_path, ["**/*.txt"]) != texts


def test_hash_of_a_folder_is_the_same_elsewhere(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a").write_text("1")
    assert hashing.sha256_folder(tmp_path / "here") == hashing.sha256_folder(tmp_path / "there")


def test_the_hash_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file matches \*\.safetensors"):
        hashing.sha256_folder(tmp_path, ["*.safetensors"])


@given(value=st.dictionaries(st.text(), JSON, max_size=4))
def test_hash_of_json_does_not_depend_on_order(value: dict[str, Any]) -> None:
    reordered = dict(reversed(list(value.items())))
    assert hashing.sha256_json(value) == hashing.sha256_json(reordered)
    assert hashing.sha256_json(value) != hashing.sha256_json([value])
