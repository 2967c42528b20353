"""For every test: no network, no screen, one thread a process. Set before torch and mujoco are imported."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from s2robot.utils.gl import choose_gl

if TYPE_CHECKING:
    from envs.cube_pick import CubePick

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each of the many processes compiles all modules again
sys.dont_write_bytecode = False
os.environ["HF_HUB_OFFLINE"] = "1"
choose_gl()

# A slow machine is no failure; in CI the same examples every time.
settings.register_profile("s2robot", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("s2robot")


@pytest.fixture(scope="session", autouse=True)
def no_stream_of_a_test_is_closed() -> None:
    """Hydra configures logging, which closes all handlers: absl's closes the stderr it was imported under."""
    with suppress(ImportError):
        import absl.logging

        absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__


@pytest.fixture(scope="module", autouse=True)
def memory_goes_back() -> Iterator[None]:
    """glibc keeps gigabytes of what the tests of a module have freed, in each of pytest's processes."""
    yield
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


@pytest.fixture(scope="session")
def toy_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo store of 4 toy episodes with the features of the small encoder. Read it, do not change it."""
    import toy_loop  # it imports torch

    store = toy_loop.record(tmp_path_factory.mktemp("toy") / "demos")
    assert toy_loop.s2robot("encode", f"demos={store}", *toy_loop.ENCODER, "workers=0") == 0
    return store


@pytest.fixture(scope="session")
def toy_demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo store of 4 toy episodes without features. Read it, do not change it."""
    import toy_loop

    return toy_loop.record(tmp_path_factory.mktemp("toy") / "demos")


@pytest.fixture(scope="session")
def toy_checkpoint(toy_store: Path) -> Iterator[Path]:
    """A policy trained on `toy_store` for a few steps. Read it, do not change it.

    The page of every evaluation shows its curves, which takes longer than a few rollouts: each is drawn once.
    """
    import toy_loop

    from s2robot.reports import curves

    draw, drawn = curves._curve_figure, {}

    def draw_once(title: str, group: Any) -> Any:
        key = title, repr(group)
        if key not in drawn:
            drawn[key] = draw(title, group)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "_curve_figure", draw_once)
        yield toy_loop.train(toy_store, toy_store.parent / "policy")


@pytest.fixture
def no_osmesa(tmp_path: Path) -> dict[str, str]:
    """An environment in which no OSMesa library can be loaded."""
    for suffix in ["", *(f".{n}" for n in range(10))]:
        (tmp_path / f"libOSMesa.so{suffix}").write_text("no library")
    return {"LD_LIBRARY_PATH": str(tmp_path), "MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "osmesa"}


@pytest.fixture(scope="session")
def cube_pick() -> Iterator[CubePick]:
    """The simulator with small frames and the action space `ee_delta`. Reset it before use."""
    from envs.cube_pick import CubePick

    env = CubePick(image_size=16)
    yield env
    env.close()


@pytest.fixture(scope="session")
def cube_pick_joint() -> Iterator[CubePick]:
    """Likewise with the action space `joint`."""
    from envs.cube_pick import CubePick

    env = CubePick(image_size=16, action_space="joint")
    yield env
    env.close()
