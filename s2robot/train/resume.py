"""How a training that is asked for differs from the one that a folder holds, and how it goes on from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from s2robot.config.overrides import as_override
from s2robot.train.demos import Demos
from s2robot.utils.schedule import cosine

_FEW = 5


def differences(record: Path, recipe: Mapping[str, Any], demos: Demos) -> str:
    """What differs from the training of a `run.json`: options, old -> new, and demos."""
    try:
        before = json.loads(record.read_text())
        options = {name: before["options"][name] for name in recipe if name != "init"}
        options["init"] = {name: before.get("init", {}).get(name) for name in ("sha256", "statistics")}
        recipe = {"init": dict.fromkeys(options["init"]), **recipe}
        sources = before["demos"]
    except (OSError, ValueError, LookupError, TypeError):
        return "other options or other demos"
    found = [*_options(options, recipe, ""), *_demos(sources, [s.to_dict() for s in demos.sources])]
    return "; ".join(found) or "other demos"


def learning_rate_goes_on(step: int, before: int, steps: int, warmup: int, lr: float) -> str | None:
    """In a line, how the learning rate of a training that is extended goes on; None where nothing changes.

    Nothing does during the warm-up: such a training is the same as one of more steps from the start.
    """
    if step < warmup:
        return None
    reached, now = (lr * cosine(step, length, warmup) for length in (before, steps))
    return (
        f"extended from {before} to {steps} steps: the learning rate goes on from {now:.2g}, as in a "
        f"training of {steps} steps at step {step} (it was at {reached:.2g} here); the result is "
        "not that of one that was asked for so many at first"
    )


def _options(before: Any, now: Any, name: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in {**before, **now}:
            yield from _options(before.get(key), now.get(key), f"{name}.{key}" if name else str(key))
    elif before != now:
        yield f"{name} {as_override(before)} -> {as_override(now)}"


def _demos(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(before) != len(now):
        yield f"demos {as_override([s['path'] for s in before])} -> {as_override([s['path'] for s in now])}"
        return
    for old, new in zip(before, now, strict=True):
        added = [i for i in new["episodes"] if i not in old["episodes"]]
        removed = [i for i in old["episodes"] if i not in new["episodes"]]
        if added:
            yield f"demos added in {new['path']}: {_named(added)}"
        if removed:
            yield f"demos gone from {new['path']}: {_named(removed)}"
        if not added and not removed and old["sha256"] != new["sha256"]:
            yield f"demos of the same names but another content: {old['path']} -> {new['path']}"


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _FEW} more" if len(ids) > _FEW else ""
    return ", ".join(ids[:_FEW]) + more
