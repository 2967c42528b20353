"""`s2robot export` and `s2robot import`: between a demo store and the formats of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from s2robot.config.options import Count, Natural, Positive, to_plain
from s2robot.core.errors import UserError
from s2robot.core.spec import GripperSpec, RobotSpec
from s2robot.data.copies import chosen
from s2robot.data.formats import find_format, format_options
from s2robot.data.formats.target import new_path, size_of
from s2robot.data.formats.transfer import Incoming, Notes, Outgoing
from s2robot.data.store import DemoStore


@dataclass(frozen=True)
class GripperOptions:
    """Of the new store's gripper; all null: what the format says."""

    index: Natural | None
    open: float | None
    closed: float | None


@dataclass(frozen=True)
class ImportOptions:
    """Of `s2robot import`; those after `out` are explained in configs/import.yaml."""

    format: str
    demos: str
    out: str
    gripper: GripperOptions
    rate: Positive | None
    proprio: tuple[str, ...] | None
    cameras: tuple[str, ...] | None
    image_size: Count
    lerobot: Mapping[str, Any]  # read by the format: data imports no integrations
    options: Mapping[str, Any]


@dataclass(frozen=True)
class ExportOptions:
    """Of `s2robot export`; those after `out` are explained in configs/export.yaml."""

    format: str
    demos: str
    out: str
    cameras: tuple[str, ...] | None
    episodes: tuple[str, ...] | None
    frames_per_chunk: Count
    images: Literal["image", "video"]
    instruction: str
    lerobot: Mapping[str, Any]  # read by the format: data imports no integrations
    options: Mapping[str, Any]


def export_demos(options: ExportOptions) -> None:
    """Writes the demos at `demos` to `out` in another format, whole or not at all."""
    write = find_format(options.format, "write").write
    own = format_options(write, to_plain(options), options.options)
    store = DemoStore.open(options.demos)
    cameras = None if options.cameras is None else list(options.cameras)
    ids = store.ids() if options.episodes is None else chosen(store, options.episodes)
    if not ids:
        raise UserError("there are no demos to export")
    outgoing = Outgoing(store, store.spec.select_cameras(cameras), ids)
    out = Path(options.out)
    with new_path(out) as target:
        notes = write(outgoing, target, own)
    _report(out, len(outgoing.ids), sum(outgoing.lengths()), f"as {options.format}", notes)


def import_demos(options: ImportOptions) -> None:
    """Makes a demo store at `out` of the file or folder at `demos`, whole or not at all."""
    read = find_format(options.format, "read").read
    own = format_options(read, to_plain(options), options.options)
    source, out = Path(options.demos), Path(options.out)
    if not source.exists():
        raise UserError(f"{source} does not exist: demos= names what to import")
    with new_path(out) as target:
        incoming = read(source, own)
        spec = with_gripper(incoming.spec, options.gripper)
        steps = _fill(incoming, spec, target, f"{options.format}: {source.name}")
    _report(out, incoming.count, steps, f"from {source}", incoming.notes)
    if not spec.grippers:
        print(
            "  no gripper: the format does not name one, so policies are trained without a grasp target; "
            "gripper.index=6 gripper.open=1 gripper.closed=0 would name one"
        )


def with_gripper(spec: RobotSpec, gripper: GripperOptions) -> RobotSpec:
    """The spec with the gripper that the options name. Raises UserError where they name only a part of it."""
    index, opened, closed = gripper.index, gripper.open, gripper.closed
    if index is None and opened is None and closed is None:
        return spec
    if index is None or opened is None or closed is None:
        given = f"gripper.index={index} gripper.open={opened} gripper.closed={closed}"
        raise UserError(f"{given}: expected all three, or none")
    return replace(spec, grippers=(GripperSpec(index, opened, closed),))


def _fill(incoming: Incoming, spec: RobotSpec, target: Path, origin: str) -> int:
    """Appends every episode to a new store; returns the number of steps."""
    store = DemoStore.create(target, spec, {**incoming.attributes, "imported": origin})
    steps = 0
    with tqdm(total=incoming.count, desc="import", unit="demo") as progress:
        for episode_id, episode in incoming.episodes:
            store.append(episode, episode_id)
            steps += episode.length
            progress.update()
    return steps


def _report(out: Path, episodes: int, steps: int, how: str, notes: Notes) -> None:
    print(f"{out}: {episodes} demos, {steps} steps, {size_of(out) / 1e6:.1f} MB, {how}")
    for line in notes.lines():
        print(line)
