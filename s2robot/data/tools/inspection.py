"""`s2robot demos inspect`: one page of what a store holds, and of what to check in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from s2robot.config.options import Natural
from s2robot.core.errors import UserError
from s2robot.core.task import SpawnRegion
from s2robot.data.durable import disk_errors
from s2robot.data.episode import SERIES, Episode, recorded_start
from s2robot.data.reader import Damaged, EpisodeReader
from s2robot.data.store import DemoStore
from s2robot.data.tools import figures
from s2robot.data.tools.changes import changes
from s2robot.data.tools.contact_sheets import FRAMES, contact_sheet, data_url
from s2robot.data.tools.films import episode_film
from s2robot.data.tools.outliers import near_duplicates, outliers
from s2robot.data.tools.stats import measured_rate
from s2robot.data.tools.viewer import check_writable, write_rrd
from s2robot.reports.films import Film
from s2robot.reports.html import template
from s2robot.tasks import load_task
from s2robot.utils.atomic_io import write_atomic
from s2robot.utils.hashing import plain
from s2robot.utils.progress import Progress

_FEW = 8  # flags and films at first sight; the others are folded
_SAME_RATE = 0.01  # of the rate: by less it does not differ

_GENERATOR = '<meta name="generator" content="s2robot">'


@dataclass
class Inspection:
    """What was found in a store.

    Attributes:
        episodes: id -> the episode without its frames, where it can be read.
        flags: id -> why to check it: damage, outliers, near-duplicates.
        drawn: the ids that get a contact sheet and curves.
    """

    store: DemoStore
    episodes: dict[str, Episode] = field(default_factory=dict)
    flags: dict[str, list[str]] = field(default_factory=dict)
    drawn: list[str] = field(default_factory=list)

    def flag(self, episode_id: str, why: str) -> None:
        self.flags.setdefault(episode_id, []).append(why)


@dataclass(frozen=True)
class InspectOptions:
    """Of `s2robot demos inspect`."""

    path: str
    out: str | None
    contact_sheets: Natural
    rerun: bool


def main(options: InspectOptions) -> None:
    """Writes the page and, where asked for, the recording for rerun."""
    store = DemoStore.open(options.path)
    out = Path(options.out) if options.out else store.path / "inspect.html"
    if out.exists() and not (out.is_file() and _GENERATOR in out.read_text(errors="replace")[:2000]):
        raise UserError(f"{out} is no page of s2robot, so it is not replaced: give another out=")
    recording = out.with_suffix(".rrd")
    if options.rerun:
        check_writable(recording)
    found = examine(store, options.contact_sheets)
    with disk_errors(f"write {out}"):
        write_atomic(out, render(found))
    written = f"{out} and {write_rrd(store, found.drawn, recording)}" if options.rerun else out
    print(f"{store}: {len(found.episodes)} episodes, {len(found.flags)} flagged: open {written}")


def examine(store: DemoStore, contact_sheets: int) -> Inspection:
    """Reads everything but frames, and flags outliers, near-duplicates and damage.

    Raises UserError for an empty store.
    """
    found = Inspection(store)
    for reader in Progress(store.episodes(), desc="read", unit="demo"):
        try:
            found.episodes[reader.id] = _without_frames(reader)
        except Damaged as error:
            found.flag(reader.id, f"{error.name} is damaged ({error.reason})")
    if not found.episodes:
        raise UserError(
            f"{store} holds no demos that can be read: `s2robot demos validate {store}` says more"
        )
    for episode_id, whys in outliers(found.episodes, store.spec).items():
        for why in whys:
            found.flag(episode_id, why)
    for first, second, distance in near_duplicates(found.episodes):
        found.flag(second, f"nearly the same as {first} (distance {distance:.2g})")
        found.flag(first, f"nearly the same as {second} (distance {distance:.2g})")
    found.drawn = choose_drawn(list(found.episodes), list(found.flags), contact_sheets)
    return found


def choose_drawn(ids: Sequence[str], flagged: Sequence[str], count: int) -> list[str]:
    """At most `count` ids: those flagged first, then others, evenly spread."""
    first = [i for i in ids if i in flagged][:count]
    others = [i for i in ids if i not in flagged]
    more = min(count - len(first), len(others))
    return first + [others[i] for i in np.linspace(0, len(others) - 1, more).round().astype(int)]


def render(found: Inspection) -> str:
    """The page."""
    store, episodes, flags = found.store, found.episodes, found.flags
    spec = store.spec
    places = {i: place for i, e in episodes.items() if (place := _place(e))}
    readable = [i for i in flags if i in episodes]
    counts = figures.cell_counts(list(places.values()))[0] if places else None
    region = _region(store)
    rates = [rate for e in episodes.values() if (rate := measured_rate(e.time)) is not None]
    sheets, films = [], []
    for episode_id in Progress(found.drawn, desc="draw", unit="demo"):
        film, sheet = _pictures(found, episode_id)
        films += [] if film is None else [film]
        sheets.append((episode_id, sheet, figures.curves(episode_id, episodes, spec)))
    seen = [store.episode(episode_id) for episode_id, sheet, _ in sheets if sheet]
    return _TEMPLATE.render(
        store=str(store),
        spec=spec,
        rows=[_row(found, i) for i in sorted({*episodes, *flags})],
        steps=sum(e.length for e in episodes.values()),
        seconds=sum(e.length for e in episodes.values()) / spec.rate,
        flags=dict(sorted(flags.items())),
        coverage=figures.coverage_map(places, readable, region) if places else None,
        cells=None if counts is None else (int((counts == 0).sum()), counts.size),
        lengths=figures.histogram([e.length for e in episodes.values()], "length [steps]", step=1),
        rates=rates,
        rates_drawn=_rates_drawn(rates, spec.rate),
        bands={
            "Actions, as asked for": figures.bands(episodes, "action", spec.action, readable),
            "Actions, as taken": figures.bands(episodes, "action_applied", spec.action, readable),
            "Proprioception": figures.bands(episodes, "proprio", spec.proprio, readable),
        },
        films=films,
        changes=figures.change_maps({c: changes(seen, c) for c in spec.cameras}) if seen else None,
        unit=region.unit if region else "m",
        sheets=sheets,
        frames=FRAMES,
        few=_FEW,
        attributes=yaml.safe_dump(plain(store.attributes), sort_keys=False, allow_unicode=True),
    )


def _without_frames(reader: EpisodeReader) -> Episode:
    series = {name: getattr(reader, name) for name in SERIES}
    return Episode({}, **series, attributes=reader.attributes)


def _pictures(found: Inspection, episode_id: str) -> tuple[Film | None, str | None]:
    """A film, and the contact sheet as a `data:` URL; None, and a flag, where frames cannot be read."""
    reader, spec = found.store.episode(episode_id), found.store.spec
    if not spec.cameras:
        return None, None
    success = found.episodes[episode_id].attributes.get("success")
    caption = f"{episode_id}: {reader.length} steps{', flagged' if episode_id in found.flags else ''}"
    try:
        film = Film(caption, episode_film(reader, spec), success)
        return film, data_url(contact_sheet(reader, spec))
    except Damaged as error:
        found.flag(episode_id, f"{error.name} is damaged ({error.reason})")
        return None, None


def _rates_drawn(rates: Sequence[float], expected: float) -> str | None:
    """None where there is nothing to see: all are what was asked for."""
    if all(abs(rate - expected) < _SAME_RATE * expected for rate in rates):
        return None
    return figures.histogram(rates, "measured rate [Hz]", _SAME_RATE * expected, expected)


def _place(episode: Episode) -> tuple[float, float, float] | None:
    """Where its start lies on the map; None where it was not recorded or is damaged."""
    try:
        start = recorded_start(episode.attributes)
    except UserError:
        return None
    return start.place if start else None


def _region(store: DemoStore) -> SpawnRegion | None:
    """Of the store's task; None where it has none, or the store does not say which task it is of."""
    record = store.attributes.get("record")
    env = record.get("env") if isinstance(record, Mapping) else None
    try:
        return load_task(env).region if isinstance(env, Mapping) else None
    except UserError:  # a task of the user's own: its code is not run for a map
        return None


def _row(found: Inspection, episode_id: str) -> dict[str, Any]:
    episode = found.episodes.get(episode_id)
    attributes = episode.attributes if episode else {}
    return {
        "id": episode_id,
        "steps": episode.length if episode else None,
        "rate": measured_rate(episode.time) if episode else None,
        "success": attributes.get("success"),
        "place": _place(episode) if episode else None,
        "flags": found.flags.get(episode_id, []),
    }


_TEMPLATE = template("inspection.html.jinja")
