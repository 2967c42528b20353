"""`s2robot encode`: features of a whole demo store, computed once.

    ROOT/<key>/identity.json                 what made these features
    ROOT/<key>/<episode>-<digest>/front.npy  float16 (T, 1 + N, C), read by memory map

The key is made of the encoder's weights, the sizes, the fit and the compute type, and of a variant of the
images also of what was done to them; the folder's name of the episode's content. Those of anything else are
never found, so nothing stale can be used. All tokens are kept: pooling belongs to the policy. ROOT may be
s3://BUCKET/PREFIX: see `bucket.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s2robot.config.options import Natural
from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import RobotSpec
from s2robot.data.durable import disk_errors
from s2robot.data.files import is_url
from s2robot.data.memmap import MappedArray
from s2robot.data.origin import is_simulated, recorded_in
from s2robot.data.store import DemoStore
from s2robot.data.streams import blocks
from s2robot.utils.atomic_io import replacing, write_json
from s2robot.utils.distributed import World, join_world
from s2robot.utils.hashing import sha256_json
from s2robot.utils.progress import Progress
from s2robot.utils.workers import run_jobs
from s2robot.vision.augment import Augmentation
from s2robot.vision.bucket import FeatureBucket, copy_of
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.features import FeatureExtractor, make_extractor
from s2robot.vision.foreign import default_encoder, foreign_frames

Variant = tuple[Augmentation, int]
"""An augmentation and the number of its variant: how frames are changed before they are encoded."""

_BATCH = 8  # frames: the same for every episode, so that features do not depend on how work was split


@dataclass(frozen=True)
class EncodeOptions:
    """Of `s2robot encode`, see configs/encode.yaml."""

    encoder: EncoderOptions
    demos: str
    features: str | None
    cameras: tuple[str, ...] | None
    augment: Augmentation
    bf16: bool | None
    workers: Natural


def with_encoder(options: EncodeOptions, overrides: Sequence[str]) -> EncodeOptions:
    """The options, whose encoder is the one for these demos where nobody chose one."""
    return replace(options, encoder=default_encoder(options.encoder, options.demos, overrides))


def main(options: EncodeOptions) -> None:
    """Encodes what is missing of the store at `demos`."""
    common = {"cameras": options.cameras, "bf16": options.bf16, "workers": options.workers}
    with join_world() as world:
        augment, remark = options.augment.resolve(is_simulated(DemoStore.open(options.demos)))
        if remark and world.leads:
            print(remark, flush=True)
        for changed in (None, *((augment, number) for number in augment.numbers)):
            cache = encode_store(
                options.demos, options.features, options.encoder, **common, changed=changed, world=world
            )
            if world.leads:
                copied = f"{options.features}, copied to " if is_url(options.features) else ""
                print(
                    f"{copied}{cache.folder}: features of {options.encoder.name}, {cache.size() / 1e6:.0f} MB"
                )


class FeatureCache:
    """Features of one extractor, for episodes of any store of one robot.

    Attributes:
        shapes: camera -> (h, w, C) of its patches.
    """

    def __init__(
        self,
        root: str | Path,
        identity: dict[str, Any],
        key: str,
        shapes: Mapping[str, tuple[int, int, int]] | None = None,
    ) -> None:
        self.folder = Path(root) / key
        self.shapes = dict(shapes or {})
        self._identity = identity

    def path(self, store: DemoStore, episode_id: str, camera: str) -> Path:
        """Where the features of an episode's camera lie, or would."""
        return self.place(episode_id, store.episode(episode_id).digest()) / f"{camera}.npy"

    def place(self, episode_id: str, digest: str) -> Path:
        """The folder of an episode of that content."""
        return self.folder / f"{episode_id}-{digest[:16]}"

    def load(self, store: DemoStore, episode_id: str, camera: str) -> np.ndarray:
        """float16 (T, 1 + N, C), memory-mapped. Raises UserError where they are missing or damaged."""
        path = self.path(store, episode_id, camera)
        try:
            return np.load(path, mmap_mode="r")
        except FileNotFoundError:
            raise UserError(f"no features of {camera}, episode {episode_id}: run `s2robot encode`") from None
        except (ValueError, EOFError, OSError) as error:
            raise UserError(f"{path} is damaged ({error}): delete it and run `s2robot encode`") from error

    def open(self, place: Path, camera: str, length: int) -> MappedArray:
        """The features of a camera in the folder of an episode of so many steps, by their header.

        Raises UserError where they are missing, damaged, or of another shape than this encoder's.
        """
        path = place / f"{camera}.npy"
        try:
            features = MappedArray.open(path)
        except FileNotFoundError:
            raise UserError(f"no features at {path}: run `s2robot encode`") from None
        except (ValueError, EOFError, OSError) as error:
            raise UserError(f"{path} is damaged ({error}): delete it and run `s2robot encode`") from error
        height, width, channels = self.shapes[camera]
        expected = (length, 1 + height * width, channels)
        if features.shape != expected or features.dtype != np.float16:
            found = f"{features.dtype} {features.shape}"
            raise UserError(
                f"{path} is {found}, but this encoder makes float16 {expected}: another one made it, "
                "delete it and run `s2robot encode`"
            )
        return features

    def save(self, path: Path, features: np.ndarray) -> None:
        """Writes features whole or not at all."""
        with disk_errors(f"write {path}"):
            if not (self.folder / "identity.json").exists():
                write_json(self.folder / "identity.json", self._identity)
            with replacing(path) as staging, staging.open("wb") as file:
                np.save(file, features)

    def size(self) -> int:
        """Bytes of all features in it."""
        return sum(file.stat().st_size for file in self.folder.glob("*/*.npy"))


