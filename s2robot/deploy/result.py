"""What the rollouts of a deployment come to: evaluation.json and report.html, as of `s2robot evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from s2robot.core.task import Start, Task
from s2robot.data.store import DemoStore
from s2robot.data.streams import Frames, blocks
from s2robot.deploy.operator import Mark
from s2robot.deploy.rollout import Rollout
from s2robot.reports.evaluation import RolloutVideo, write_report
from s2robot.reports.result import SCHEMA, headline, tally
from s2robot.utils.atomic_io import write_json
from s2robot.utils.provenance import git_state, machine, today, versions
from s2robot.utils.video import encode_mp4, side_by_side


def outcome_of(rollout: Rollout, index: int, start: Start, seed: int) -> dict[str, Any]:
    """What evaluation.json holds of a rollout."""
    failure = rollout.failure
    return {
        "index": index,
        "start": start.to_dict(),
        "success": rollout.mark is Mark.SUCCESS,
        "steps": rollout.steps,
        "seed": seed,
        "failure": failure and failure.label,
        "failure_text": failure and failure.text,
        "metrics": dict(failure.metrics) if failure else {},
        "digests": None,  # no other rollout of a real arm is the same to the last bit
    }


def outcomes(store: DemoStore, free: bool = False) -> dict[int, dict[str, Any]]:
    """Number of a start -> its outcome, of those that were tried and count.

    Args:
        free: of the rollouts of `starts=0` instead, by their own numbers.
    """
    kept = (episode.attributes for episode in store.episodes())
    return {a["outcome"]["index"]: a["outcome"] for a in kept if a["is_free"] == free}


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


def write(out: Path, store: DemoStore, task: Task, about: Mapping[str, Any]) -> None:
    """Writes evaluation.json and report.html, and says what they hold.

    They hold the rollouts from the task's starts; those of `starts=0` where there are no others.

    Args:
        about: `checkpoint_sha256`, `seed`, `max_steps` and `config`.
    """
    free = not outcomes(store)
    found = outcomes(store, free)
    if not found:
        print(f"no rollout was made: no evaluation.json and no report.html in {out}")
        return
    evaluation = {
        "schema": SCHEMA,
        "task": task.to_dict(),
        **tally([found[index] for index in sorted(found)]),
        "random_starts": None,
        "versions": versions(),
        "git": git_state(),
        "date": today(),
        "machine": machine(),
        "rate": store.spec.rate,
        "robot": latencies(store),
        **about,
    }
    write_json(out / "evaluation.json", evaluation)
    write_report(out / "report.html", evaluation, _videos(store, free), cameras=list(store.spec.cameras))
    print(f"{headline(evaluation)}: open {out / 'report.html'}")


def _videos(store: DemoStore, free: bool) -> list[RolloutVideo]:
    videos = []
    for episode in store.episodes():
        outcome = episode.attributes["outcome"]
        if episode.attributes["is_free"] != free:
            continue
        streams = [_steps(episode.frames(camera)) for camera in store.spec.cameras]
        frames = map(side_by_side, zip(*streams, strict=True))
        videos.append(RolloutVideo(outcome["index"], encode_mp4(frames, store.spec.rate)))
    return videos


def _steps(frames: Frames) -> Iterator[np.ndarray]:
    """One frame after the other, of an array that is read in blocks."""
    return (frame for _, block in blocks(frames) for frame in block)
