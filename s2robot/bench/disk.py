"""A store on the disk: writing a demo beside the time that it lasts, and listing many."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from s2robot.bench.options import BenchOptions
from s2robot.core.errors import UserError
from s2robot.data.store import DemoStore, Episode
from s2robot.data.tools.listing import read_rows


def measure(options: BenchOptions) -> tuple[dict[str, Any], list[str]]:
    """What `s2robot bench disk` finds. Raises UserError for a store without demos."""
    store = DemoStore.open(options.demo_store)
    if not store.ids():
        raise UserError(f"{store} holds no demos: `s2robot record` makes some")
    with TemporaryDirectory(prefix="s2robot-bench-", dir=options.scratch) as scratch:
        writing = measure_writing(store, Path(scratch, "written"), options.disk.episodes)
        listing = measure_listing(store, Path(scratch, "many"), options.disk.listed, options.disk.rounds)
    cameras = store.spec.to_dict()["cameras"]
    share, seconds = writing["share"], writing["seconds"]
    lines = [
        f"write: {median(seconds):.3f} s a demo, {share:.1%} of the time that it lasts",
        f"list {options.disk.listed}: {median(listing['seconds']):.3f} s, "
        f"the whole command {median(listing['command_seconds']):.3f} s",
    ]
    return {"writing": writing, "listing": listing, "cameras": cameras}, lines


def measure_writing(store: DemoStore, path: Path, count: int) -> dict[str, Any]:
    """Writes copies of the first demos as a recording does, synced to the disk.

    Returns the seconds that each took and lasts, and the share of the sums; the first is written twice, and
    only the second time counts.
    """
    target = DemoStore.create(path, store.spec)
    seconds, lasts = [], []
    for episode_id in [store.ids()[0], *store.ids()[:count]]:
        episode = _in_memory(store, episode_id)
        seconds.append(_timed(lambda: target.append(episode)))  # noqa: B023
        lasts.append(episode.length / store.spec.rate)
    return {"seconds": seconds[1:], "lasts": lasts[1:], "share": sum(seconds[1:]) / sum(lasts[1:])}


def many(store: DemoStore, path: Path, count: int) -> Path:
    """A store in which the first demo lies that often, under as many names; its files share their content."""
    made = DemoStore.create(path, store.spec)
    first = path / made.append_copy(store.episode(store.ids()[0]), {}, "000000")
    for number in range(1, count):
        shutil.copytree(first, path / f"{number:06d}", copy_function=os.link)
    return path


def measure_listing(store: DemoStore, path: Path, demos: int, rounds: int) -> dict[str, Any]:
    """Opens and lists a store of that many: here, and with `s2robot demos list`, Python's start included."""
    many(store, path, demos)
    command = [sys.executable, "-m", "s2robot.cli", "demos", "list", str(path)]

    def run() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    here = [_timed(lambda: read_rows(DemoStore.open(path))) for _ in range(rounds)]
    return {"demos": demos, "seconds": here, "command_seconds": [_timed(run) for _ in range(rounds)]}


def _in_memory(store: DemoStore, episode_id: str) -> Episode:
    reader = store.episode(episode_id)
    images = {camera: reader.images(camera) for camera in store.spec.cameras}
    series = {name: getattr(reader, name) for name in ("proprio", "action", "action_applied", "time")}
    return Episode(images, **series, attributes=dict(reader.attributes))


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
