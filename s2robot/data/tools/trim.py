"""`s2robot demos trim`: a copy of a store without idle steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from s2robot.config.options import NonNegative
from s2robot.core.errors import UserError
from s2robot.data.copies import check_whole, new_store, sources
from s2robot.data.episode import Episode
from s2robot.data.files import local_path
from s2robot.data.idle import idle_steps, resting_steps
from s2robot.data.reader import EpisodeReader
from s2robot.data.store import DemoStore
from s2robot.data.streams import LazyFrames
from s2robot.utils.progress import Progress

_BY_STEP = ("action_loss_mask", "by_person")
"""Attributes that hold an entry a step."""


@dataclass(frozen=True)
class TrimOptions:
    """Of `s2robot demos trim`."""

    path: str
    out: str
    keep: NonNegative
    pause: NonNegative | None


def main(options: TrimOptions) -> None:
    """Copies all episodes; those that are idle all the way stay as they are."""
    store = DemoStore.open(options.path)
    readers = store.episodes()
    if not readers:
        raise UserError(f"{store} holds no demos: `s2robot record` makes some")
    keep = round(options.keep * store.spec.rate)
    pause = None if options.pause is None else round(options.pause * store.spec.rate)
    masks = [kept_steps(idle, keep, pause) for idle in _idle(store, readers)]
    attributes = {**store.attributes, "trimmed_from": str(store)}
    with new_store(local_path(options.out), store, attributes) as made:
        for reader, mask in zip(Progress(readers, desc="trim", unit="demo"), masks, strict=True):
            check_whole(store, reader.id)
            came = {"sources": sources(store, reader)}
            if mask.all():
                made.append_copy(reader, came, reader.id)
            else:
                made.append(_trimmed(reader, store, np.flatnonzero(mask), came), reader.id)
    steps, kept = sum(map(len, masks)), sum(int(mask.sum()) for mask in masks)
    print(f"{options.out}: {len(masks)} episodes, {kept:,} of their {steps:,} steps")


def kept_steps(idle: np.ndarray, keep: int, pause: int | None) -> np.ndarray:
    """Which steps stay, bool (T,); all of an episode that is idle all the way.

    Args:
        idle: bool (T,).
        keep: idle steps that stay at the start and at the end.
        pause: of those that lie between, so many in a row stay, half of them at each end; None: all.
    """
    kept = np.ones(len(idle), bool)
    for start, stop in _runs(idle):
        if start == 0 and stop == len(idle):
            return kept
        if start == 0:
            kept[: max(0, stop - keep)] = False
        elif stop == len(idle):
            kept[start + keep :] = False
        elif pause is not None and stop - start > pause:
            kept[start + -(-pause // 2) : stop - pause // 2] = False
    return kept


def _runs(mask: np.ndarray) -> Iterator[tuple[int, int]]:
    """The first step of each run of True, and that after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _idle(store: DemoStore, readers: list[EpisodeReader]) -> list[np.ndarray]:
    """Where nothing is asked of the robot and it rests: while a gripper closes, it does not."""
    actions, proprio = [r.action for r in readers], [r.proprio for r in readers]
    idle = idle_steps(actions, proprio, store.spec)
    return [a & b for a, b in zip(idle, resting_steps(proprio), strict=True)]


def _trimmed(reader: EpisodeReader, store: DemoStore, steps: np.ndarray, came: dict) -> Episode:
    """These steps of an episode; its time goes on as if the others had not been."""
    attributes = {name: value for name, value in reader.attributes.items() if name != "length"}
    for name in _BY_STEP:
        if name in attributes:
            attributes[name] = [attributes[name][step] for step in steps]
    attributes["trimmed"] = {"steps": reader.length, "kept": _spans(steps)}
    time = reader.time
    taken = np.diff(time, prepend=time[0])[steps]
    return Episode(
        images={name: _frames(reader, name, shape, steps) for name, shape in store.spec.cameras.items()},
        proprio=reader.proprio[steps],
        action=reader.action[steps],
        action_applied=reader.action_applied[steps],
        time=time[0] + np.cumsum(taken) - taken[0],
        attributes=attributes | came,
    )


def _frames(reader: EpisodeReader, camera: str, shape: tuple[int, int, int], steps: np.ndarray) -> LazyFrames:
    def read(start: int, stop: int) -> np.ndarray:
        wanted = steps[start:stop]
        first = int(wanted[0])
        return reader.images(camera, slice(first, int(wanted[-1]) + 1))[wanted - first]

    return LazyFrames((len(steps), *shape), read)


def _spans(steps: np.ndarray) -> list[list[int]]:
    """`[[3, 20], [31, 40]]`: the first and the last of steps in a row."""
    parts = np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1)
    return [[int(part[0]), int(part[-1])] for part in parts]
