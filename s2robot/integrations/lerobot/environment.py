"""The environment that lerobot lives in: its pins and ours exclude each other, so it never enters ours."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from s2robot.core.errors import UserError
from s2robot.data.durable import disk_errors
from s2robot.utils.paths import user_cache

REQUIREMENT = "lerobot[dataset,diffusion]==0.6.1"
NEEDS = (3, 12)
"""The oldest Python that this lerobot runs on."""

_MARKER = ".installed"
_VERSION = "import sys; print(*sys.version_info[:2])"
_HAS_LEROBOT = "import importlib.metadata; print(importlib.metadata.version('lerobot'))"


@dataclass(frozen=True)
class EnvironmentOptions:
    """Options that name the environment, as `lerobot_python` takes them."""

    environment: str | None
    python: str | None

    def find_python(self) -> Path:
        """The Python that has lerobot. Raises UserError as `lerobot_python`."""
        return lerobot_python(self.environment, self.python)


def lerobot_python(environment: str | None, python: str | None) -> Path:
    """The Python that has lerobot.

    Args:
        environment: a virtual environment that has it; None: our own in the user's cache, made where it is
            missing (several GB, from the package index).
        python: what to make it with; None: one on PATH.

    Raises:
        UserError: no lerobot in the environment, no Python that is new enough, or pip failed.
    """
    if environment is not None:
        return _given(Path(environment))
    folder = user_cache() / "lerobot-venv"
    with disk_errors(f"make {folder}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_suffix(".lock")):
            marker = folder / _MARKER
            if not (marker.is_file() and marker.read_text() == REQUIREMENT):
                _make(folder, python)
                marker.write_text(REQUIREMENT)
    return folder / "bin" / "python"


def _given(environment: Path) -> Path:
    python = environment / "bin" / "python"
    if _output(python, _HAS_LEROBOT) is None:
        raise UserError(
            f"{environment} is no virtual environment that has lerobot: {python} does not find it"
        )
    return python


def _make(folder: Path, python: str | None) -> None:
    base = _new_enough(python)
    print(f"making {folder} with {REQUIREMENT}, once: several GB", flush=True)
    _run([base, "-m", "venv", "--clear", str(folder)])
    _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", REQUIREMENT])


def _new_enough(python: str | None) -> str:
    """The Python asked for, else the first on PATH that is new enough."""
    wanted = ".".join(map(str, NEEDS))
    names = [python] if python else [sys.executable, f"python{wanted}", "python3.13", "python3", "python"]
    for name in names:
        found = shutil.which(name)
        said = _output(Path(found), _VERSION) if found else None
        if found and said and tuple(map(int, said.split())) >= NEEDS:
            return found
    given = f"{python} is not one" if python else "there is none on PATH"
    raise UserError(f"{REQUIREMENT} needs Python {wanted} or newer and {given}: give lerobot.python=PATH")


def _output(python: Path, code: str) -> str | None:
    try:
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=clean_env()
    )
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ["it says nothing"]
        raise UserError(f"`{' '.join(command)}` failed: {last[0]}")


def clean_env() -> dict[str, str]:
    """The process's environment without what leads Python to our packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Waits for another command that is making the environment."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
