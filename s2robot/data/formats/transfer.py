"""What an exporter is given, what an importer gives, and the sidecar that keeps what a format cannot hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from s2robot import __version__
from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.store import DemoStore, Episode, EpisodeReader

Told = tuple[str | None, dict[str, Any]]
"""Id (None: the next number) and attributes of an episode."""

# Those of a store's root that every new store makes for itself.
_OWN = ("schema", "schema_version", "robot_spec", "created_with", "image_codec")


@dataclass
class Notes:
    """What the summary says of a transfer beside its size.

    Attributes:
        kept: what the format has no place for, and where it was put instead.
        lost: what does not arrive, or not as it was.
    """

    kept: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        yield from (f"  kept: {text}" for text in self.kept)
        yield from (f"  lost: {text}" for text in self.lost or ["nothing"])


@dataclass(frozen=True)
class Outgoing:
    """Episodes of a store on their way out.

    Attributes:
        spec: the store's, with the cameras that go along.
        ids: of the episodes, in order.
    """

    store: DemoStore
    spec: RobotSpec
    ids: list[str]

    @cached_property
    def episodes(self) -> list[EpisodeReader]:
        """Their readers, in order."""
        return [self.store.episode(episode_id) for episode_id in self.ids]

    def lengths(self) -> list[int]:
        """Steps of each episode."""
        return [episode.length for episode in self.episodes]

    def sidecar(self) -> Sidecar:
        """What everything but the arrays amounts to."""
        attributes = {name: value for name, value in self.store.attributes.items() if name not in _OWN}
        return Sidecar(self.spec, attributes, [(e.id, _own(e.attributes)) for e in self.episodes])

    def not_to_imitate(self) -> list[str]:
        """The warning that readers of other formats will learn planned mistakes too, where there are any."""
        marks = [e.attributes.get("action_loss_mask", []) for e in self.episodes]
        steps = sum(mark.count(False) for mark in marks)
        episodes = sum(False in mark for mark in marks)
        if not steps:
            return []
        masked = f"{steps} steps of {episodes} episodes that are not to be learned"
        return [f"`action_loss_mask`: others will learn {masked}"]


@dataclass(frozen=True)
class Sidecar:
    """The names, units and attributes of exported episodes, as JSON beside or inside the foreign file.

    Attributes:
        attributes: of the store's root.
        episodes: what is told of each episode, in the order of the file.
    """

    spec: RobotSpec
    attributes: dict[str, Any]
    episodes: list[Told]

    def to_dict(self) -> dict[str, Any]:
        episodes = [{"id": name, "attributes": attributes} for name, attributes in self.episodes]
        spec = self.spec.to_dict()
        return {
            "s2robot": __version__,
            "robot_spec": spec,
            "attributes": self.attributes,
            "episodes": episodes,
        }

    @classmethod
    def from_dict(cls, plain: Any, where: str) -> Sidecar:
        """The inverse of `to_dict`. Raises UserError, naming `where`, for anything else."""
        try:
            episodes: list[Told] = [(str(e["id"]), dict(e["attributes"])) for e in plain["episodes"]]
            return cls(RobotSpec.from_dict(plain["robot_spec"]), dict(plain["attributes"]), episodes)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{where} is not as s2robot writes it: {error!r}") from error

    def of_episodes(self, count: int, notes: Notes) -> list[Told]:
        """Id and attributes of each of `count` episodes; none where others have added or taken some."""
        if count == len(self.episodes):
            return list(self.episodes)
        notes.lost.append(
            f"ids and attributes: the file has {count} episodes, s2robot had written {len(self.episodes)}"
        )
        return [(None, {})] * count


@dataclass
class Incoming:
    """What a foreign file holds; `notes` is complete when all episodes were taken.

    Attributes:
        attributes: for the new store's root.
        count: of the episodes.
        episodes: id (None: the next number) and content of each.
    """

    spec: RobotSpec
    attributes: Mapping[str, Any]
    count: int
    episodes: Iterable[tuple[str | None, Episode]]
    notes: Notes


def nominal_time(steps: int, rate: float) -> np.ndarray:
    """Times for episodes that come without: step / rate, float64 (T,) s."""
    return np.arange(steps) / rate


def _own(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name != "length"}
