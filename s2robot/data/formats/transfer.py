"""What a format writes (`Outgoing`), what it reads (`Incoming`), and the sidecar of what it cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from s2robot import __version__
from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.store import DemoStore, Episode, EpisodeReader

EpisodeMeta = tuple[str | None, dict[str, Any]]
"""Id (None: the next number) and attributes of an episode."""

SIDECAR_SCHEMA = 2

# Those of a store's root that every new store makes for itself.
OF_EVERY_STORE = ("schema", "schema_version", "robot_spec", "created_with", "image_codec")


@dataclass
class Notes:
    """What the summary of an import or export lists.

    Attributes:
        kept: what the format does not hold by itself, and where it was put.
        lost: what is missing or altered afterwards.
    """

    kept: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def lose(self, text: str) -> None:
        """Adds to `lost`, once."""
        if text not in self.lost:
            self.lost.append(text)

    def lines(self) -> Iterator[str]:
        yield from (f"  kept: {text}" for text in self.kept)
        yield from (f"  lost: {text}" for text in self.lost or ["nothing"])


@dataclass(frozen=True)
class Outgoing:
    """Episodes of a store that are exported.

    Attributes:
        spec: the store's, with the cameras that are exported.
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
        """Everything but the arrays."""
        attributes = {
            name: value for name, value in self.store.attributes.items() if name not in OF_EVERY_STORE
        }
        return Sidecar(self.spec, attributes, [(e.id, _own(e.attributes)) for e in self.episodes])

    def masked_steps(self) -> list[str]:
        """The warning that other projects will learn masked actions too, where there are any."""
        masks = [e.attributes.get("action_loss_mask", []) for e in self.episodes]
        steps = sum(mask.count(False) for mask in masks)
        episodes = sum(False in mask for mask in masks)
        if not steps:
            return []
        return [f"`action_loss_mask`: others learn {steps} steps of {episodes} episodes that are masked here"]


@dataclass(frozen=True)
class Sidecar:
    """The names, units and attributes of exported episodes, as JSON beside or inside the file.

    Attributes:
        attributes: of the store's root.
        episodes: id and attributes of each episode, in the order of the file.
    """

    spec: RobotSpec
    attributes: dict[str, Any]
    episodes: list[EpisodeMeta]

    def to_dict(self) -> dict[str, Any]:
        episodes = [{"id": name, "attributes": attributes} for name, attributes in self.episodes]
        spec = self.spec.to_dict()
        return {
            "schema": SIDECAR_SCHEMA,
            "s2robot": __version__,
            "robot_spec": spec,
            "attributes": self.attributes,
            "episodes": episodes,
        }

    @classmethod
    def from_dict(cls, plain: Any, where: str) -> Sidecar:
        """The inverse of `to_dict`. Raises UserError, naming `where`, for anything else."""
        if not isinstance(plain, Mapping) or plain.get("schema") != SIDECAR_SCHEMA:
            found = plain.get("schema") if isinstance(plain, Mapping) else None
            raise UserError(
                f"{where} has schema {found}, this s2robot reads {SIDECAR_SCHEMA}: export it again"
            )
        try:
            episodes: list[EpisodeMeta] = [(str(e["id"]), dict(e["attributes"])) for e in plain["episodes"]]
            return cls(RobotSpec.from_dict(plain["robot_spec"]), dict(plain["attributes"]), episodes)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{where} is not as s2robot writes it: {error!r}") from error

    def of_episodes(self, count: int, notes: Notes) -> list[EpisodeMeta]:
        """Id and attributes of each of `count` episodes; none where the file has more or fewer."""
        if count == len(self.episodes):
            return list(self.episodes)
        notes.lost.append(
            f"ids and attributes: the file has {count} episodes, s2robot had written {len(self.episodes)}"
        )
        return [(None, {})] * count


@dataclass(frozen=True)
class IncomingEpisode:
    """One episode of a file that is imported.

    Attributes:
        name: what the summary calls it: `demo_3`, `episode 3`.
        load: makes it, and is called at most once, before the next one is taken. Raises UserError where the
            episode is broken: it is set aside, the others are imported. Frames may be `LazyFrames`, which
            raise likewise.
        id: in the new store; None takes the next number.
    """

    name: str
    load: Callable[[], Episode]
    id: str | None = None


@dataclass
class Incoming:
    """What a file of another format holds; `notes` is complete when all episodes were read.

    Attributes:
        attributes: for the new store's root.
        count: of the episodes.
        episodes: read one after the other, so that one is in memory at a time.
        ours: written by s2robot with its sidecar: nothing is guessed or changed.
    """

    spec: RobotSpec
    attributes: Mapping[str, Any]
    count: int
    episodes: Iterable[IncomingEpisode]
    notes: Notes
    ours: bool = False


def nominal_time(steps: int, rate: float) -> np.ndarray:
    """Times for episodes that come without: step / rate, float64 (T,) s."""
    return np.arange(steps) / rate


def _own(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name != "length"}
