"""`s2robot demos drop`, `merge` and `split`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from s2robot.config.options import Natural
from s2robot.core.errors import UserError
from s2robot.data import copies
from s2robot.data.copies import Ids, InnerShare, chosen
from s2robot.data.files import local_path
from s2robot.data.schema import check_vacant
from s2robot.data.store import DemoStore


@dataclass(frozen=True)
class DropOptions:
    """Of `s2robot demos drop`."""

    path: str
    ids: Ids


@dataclass(frozen=True)
class MergeOptions:
    """Of `s2robot demos merge`."""

    stores: tuple[str, ...]
    out: str


@dataclass(frozen=True)
class SplitOptions:
    """Of `s2robot demos split`."""

    path: str
    held_out: str
    rest: str | None
    share: InnerShare
    seed: Natural
    ids: Ids


def drop(options: DropOptions) -> None:
    """Drops all of the episodes or, where one of them is unknown, none."""
    store = DemoStore.open(options.path)
    ids = chosen(store, options.ids)
    if not ids:
        raise UserError(
            "no episode is named: give their ids behind the path (`s2robot demos list` shows them)"
        )
    for episode_id in ids:
        store.drop(episode_id)
    print(f"{store}: {len(ids)} episodes dropped, {len(store)} are left; their files are still there")


def merge(options: MergeOptions) -> None:
    """Copies the episodes of the stores into a new one."""
    if not options.stores:
        raise UserError("no store is named: give their paths, and out=PATH for the new one")
    merged = copies.merge([DemoStore.open(path) for path in options.stores], options.out)
    print(f"{merged}: {len(merged)} episodes of {len(options.stores)} stores")


def _nested(a: Path, b: Path) -> bool:
    """Whether one is the other, or lies in it."""
    a, b = a.resolve(), b.resolve()
    return a in (b, *b.parents) or b in a.parents


def split(options: SplitOptions) -> None:
    """Copies some episodes into one new store and, where it is named, the rest into another."""
    store = DemoStore.open(options.path)
    ids = chosen(store, options.ids) or copies.choose(store.ids(), options.share, options.seed)
    rest = [i for i in store.ids() if i not in set(ids)]
    parts = [(local_path(options.held_out), ids)]
    if options.rest is not None:
        parts.append((local_path(options.rest), rest))
        if not rest or _nested(*(path for path, _ in parts)):
            raise UserError(
                f"rest={options.rest}: expected another folder than held_out, and episodes for it"
            )
    for path, _ in parts:
        check_vacant(path)
    attributes = store.attributes | {"split_from": str(store)}
    for path, part in parts:
        made = copies.copy_episodes([(store, i, i) for i in part], path, attributes)
        print(f"{made}: {len(made)} of the {len(store)} episodes of {store}")
