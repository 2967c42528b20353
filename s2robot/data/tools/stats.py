"""`s2robot demos stats`: what a store holds, in numbers."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2robot.core.errors import UserError
from s2robot.data.episode import MARKER
from s2robot.data.idle import idle_share, idle_text
from s2robot.data.store import DemoStore
from s2robot.data.tools.table import table
from s2robot.utils.progress import Progress

_QUANTILES = {"min": 0.0, "1 %": 0.01, "median": 0.5, "99 %": 0.99, "max": 1.0}
_SERIES = ("proprio", "action", "action_applied")


@dataclass(frozen=True)
class StatsOptions:
    """Of `s2robot demos stats`."""

    path: str
    json: bool


def main(options: StatsOptions) -> None:
    """Prints the statistics, as tables or as JSON."""
    store = DemoStore.open(options.path)
    stats = statistics(store)
    print(json.dumps(stats, indent=1) if options.json else as_text(stats))


def statistics(store: DemoStore) -> dict[str, Any]:
    """Of all episodes: counts, the share of idle steps, lengths (steps), rates (Hz), longest steps (s),
    entries, sizes (bytes).

    Raises UserError for an empty store and for an episode that cannot be read.
    """
    episodes = store.episodes()
    if not episodes:
        raise UserError(f"{store} holds no demos: `s2robot record` makes some")
    series: dict[str, list[np.ndarray]] = defaultdict(list)
    sizes: dict[str, int] = defaultdict(int)
    times, outcomes = [], []
    for reader in Progress(episodes, desc="read", unit="demo"):
        times.append(reader.time)
        for name in _SERIES:
            series[name].append(getattr(reader, name))
        for file, size in reader.sizes().items():
            sizes["metadata" if file.endswith(MARKER) else file.rpartition("/")[0]] += size
        outcomes.append(reader.attributes.get("success"))
    labels = {"proprio": store.spec.proprio}
    return {
        "path": str(store),
        "episodes": len(episodes),
        "successes": outcomes.count(True),
        "success_unknown": sum(outcome is None for outcome in outcomes),
        "steps": sum(map(len, times)),
        "seconds": sum(float(t[-1] - t[0]) for t in times),
        "asked_rate": store.spec.rate,
        "idle": idle_share(series["action"], series["proprio"], store.spec),
        "length": spread([len(t) for t in times]),
        "rate": spread([r for r in map(measured_rate, times) if r is not None]),
        "longest_step": spread([float(np.diff(t).max()) for t in times if len(t) > 1]),
        **{n: entries(series[n], labels.get(n, store.spec.action)) for n in _SERIES},
        "bytes": dict(sorted(sizes.items())),
    }


def measured_rate(time: np.ndarray) -> float | None:
    """Steps a second (Hz); None for one step alone, or where time stands still."""
    return float((len(time) - 1) / (time[-1] - time[0])) if len(time) > 1 and time[-1] > time[0] else None


def spread(values: Sequence[float] | np.ndarray) -> dict[str, float] | None:
    """Mean, deviation and quantiles; None for no values."""
    if len(values) == 0:
        return None
    quantiles = np.quantile(values, list(_QUANTILES.values()))
    named = dict(zip(_QUANTILES, map(float, quantiles), strict=True))
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), **named}


def entries(arrays: Sequence[np.ndarray], labels: Sequence[str]) -> dict[str, dict[str, float] | None]:
    """`spread` of each entry over the steps of all episodes."""
    steps = np.concatenate(arrays).astype(np.float64)
    return {label: spread(steps[:, i]) for i, label in enumerate(labels)}


def as_text(stats: dict[str, Any]) -> str:
    """Tables of the statistics."""
    frames = {name: size for name, size in stats["bytes"].items() if name.startswith("images/")}
    total = sum(stats["bytes"].values())
    head = (
        f"{stats['path']}: {stats['episodes']} episodes, {_successes(stats)}, "
        f"{stats['steps']:,} steps in {stats['seconds']:,.0f} s, {idle_text(stats['idle'])}, "
        f"{total / 1e6:,.1f} MB"
    )
    measures = {
        "length [steps]": stats["length"],
        f"rate [Hz], asked for {stats['asked_rate']:g}": stats["rate"],
        "longest step [s]": stats["longest_step"],
    }
    tables = [_spreads("episodes", measures), *(_spreads(name, stats[name]) for name in _SERIES)]
    sizes = [
        [name, f"{size / 1e6:,.2f}", f"{size / stats['steps'] / 1e3:,.2f}" if name in frames else "-"]
        for name, size in stats["bytes"].items()
    ]
    return "\n\n".join([head, *tables, table(["on disk", "MB", "kB a frame"], sizes)])


def _successes(stats: dict[str, Any]) -> str:
    unknown = stats["success_unknown"]
    if unknown == stats["episodes"]:
        return "success unknown"
    return f"{stats['successes']} successes" + (f" ({unknown} unknown)" if unknown else "")


def _spreads(title: str, rows: dict[str, dict[str, float] | None]) -> str:
    columns = ["mean", "std", *_QUANTILES]
    cells = [[name, *(f"{s[c]:.4g}" if s else "-" for c in columns)] for name, s in rows.items()]
    return table([title, *columns], cells)
