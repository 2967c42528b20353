"""Which OpenGL MuJoCo renders with, what that needs, and renderers that say in one line why they cannot.

Standard library alone (mujoco lazily): `make setup` asks `missing_packages` before anything is installed.
"""

# pyright: reportAttributeAccessIssue=false
# (mujoco is compiled and has no stubs)

from __future__ import annotations

import atexit
import ctypes
import importlib
import importlib.util
import os
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from s2robot.core.errors import UserError

if TYPE_CHECKING:
    import mujoco

PACKAGES = {
    "libOSMesa.so.8": "libosmesa6",
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
}
"""Shared library -> the Debian package that brings it."""

_BACK_ENDS = {"osmesa": "libOSMesa.so.8", "egl": "libEGL.so.1"}
_CHOOSERS = ("mujoco.rendering.classic.gl_context", "mujoco.gl_context")  # of newer and older releases
MEND_EGL_DEVICE = "set MUJOCO_EGL_DEVICE_ID to one of them, or unset it"
_OPENCV = ("libGL.so.1", "libgthread-2.0.so.0")  # robosuite imports OpenCV, whose wheel expects these

_SCENE = """<mujoco><worldbody>
  <light pos="0 0 3"/><geom type="plane" size="1 1 .1" rgba=".2 .4 .6 1"/><geom size=".2" pos="0 0 .2"/>
</worldbody></mujoco>"""


def choose_gl() -> None:
    """Sets `MUJOCO_GL` where the user has not, and tells a mujoco that was imported before of it.

    Raises UserError where mujoco cannot be told any more.
    """
    set_variables()
    if "mujoco" in sys.modules and sys.platform.startswith("linux"):
        _tell_mujoco()


def set_variables() -> None:
    """`MUJOCO_GL` where the user has not set it: EGL on a machine with a GPU, OSMesa on one without.

    Does nothing where there is a screen.
    """
    if not sys.platform.startswith("linux"):
        return
    if "MUJOCO_GL" not in os.environ and not os.environ.get("DISPLAY"):
        os.environ["MUJOCO_GL"] = headless_back_end()
    if os.environ.get("MUJOCO_GL") in _BACK_ENDS:
        os.environ.setdefault("PYOPENGL_PLATFORM", os.environ["MUJOCO_GL"])
    if os.environ.get("MUJOCO_GL") == "osmesa":
        _load_triton()


def headless_back_end() -> str:
    """What renders without a screen on this machine."""
    return "egl" if Path("/dev/nvidiactl").exists() else "osmesa"


def _tell_mujoco() -> None:
    """mujoco reads the variable once, when it is imported: its choice is made again where it was another."""
    name = next((name for name in _CHOOSERS if hasattr(sys.modules.get(name), "_MUJOCO_GL")), None)
    chosen = os.environ.get("MUJOCO_GL", "").lower().strip()
    if name is None or chosen == sys.modules[name]._MUJOCO_GL:
        return
    try:
        sys.modules["mujoco"].GLContext = importlib.reload(sys.modules[name]).GLContext
    except Exception as error:  # it raises what it likes: a missing library, PyOpenGL of another platform
        raise cannot_render(error) from error


def egl_device_mistake() -> str:
    """What robosuite refuses of MUJOCO_EGL_DEVICE_ID, in words; empty where it is in order."""
    device, visible = os.environ.get("MUJOCO_EGL_DEVICE_ID"), os.environ.get("CUDA_VISIBLE_DEVICES")
    if device is None or not visible or (device.isdigit() and device in visible):
        return ""
    return f"MUJOCO_EGL_DEVICE_ID={device} is none of CUDA_VISIBLE_DEVICES={visible}"


def check_egl_device() -> None:
    """Raises UserError for a MUJOCO_EGL_DEVICE_ID with which robosuite cannot be imported."""
    if mistake := egl_device_mistake():
        raise UserError(f"cannot render: {mistake}: {MEND_EGL_DEVICE}")


def cannot_render(error: Exception) -> UserError:
    """What a GL back end said, in one line."""
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    chosen = os.environ.get("MUJOCO_GL", "MuJoCo's default")
    advice = "run `s2robot doctor` to see which GL is missing"
    best = headless_back_end()
    if sys.platform.startswith("linux") and {chosen, os.environ.get("PYOPENGL_PLATFORM", best)} != {best}:
        advice = f"set MUJOCO_GL={best} and PYOPENGL_PLATFORM={best} before Python starts, or {advice}"
    return UserError(f"cannot render: {reason} (MUJOCO_GL: {chosen}); {advice}")


_open: weakref.WeakSet[mujoco.Renderer] = weakref.WeakSet()
_opened_by: int | None = None
"""The process that opened the first."""


def open_renderer(model: mujoco.MjModel, height: int, width: int) -> mujoco.Renderer:
    """MuJoCo's off-screen renderer, closed at the latest when Python ends: its own end is noisy.

    Raises UserError where nothing can be rendered, and in a process that was forked from one that has: its
    first frame would never come.
    """
    global _opened_by
    import mujoco

    if _opened_by not in (None, os.getpid()):
        raise UserError(
            'this process was forked from one that renders, and OpenGL would hang: use context="spawn" '
            '(gymnasium.make_vec: vector_kwargs={"context": "spawn"})'
        )
    _opened_by = os.getpid()
    try:
        renderer = mujoco.Renderer(model, height, width)
    except Exception as error:  # its GL back end raises what it likes
        raise cannot_render(error) from error
    _open.add(renderer)
    atexit.unregister(_close_all)
    atexit.register(_close_all)  # the last to be registered is the first to run: before EGL is gone
    return renderer


def _close_all() -> None:
    for renderer in list(_open):
        renderer.close()


def missing_packages() -> list[str]:
    """The Debian packages of those shared libraries that rendering needs and that cannot be loaded."""
    if not sys.platform.startswith("linux"):
        return []
    set_variables()
    back_end = _BACK_ENDS.get(os.environ.get("MUJOCO_GL", ""))
    needed = [*([back_end] if back_end else []), *_OPENCV]
    return [PACKAGES[library] for library in needed if not _loads(library)]


def render_frame() -> None:
    """Renders one small frame of a trivial model. Raises what the back end raises, if that survives."""
    choose_gl()
    import mujoco

    model = mujoco.MjModel.from_xml_string(_SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with open_renderer(model, height=48, width=64) as renderer:
        renderer.update_scene(data)
        if renderer.render().std() == 0:
            raise RuntimeError("the rendered frame is of one color")


def _load_triton() -> None:
    """Triton, which torch loads, and OSMesa each bring an LLVM: a process dies where OSMesa's is first."""
    triton = importlib.util.find_spec("triton")
    library = Path(triton.origin).parent / "_C/libtriton.so" if triton and triton.origin else None
    if library and library.is_file():
        _loads(str(library))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
