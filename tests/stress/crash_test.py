"""`python -m tests.stress.crash_test`: recorders killed at random moments, and what is left of their stores.

Half of the kills hit a person's session (background writer; an autopilot is the person), half the scripted
expert's `s2robot record`, both on the toy. After each kill the store must open and hold everything that was
listed before it, and every new episode must be whole. The counts go into a JSON file.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from s2robot.core.errors import UserError
from s2robot.data.episode import check_episode
from s2robot.data.store import DemoStore, Episode, EpisodeReader
from s2robot.utils.atomic_io import write_json
from s2robot.utils.progress import Progress
from s2robot.utils.provenance import git_state, machine, versions
from tests.stress.crash_test_writer import quietly, scripted, session

_AT_ONCE = 0.2  # share of the kills that may come before the first new episode
_LONGEST = 1.0  # s from the first new episode to the kill
_PATIENCE = 300.0  # s for a process to record an episode


@dataclass
class Tally:
    """What the kills did.

    Attributes:
        kills: processes killed. committed_lost: episodes that were listed once and are no longer.
        unreadable: times that a store or an episode of it could not be read. invalid: episodes that are not
            what the store's spec says, or that have changed since they were first seen.
        digests: of the episodes seen so far.
    """

    kills: int = 0
    committed_lost: int = 0
    unreadable: int = 0
    invalid: int = 0
    digests: dict[tuple[str, str], str] = field(default_factory=dict)

    def inspect(self, path: Path, listed: set[str]) -> None:
        """Looks at a store after a kill; `listed` are the ids that it had just before."""
        self.kills += 1
        try:
            store = DemoStore.open(path)
        except UserError:
            self.unreadable += bool(listed)  # a store that was not even made yet is no loss
            return
        ids = store.ids()
        known = listed | {i for name, i in self.digests if name == path.name}
        self.committed_lost += len(known - set(ids))
        self.invalid += ids != [f"{n:06d}" for n in range(len(ids))]
        for episode_id in ids:
            if (path.name, episode_id) not in self.digests:
                self._inspect_episode(store.episode(episode_id), store, path.name)

    def inspect_again(self, path: Path) -> None:
        """At the end: every episode is still what it was when it was first seen."""
        try:
            store = DemoStore.open(path)
        except UserError:  # counted before, where it mattered
            return
        for episode_id in store.ids():
            self.invalid += store.episode(episode_id).digest() != self.digests.get((path.name, episode_id))

    def _inspect_episode(self, reader: EpisodeReader, store: DemoStore, name: str) -> None:
        try:
            episode = _whole(reader, store)
            self.digests[name, reader.id] = reader.digest()
        except UserError:
            self.unreadable += 1
            return
        try:
            check_episode(episode, store.spec)
            self.invalid += not (episode.attributes["success"] and episode.length > 1)
        except UserError:
            self.invalid += 1


def _whole(reader: EpisodeReader, store: DemoStore) -> Episode:
    """Every chunk of an episode, read."""
    arrays = {name: getattr(reader, name) for name in ("proprio", "action", "action_applied", "time")}
    images = {camera: reader.images(camera) for camera in store.spec.cameras}
    return Episode(images=images, **arrays, attributes=reader.attributes)


def kill_one(record: Callable[[str], None], path: Path, rng: np.random.Generator) -> set[str]:
    """Starts a recording process and kills it; returns the ids that the store had just before.

    Raises UserError where the process ends by itself or records nothing.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.stress.crash_test_writer", "demos.cube_pick", "s2robot.config"])
    before = len(_listed(path))
    process = context.Process(target=quietly, args=(record, str(path)), daemon=True)
    process.start()
    deadline = time.monotonic() + _PATIENCE
    at_once = rng.random() < _AT_ONCE
    while not at_once and len(_listed(path)) == before:
        if not process.is_alive() or time.monotonic() > deadline:
            raise UserError(f"the recording process for {path} does not record: exit code {process.exitcode}")
        time.sleep(0.01)
    time.sleep(rng.uniform(0.0, _LONGEST))
    listed = _listed(path)
    process.kill()
    process.join()
    return listed


def _listed(path: Path) -> set[str]:
    """The episodes there, by their names alone."""
    return {p.name for p in path.glob("[0-9]*")} if path.is_dir() else set()


def main(arguments: Sequence[str] | None = None) -> None:
    """Kills, counts, writes the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.crash_test", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/kills.json"))
    given = parser.parse_args(arguments)
    rng, tally = np.random.default_rng(given.seed), Tally()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="s2robot-kills-") as folder:
        stores = [(record, Path(folder, record.__name__)) for record in (session, scripted)]
        turns = itertools.islice(itertools.cycle(stores), given.kills)
        for record, path in Progress(turns, desc="kill", total=given.kills):
            tally.inspect(path, kill_one(record, path, rng))
        for _, path in stores:
            tally.inspect_again(path)
    result = _result(tally, given.seed, time.monotonic() - began)
    write_json(given.out, result)
    print(f"{given.out}: {', '.join(f'{name} {value}' for name, value in list(result.items())[:5])}")


def _result(tally: Tally, seed: int, seconds: float) -> dict[str, Any]:
    counts = {name: getattr(tally, name) for name in ("kills", "committed_lost", "unreadable", "invalid")}
    origin = {"machine": machine(), "versions": versions(), "git": git_state()}
    return {**counts, "episodes": len(tally.digests), "seed": seed, "seconds": round(seconds, 1), **origin}


if __name__ == "__main__":
    main()
