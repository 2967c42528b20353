"""`s2robot doctor`: can the loop run here, and if not, what mends it?

What can crash or hang (rendering, importing compiled packages) is tried in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from s2robot.config.options import Positive
from s2robot.core.errors import UserError
from s2robot.utils import paths, provenance
from s2robot.utils.gl import MEND_EGL_DEVICE, egl_device_mistake, missing_packages, set_variables

SUPPORTED_PYTHONS = ((3, 11), (3, 12))
LEAST_DISK_GB = 5  # 120 demos of two 448 px cameras with their features: about 3 GB

_INSTALL = 'make setup, or pip install -e ".[dev]" -c constraints.txt'
_IMPORTS = ("torch", "torchvision", "timm", "zarr", "hydra", "av")  # robosuite: see check_rendering


@dataclass(frozen=True)
class Check:
    """One line of the report. A `problem` keeps the loop from running, a `warning` does not."""

    name: str
    status: Literal["ok", "warning", "problem"]
    found: str
    mend: str = ""


@dataclass(frozen=True)
class DoctorOptions:
    """Options of `s2robot doctor`, see configs/doctor.yaml."""

    json: bool
    timeout: Positive
    encoders: bool


def main(options: DoctorOptions) -> int:
    """Prints the report. Returns 1 if the loop cannot run, or with `encoders` one of them, else 0."""
    well, ill = ("the encoders", "an encoder") if options.encoders else ("the loop", "the loop")
    checks = examine_encoders() if options.encoders else examine(options.timeout)
    healthy = all(check.status != "problem" for check in checks)
    if options.json:
        report = {"ok": healthy, "checks": [asdict(check) for check in checks]}
        about = {"machine": provenance.machine(), "versions": provenance.versions()}
        print(json.dumps(report | about, indent=1))
    else:
        print("\n".join(table(checks)))
        print(f"\n{well} can run here" if healthy else f"\n{ill} cannot run here: mend the problems above")
    return 0 if healthy else 1


def examine(timeout: float = 120) -> list[Check]:
    """All checks; each trial in a process of its own may take `timeout` seconds."""
    checks = [check_python(), *check_packages(provenance.PACKAGES, tested_versions())]
    if not any(check.status == "problem" for check in checks):
        checks += [check_imports(timeout), check_rendering(timeout)]
    checks += [check_processor(), check_gpu(), check_memory(), check_disk(Path.cwd())]
    return [*checks, check_encoders(), check_published()]


def examine_encoders() -> list[Check]:
    """Every embedded and published encoder, fetched where it is not in the cache, and its features."""
    from s2robot.vision.describe import (
        NAMES,
    )  # here: the other checks must be able to tell that torch is broken

    return [_check_encoder(name) for name in NAMES]


def _check_encoder(name: str) -> Check:
    from s2robot.vision.describe import describe

    try:
        return Check(name, "ok", str(describe(name)))
    except UserError as error:
        return Check(name, "problem", str(error).removeprefix(f"{name}: "))


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Python against the supported range."""
    supported = " or ".join(f"{major}.{minor}" for major, minor in SUPPORTED_PYTHONS)
    found = f"{version[0]}.{version[1]} ({sys.executable})"
    if version in SUPPORTED_PYTHONS:
        return Check("Python", "ok", found)
    return Check("Python", "problem", found, f"make the environment with Python {supported}")


def check_packages(packages: Iterable[str], tested: Mapping[str, str]) -> list[Check]:
    """Each package against the version that was tested; without one, against being there at all."""
    return [_check_package(package, tested.get(package)) for package in packages]


def _check_package(package: str, tested: str | None) -> Check:
    found = provenance.installed_version(package)
    if found is None:
        return Check(package, "problem", "not installed", _INSTALL)
    if tested is None or found.partition("+")[0] == tested:
        return Check(package, "ok", found)
    return Check(package, "warning", f"{found}, tested with {tested}", f"pip install {package}=={tested}")


def tested_versions() -> dict[str, str]:
    """Package -> version as constraints.txt of the checkout has it; empty for an installed wheel."""
    constraints = paths.resource("constraints.txt")
    lines = constraints.read_text().splitlines() if constraints else []
    return dict(re.findall(r"^([\w.-]+)==([^\s;#]+)", "\n".join(lines), re.MULTILINE))


