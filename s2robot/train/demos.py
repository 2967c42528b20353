"""The demos of a training: of one store or several, those that pass the filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from s2robot.config.targets import check_trusted
from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.dataset import EpisodeFeatures
from s2robot.data.idle import idle_steps
from s2robot.data.origin import is_simulated, simulated_env
from s2robot.data.reader import EpisodeReader
from s2robot.data.store import DemoStore, digest_of
from s2robot.train.options import Filter, TrainOptions
from s2robot.utils.distributed import World
from s2robot.utils.hashing import sha256_json
from s2robot.vision.cache import encode_store


@dataclass(frozen=True)
class Source:
    """One store, and which of its episodes are trained on."""

    store: DemoStore
    ids: tuple[str, ...]

    @cached_property
    def digests(self) -> dict[str, str]:
        """Episode -> digest of its content; episodes are immutable."""
        return {i: self.store.episode(i).digest() for i in self.ids}

    def to_dict(self) -> dict[str, Any]:
        """For the record of a run."""
        return {"path": str(self.store), "sha256": digest_of(self.digests), "episodes": list(self.ids)}


@dataclass(frozen=True)
class Demos:
    """What is trained on.

    Attributes:
        spec: of the robot, with the cameras that the policy uses.
    """

    sources: tuple[Source, ...]
    spec: RobotSpec

    def __len__(self) -> int:
        return sum(len(source.ids) for source in self.sources)

    @property
    def digest(self) -> str:
        """sha256, in hex, of all of it: that of the store itself where it is one and whole."""
        digests = [digest_of(source.digests) for source in self.sources]
        return digests[0] if len(digests) == 1 else sha256_json(digests)

    @property
    def env(self) -> dict[str, Any] | None:
        """The simulated environment that all of them come from, None where there is none."""
        first, *others = (simulated_env(source.store.attributes) for source in self.sources)
        return dict(first) if first is not None and all(other == first for other in others) else None


def choose_demos(options: TrainOptions) -> Demos:
    """The demos that the options `demos`, `cameras` and `filter` name.

    Raises UserError where a store is missing, empty or named twice, stores are of different robots, or no
    demo passes the filters.
    """
    paths = options.stores
    if not paths:
        raise UserError("demos=[]: name at least one store")
    if len(set(paths)) < len(paths):
        raise UserError(f"demos=[{','.join(paths)}]: a store is named twice")
    stores = [DemoStore.open(path) for path in paths]
    for store in stores:
        check_trusted(simulated_env(store.attributes))  # it goes into the checkpoint
    spec = _common_spec(stores, options.cameras)
    sources = [Source(store, tuple(_chosen(store, options.filter))) for store in stores]
    if not any(source.ids for source in sources):
        names = " and ".join(map(str, stores))
        count = sum(map(len, stores))
        raise UserError(f"none of the {count} demos of {names} passes {_in_words(options.filter)}")
    return Demos(tuple(source for source in sources if source.ids), spec)


def decide_variants(options: TrainOptions, demos: Demos) -> tuple[TrainOptions, str | None]:
    """The options with the number of variants that these demos get, and a remark where that is not none."""
    augment, remark = options.augment.resolve(all(is_simulated(source.store) for source in demos.sources))
    return replace(options, augment=augment), remark


def _common_spec(stores: Sequence[DemoStore], cameras: Sequence[str] | None) -> RobotSpec:
    first, *others = (
        (store, store.spec.select_cameras(None if cameras is None else list(cameras))) for store in stores
    )
    for other, spec in others:
        if difference := first[1].difference(spec):
            raise UserError(f"{first[0]} and {other} hold demos of different robots: {difference}")
    return first[1]


# ---------------------------------------------------------------------- filters


def passes(attributes: Mapping[str, Any], wanted: Filter) -> bool:
    """Whether an episode with these attributes is trained on."""
    return (
        (wanted.success is None or attributes.get("success") is wanted.success)
        and (wanted.operators is None or attributes.get("operator", "") in wanted.operators)
        and (wanted.collected_by is None or collected_by(attributes) in wanted.collected_by)
    )


def collected_by(attributes: Mapping[str, Any]) -> str:
    """A `Collector`, from what was recorded."""
    by_person = attributes.get("by_person")
    if by_person is not None:
        return "person" if all(by_person) else "intervention"
    return "scripted" if attributes.get("config", {}).get("teleop") == "none" else "unknown"


def _chosen(store: DemoStore, wanted: Filter) -> list[str]:
    ids = store.ids()
    if not ids:
        raise UserError(f"{store} holds no demos: `s2robot record` makes some")
    if wanted == Filter():
        return ids
    return [i for i in ids if passes(store.episode(i).attributes, wanted)]


def _in_words(wanted: Filter) -> str:
    given = {f.name: getattr(wanted, f.name) for f in fields(wanted)}
    given = {name: list(v) if isinstance(v, tuple) else v for name, v in given.items() if v is not None}
    return " ".join(f"filter.{name}={value}" for name, value in given.items())


# ---------------------------------------------------------------------- episodes


def load_episode_features(
    source: Source, spec: RobotSpec, options: TrainOptions, world: World
) -> list[EpisodeFeatures]:
    """Every episode with its features, computed first where they are missing.

    Raises UserError for an episode that holds values that are not finite, and for features that are none of
    this encoder's.
    """
    store, cameras = source.store, list(spec.cameras)
    augmentation = options.augment
    shared = {"bf16": options.bf16, "workers": options.encode_workers, "ids": source.ids, "world": world}
    caches = [
        encode_store(
            str(store),
            options.features,
            options.encoder,
            cameras=cameras,
            changed=changed,
            **shared,
        )
        for changed in (None, *((augmentation, number) for number in augmentation.numbers))
    ]
    episodes = []
    for episode_id, digest in source.digests.items():
        episode = store.episode(episode_id)
        places = [(cache, cache.place(episode_id, digest)) for cache in caches]
        features, *variants = (
            {name: cache.open(place, name, episode.length) for name in cameras} for cache, place in places
        )
        numbers = (episode.proprio, episode.action, _action_loss_mask(episode))
        try:
            made = (features, *numbers, tuple(variants), spec.grippers, caches[0].shapes)
            episodes.append(EpisodeFeatures(*made))
        except UserError as error:
            raise UserError(f"episode {episode_id} of {store}: {error}") from error
    return episodes


def mask_idle_steps(episodes: Sequence[EpisodeFeatures], spec: RobotSpec) -> list[EpisodeFeatures]:
    """The same episodes, whose idle steps are not learned."""
    idle = idle_steps([e.action for e in episodes], [e.proprio for e in episodes], spec)
    masks = [e.action_loss_mask & ~steps for e, steps in zip(episodes, idle, strict=True)]
    return [replace(e, action_loss_mask=mask) for e, mask in zip(episodes, masks, strict=True)]


def _action_loss_mask(episode: EpisodeReader) -> np.ndarray:
    return np.array(episode.attributes.get("action_loss_mask", [True] * episode.length), bool)


def split_episodes(
    episodes: list[EpisodeFeatures], share: float, seed: int
) -> tuple[list[EpisodeFeatures], list[EpisodeFeatures]]:
    """Training and held-out episodes; whole episodes, since windows of one overlap.

    The held-out ones have the images that were recorded alone.
    """
    held_out = held_out_indices(len(episodes), share, seed)
    scored = [replace(episodes[i], variants=()) if episodes[i].variants else episodes[i] for i in held_out]
    return [episode for i, episode in enumerate(episodes) if i not in set(held_out)], scored


def held_out_indices(count: int, share: float, seed: int) -> list[int]:
    """Which of so many episodes are held out, in order; one at least is trained on."""
    order = np.random.default_rng([seed, 2]).permutation(count)
    return sorted(order[: min(round(share * count), count - 1)].tolist())
