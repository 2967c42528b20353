"""Where a result comes from: versions, git state, machine, hashes, and files written whole or not at all."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import s2robot
from s2robot.core.errors import UserError

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "gymnasium",
    "mujoco",
    "robosuite",
    "zarr",
    "numcodecs",
    "numpy",
    "scipy",
    "hydra-core",
    "omegaconf",
    "safetensors",
    "tensorboard",
    "matplotlib",
    "tqdm",
    "av",
    "mink",
    "qpsolvers",
    "daqp",
)
"""What the loop needs, by the name pip knows."""

PROCESSOR_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
"""The processor flags that decide how quickly features are computed."""


def versions() -> dict[str, str]:
    """Python, s2robot and each of `PACKAGES` that is installed: name -> version."""
    found = {"python": platform.python_version(), "s2robot": s2robot.__version__}
    return found | {name: v for name in PACKAGES if (v := installed_version(name)) is not None}


def installed_version(package: str) -> str | None:
    """The version of an installed distribution, None where it is missing. Imports nothing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def resource(name: str) -> Path | None:
    """A file or folder inside the installed package, or beside it in a checkout; None where there is none."""
    package = Path(s2robot.__file__).resolve().parent
    places = (package / name, package.parent / name)
    return next((place for place in places if place.exists()), None)


def user_cache() -> Path:
    """Where the user's downloads lie: $S2ROBOT_CACHE, else $XDG_CACHE_HOME/s2robot, else ~/.cache/s2robot."""
    if own := os.environ.get("S2ROBOT_CACHE"):
        return Path(own).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s2robot"


def git_state() -> dict[str, Any] | None:
    """`{"commit": str, "dirty": bool}` of the checkout that runs; None outside one. Never fails."""
    root = Path(s2robot.__file__).resolve().parents[1]
    if not (root / ".git").exists():  # installed: an enclosing repository would be somebody else's
        return None
    commit = _output("git", "-C", str(root), "rev-parse", "HEAD")
    status = _output("git", "--no-optional-locks", "-C", str(root), "status", "--porcelain")
    return None if not commit or status is None else {"commit": commit, "dirty": bool(status)}


def machine() -> dict[str, Any]:
    """Processor (name), cores (usable by this process), memory (GB), gpu (name or None), bf16 (bool)."""
    return {
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpu": gpu_name(),
        "bf16": has_bf16(),
    }


def has_bf16() -> bool:
    """Whether the processor computes in bf16, and more quickly than in float32.

    One without it emulates it, ten times slower. On Intel it takes AMX, which virtual machines may hide:
    products of matrices in AVX-512's bf16 took 1.4 to 1.9 times as long as in float32 (Xeon, one thread).
    """
    features = processor_features()
    if _cpuinfo("vendor_id") == "GenuineIntel":
        return "amx_bf16" in features
    return any("bf16" in feature for feature in features)


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_name() -> str | None:
    """The first NVIDIA GPU's name, None without one."""
    if shutil.which("nvidia-smi") is None:
        return None
    names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return names.splitlines()[0] if names else None


def processor_features() -> list[str]:
    """Those of `PROCESSOR_FEATURES` that this processor has, as Linux reports them."""
    flags = (_cpuinfo("flags") or _cpuinfo("Features")).split()
    return [feature for feature in PROCESSOR_FEATURES if feature in flags]


def sha256_file(path: str | Path) -> str:
    """The hash of a file's bytes (hex)."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_folder(path: str | Path, patterns: Iterable[str] = ("**/*",)) -> str:
    """The hash (hex) of the relative names and contents of a folder's files that match any of the patterns.

    Raises UserError where no file matches: the hash of nothing would vouch for nothing.
    """
    folder, patterns = Path(path), tuple(patterns)
    files = {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
    if not files:
        raise UserError(f"{folder}: no file matches {', '.join(patterns)}")
    return sha256_json({file.relative_to(folder).as_posix(): sha256_file(file) for file in files})


def sha256_json(obj: Any) -> str:
    """The hash (hex) of a JSON-able value, whatever the order of its keys."""
    text = json.dumps(plain(obj), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: str | Path, obj: Any) -> None:
    """Writes JSON that people can read too, whole or not at all."""
    write_atomic(path, json.dumps(plain(obj), indent=1, ensure_ascii=False) + "\n")


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Writes a file so that a crash leaves the old one or the new one, never a part. Makes its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with open(staging, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)


def first_difference(kept: Any, asked: Any, name: str = "") -> str | None:
    """`another horizon (2, not 4)`: the first leaf in which two trees of JSON differ."""
    if kept == asked:
        return None
    if not (isinstance(kept, dict) and isinstance(asked, dict)):
        return f"another {name} ({kept}, not {asked})" if name else "another identity"
    for key in dict.fromkeys([*asked, *kept]):
        found = first_difference(kept.get(key), asked.get(key), key)
        if found:
            return found
    return None


def plain(obj: Any) -> Any:
    """Mappings, sequences, paths and array numbers as JSON knows them; NaN and infinity become None."""
    if isinstance(obj, Mapping):
        return {str(key): plain(value) for key, value in obj.items()}
    if isinstance(obj, Sequence) and not isinstance(obj, str):
        return [plain(value) for value in obj]
    if isinstance(obj, float):
        return float(obj) if math.isfinite(obj) else None
    if isinstance(obj, Path):
        return str(obj)
    to_list = getattr(obj, "tolist", None)
    return obj if to_list is None else plain(to_list())


def _output(*command: str) -> str | None:
    """What a command prints, None where it cannot be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpuinfo(field: str) -> str:
    """A field of Linux's /proc/cpuinfo for the first core, empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.split(":")[0].strip() == field), "")