def check_imports(timeout: float) -> Check:
    """Do the compiled packages load? A torch beside the torchvision of another release does not."""
    failure = _failure_of(f"import {', '.join(_IMPORTS)}", timeout)
    if failure is None:
        return Check("imports", "ok", f"{', '.join(_IMPORTS)} load")
    return Check("imports", "problem", failure, _INSTALL)


def check_rendering(timeout: float) -> Check:
    """Renders one frame of a small scene with the back end that the environments will use."""
    if mistake := egl_device_mistake():
        return Check("rendering", "problem", mistake, MEND_EGL_DEVICE)
    set_variables()
    back_end = os.environ.get("MUJOCO_GL", "MuJoCo's default")
    failure = _failure_of(
        "from s2robot.utils.gl import render_frame; render_frame(); import robosuite", timeout
    )
    if failure is None:
        return Check("rendering", "ok", f"{back_end}: one frame drawn")
    mend = _install_libraries() or "unset MUJOCO_GL and PYOPENGL_PLATFORM, or set MUJOCO_GL=osmesa"
    return Check("rendering", "problem", f"{back_end}: {failure}", mend)


def _install_libraries() -> str:
    missing = missing_packages()
    return f"apt-get install {' '.join(missing)} (as root)" if missing else ""


def _failure_of(code: str, timeout: float) -> str | None:
    """Why a line of Python does not run in a process of its own; None where it does."""
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return f"not finished after {timeout:g} s"
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"ended by signal {-done.returncode}"
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1].strip()


def check_processor() -> Check:
    """The processor and the features that make encoding quick."""
    machine, features = provenance.machine(), provenance.processor_features()
    found = f"{machine['processor']}, {machine['cores']} cores, {' '.join(features)}"
    if machine["bf16"]:
        return Check("processor", "ok", found)
    return Check("processor", "warning", f"{found}: no quick bf16", "nothing to do: encoding runs in float32")


def check_gpu() -> Check:
    """A GPU is welcome, not needed."""
    return Check("GPU", "ok", provenance.gpu_name() or "none (not needed)")


def check_memory() -> Check:
    """The machine's memory."""
    return Check("memory", "ok", f"{provenance.machine()['memory_gb']} GB")


def check_disk(folder: Path) -> Check:
    """Free space where a run started here would write."""
    free = shutil.disk_usage(folder).free / 1e9
    if free >= LEAST_DISK_GB:
        return Check("disk", "ok", f"{free:.0f} GB free")
    return Check("disk", "warning", f"{free:.1f} GB free", f"free {LEAST_DISK_GB} GB, or write elsewhere")


def check_encoders(folder: Path | None = None) -> Check:
    """The encoders that come with the package: a card (JSON) and weights (safetensors) each."""
    folder = folder or Path(provenance.__file__).parents[1] / "vision" / "encoders" / "weights"
    cards = sorted(folder.glob("*.json"))
    lacking = [card.stem for card in cards if not card.with_suffix(".safetensors").is_file()]
    if lacking:
        mend = "get the whole repository, or make them: s2robot pretrain"
        return Check("encoders", "problem", f"no weights beside the card of {', '.join(lacking)}", mend)
    if not cards:
        return Check("encoders", "warning", "none in the package", "make one: s2robot pretrain")
    return Check("encoders", "ok", ", ".join(card.stem for card in cards))


def check_published() -> Check:
    """Which files of MVP's published encoders lie in the user's cache. Fetches nothing."""
    folder = paths.user_cache() / "encoders"
    names = ", ".join(sorted(path.stem for path in folder.glob("*.pth"))) or "none"
    return Check(
        "published", "ok", f"{names} in {folder} (s2robot doctor --encoders fetches and checks them)"
    )


def table(checks: list[Check]) -> Iterable[str]:
    """The report, one line a check; a line with something wrong ends with how to mend it."""
    name_width = max(len(check.name) for check in checks)
    for check in checks:
        line = f"{check.status:7}  {check.name:{name_width}}  {check.found}"
        yield f"{line} -> {check.mend}" if check.mend else line
