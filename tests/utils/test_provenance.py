"""Versions, hashes, git state and files written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

import s2robot
from s2robot.core.errors import UserError
from s2robot.utils import provenance

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_versions_are_those_installed() -> None:
    found = provenance.versions()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["s2robot"] == s2robot.__version__
    assert found["numpy"] == np.__version__
    assert {"torch", "mujoco", "robosuite", "zarr", "hydra-core"} <= set(found)


def test_a_missing_package_has_no_version() -> None:
    assert provenance.installed_version("no-such-package") is None


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit that holds this package's __init__, and provenance looking there."""
    package = tmp_path / "repo" / "s2robot"
    package.mkdir(parents=True)
    shutil.copy(s2robot.__file__, package)
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "one")
    monkeypatch.setattr(s2robot, "__file__", str(package / "__init__.py"))
    return package.parent


def git(folder: Path, *arguments: str) -> str:
    return subprocess.check_output(["git", "-C", str(folder), *arguments], text=True).strip()


def test_git_state_is_the_checkout_s(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert provenance.git_state() == {"commit": commit, "dirty": False}
    (checkout / "new.py").touch()
    assert provenance.git_state() == {"commit": commit, "dirty": True}


def test_git_state_of_an_installed_package_is_not_that_of_the_repository_around_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = checkout / "site-packages" / "s2robot" / "__init__.py"
    monkeypatch.setattr(s2robot, "__file__", str(installed))
    assert provenance.git_state() is None


def test_git_state_without_a_commit_is_none(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    git(checkout, "init", "-q")
    assert provenance.git_state() is None


def test_machine() -> None:
    found = provenance.machine()
    assert found["processor"]
    assert 1 <= found["cores"] <= multiprocessing.cpu_count()
    assert 0.1 < found["memory_gb"] < 1e5
    assert found["gpu"] is None or isinstance(found["gpu"], str)
    assert isinstance(found["bf16"], bool)
    json.dumps(found)


@pytest.mark.parametrize(
    ("vendor", "flags", "quick"),
    [
        ("AuthenticAMD", "avx2 avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx2 avx512f", False),
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16", True),
        ("GenuineIntel", "avx512f avx512_bf16", False),  # slower than float32
        ("", "asimd bf16", True),
    ],
)
def test_bf16_is_where_it_is_quicker_than_float32(
    vendor: str, flags: str, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "_cpuinfo", {"vendor_id": vendor, "flags": flags}.get)
    assert provenance.has_bf16() is quick


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert provenance.sha256_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_hash_of_a_folder_depends_on_names_and_contents_that_match(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("1")
    (tmp_path / "b.bin").write_text("2")
    everything, texts = provenance.sha256_folder(tmp_path), provenance.sha256_folder(tmp_path, ["**/*.txt"])
    assert everything != texts
    (tmp_path / "b.bin").write_text("3")
    assert provenance.sha256_folder(tmp_path) != everything
    assert provenance.sha256_folder(tmp_path, ["**/*.txt"]) == texts
    (tmp_path / "sub" / "a.txt").rename(tmp_path / "sub" / "c.txt")
    assert provenance.sha256_folder(tmp_path, ["**/*.txt"]) != texts


def test_hash_of_a_folder_is_the_same_elsewhere(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a").write_text("1")
    assert provenance.sha256_folder(tmp_path / "here") == provenance.sha256_folder(tmp_path / "there")


def test_the_hash_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file matches \*\.safetensors"):
        provenance.sha256_folder(tmp_path, ["*.safetensors"])


@given(value=st.dictionaries(st.text(), JSON, max_size=4))
def test_hash_of_json_does_not_depend_on_order(value: dict[str, Any]) -> None:
    reordered = dict(reversed(list(value.items())))
    assert provenance.sha256_json(value) == provenance.sha256_json(reordered)
    assert provenance.sha256_json(value) != provenance.sha256_json([value])


@given(value=JSON)
def test_json_round_trip(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    provenance.write_json(path, value)
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
    provenance.write_json(tmp_path / "new" / "x.json", value)
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
    provenance.write_json(path, 1)
    with pytest.raises(TypeError):
        provenance.write_json(path, object())
    with pytest.raises(UnicodeEncodeError):
        provenance.write_atomic(path, "\ud800")
    assert path.read_text() == "1\n"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def _overwrite_for_ever(path: Path) -> None:
    while True:
        for letter in "ab":
            provenance.write_json(path, letter * 1_000_000)


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    provenance.write_json(path, "")
    writer = multiprocessing.get_context("fork").Process(target=_overwrite_for_ever, args=(path,))
    writer.start()
    try:
        texts = {path.read_text() for _ in range(200)}
    finally:
        writer.kill()
        writer.join()
    assert all(re.fullmatch(r'"(a{1000000}|b{1000000}|)"\n', text) for text in texts)
    assert json.loads(path.read_text()) is not None
