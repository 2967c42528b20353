"""The wheel: what a robot's computer installs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("s2robot-*.whl"))


def test_the_wheel_holds_the_package_its_configuration_and_its_encoders(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"s2robot/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yaml")}
    weights = {str(path.relative_to(ROOT)) for path in (ROOT / "s2robot/vision/encoders/weights").glob("*.*")}
    templates = {f"s2robot/reports/{name}.html.jinja" for name in ("page", "evaluation", "compare")}
    needed = {"s2robot/cli.py", "s2robot/config/compose.py"} | templates
    assert configs | weights | needed <= names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"s2robot"}, "no envs, demos or tests"


def test_the_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    env = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{packages}"}
    command = [sys.executable, "-S", "-P", "-m", "s2robot.cli"]  # -S: no path to the checkout is read

    def s2robot(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *arguments], env=env, cwd=tmp_path, capture_output=True, text=True)

    assert "timeout=120" in s2robot("doctor", "--help").stdout
    recording = s2robot("record", "out=demos")
    assert (recording.returncode, recording.stderr.count("\n")) == (2, 1)
    assert "run from a checkout" in recording.stderr


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "serve --help",
        "record robot=franka teleop=browser --help",
        "deploy --help",
        "evaluate --help",
    ],
)
def test_a_robot_s_computer_has_help_without_the_checkout(command: str, wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    env = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{packages}"}
    whole = [sys.executable, "-S", "-P", "-m", "s2robot.cli", *command.split()]
    done = subprocess.run(whole, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") > 10
