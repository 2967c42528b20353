"""Which OpenGL MuJoCo renders with, and what that needs. The choice must be made before `mujoco` is imported.

Standard library alone (mujoco lazily): `make setup` asks `missing_packages` before anything is installed.
"""

# pyright: reportAttributeAccessIssue=false
# (mujoco is compiled and has no stubs)

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

PACKAGES = {
    "libOSMesa.so.8": "libosmesa6",
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
}
"""Shared library -> the Debian package that brings it."""

_BACK_ENDS = {"osmesa": "libOSMesa.so.8", "egl": "libEGL.so.1"}
_OPENCV = ("libGL.so.1", "libgthread-2.0.so.0")  # robosuite imports OpenCV, whose wheel expects these

_SCENE = """<mujoco><worldbody>
  <light pos="0 0 3"/><geom type="plane" size="1 1 .1" rgba=".2 .4 .6 1"/><geom size=".2" pos="0 0 .2"/>
</worldbody></mujoco>"""


def choose_gl() -> None:
    """Sets `MUJOCO_GL` where the user has not: EGL on a machine with a GPU, OSMesa on one without.

    Does nothing where there is a screen or where mujoco is imported already.
    """
    if "mujoco" in sys.modules or not sys.platform.startswith("linux"):
        return
    if "MUJOCO_GL" not in os.environ and not os.environ.get("DISPLAY"):
        os.environ["MUJOCO_GL"] = "egl" if Path("/dev/nvidiactl").exists() else "osmesa"
    if os.environ.get("MUJOCO_GL") in _BACK_ENDS:
        os.environ.setdefault("PYOPENGL_PLATFORM", os.environ["MUJOCO_GL"])
    if os.environ.get("MUJOCO_GL") == "osmesa":
        _load_triton()


def missing_packages() -> list[str]:
    """The Debian packages of those shared libraries that rendering needs and that cannot be loaded."""
    if not sys.platform.startswith("linux"):
        return []
    choose_gl()
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
    with mujoco.Renderer(model, height=48, width=64) as renderer:
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
