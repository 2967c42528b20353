"""Which OpenGL is chosen, in a fresh process each time: the choice is made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from s2robot import doctor
from s2robot.utils import gl

ROOT = Path(gl.__file__).parents[2]
HEADLESS = "egl" if Path("/dev/nvidiactl").exists() else "osmesa"


def in_a_fresh_process(code: str, *, stderr: int | None = None, **environment: str) -> str:
    env = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM", "DISPLAY")}
    command = [sys.executable, "-c", f"import os, sys; from s2robot.utils import gl\n{code}"]
    env |= environment
    return subprocess.check_output(command, text=True, cwd=ROOT, env=env, stderr=stderr).strip()


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


def test_a_mujoco_that_was_imported_before_renders_with_it() -> None:
    code = "import mujoco; gl.render_frame(); print(os.environ['MUJOCO_GL'], mujoco.GLContext.__module__)"
    assert in_a_fresh_process(code) == f"{HEADLESS} mujoco.{HEADLESS}"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MuJoCo chooses well")
def test_where_it_is_too_late_one_line_says_what_to_set() -> None:
    code = (
        "import mujoco, OpenGL.GL\n"
        "from s2robot.core.errors import UserError\n"
        "try: gl.render_frame()\n"
        "except UserError as error: print(error)"
    )
    said = in_a_fresh_process(code, PYOPENGL_PLATFORM="glx")
    assert said.startswith("cannot render: ")
    assert f"set MUJOCO_GL={HEADLESS} and PYOPENGL_PLATFORM={HEADLESS} before Python starts" in said
    assert len(said.splitlines()) == 1


def test_a_renderer_that_nobody_closed_ends_without_a_word() -> None:
    code = (
        "gl.choose_gl(); import mujoco; model = mujoco.MjModel.from_xml_string(gl._SCENE); "
        "mujoco.renderer_of_a_user = gl.open_renderer(model, 16, 16)"
    )
    assert in_a_fresh_process(code, stderr=subprocess.STDOUT) == ""


@pytest.mark.parametrize(
    ("device", "visible", "is_mistake"),
    [
        ("1", "0", True),
        ("x", "0", True),
        ("0", "0,1", False),
        ("1", "", False),
        ("1", None, False),
        (None, "0", False),
    ],
)
def test_an_egl_device_that_robosuite_refuses_is_named(
    device: str | None, visible: str | None, is_mistake: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MUJOCO_EGL_DEVICE_ID": device, "CUDA_VISIBLE_DEVICES": visible}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    expected = f"MUJOCO_EGL_DEVICE_ID={device} is none of CUDA_VISIBLE_DEVICES={visible}"
    assert gl.egl_device_mistake() == (expected if is_mistake else "")
    check = doctor.check_rendering(timeout=0.01)
    assert (check.found == expected) == is_mistake


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
