"""The peak of memory when one long episode is imported, format by format."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from s2robot.bench.options import BenchOptions, ImportsBench
from s2robot.bench.peer_training import peak_resident
from s2robot.commands import run_command
from s2robot.core.spec import RobotSpec
from s2robot.data.store import DemoStore, Episode
from s2robot.data.streams import LazyFrames
from s2robot.utils.workers import run_jobs

_RATE = 30.0  # Hz
_SMALL = 8  # px: the frames are fields of this size, of noise that moves


def measure(options: BenchOptions) -> tuple[dict[str, Any], list[str]]:
    """What `s2robot bench imports` finds. Each import has a process of its own."""
    section, rows = options.imports, {}
    with TemporaryDirectory(prefix="s2robot-bench-", dir=options.scratch) as scratch:
        folder = Path(scratch)
        store = _long_episode(folder / "demos", section, options.seed)
        for name, make in _sources(store, section).items():
            job = (*make(folder / name), folder / f"{name}-imported")
            [rows[name]] = run_jobs(_import, [job], workers=1, start=_nothing)
    about = {"frames": section.frames, "size": list(section.size), "seed": options.seed}
    about["frames_mb"] = section.frames * int(np.prod(section.size)) * 3 / 1e6
    lines = [
        f"{name:18} {row['peak_memory_gb']:5.2f} GB at the peak, {row['seconds']:6.1f} s"
        for name, row in rows.items()
    ]
    return {"formats": rows, **about}, lines


def _nothing() -> None:
    """A worker needs nothing but its job."""


def _import(_: None, job: tuple[str, Path, tuple[str, ...], Path]) -> dict[str, float]:
    name, source, options, out = job
    began = time.perf_counter()
    run_command("import", [f"format={name}", f"demos={source}", f"out={out}", *options])
    seconds = time.perf_counter() - began
    return {"peak_memory_gb": peak_resident() / 1e9, "seconds": seconds}


Source = tuple[str, Path, tuple[str, ...]]
"""The format, the file or folder, and the options of its import."""


def _sources(store: DemoStore, section: ImportsBench) -> dict[str, Callable[[Path], Source]]:
    """Name -> what writes the episode to a path in that format."""

    def exported(name: str, *options: str, given: tuple[str, ...] = ()) -> Callable[[Path], Source]:
        def write(path: Path) -> Source:
            run_command("export", [f"format={name}", f"demos={store}", f"out={path}", *options])
            return name, path, given

        return write

    return {
        "diffusion_policy": exported("diffusion_policy"),
        "lerobot_image": exported("lerobot", "images=image"),
        "lerobot_video": exported("lerobot", "images=video"),
        "robomimic": lambda path: _robomimic(path, store, section),
    }


def _long_episode(path: Path, section: ImportsBench, seed: int) -> DemoStore:
    height, width = section.size
    names = ("x [m]", "y [m]")
    store = DemoStore.create(path, RobotSpec({"front": (height, width, 3)}, names, names, "position", _RATE))
    rng, steps = np.random.default_rng(seed), section.frames
    numbers = np.cumsum(rng.standard_normal((steps, 2)), axis=0).astype(np.float32)
    frames = LazyFrames(
        (steps, height, width, 3), lambda start, stop: np.stack(list(_frames(section, seed, start, stop)))
    )
    time_ = np.arange(steps) / _RATE
    store.append(Episode({"front": frames}, numbers, numbers, numbers, time_, {"success": True}))
    return store


def _frames(section: ImportsBench, seed: int, start: int, stop: int) -> Iterator[np.ndarray]:
    """uint8 (H, W, 3) each."""
    height, width = section.size
    rows, columns = -(-height // _SMALL), -(-width // _SMALL)
    field = np.random.default_rng([seed, 1]).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    large = field.repeat(_SMALL, axis=0).repeat(_SMALL, axis=1)[:height, :width]
    return (np.roll(large, (step, 2 * step), axis=(0, 1)) for step in range(start, stop))


def _robomimic(path: Path, store: DemoStore, section: ImportsBench) -> Source:
    """As robomimic stores observations: one dataset a camera, in chunks of a frame."""
    import h5py

    path = path.with_suffix(".hdf5")
    reader = store.episodes()[0]
    shape = (section.frames, *section.size, 3)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": _RATE}})
        demo = data.create_group("demo_0")
        demo["actions"], demo["obs/place"] = reader.action, reader.proprio
        frames = demo.create_dataset("obs/front_image", shape, np.uint8, chunks=(1, *shape[1:]))
        for step, frame in enumerate(reader.frames("front")):
            frames[step] = frame
    return "robomimic", path, ()
