"""What the rollouts of a deployment come to: the same evaluation.json and report as simulation's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from s2robot.data.store import DemoStore
from s2robot.reports.evaluation import RolloutVideo, write_report
from s2robot.reports.result import headline, tally
from s2robot.utils.provenance import machine, versions, write_json
from s2robot.utils.video import encode_mp4

_VIDEO_SIDE = 224  # px


def outcomes(store: DemoStore) -> dict[int, dict[str, Any]]:
    """Position -> its outcome, of those that were tried and count."""
    found = {}
    for episode in store.episodes():
        outcome = episode.attributes.get("outcome")
        if outcome is not None:
            found[outcome["position"]] = outcome
    return found


def latencies(store: DemoStore) -> dict[str, Any]:
    """Over all rollouts: achieved rates (Hz), and capture to command (ms)."""
    attributes = [episode.attributes for episode in store.episodes()]
    ages = 1000 * np.array([age for a in attributes for age in a["capture_to_command"]])
    rates = [a["timing"]["achieved_rate"] for a in attributes if a["timing"]["achieved_rate"]]
    counts: dict[str, int] = {}
    for a in attributes:
        for name, count in a["safety"].items():
            counts[name] = counts.get(name, 0) + count
    shares = {f"p{p}": round(float(np.percentile(ages, p)), 1) for p in (50, 95, 99)} if len(ages) else {}
    return {
        "steps": len(ages),
        "capture_to_command_ms": shares,
        "achieved_rate": [round(min(rates), 3), round(max(rates), 3)] if rates else None,
        "overruns": sum(a["timing"]["overruns"] for a in attributes),
        "safety": counts,
        "stopped": [a["stopped"] for a in attributes if a["stopped"]],
    }


def write(out: Path, store: DemoStore, plain: dict[str, Any], about: dict[str, Any]) -> None:
    """Writes evaluation.json and report.html, and says what they hold; nothing where nothing counts yet."""
    found = outcomes(store)
    if not found:
        print(f"no rollout at one of the positions yet: {len(store)} rollouts in {store.path}")
        return
    ordered = [found[index] for index in sorted(found)]
    evaluation = {
        **tally(ordered),
        "extra": None,
        "seed": plain["seed"],
        "versions": versions(),
        "machine": machine(),
        "checkpoint_sha256": about["checkpoint_sha256"],
        "config": {"deploy": plain, **about["config"]},
        "rate": store.spec.rate,
        "max_steps": about["max_steps"],
        "spawn_region": plain["spawn_region"],
        "robot": latencies(store),
    }
    write_json(out / "evaluation.json", evaluation)
    write_report(out / "report.html", evaluation, _videos(store))
    print(f"{headline(evaluation)}: open {out / 'report.html'}")


def _videos(store: DemoStore) -> list[RolloutVideo]:
    videos = []
    for episode in store.episodes():
        outcome = episode.attributes.get("outcome")
        if outcome is None:
            continue
        frames = episode.images(next(iter(store.spec.cameras)))
        every = max(1, frames.shape[1] // _VIDEO_SIDE)
        mp4 = encode_mp4(frames[:, ::every, ::every], store.spec.rate)
        x, y = (f"{100 * outcome[axis]:+.1f} cm" for axis in ("x", "y"))
        title = f"position {outcome['position']}: x {x}, y {y}, {outcome['steps']} steps"
        videos.append(RolloutVideo(title, outcome["success"], mp4))
    return videos
