"""Which OpenGL is chosen, in a fresh process each time: the choice is made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from s2robot.utils import gl

ROOT = Path(gl.__file__).parents[2]
HEADLESS = "egl" if Path("/dev/nvidiactl").exists() else "osmesa"


def in_a_fresh_process(code: str, **environment: str) -> str:
    env = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM", "DISPLAY")}
    command = [sys.executable, "-c", f"import os, sys; from s2robot.utils import gl; {code}"]
    return subprocess.check_output(command, text=True, cwd=ROOT, env=env | environment).strip()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MuJoCo chooses well")
@pytest.mark.parametrize(
    ("environment", "chosen"),
    [
        ({}, f"{HEADLESS} {HEADLESS}"),
        ({"DISPLAY": ":0"}, "None None"),
        ({"MUJOCO_GL": "egl"}, "egl egl"),
        ({"MUJOCO_GL": "glfw"}, "glfw None"),
        ({"MUJOCO_GL": "osmesa", "DISPLAY": ":0"}, "osmesa osmesa"),
        ({"MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "osmesa"}, "egl osmesa"),
    ],
    ids=str,
)
def test_what_the_user_set_is_kept_and_the_rest_chosen(environment: dict[str, str], chosen: str) -> None:
    code = "gl.choose_gl(); print(*map(os.environ.get, ('MUJOCO_GL', 'PYOPENGL_PLATFORM')))"
    assert in_a_fresh_process(code, **environment) == chosen


def test_after_mujoco_it_is_too_late() -> None:
    code = "sys.modules['mujoco'] = gl; gl.choose_gl(); print(os.environ.get('MUJOCO_GL'))"
    assert in_a_fresh_process(code) == "None"


@pytest.mark.skipif(sys.platform != "linux", reason="Debian's packages")
def test_missing_libraries_are_named_by_package(tmp_path: Path) -> None:
    for library in ("libOSMesa.so.8", "libGL.so.1"):
        (tmp_path / library).write_text("no library")
    code = "print(*gl.missing_packages())"
    broken = in_a_fresh_process(code, LD_LIBRARY_PATH=str(tmp_path), MUJOCO_GL="osmesa")
    assert broken.split()[:2] == ["libosmesa6", "libgl1"]
    assert "libosmesa6" not in in_a_fresh_process(code, LD_LIBRARY_PATH=str(tmp_path), MUJOCO_GL="glfw")


def test_a_frame_is_rendered() -> None:
    assert in_a_fresh_process("gl.render_frame(); print('mujoco' in sys.modules)") == "True"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no OSMesa")
def test_vision_can_be_imported_after_a_frame_was_rendered() -> None:
    code = "gl.render_frame(); import s2robot.vision, triton; print('alive')"
    assert in_a_fresh_process(code, MUJOCO_GL="osmesa") == "alive"
