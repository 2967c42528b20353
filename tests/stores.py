"""What a store of `made_episode`s must hold, to the last bit, and what may befall its files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kill_writer import made_episode

from s2robot.data.seal import DIGEST, sealed
from s2robot.data.store import DemoStore, Episode, EpisodeReader

SERIES = ("proprio", "action", "action_applied", "time")


def assert_holds(reader: EpisodeReader, episode: Episode) -> None:
    """Every array equal to the last bit, dtype and shape, and every attribute."""
    assert reader.length == episode.length
    assert reader.attributes == {**episode.attributes, "length": episode.length}
    pairs = [(getattr(reader, name), getattr(episode, name)) for name in SERIES]
    pairs += [(reader.images(camera), frames) for camera, frames in episode.images.items()]
    for read, written in pairs:
        assert (read.dtype, read.shape) == (written.dtype, written.shape)
        assert read.tobytes() == written.tobytes()


def assert_intact(store: DemoStore) -> None:
    """Every listed episode reads as the one that its attributes name."""
    for episode_id in store.ids():
        reader = store.episode(episode_id)
        assert_holds(reader, made_episode(reader.attributes["seed"], reader.attributes["n"]))


def write_attributes(file: Path, change: Callable[[dict[str, Any]], object], digest: bool = True) -> None:
    """Changes the attributes in a `zarr.json` as a writer of that would; without a digest, as an old one."""
    metadata = json.loads(file.read_text())
    attributes = metadata["attributes"]
    del attributes[DIGEST]
    change(attributes)
    metadata["attributes"] = sealed(attributes) if digest else attributes
    file.write_text(json.dumps(metadata))


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
