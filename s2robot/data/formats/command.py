"""`s2robot export` and `s2robot import`: between a demo store and the formats of others."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from s2robot.config.options import Count, Positive, to_plain
from s2robot.core.errors import UserError
from s2robot.core.spec import GripperSpec, RobotSpec
from s2robot.data.copies import chosen
from s2robot.data.durable import DiskError
from s2robot.data.formats import find_format, format_options, option_names
from s2robot.data.formats.grippers import guess_gripper, parse_gripper
from s2robot.data.formats.quaternions import QuaternionSigns
from s2robot.data.formats.target import new_path, size_of
from s2robot.data.formats.transfer import OF_EVERY_STORE, Incoming, IncomingEpisode, Outgoing
from s2robot.data.store import DemoStore
from s2robot.utils.progress import Progress


@dataclass(frozen=True)
class NameOptions:
    """Names with units of the new store's entries; null: what the format says."""

    proprio: tuple[str, ...] | None
    action: tuple[str, ...] | None


@dataclass(frozen=True)
class ImportOptions:
    """Of `s2robot import`; those after `out` are explained in configs/import.yaml."""

    format: str
    demos: str
    out: str
    strict: bool
    success: bool | None
    gripper: str | None
    rate: Positive | None
    proprio: tuple[str, ...] | None
    action: tuple[str, ...] | None
    names: NameOptions
    cameras: tuple[str, ...] | Mapping[str, str] | None
    image_size: Count | None
    options: Mapping[str, Any]


@dataclass(frozen=True)
class ExportOptions:
    """Of `s2robot export`; those after `out` are explained in configs/export.yaml."""

    format: str
    demos: str
    out: str
    cameras: tuple[str, ...] | None
    episodes: tuple[str, ...] | None
    frames_per_chunk: Count | None
    images: Literal["image", "video"] | None
    instruction: str | None
    version: Literal["v2.1", "v3.0"] | None
    options: Mapping[str, Any]


def export_demos(options: ExportOptions) -> None:
    """Writes the demos at `demos` to `out` in another format, whole or not at all."""
    write = find_format(options.format, "write").write
    plain = to_plain(options)
    given = {name: plain[name] for name in ("frames_per_chunk", "images", "instruction", "version")}
    own = format_options(options.format, write, given, options.options)
    store = DemoStore.open(options.demos)
    cameras = None if options.cameras is None else list(options.cameras)
    ids = store.ids() if options.episodes is None else chosen(store, options.episodes)
    if not ids:
        raise UserError("there are no demos to export")
    outgoing = Outgoing(store, store.spec.select_cameras(cameras), ids)
    out = Path(options.out)
    with new_path(out) as target:
        notes = write(outgoing, target, own)
    _report(out, len(outgoing.ids), sum(outgoing.lengths()), f"as {options.format}", notes.lines())


def import_demos(options: ImportOptions) -> None:
    """Makes a demo store at `out` of the file or folder at `demos`, whole or not at all.

    Episodes that are broken are left out, each in a line that says why; with `strict` they end the import.
    """
    read = find_format(options.format, "read").read
    plain = to_plain(options)
    given = {name: plain[name] for name in ("rate", "proprio", "action", "cameras", "image_size")}
    if isinstance(options.cameras, Mapping):
        given["cameras"] = list(options.cameras.values())
    own_names = option_names(read)
    for name in ("rate", "cameras"):  # applied here, to whatever the format says
        if name not in own_names:
            del given[name]
    own = format_options(options.format, read, given, options.options)
    source, out = Path(options.demos), Path(options.out)
    if not source.exists():
        raise UserError(f"{source} does not exist: demos= names what to import")
    with new_path(out) as target:
        incoming = read(source, own)
        # Where the format has not chosen, or one is renamed.
        wanted = options.cameras
        if "cameras" in own_names and not isinstance(wanted, Mapping):
            wanted = None
        spec, cameras = _spec(incoming.spec, options, wanted), _camera_names(incoming.spec, wanted)
        filling = _Filling(DemoStore.create(target, spec, _attributes(incoming, options)), options, cameras)
        filling.take(incoming)
        guessed = None if spec.grippers or incoming.ours else _guess(filling.store)
    _report(out, filling.demos, filling.steps, f"from {source}", [*filling.lines(), *incoming.notes.lines()])
    if guessed is not None:
        g, name = guessed, spec.action[guessed.index]
        print(
            f"  gripper: guessed from the actions: {name}, closed at {g.closed:.3g}, open at {g.open:.3g}; "
            f"gripper={g.index}:{g.open:.3g}:{g.closed:.3g} would say the opposite"
        )
    elif not spec.grippers:
        print(
            "  no gripper: neither the format nor the actions tell one, so policies are trained without a "
            "grasp target; gripper=6:0:1 would name one, by entry, closed and open value"
        )


