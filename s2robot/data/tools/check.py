"""`s2robot demos validate` and `repair`: what is wrong with a store, and what is broken out of the way."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict

from omegaconf import DictConfig

from s2robot.data.durable import disk_errors
from s2robot.data.store import DemoStore
from s2robot.data.validate import Finding, validate
from s2robot.utils.provenance import write_atomic


def validate_store(cfg: DictConfig) -> int:
    """Prints one line a finding and one for the store; 1 where there are findings."""
    store = DemoStore.open(cfg.path)
    findings = validate(store)
    if cfg.json:
        about = {"path": str(store), "episodes": len(store)}
        print(json.dumps(about | {"findings": [asdict(f) for f in findings]}, indent=1))
    else:
        print("\n".join([*map(str, findings), verdict(store, findings)]))
    return 1 if findings else 0


def repair_store(cfg: DictConfig) -> None:
    """Moves broken episodes to PATH/.broken, each with a text file of what was found."""
    store = DemoStore.open(cfg.path)
    root = store.path  # refuses a store elsewhere before it is read
    found: dict[str, list[Finding]] = defaultdict(list)
    for finding in validate(store):
        found[finding.episode].append(finding)
    kept = [f for fs in found.values() if not (cfg.suspect or any(g.damaged for g in fs)) for f in fs]
    moved = sorted(found.keys() - {f.episode for f in kept})
    for episode_id in moved:
        place = store.set_aside(episode_id)
        with disk_errors(f"write beside {place}"):
            write_atomic(f"{place}.txt", "\n".join(map(str, found[episode_id])) + "\n")
        print(f"{episode_id}: moved to {place.relative_to(root)}")
    print("\n".join([*map(str, kept), f"{root}: {len(moved)} episodes moved aside, {len(store)} are left"]))


def verdict(store: DemoStore, findings: list[Finding]) -> str:
    """The store in one line, with what can be done."""
    damaged = {f.episode for f in findings if f.damaged}
    suspect = {f.episode for f in findings} - damaged
    parts = [f"{len(store)} episodes read"]
    if damaged:
        parts.append(f"{len(damaged)} damaged (`s2robot demos repair {store}` moves them aside)")
    if suspect:
        parts.append(f"{len(suspect)} to look at (`s2robot demos inspect {store}`)")
    return f"{store}: {', '.join(parts) if findings else f'{parts[0]}, nothing wrong'}"
