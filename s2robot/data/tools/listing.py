"""`s2robot demos list`: the episodes of a store, from their attributes and, for idle steps, their numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from s2robot.core.errors import UserError
from s2robot.data.episode import recorded_start
from s2robot.data.files import LocalFiles
from s2robot.data.idle import idle_steps, idle_text
from s2robot.data.reader import Damaged, EpisodeReader
from s2robot.data.store import BROKEN, DROPPED, DemoStore
from s2robot.data.tools.table import table

_REQUESTS = 16  # at a time: reading a small file of a bucket is waiting
_BULKY = ("config", "versions", "action_loss_mask", "by_person")
"""Attributes that say much and are the same for most episodes, or one entry a step."""


@dataclass(frozen=True)
class Row:
    """One episode: its attributes, empty where they cannot be read, and then why.

    Attributes:
        idle: the share of its idle steps, where it was asked for.
    """

    id: str
    attributes: Mapping[str, Any]
    damage: str = ""
    idle: float | None = None

    @property
    def steps(self) -> int:
        """T; 0 where it cannot be read."""
        return self.attributes.get("length", 0)


@dataclass(frozen=True)
class ListOptions:
    """Of `s2robot demos list`."""

    path: str
    json: bool
    idle: bool


def main(options: ListOptions) -> None:
    """Prints one line an episode and one for the store, or all of it as JSON."""
    store = DemoStore.open(options.path)
    rows = read_rows(store)
    rows = with_idle_shares(store, rows) if options.idle else rows
    if options.json:
        print(json.dumps(as_json(store, rows), indent=1))
        return
    columns = {name: cell for name, cell in _COLUMNS.items() if any(cell(row, store) for row in rows)}
    cells = [[cell(row, store) or "-" for cell in columns.values()] for row in rows]
    listed = [table(list(columns), cells)] if rows else []
    print("\n".join([*listed, about(store, rows)]))


def read_rows(store: DemoStore) -> list[Row]:
    """All episodes by id; neither frames nor any other array is read."""
    if isinstance(store.files, LocalFiles):
        return list(map(_read_row, store.episodes()))
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(_read_row, store.episodes()))


def with_idle_shares(store: DemoStore, rows: Sequence[Row]) -> list[Row]:
    """The same rows with their shares of idle steps: actions and proprioception of all are read."""
    readers = {row.id: store.episode(row.id) for row in rows if not row.damage}
    actions, proprio = ([getattr(r, n) for r in readers.values()] for n in ("action", "proprio"))
    shares = dict(
        zip(readers, (float(s.mean()) for s in idle_steps(actions, proprio, store.spec)), strict=True)
    )
    return [replace(row, idle=shares.get(row.id)) for row in rows]


def as_json(store: DemoStore, rows: Sequence[Row]) -> dict[str, Any]:
    """The listing for programs: of each episode id, steps, seconds and attributes but for the bulky ones."""
    episodes = []
    for row in rows:
        attributes = {k: v for k, v in row.attributes.items() if k not in (*_BULKY, "length")}
        damage = {"damaged": row.damage} if row.damage else {}
        measures = {"id": row.id, "steps": row.steps, "seconds": row.steps / store.spec.rate}
        measures |= {} if row.idle is None else {"idle": row.idle}
        episodes.append(attributes | measures | damage)
    return {
        "path": str(store),
        "robot_spec": store.spec.to_dict(),
        "episodes": episodes,
        "dropped": sorted(store.files.names(DROPPED)),
        "broken": _moved_aside(store),
    }


def about(store: DemoStore, rows: Sequence[Row]) -> str:
    """The store in one line."""
    steps = sum(row.steps for row in rows)
    counted = {
        "of them failed": sum(row.attributes.get("success") is False for row in rows),
        "of them damaged (see `s2robot demos validate`)": sum(bool(row.damage) for row in rows),
        "dropped": len(store.files.names(DROPPED)),
        "moved aside": len(_moved_aside(store)),
    }
    cameras = ", ".join(f"{name} {h}x{w}" for name, (h, w, _) in store.spec.cameras.items())
    idle = sum(row.steps * (row.idle or 0) for row in rows) / max(steps, 1)
    parts = [
        f"{len(rows)} episodes",
        f"{steps:,} steps ({steps / store.spec.rate:,.0f} s at {store.spec.rate:g} Hz)",
        *([idle_text(idle)] if any(row.idle is not None for row in rows) else []),
        *(f"{count} {what}" for what, count in counted.items() if count),
        f"{store.spec.action_space}, cameras {cameras}",
    ]
    return f"{store}: {'; '.join(parts)}"


def _moved_aside(store: DemoStore) -> list[str]:
    """The names of broken episodes, without the texts of what was found of them."""
    return sorted(name for name in store.files.names(BROKEN) if not name.endswith(".txt"))


def _read_row(reader: EpisodeReader) -> Row:
    try:
        return Row(reader.id, reader.attributes | {"length": reader.length})
    except Damaged as error:
        return Row(reader.id, {}, f"{error.name}: {error.reason}")


def _place(row: Row, store: DemoStore) -> str:
    try:
        start = recorded_start(row.attributes)
    except UserError:
        return "damaged"
    return " ".join(f"{value:+.3f}" for value in start.place) if start and start.place else ""


def _success(row: Row, store: DemoStore) -> str:
    return {True: "yes", False: "no"}.get(row.attributes.get("success"), "")  # type: ignore[call-overload]


def _notes(row: Row, store: DemoStore) -> str:
    sources = row.attributes.get("sources")
    notes = [
        f"damaged: {row.damage}" if row.damage else "",
        _who_or_what(row.attributes),
        f"from {sources[-1]['store']} {sources[-1]['id']}" if sources else "",
        str(row.attributes.get("notes") or ""),
    ]
    return ", ".join(filter(None, notes))


def _who_or_what(attributes: Mapping[str, Any]) -> str:
    by_person = attributes.get("by_person", ())
    if "policy" in attributes:
        return f"{sum(by_person)} of {len(by_person)} steps by a person"
    return "" if all(attributes.get("action_loss_mask", ())) else "recovery"


def _attribute(name: str) -> Callable[[Row, DemoStore], str]:
    return lambda row, store: str(row.attributes.get(name, ""))


_COLUMNS: dict[str, Callable[[Row, DemoStore], str]] = {
    "episode": lambda row, store: row.id,
    "steps": lambda row, store: str(row.steps),
    "seconds": lambda row, store: f"{row.steps / store.spec.rate:.1f}",
    "idle": lambda row, store: "" if row.idle is None else f"{100 * row.idle:.0f} %",
    "success": _success,
    "seed": _attribute("seed"),
    "place x, y [m], angle [rad]": _place,
    "instruction": _attribute("instruction"),
    "operator": _attribute("operator"),
    "notes": _notes,
}