def _guess(store: DemoStore) -> GripperSpec | None:
    """The gripper that the actions of a new store tell; the store's spec names it afterwards."""
    guessed = guess_gripper([episode.action for episode in store.episodes()], store.spec)
    if guessed is None:
        return None
    path, ids = store.path, store.ids()
    with TemporaryDirectory(dir=path.parent, prefix=path.name) as held:
        for episode_id in ids:
            (path / episode_id).rename(Path(held, episode_id))
        shutil.rmtree(path)
        DemoStore.create(path, replace(store.spec, grippers=(guessed,)), _own(store.attributes))
        for episode_id in ids:
            Path(held, episode_id).rename(path / episode_id)
    return guessed


def _own(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What an import said of a store, without what every store says of itself."""
    return {name: value for name, value in attributes.items() if name not in OF_EVERY_STORE}


def _spec(
    spec: RobotSpec, options: ImportOptions, cameras: tuple[str, ...] | Mapping[str, str] | None
) -> RobotSpec:
    """The new store's. Raises UserError where the options contradict what the file states.

    Args:
        cameras: which to take, where the format has not chosen.
    """
    if options.rate is not None and not math.isclose(options.rate, spec.rate, rel_tol=1e-6):
        raise UserError(
            f"rate={options.rate:g}: {options.demos} states {spec.rate:g} Hz: leave rate= out, nothing is "
            "resampled"
        )
    taken = _camera_names(spec, cameras)
    shapes = spec.select_cameras(list(taken.values())).cameras if taken else {}
    spec = replace(spec, cameras={name: shapes[of] for name, of in taken.items()})
    spec = with_names(spec, options.names)
    if options.gripper is None:
        return spec
    return replace(spec, grippers=(parse_gripper(options.gripper, spec.action),))


def with_names(spec: RobotSpec, names: NameOptions) -> RobotSpec:
    """The spec with the names that the options give. Raises UserError for too many or too few."""
    proprio, action = names.proprio or spec.proprio, names.action or spec.action
    for what, given, found in (("proprio", proprio, spec.proprio), ("action", action, spec.action)):
        if len(given) != len(found):
            raise UserError(
                f"names.{what} has {len(given)} names: expected {len(found)}, for {', '.join(found)}"
            )
    return replace(spec, proprio=proprio, action=action)


def _camera_names(spec: RobotSpec, cameras: tuple[str, ...] | Mapping[str, str] | None) -> dict[str, str]:
    """Camera of the new store -> camera of the file."""
    if isinstance(cameras, Mapping):
        return dict(cameras)
    return {name: name for name in (spec.cameras if cameras is None else cameras)}


def _attributes(incoming: Incoming, options: ImportOptions) -> dict[str, Any]:
    return {**incoming.attributes, "imported": f"{options.format}: {Path(options.demos).name}"}


@dataclass
class _Filling:
    """A new store, the episodes that went into it and those that were set aside.

    Attributes:
        cameras: camera of the store -> camera of the file.
    """

    store: DemoStore
    options: ImportOptions
    cameras: dict[str, str]
    demos: int = 0
    steps: int = 0
    set_aside: list[str] = field(default_factory=list)
    signs: QuaternionSigns | None = None

    def take(self, incoming: Incoming) -> None:
        """Appends every episode. Raises UserError where none is left, or the disk refuses."""
        with Progress(total=incoming.count, desc="import", unit="demo") as progress:
            self.signs = None if incoming.ours else QuaternionSigns(incoming.spec)
            for episode in incoming.episodes:
                self._take(episode)
                progress.update()
        if not self.demos:
            more = f" (so are {len(self.set_aside) - 1} others)" if len(self.set_aside) > 1 else ""
            raise UserError(
                f"no episode can be imported: {next(iter(self.set_aside), 'there is none')}{more}"
            )

    def lines(self) -> list[str]:
        """What the summary says of them."""
        lines = [f"  set aside: {text}" for text in self.set_aside]
        return lines + (self.signs.lines() if self.signs else [])

    def _take(self, incoming: IncomingEpisode) -> None:
        try:
            episode = incoming.load()
            episode.images = {name: episode.images[of] for name, of in self.cameras.items()}
            if self.options.success is not None:
                episode.attributes = {**episode.attributes, "success": self.options.success}
            if self.signs is not None:
                self.signs.align(episode)
            self.store.append(episode, incoming.id)
        except DiskError:
            raise
        except UserError as error:
            if self.options.strict:
                raise UserError(f"{incoming.name}: {error}") from error
            self.set_aside.append(f"{incoming.name}: {error}")
        else:
            self.demos, self.steps = self.demos + 1, self.steps + episode.length


def _report(out: Path, episodes: int, steps: int, how: str, lines: Iterable[str]) -> None:
    print(f"{out}: {episodes} demos, {steps} steps, {size_of(out) / 1e6:.1f} MB, {how}")
    for line in lines:
        print(line)
