"""Versions, git state and machine."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import s2robot
from s2robot.utils import provenance


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
