"""Where a result comes from: versions, git state and machine."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import s2robot

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


def git_state() -> dict[str, Any] | None:
    """`{"commit": str, "dirty": bool}` of the checkout that runs; None outside one. Never fails."""
    root = Path(s2robot.__file__).resolve().parents[1]
    if not (root / ".git").exists():  # installed: an enclosing repository would be somebody else's
        return None
    commit = _output("git", "-C", str(root), "rev-parse", "HEAD")
    status = _output("git", "--no-optional-locks", "-C", str(root), "status", "--porcelain")
    return None if not commit or status is None else {"commit": commit, "dirty": bool(status)}


def today() -> str:
    """`2026-11-30`."""
    return datetime.date.today().isoformat()


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
