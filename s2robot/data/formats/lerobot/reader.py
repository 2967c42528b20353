"""LeRobotDataset v2.0, v2.1 and v3.0 as demos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError
from s2robot.data.formats.columns import Columns, select_columns
from s2robot.data.formats.lerobot.dataset import Dataset
from s2robot.data.formats.lerobot.features import (
    APPLIED,
    camera_feature,
    camera_features,
    numbers,
)
from s2robot.data.formats.lerobot.metadata import Metadata, read_metadata
from s2robot.data.formats.transfer import (
    EpisodeMeta,
    Incoming,
    Sidecar,
)

SIDECAR = Path("meta", "s2robot.json")

_PROPRIO, _ACTION = ("observation.state", "state"), ("action", "actions")


def read(source: Path, *, proprio: Sequence[str] | None, action: Sequence[str] | None) -> Incoming:
    """What a dataset holds.

    Args:
        proprio, action: features, or entries of them such as `observation.state[:6]`, one after the other;
            default `observation.state` and `action`, or `state` and `actions` as openpi's examples name them.

    Raises UserError where there is no dataset of a known version, or it lacks what is asked for.
    """
    metadata = read_metadata(source)
    sidecar = _sidecar(source)
    dataset = Dataset(
        metadata,
        _columns(metadata, "proprio", proprio, _PROPRIO),
        _columns(metadata, "action", action, _ACTION),
        _cameras(metadata, sidecar),
        takes_applied=action is None and APPLIED in metadata.features,
    )
    spec, attributes = dataset.spec(), _origin(metadata)
    notes = dataset.notes
    metas: list[EpisodeMeta] = [(None, {})] * len(metadata.episodes)
    if sidecar is not None:
        if proprio is None and action is None:
            spec = replace(sidecar.spec, cameras=spec.cameras)
        attributes, metas = sidecar.attributes, sidecar.of_episodes(len(metadata.episodes), notes)
    episodes = dataset.episodes(spec, metas)
    return Incoming(spec, attributes, len(metas), episodes, notes, ours=sidecar is not None)


def _columns(
    metadata: Metadata, option: str, given: Sequence[str] | None, usual: Sequence[str]
) -> list[Columns]:
    known = numbers(metadata.features)
    if given is None:
        given = [name for name in usual if name in known][:1]
    if not given:
        raise UserError(
            f"{metadata.root} has no {' or '.join(usual)}: give {option}=[...] of its features of numbers: "
            f"{', '.join(known) or 'it has none'}"
        )
    return select_columns(given, known, option)


def _cameras(metadata: Metadata, sidecar: Sidecar | None) -> dict[str, str]:
    """Camera -> feature; with a sidecar those that it names."""
    if sidecar is None:
        return camera_features(metadata.features)
    found = {camera: camera_feature(camera) for camera in sidecar.spec.cameras}
    for camera, feature in found.items():
        if feature not in metadata.features:
            raise UserError(f"{metadata.root} has no frames of {camera}, which {SIDECAR} names")
    return found


def _origin(metadata: Metadata) -> dict[str, Any]:
    return {"lerobot": {name: metadata.info.get(name) for name in ("codebase_version", "robot_type")}}


def _sidecar(source: Path) -> Sidecar | None:
    path = source / SIDECAR
    if not path.is_file():
        return None
    try:
        return Sidecar.from_dict(json.loads(path.read_text()), str(path))
    except ValueError as error:
        raise UserError(f"{path} is no JSON: {error}") from error
