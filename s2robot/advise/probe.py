"""`s2robot probe`: how well frozen features locate an episode's start, before a policy is trained on them.

A small head (a pooling of `s2robot.policy.pooling` and one linear layer) reads where the episode starts (the
place of its `Start`: of cube-pick, the cube's position) from single frames. Every episode is held out once:
errors are those of heads that were trained on no frame of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Len
from torch import nn

from s2robot.config.checks import check_file
from s2robot.config.options import Count, Natural, to_plain
from s2robot.config.overrides import as_override
from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import RobotSpec
from s2robot.core.task import Start
from s2robot.data.store import DemoStore, EpisodeReader
from s2robot.policy.pooling import POOLINGS, Shape, make_pooling
from s2robot.utils.atomic_io import write_json
from s2robot.utils.progress import Progress
from s2robot.utils.provenance import machine, usable_cores, versions
from s2robot.utils.schedule import cosine, parameter_groups
from s2robot.vision.encoders.options import Grid, Sizes
from s2robot.vision.features import FeatureExtractor
from s2robot.vision.fit import Box, check_box

_SCHEMA = 2  # of the results' file
_BATCH = 64  # frames
_WIDTH = 192  # of the head: a policy's
_STILL = 1e-6  # deviation of an entry that does not change
_LR, _WEIGHT_DECAY, _DROPOUT = 1.0e-3, 0.05, 0.1


@dataclass(frozen=True)
class ProbeSet:
    """Frames of one camera and what is to be read from them.

    Attributes:
        frames: uint8 (F, H, W, 3).
        target: float32 (F, D): x and y of the start's place (m), or the proprioception in its standard
            deviations.
        episode: int (F,), the number of the episode each frame comes from.
        unit: of printed errors. factor: from a distance between targets to that.
    """

    frames: np.ndarray
    target: np.ndarray
    episode: np.ndarray
    unit: str = "cm"
    factor: float = 100.0

    def by_episode(self, errors: np.ndarray) -> np.ndarray:
        """Mean error of each episode in `unit`, of distances (F,)."""
        return np.array([self.factor * errors[self.episode == e].mean() for e in np.unique(self.episode)])


Readable = Literal["place", "proprio"]
SetsOfSizes = Annotated[tuple[Sizes, ...], Len(1)]
Resizings = Annotated[tuple[int | Grid, ...], Len(1)]
Crops = Annotated[tuple[Box | None, ...], Len(1)]


def scalings(sets: SetsOfSizes, resizings: Resizings) -> list[tuple[tuple[int, ...], int | Grid]]:
    """Each set of sizes with each resizing; one size has one grid, whatever the index."""
    return [
        (sizes, resize_to)
        for sizes in sets
        for resize_to in resizings
        if len(sizes) > 1 or resize_to == resizings[0] or isinstance(resize_to, tuple)
    ]


@dataclass(frozen=True)
class ProbeOptions:
    """Of `s2robot probe`, see configs/probe.yaml."""

    demos: str
    out: str | None
    overwrite: bool
    camera: str
    encoders: tuple[str, ...]
    sizes: SetsOfSizes
    resize_to: Resizings
    crop: Crops
    poolings: tuple[str, ...]
    frames: Count
    folds: Count
    steps: Count
    seed: Natural
    bf16: bool | None
    threads: Count | None


def main(options: ProbeOptions) -> None:
    """Probes every encoder at every set of sizes under every pooling; writes `out` where it is given."""
    _check(options)
    torch.set_num_threads(options.threads or usable_cores())
    extractors = [
        FeatureExtractor(name, sizes, bf16=options.bf16, resize_to=resize_to, crop=_of(options.camera, box))
        for name, box, (sizes, resize_to) in product(
            options.encoders, options.crop, scalings(options.sizes, options.resize_to)
        )
    ]
    store = DemoStore.open(options.demos)
    probe_set = draw_frames(store, options.camera, options.frames, options.seed)
    baseline = distances(probe_set.target, probe_set.target.mean(0))
    off = f"{100 * baseline.mean():.1f} cm off"
    print(f"{len(store)} demos, {len(baseline)} frames; predicting their mean is {off}")
    results = []
    for extractor in extractors:
        features = extract(extractor, probe_set.frames, options.camera)
        for pooling in options.poolings:
            training = (options.folds, options.steps, options.seed)
            title = f"{extractor.encoder.name} ({extractor.scales})"
            shape = extractor.map_shape(probe_set.frames.shape[1:3], options.camera)
            errors = cross_validate(features, shape, probe_set, pooling, *training, title=title)
            results.append(_result(extractor, shape, pooling, errors, probe_set))
            print(_line(results[-1]), flush=True)
    if options.out:
        what = {"schema": _SCHEMA, "baseline_cm": 100 * float(baseline.mean()), "results": results}
        made = {"demos_sha256": store.digest(), "versions": versions(), "machine": machine()}
        write_json(Path(options.out), what | {"config": to_plain(options)} | made)


def _of(camera: str, box: Box | None) -> dict[str, Box]:
    return {} if box is None else {camera: box}


def _check(options: ProbeOptions) -> None:
    """What would be found out late. Raises UserError."""
    for name in options.poolings:
        if name not in POOLINGS:
            raise unknown("pooling", name, POOLINGS)
    for box in options.crop:
        if box is not None:
            check_box(box, "crop")
    if options.out:
        check_file(options.out, options.overwrite)


def place_of(episode: EpisodeReader) -> tuple[float, float] | None:
    """x and y (m) of the place where an episode started; None where it has none."""
    start = episode.attributes.get("start")
    place = Start.from_dict(start).place if start else None
    return None if place is None else place[:2]


def draw_frames(store: DemoStore, camera: str, count: int, seed: int, read: Readable = "place") -> ProbeSet:
    """`count` frames of every episode and what is to be read from them.

    The start's place is read before a gripper first closes, as nothing has been moved yet (of a robot without
    a gripper, at the first step alone); the proprioception at any step. Errors of the latter are the root of
    their mean square over its entries, in standard deviations; entries that never change are left out.

    Raises UserError for an unknown camera, an empty store, and episodes whose start has no place.
    """
    if camera not in store.spec.cameras:
        raise unknown("camera", camera, store.spec.cameras)
    if not store.ids():
        raise UserError(f"{store} holds no demos: `s2robot record` makes some")
    rng = np.random.default_rng([seed, 6])
    frames, targets, episodes = [], [], []
    for number, episode_id in enumerate(Progress(store.ids(), desc="read", unit="demo")):
        episode = store.episode(episode_id)
        place = place_of(episode)
        if read == "place" and place is None:
            raise UserError(f"episode {episode_id} of {store} has no start with a place to probe for")
        last = max(1, _first_closing(episode, store.spec)) if read == "place" else episode.length
        steps = np.sort(rng.choice(last, min(count, last), replace=False))
        frames.append(np.stack([episode.images(camera, int(step)) for step in steps]))
        targets += [place] * len(steps) if read == "place" else list(episode.proprio[steps])
        episodes += [number] * len(steps)
    return _probe_set(np.concatenate(frames), np.array(targets, np.float32), np.array(episodes), read)


def _first_closing(episode: EpisodeReader, spec: RobotSpec) -> int:
    if not spec.grippers:
        return 1
    closed = np.any([gripper.is_closed(episode.action) for gripper in spec.grippers], axis=0)
    closing = np.flatnonzero(closed)
    return int(closing[0]) if len(closing) else episode.length


def _probe_set(frames: np.ndarray, target: np.ndarray, episode: np.ndarray, read: Readable) -> ProbeSet:
    if read == "place":
        return ProbeSet(frames, target, episode)
    target = target[:, target.std(0) > _STILL]
    if not target.shape[1]:
        raise UserError("the proprioception never changes: nothing to probe for")
    target = (target - target.mean(0)) / target.std(0)
    return ProbeSet(frames, target, episode, "sd", 1 / np.sqrt(target.shape[1]))


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean, row by row: (F, D) -> (F,)."""
    return np.linalg.norm(a - b, axis=1)


