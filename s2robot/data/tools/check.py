"""`s2robot demos validate` and `repair`: list what is wrong with a store, move damaged episodes aside."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import suppress
from dataclasses import asdict, dataclass

from s2robot.data.durable import disk_errors
from s2robot.data.episode import MARKER
from s2robot.data.reader import Damaged
from s2robot.data.schema import root_edit
from s2robot.data.store import DemoStore
from s2robot.data.validate import Finding, validate
from s2robot.utils.atomic_io import write_atomic


@dataclass(frozen=True)
class ValidateOptions:
    """Of `s2robot demos validate`."""

    path: str
    json: bool


@dataclass(frozen=True)
class RepairOptions:
    """Of `s2robot demos repair`."""

    path: str
    anomalies: bool


def validate_store(options: ValidateOptions) -> int:
    """Prints one line a finding and one for the store; 1 where there are findings."""
    store = DemoStore.open(options.path, check=False)
    edit = root_edit(store.files)
    root = [Finding(MARKER, edit, damaged=True)] if edit else []
    findings, unknown = validate(store), _without_digest(store)
    if options.json:
        about = {"path": str(store), "episodes": len(store), "without_digest": unknown}
        print(json.dumps(about | {"findings": [asdict(f) for f in root + findings]}, indent=1))
    else:
        note = f"; {len(unknown)} were written without a digest: edits of their attributes do not show"
        said = summary(store, findings, bool(root)) + (note if unknown else "")
        print("\n".join([*map(str, root + findings), said]))
    return 1 if root + findings else 0


def _without_digest(store: DemoStore) -> list[str]:
    """The episodes that were written by a version which took none."""
    found = []
    for reader in store.episodes():
        with suppress(Damaged):
            found += [] if reader.has_digest else [reader.id]
    return found


def repair_store(options: RepairOptions) -> None:
    """Moves broken episodes to PATH/.broken, each with a text file of what was found."""
    store = DemoStore.open(options.path)
    root = store.path  # refuses a store elsewhere before it is read
    found: dict[str, list[Finding]] = defaultdict(list)
    for finding in validate(store):
        found[finding.episode].append(finding)
    moved = sorted(i for i, fs in found.items() if options.anomalies or any(f.damaged for f in fs))
    kept = [f for episode_id, fs in found.items() if episode_id not in moved for f in fs]
    for episode_id in moved:
        place = store.set_aside(episode_id)
        with disk_errors(f"write beside {place}"):
            write_atomic(f"{place}.txt", "\n".join(map(str, found[episode_id])) + "\n")
        print(f"{episode_id}: moved to {place.relative_to(root)}")
    print("\n".join([*map(str, kept), f"{root}: {len(moved)} episodes moved aside, {len(store)} are left"]))


def summary(store: DemoStore, findings: list[Finding], root: bool = False) -> str:
    """The store in one line, with what can be done; `root`: what it says of itself is damaged."""
    damaged = {f.episode for f in findings if f.damaged}
    anomalous = {f.episode for f in findings} - damaged
    parts = [f"{len(store)} episodes read"]
    if damaged:
        parts.append(f"{len(damaged)} damaged (`s2robot demos repair {store}` moves them aside)")
    if anomalous:
        parts.append(f"{len(anomalous)} with anomalies (`s2robot demos inspect {store}`)")
    if root:
        parts.append(f"{MARKER} of the store damaged (put back what it said of the robot and the recording)")
    return f"{store}: {', '.join(parts) if parts[1:] else f'{parts[0]}, nothing wrong'}"
