"""`s2robot export` and `s2robot import`: between a demo store and the formats of others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from s2robot.config.checks import check_least
from s2robot.core.errors import UserError, unknown
from s2robot.data.copies import chosen
from s2robot.data.formats.target import new_path, size_of
from s2robot.data.formats.transfer import Incoming, Notes, Outgoing
from s2robot.data.store import DemoStore


def export_demos(cfg: DictConfig) -> None:
    """Writes the demos at `demos` to `out` in a format of others, whole or not at all."""
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    write = _choose(EXPORTERS, plain["format"])
    check_least(plain, 1, "frames_per_chunk")
    store = DemoStore.open(plain["demos"])
    outgoing = Outgoing(store, store.spec.select_cameras(plain["cameras"]), _ids(store, plain["episodes"]))
    out = Path(plain["out"])
    with new_path(out) as target:
        notes = write(outgoing, target, plain)
    _tell(out, len(outgoing.ids), sum(outgoing.lengths()), f"as {plain['format']}", notes)


def import_demos(cfg: DictConfig) -> None:
    """Makes a demo store at `out` of the file or folder at `demos`, whole or not at all."""
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    read = _choose(IMPORTERS, plain["format"])
    source, out = Path(plain["demos"]), Path(plain["out"])
    if plain["rate"] is not None and plain["rate"] <= 0:
        raise UserError(f"rate={plain['rate']}: expected more than 0 steps a second")
    if not source.exists():
        raise UserError(f"{source} does not exist: demos= names what to import")
    with new_path(out) as target:
        incoming = read(source, plain)
        steps = _fill(incoming, target, f"{plain['format']}: {source.name}")
    _tell(out, incoming.count, steps, f"from {source}", incoming.notes)


def _fill(incoming: Incoming, target: Path, origin: str) -> int:
    """Appends every episode to a new store; returns the number of steps."""
    attributes = {**incoming.attributes, "imported": origin}
    store = DemoStore.create(target, incoming.spec, attributes)
    steps = 0
    with tqdm(total=incoming.count, desc="import", unit="demo") as progress:
        for episode_id, episode in incoming.episodes:
            store.append(episode, episode_id)
            steps += episode.length
            progress.update()
    return steps


def _ids(store: DemoStore, wanted: list[Any] | None) -> list[str]:
    ids = store.ids() if wanted is None else chosen(store, wanted)
    if not ids:
        raise UserError("there are no demos to export")
    return ids


def _choose(table: dict[str, Callable[..., Any]], name: str) -> Callable[..., Any]:
    if name not in table:
        raise unknown("format", name, table)
    return table[name]


def _tell(out: Path, episodes: int, steps: int, how: str, notes: Notes) -> None:
    print(f"{out}: {episodes} demos, {steps} steps, {size_of(out) / 1e6:.1f} MB, {how}")
    for line in notes.lines():
        print(line)


# Each imports its module when it is chosen: some need an extra.


def _to_diffusion_policy(outgoing: Outgoing, target: Path, plain: dict[str, Any]) -> Notes:
    from s2robot.data.formats.diffusion_policy import write

    return write(outgoing, target, frames_per_chunk=plain["frames_per_chunk"])


def _to_lerobot(outgoing: Outgoing, target: Path, plain: dict[str, Any]) -> Notes:
    from s2robot.integrations.lerobot.dataset import write
    from s2robot.integrations.lerobot.environment import lerobot_python

    find_python = partial(lerobot_python, **plain["lerobot"])
    return write(outgoing, target, find_python=find_python, images=plain["images"], task=plain["task"])


def _to_mp4(outgoing: Outgoing, target: Path, plain: dict[str, Any]) -> Notes:
    from s2robot.data.formats.mp4 import write

    return write(outgoing, target)


def _from_diffusion_policy(source: Path, plain: dict[str, Any]) -> Incoming:
    from s2robot.data.formats.diffusion_policy import read

    return read(source, rate=plain["rate"], proprio=plain["proprio"])


def _from_lerobot(source: Path, plain: dict[str, Any]) -> Incoming:
    from s2robot.integrations.lerobot.dataset import read
    from s2robot.integrations.lerobot.environment import lerobot_python

    return read(source, find_python=partial(lerobot_python, **plain["lerobot"]))


def _from_robomimic(source: Path, plain: dict[str, Any]) -> Incoming:
    from s2robot.data.formats.robomimic import read

    return read(source, cameras=plain["cameras"], image_size=plain["image_size"])


EXPORTERS = {"diffusion_policy": _to_diffusion_policy, "lerobot": _to_lerobot, "mp4": _to_mp4}
IMPORTERS = {
    "diffusion_policy": _from_diffusion_policy,
    "lerobot": _from_lerobot,
    "robomimic": _from_robomimic,
}