def extract(extractor: FeatureExtractor, frames: np.ndarray, camera: str | None = None) -> torch.Tensor:
    """Features float16 (F, 1 + N, C) of a camera's frames."""
    starts = Progress(range(0, len(frames), 8), desc=f"encode {extractor.encoder.name} {extractor.sizes}")
    return torch.from_numpy(np.concatenate([extractor(frames[i : i + 8], camera) for i in starts]))


def cross_validate(
    features: torch.Tensor,
    shape: Shape,
    probe_set: ProbeSet,
    pooling: str,
    folds: int,
    steps: int,
    seed: int,
    demos: int | None = None,
    title: str = "",
) -> np.ndarray:
    """Errors (F,), as distances between targets, of heads trained on no frame of the same episode.

    Args:
        features: (F, 1 + N, C). shape: (h, w, C) of the patches.
        demos: a head is trained on at most so many of the episodes outside its fold; default all.
        title: of the progress bar, before the pooling: which model's features they are.

    Raises:
        UserError: an unknown pooling, fewer episodes than folds, fewer than 2 folds.
    """
    errors = np.empty(len(features))
    parts = fold_episodes(probe_set, folds, seed)
    for i, part in enumerate(Progress(parts, desc=f"{title} {pooling}".strip(), unit="fold")):
        held_out = np.isin(probe_set.episode, part)
        others = np.concatenate([p for j, p in enumerate(parts) if j != i])
        chosen = np.random.default_rng([seed, 9, i]).permutation(others)[:demos]
        training = np.flatnonzero(np.isin(probe_set.episode, chosen))
        head = _fit(features, shape, probe_set.target, training, pooling, steps, seed)
        found = _read(head, features[torch.from_numpy(held_out)])
        errors[held_out] = distances(found, probe_set.target[held_out])
    return errors