def encode_store(
    demos: str | Path,
    root: str | Path | None,
    encoder: EncoderOptions,
    *,
    cameras: Sequence[str] | None = None,
    bf16: bool | None = None,
    workers: int = 0,
    ids: Sequence[str] | None = None,
    changed: Variant | None = None,
    world: World | None = None,
) -> FeatureCache:
    """Computes the features that are missing and returns the cache.

    Args:
        root: the caches' folder, or s3://BUCKET/PREFIX; default DEMOS/features.
        cameras: default all of the store's.
        workers: processes with one thread each; 0: this process with all of torch's threads.
        ids: of the episodes; default all of the store's.
        changed: what is done to the frames first; default nothing.
        world: of processes that share the work; each returns when all are done.
    """
    store = DemoStore.open(demos)
    if not store.spec.cameras:
        raise UserError(f"{store} has no cameras: its episodes hold no frames to encode")
    if not store.ids():
        raise UserError(f"{store} holds no demos: `s2robot record` makes some")
    cameras = list(store.spec.cameras if cameras is None else cameras)
    if not cameras:
        raise UserError(f"cameras=[]: expected one or more of {', '.join(store.spec.cameras)}")
    for camera in cameras:
        if camera not in store.spec.cameras:
            raise unknown("camera", camera, store.spec.cameras)
    encoder.check_cameras(store.spec.cameras)
    world = world or World()
    said = foreign_frames(encoder, recorded_in(store.attributes), store)
    if said and world.leads and changed is None:
        print(said, flush=True)
    url = str(root) if is_url(root) else None
    folder = copy_of(url) if url else root or store.path / "features"
    cache = _open(folder, make_extractor(encoder, bf16), changed, store.spec)
    bucket = FeatureBucket(url, cache.folder) if url else None
    names = _names(cache, store, store.ids() if ids is None else ids, cameras)
    jobs = world.share(_missing(cache, bucket, names, world))
    world.wait()  # else what one process has computed already would be missing from another's list
    if jobs:
        arguments = (str(demos), str(cache.folder.parent), url, encoder, bf16, changed, workers > 0)
        _encode(jobs, workers, arguments)
    world.wait()
    if bucket:
        bucket.fetch(world.share_of_machine(list(names)))
        world.wait()
    return cache


def _names(
    cache: FeatureCache, store: DemoStore, ids: Sequence[str], cameras: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """File in the cache's folder -> the episode and camera whose features it holds."""
    places = {i: cache.place(i, store.episode(i).digest()).name for i in ids}
    return {f"{place}/{c}.npy": (i, c) for i, place in places.items() for c in cameras}


def _missing(
    cache: FeatureCache, bucket: FeatureBucket | None, names: dict[str, tuple[str, str]], world: World
) -> list[tuple[str, str]]:
    """The jobs that are left; where there is a bucket, once all machines have given it what they have."""
    if bucket is None:
        return [job for name, job in names.items() if not (cache.folder / name).is_file()]
    bucket.give(world.share_of_machine(list(names)))
    world.wait()
    there = bucket.names()
    return [job for name, job in names.items() if name not in there]


def _encode(jobs: list[tuple[str, str]], workers: int, arguments: tuple[Any, ...]) -> None:
    with Progress(total=len(jobs), desc="encode", unit="video") as progress:
        for _ in run_jobs(
            _encode_one, jobs, workers=min(workers, len(jobs)), start=_start, start_args=arguments
        ):
            progress.update()


def _open(
    root: str | Path, extractor: FeatureExtractor, changed: Variant | None, spec: RobotSpec
) -> FeatureCache:
    shapes = {name: extractor.map_shape(frame[:2], name) for name, frame in spec.cameras.items()}
    if changed is None:
        return FeatureCache(root, extractor.identity, extractor.key, shapes)
    augmentation, variant = changed
    identity = extractor.identity | {"augmentation": augmentation.identity(variant)}
    return FeatureCache(root, identity, sha256_json(identity)[:16], shapes)


def _start(
    demos: str,
    root: str,
    url: str | None,
    encoder: EncoderOptions,
    bf16: bool | None,
    changed: Variant | None,
    one_thread: bool,
) -> Callable[[str, str], None]:
    if one_thread:
        torch.set_num_threads(1)
    extractor = make_extractor(encoder, bf16)
    store = DemoStore.open(demos)
    cache = _open(root, extractor, changed, store.spec)
    bucket = FeatureBucket(url, cache.folder) if url else None

    def encode(episode_id: str, camera: str) -> None:
        episode = store.episode(episode_id)
        features = []
        for _, frames in blocks(episode.frames(camera), _BATCH):
            if changed is not None:
                frames = changed[0].apply(frames, changed[1], episode.digest(), camera)
            features += [extractor(frames[i : i + _BATCH], camera) for i in range(0, len(frames), _BATCH)]
        path = cache.path(store, episode_id, camera)
        cache.save(path, np.concatenate(features))
        if bucket:
            bucket.put(path.relative_to(cache.folder).as_posix())

    return encode


def _encode_one(encode: Callable[[str, str], None], job: tuple[str, str]) -> None:
    encode(*job)
