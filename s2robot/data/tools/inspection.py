"""`s2robot demos inspect`: one page that shows what a store holds, and what in it stands out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from omegaconf import DictConfig
from tqdm import tqdm

from s2robot.core.errors import UserError
from s2robot.data.durable import disk_errors
from s2robot.data.episode import SERIES, Episode
from s2robot.data.reader import Damaged, EpisodeReader
from s2robot.data.store import DemoStore
from s2robot.data.tools import figures
from s2robot.data.tools.contact_sheets import FRAMES, contact_sheet, data_url
from s2robot.data.tools.outliers import near_duplicates, outliers
from s2robot.data.tools.stats import measured_rate
from s2robot.data.tools.viewer import check_writable, write_rrd
from s2robot.reports.html import template
from s2robot.utils.provenance import plain, write_atomic

_GENERATOR = '<meta name="generator" content="s2robot">'


@dataclass
class Inspection:
    """What was found in a store.

    Attributes:
        episodes: id -> the episode without its frames, where it can be read.
        marks: id -> in words, why to look at it.
        shown: the ids whose frames and curves are shown.
    """

    store: DemoStore
    episodes: dict[str, Episode] = field(default_factory=dict)
    marks: dict[str, list[str]] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)

    def mark(self, episode_id: str, why: str) -> None:
        self.marks.setdefault(episode_id, []).append(why)


def main(cfg: DictConfig) -> None:
    """Writes the page and, where asked for, the recording for rerun."""
    if cfg.sheets < 0:
        raise UserError(f"sheets={cfg.sheets}: expected 0 or more episodes to show")
    store = DemoStore.open(cfg.path)
    out = Path(cfg.out) if cfg.out else store.path / "inspect.html"
    if out.exists() and not (out.is_file() and _GENERATOR in out.read_text(errors="replace")[:2000]):
        raise UserError(f"{out} is no page of s2robot, so it is not replaced: give another out=")
    recording = out.with_suffix(".rrd")
    if cfg.rerun:
        check_writable(recording)
    found = look(store, cfg.sheets)
    with disk_errors(f"write {out}"):
        write_atomic(out, render(found))
    written = f"{out} and {write_rrd(store, found.shown, recording)}" if cfg.rerun else out
    print(f"{store}: {len(found.episodes)} episodes, {len(found.marks)} marked: open {written}")


def look(store: DemoStore, sheets: int) -> Inspection:
    """Reads everything but frames, and marks what stands out. Raises UserError for an empty store."""
    found = Inspection(store)
    for reader in tqdm(store.episodes(), desc="read", unit="demo"):
        try:
            found.episodes[reader.id] = _without_frames(reader)
        except Damaged as error:
            found.mark(reader.id, f"{error.name} is damaged ({error.reason})")
    if not found.episodes:
        raise UserError(
            f"{store} holds no demos that can be read: `s2robot demos validate {store}` says more"
        )
    for episode_id, whys in outliers(found.episodes, store.spec).items():
        for why in whys:
            found.mark(episode_id, why)
    for first, second, distance in near_duplicates(found.episodes):
        found.mark(second, f"nearly the same as {first} (distance {distance:.2g})")
        found.mark(first, f"nearly the same as {second} (distance {distance:.2g})")
    found.shown = choose_shown(list(found.episodes), list(found.marks), sheets)
    return found


def choose_shown(ids: Sequence[str], marked: Sequence[str], count: int) -> list[str]:
    """At most `count` ids: those marked first, then others, evenly spread."""
    first = [i for i in ids if i in marked][:count]
    others = [i for i in ids if i not in marked]
    more = min(count - len(first), len(others))
    return first + [others[i] for i in np.linspace(0, len(others) - 1, more).round().astype(int)]


def render(found: Inspection) -> str:
    """The page."""
    store, episodes, marks = found.store, found.episodes, found.marks
    spec = store.spec
    poses = {i: p for i, e in episodes.items() if (p := e.attributes.get("cube_pose"))}
    readable = [i for i in marks if i in episodes]
    counts = figures.cell_counts(np.array([p[:2] for p in poses.values()]))[0] if poses else None
    sheets = []
    for episode_id in tqdm(found.shown, desc="draw", unit="demo"):
        sheets.append((episode_id, _sheet(found, episode_id), figures.curves(episode_id, episodes, spec)))
    return _TEMPLATE.render(
        store=str(store),
        spec=spec,
        rows=[_row(found, i) for i in sorted({*episodes, *marks})],
        steps=sum(e.length for e in episodes.values()),
        seconds=sum(e.length for e in episodes.values()) / spec.rate,
        marks=dict(sorted(marks.items())),
        coverage=figures.coverage_map(poses, readable) if poses else None,
        cells=None if counts is None else (int((counts == 0).sum()), counts.size),
        lengths=figures.histogram([e.length for e in episodes.values()], "length [steps]"),
        rates=_rates(found),
        bands={
            "Actions, as asked for": figures.bands(episodes, "action", spec.action, readable),
            "Actions, as taken": figures.bands(episodes, "action_applied", spec.action, readable),
            "Proprioception": figures.bands(episodes, "proprio", spec.proprio, readable),
        },
        sheets=sheets,
        frames=FRAMES,
        attributes=yaml.safe_dump(plain(store.attributes), sort_keys=False, allow_unicode=True),
    )


def _without_frames(reader: EpisodeReader) -> Episode:
    series = {name: getattr(reader, name) for name in SERIES}
    return Episode({}, **series, attributes=reader.attributes)


def _sheet(found: Inspection, episode_id: str) -> str | None:
    """The frames as a `data:` URL; None, and a mark, where they cannot be read."""
    try:
        return data_url(contact_sheet(found.store.episode(episode_id), found.store.spec))
    except Damaged as error:
        found.mark(episode_id, f"{error.name} is damaged ({error.reason})")
        return None


def _rates(found: Inspection) -> str | None:
    rates = [r for e in found.episodes.values() if (r := measured_rate(e.time)) is not None]
    expected = found.store.spec.rate
    return figures.histogram(rates, "measured rate [Hz]", expected) if rates else None


def _row(found: Inspection, episode_id: str) -> dict[str, Any]:
    episode = found.episodes.get(episode_id)
    attributes = episode.attributes if episode else {}
    return {
        "id": episode_id,
        "steps": episode.length if episode else None,
        "rate": measured_rate(episode.time) if episode else None,
        "success": attributes.get("success"),
        "pose": attributes.get("cube_pose"),
        "marks": found.marks.get(episode_id, []),
    }


_TEMPLATE = template("inspection.html.jinja")