def fold_episodes(probe_set: ProbeSet, folds: int, seed: int) -> list[np.ndarray]:
    """The numbers of the episodes that each fold holds out.

    Raises UserError for fewer episodes than folds or fewer than 2 folds.
    """
    episodes = np.unique(probe_set.episode)
    if not 2 <= folds <= len(episodes):
        raise UserError(f"folds={folds}: expected 2 to {len(episodes)}, the demos there are")
    order = np.random.default_rng([seed, 7]).permutation(episodes)
    return [order[fold::folds] for fold in range(folds)]


class _Head(nn.Module):
    def __init__(self, pooling: str, shape: Shape, features: torch.Tensor, target: torch.Tensor) -> None:
        super().__init__()
        self.pooling = make_pooling(pooling, shape, _WIDTH, _DROPOUT)
        self.pooling.standardize.fit(features)
        self.linear = nn.Linear(_WIDTH, target.shape[1])
        self.mean, self.std = nn.Buffer(target.mean(0)), nn.Buffer(target.std(0))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Normalised target (B, D)."""
        return self.linear(self.pooling(features.float()))


def _fit(
    features: torch.Tensor,
    shape: Shape,
    target: np.ndarray,
    training: np.ndarray,
    pooling: str,
    steps: int,
    seed: int,
) -> _Head:
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 8])
    wanted = torch.from_numpy(target)
    head = _Head(pooling, shape, features[training], wanted[training])
    optimiser = torch.optim.AdamW(parameter_groups(head, _WEIGHT_DECAY), lr=_LR)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = _LR * cosine(step, steps, warmup=steps // 10)
        chosen = rng.choice(training, min(_BATCH, len(training)), replace=False)
        loss = F.l1_loss(head(features[chosen]), (wanted[chosen] - head.mean) / head.std)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return head.eval()


@torch.inference_mode()
def _read(head: _Head, features: torch.Tensor) -> np.ndarray:
    parts = [head(part) * head.std + head.mean for part in features.split(_BATCH)]
    return torch.cat(parts).numpy()


def _result(
    extractor: FeatureExtractor, shape: Shape, pooling: str, errors: np.ndarray, probe_set: ProbeSet
) -> dict[str, Any]:
    by_episode = probe_set.by_episode(errors)
    return {
        "encoder": extractor.encoder.name,
        "weights_sha256": extractor.encoder.weights_sha256,
        "sizes": list(extractor.sizes),
        "scales": extractor.scales,
        "grid": list(shape[:2]),
        "crop": next(map(list, extractor.crop.values()), None),
        "pooling": pooling,
        "mean_cm": float(np.mean(by_episode)),
        "median_cm": float(np.median(by_episode)),
        "standard_error_cm": float(np.std(by_episode, ddof=1) / np.sqrt(len(by_episode))),
        "episodes_cm": by_episode.round(3).tolist(),
    }


def _line(result: dict[str, Any]) -> str:
    mean, error, median = (result[k] for k in ("mean_cm", "standard_error_cm", "median_cm"))
    cropped = f"of {as_override(result['crop'])} " if result["crop"] else ""
    return (
        f"{result['encoder']:14} {result['scales']:8} {cropped}{result['pooling']:18} "
        f"mean {mean:.2f} +- {error:.2f} cm, median {median:.2f} cm"
    )
