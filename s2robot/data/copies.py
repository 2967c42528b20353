"""New stores of copied episodes: whole or not at all; each episode names its sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Lt

from s2robot.core.errors import UserError
from s2robot.data.durable import STAGING, clean_staging, disk_errors, rename_new, staged, sync
from s2robot.data.files import local_path
from s2robot.data.jpeg import ATTRIBUTE
from s2robot.data.reader import EpisodeReader
from s2robot.data.schema import check_vacant
from s2robot.data.store import DemoStore
from s2robot.data.validate import examine
from s2robot.utils.progress import Progress

Ids = tuple[str | int, ...]
"""Ids of episodes as they are typed: `100012` is a number there."""

InnerShare = Annotated[float, Gt(0), Lt(1)]

Named = tuple[DemoStore, str, str | None]
"""A store, the id of one of its episodes, and the id of the copy (None: the next number)."""


def merge(stores: Sequence[DemoStore], path: str | Path) -> DemoStore:
    """A new store of all episodes of these, in their order, under new numbers.

    Raises UserError where the specs differ, an episode is damaged, or the path holds anything.
    """
    first = stores[0]
    for other in stores[1:]:
        difference = first.spec.difference(other.spec)
        if difference:
            raise UserError(f"{first} and {other} hold demos of different robots: {difference}")
    episodes: list[Named] = [(store, episode_id, None) for store in stores for episode_id in store.ids()]
    if not episodes:
        raise UserError(f"{' and '.join(map(str, stores))} holds no demos to copy")
    attributes = {"merged_from": [str(store) for store in stores], **_common(stores)}
    return copy_episodes(episodes, local_path(path), attributes)


def copy_episodes(episodes: Sequence[Named], path: Path, attributes: Mapping[str, Any]) -> DemoStore:
    """A new store of copies of these episodes, each with one more of its `sources`. Raises as `merge`."""
    with new_store(path, episodes[0][0], attributes) as store:
        for source, episode_id, new_id in Progress(episodes, desc=f"copy to {path}", unit="demo"):
            reader = source.episode(episode_id)
            check_whole(source, episode_id)
            store.append_copy(reader, {"sources": sources(source, reader)}, new_id)
    return DemoStore.open(path)


def sources(store: DemoStore, reader: EpisodeReader) -> list[dict[str, str]]:
    """Where a copy of this episode comes from: where it came from itself, then the store."""
    came = {"store": str(store), "id": reader.id, "sha256": reader.digest()}
    return [*reader.attributes.get("sources", []), came]


@contextmanager
def new_store(path: Path, like: DemoStore, attributes: Mapping[str, Any]) -> Iterator[DemoStore]:
    """An empty store of the same robot that gets its name at the end, and is gone where anything fails."""
    check_vacant(path)
    with disk_errors(f"create {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
    clean_staging(path.parent)
    try:
        with staged(path.parent, path.name) as folder:
            yield DemoStore.create(folder, like.spec, attributes)
            if not rename_new(folder, path):
                raise UserError(f"{path} was made meanwhile by another process: name another folder")
            sync(path.parent)
    finally:
        _remove_if_empty(path.parent / STAGING)


def chosen(store: DemoStore, ids: Sequence[object]) -> list[str]:
    """The ids as text. Raises UserError for one that the store does not have, or that is named twice."""
    names = [str(episode_id) for episode_id in ids]
    for name in names:
        store.episode(name)
        if names.count(name) > 1:
            raise UserError(f"episode {name} is named twice")
    return names


def choose(ids: Sequence[str], share: float, seed: int) -> list[str]:
    """A seeded share of the ids, at least one and not all, in order."""
    if len(ids) < 2:
        raise UserError(f"{len(ids)} episodes cannot be split: expected at least 2")
    count = min(max(1, round(share * len(ids))), len(ids) - 1)
    order = np.random.default_rng([seed, 9]).permutation(len(ids))
    return [str(ids[i]) for i in sorted(order[:count])]


def check_whole(store: DemoStore, episode_id: str) -> None:
    """Raises UserError for an episode that is damaged."""
    damage = [f for f in examine(store.episode(episode_id), store.spec)[0] if f.damaged]
    if damage:
        hint = f"`s2robot demos repair {store}` moves it aside"
        raise UserError(f"episode {episode_id} of {store} is damaged ({damage[0].what}): {hint}")


def _common(stores: Sequence[DemoStore]) -> dict[str, Any]:
    """What the stores say of their recording and agree on: training asks it for the environment.

    And the codec of their frames, where it is the same. Where not, each frame stays as it is all the same.
    """
    first, *others = (store.attributes.get("record", {}) for store in stores)
    record = {key: value for key, value in first.items() if all(o.get(key) == value for o in others)}
    codec, *codecs = (store.attributes.get(ATTRIBUTE) for store in stores)
    common = {"record": record} if record else {}
    return common | ({ATTRIBUTE: codec} if codec and all(c == codec for c in codecs) else {})


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # another writer's, or never made
