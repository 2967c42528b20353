"""`s2robot demos drop`, `merge` and `split`."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from s2robot.data import copies
from s2robot.data.files import local_path
from s2robot.data.root import check_vacant
from s2robot.data.store import DemoStore
from s2robot.errors import UserError


def drop(cfg: DictConfig) -> None:
    """Drops all of the episodes or, where one of them is unknown, none."""
    store = DemoStore.open(cfg.path)
    ids = chosen(store, cfg.ids)
    if not ids:
        raise UserError(
            "no episode is named: give their ids behind the path (`s2robot demos list` shows them)"
        )
    for episode_id in ids:
        store.drop(episode_id)
    print(f"{store}: {len(ids)} episodes dropped, {len(store)} are left; their files are still there")


def merge(cfg: DictConfig) -> None:
    """Copies the episodes of the stores into a new one."""
    if not cfg.stores:
        raise UserError("no store is named: give their paths, and out=PATH for the new one")
    merged = copies.merge([DemoStore.open(path) for path in cfg.stores], cfg.out)
    print(f"{merged}: {len(merged)} episodes of {len(cfg.stores)} stores")


def split(cfg: DictConfig) -> None:
    """Copies some episodes into one new store and, where it is named, the rest into another."""
    store = DemoStore.open(cfg.path)
    ids = chosen(store, cfg.ids) or copies.choose(store.ids(), cfg.share, cfg.seed)
    rest = [i for i in store.ids() if i not in set(ids)]
    parts = [(local_path(cfg.held_out), ids)]
    if cfg.rest is not None:
        parts.append((local_path(cfg.rest), rest))
        if not rest or cfg.rest == cfg.held_out:
            raise UserError(f"rest={cfg.rest}: expected another folder than held_out, and episodes for it")
    for path, _ in parts:
        check_vacant(path)
    attributes = store.attributes | {"split_from": str(store)}
    for path, part in parts:
        made = copies.copy_episodes([(store, i, i) for i in part], path, attributes)
        print(f"{made}: {len(made)} of the {len(store)} episodes of {store}")


def chosen(store: DemoStore, ids: Sequence[object]) -> list[str]:
    """The ids as text. Raises UserError for one that the store does not have, or that is named twice."""
    names = [str(episode_id) for episode_id in ids]
    for name in names:
        store.episode(name)
        if names.count(name) > 1:
            raise UserError(f"episode {name} is named twice")
    return names
