"""`s2robot advise`: the paper's question, answered on a user's own frames before any robot time is spent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import torch
from annotated_types import Len

from s2robot.advise.candidate import Candidate, curve_points
from s2robot.advise.head_cache import HeadCache
from s2robot.advise.page import table, write_page
from s2robot.advise.probe import (
    ProbeSet,
    Readable,
    SetsOfSizes,
    distances,
    draw_frames,
    extract,
    fold_episodes,
    place_of,
    scalings,
)
from s2robot.advise.recommendation import CandidateErrors, Recommendation, recommend
from s2robot.advise.reconstruct import Of, Reconstruction, reconstruct
from s2robot.config.checks import check_folder
from s2robot.config.options import Count, Natural, NonNegative, to_plain
from s2robot.core.errors import UserError, unknown
from s2robot.data.store import DemoStore
from s2robot.policy.pooling import POOLINGS
from s2robot.utils.atomic_io import write_json
from s2robot.utils.hashing import plain
from s2robot.utils.provenance import machine, usable_cores, versions
from s2robot.vision.encoders.options import Grid
from s2robot.vision.features import FeatureExtractor
from s2robot.vision.fit import Box, check_box, crop_frames

_SCHEMA = 2  # of advice.json
_LEAST_DEMOS = 3  # one held out, two for a linear map

Features = dict[str, torch.Tensor]


@dataclass(frozen=True)
class AdviseOptions:
    """Of `s2robot advise`, see configs/advise.yaml."""

    demos: str
    out: str | None
    overwrite: bool
    json: bool
    camera: str
    crop: Box | None
    small: str
    larger: str
    reference: str | None
    sizes: SetsOfSizes
    resize_to: Annotated[tuple[int, ...], Len(1)]
    larger_sizes: SetsOfSizes
    poolings: Annotated[tuple[str, ...], Len(1)]
    curve: tuple[Count, ...]
    frames: Count
    folds: Count
    steps: Count
    tokens: Count
    least_gain: NonNegative
    repeats: Count
    seed: Natural
    bf16: bool | None
    threads: Count | None


def main(options: AdviseOptions) -> None:
    """Prints table and recommendation; where `out` is given, writes `advice.json` and `advice.html`, and what
    it goes on from when it was broken off.
    """
    _check(options)
    torch.set_num_threads(options.threads or usable_cores())
    store = DemoStore.open(options.demos)
    if len(store.ids()) < _LEAST_DEMOS:
        raise UserError(f"{store} holds {len(store.ids())} demos: expected at least {_LEAST_DEMOS}")
    candidates, reference = _candidates(options)
    probe_set = draw_frames(store, options.camera, options.frames, options.seed, _readable(store))
    if options.crop:
        probe_set = replace(probe_set, frames=crop_frames(probe_set.frames, options.crop))
    curve = curve_points(options.curve, probe_set, options.folds, options.seed)
    features = {c.name: extract(c.extractor, probe_set.frames) for c in candidates}
    for candidate in candidates:
        candidate.weigh(probe_set.frames, options.repeats)
    _reconstruct(candidates, reference, features, probe_set, options)
    read = {"demos": store.digest(), "camera": options.camera, "frames": options.frames, "crop": options.crop}
    head_cache = HeadCache(Path(options.out) / "heads" if options.out else None, read)
    for candidate in candidates:
        for pooling in options.poolings:
            candidate.probe(
                *(features[candidate.name], probe_set, pooling, curve),
                folds=options.folds,
                steps=options.steps,
                seed=options.seed,
                head_cache=head_cache,
            )
    advice = _advice(candidates, reference, probe_set, options)
    about = {
        "demos_sha256": store.digest(),
        "versions": versions(),
        "machine": machine(),
        "config": to_plain(options),
    }
    _hand_over(plain(advice | about), options)


def _check(options: AdviseOptions) -> None:
    """What costs an hour to find out later. Raises UserError."""
    for name in options.poolings:
        if name not in POOLINGS:
            raise unknown("pooling", name, POOLINGS)
    if options.crop:
        check_box(options.crop, "crop")
    if options.small == options.larger:
        raise UserError(f"small and larger are both {options.small}: expected two encoders")
    if options.out:
        check_folder(options.out)
        if (Path(options.out) / "advice.json").exists() and not options.overwrite:
            raise UserError(f"{options.out} holds an advice already: overwrite=true replaces it")


def _candidates(options: AdviseOptions) -> tuple[list[Candidate], Candidate | None]:
    """All of them loaded before anything is computed: a missing file is an error at once."""
    small = scalings(options.sizes, options.resize_to)
    wanted: list[tuple[str, tuple[int, ...], int | Grid, bool]]
    wanted = [(options.small, *scaling, False) for scaling in small]
    wanted += [(options.larger, sizes, 0, True) for sizes in options.larger_sizes]
    candidates = [
        Candidate(FeatureExtractor(name, sizes, bf16=options.bf16, resize_to=resize_to), larger)
        for name, sizes, resize_to, larger in wanted
    ]
    names = [candidate.name for candidate in candidates]
    if len(set(names)) < len(names):
        raise UserError(f"the same encoder and sizes twice: {', '.join(names)}")
    small, larger = (
        min((c for c in candidates if c.larger is is_larger), key=_macs) for is_larger in (False, True)
    )
    if _macs(larger) <= _macs(small):
        raise UserError(
            f"{larger.name} takes {_macs(larger) / 1e9:.2f} G multiply-accumulates, {small.name} "
            f"{_macs(small) / 1e9:.2f} G: expected the larger model as larger="
        )
    if not options.reference:
        return candidates, None
    extractor = FeatureExtractor(options.reference, options.larger_sizes[0], bf16=options.bf16)
    return candidates, Candidate(extractor, larger=True)


def _macs(candidate: Candidate) -> int:
    return candidate.cost.macs


def _readable(store: DemoStore) -> Readable:
    """What heads are to read: the place of the start where every episode has one."""
    with_place = all(place_of(store.episode(episode_id)) for episode_id in store.ids())
    return "place" if with_place else "proprio"


def _reconstruct(
    candidates: Sequence[Candidate],
    reference: Candidate | None,
    features: Features,
    probe_set: ProbeSet,
    options: AdviseOptions,
) -> None:
    """The first larger candidate's features, from every smaller one's and the reference's."""
    target = features[next(c.name for c in candidates if c.larger)]
    held_out = fold_episodes(probe_set, options.folds, options.seed)[0]

    def of(source: torch.Tensor, kind: Of) -> Reconstruction:
        common = {"tokens": options.tokens, "seed": options.seed}
        return reconstruct(source, target, probe_set.episode, held_out, of=kind, **common)

    ceiling: dict[Of, Reconstruction] = {}
    if reference is not None:
        source = extract(reference.extractor, probe_set.frames)
        ceiling = {kind: of(source, kind) for kind in get_args(Of)}
        _note(reference, ceiling, ceiling)
    for candidate in candidates:
        if not candidate.larger:
            _note(candidate, {kind: of(features[candidate.name], kind) for kind in get_args(Of)}, ceiling)


def _note(candidate: Candidate, found: dict[Of, Reconstruction], ceiling: dict[Of, Reconstruction]) -> None:
    for kind, r in found.items():
        ratio, error = r.ratio(ceiling[kind]) if kind in ceiling else (None, None)
        candidate.reconstruction[kind] = {
            "loss": r.loss,
            "dummy_loss": r.dummy_loss,
            "information_bits": r.information,
            "standard_error_bits": r.standard_error(),
            "explained": r.explained,
            "ratio": ratio,
            "ratio_standard_error": error,
            "ridge": r.ridge,
        }


def _advice(
    candidates: Sequence[Candidate], reference: Candidate | None, probe_set: ProbeSet, options: AdviseOptions
) -> dict[str, Any]:
    def overall(pooling: str) -> float:
        return float(np.mean([c.errors[pooling].mean() for c in candidates]))

    pooling = min(options.poolings, key=overall)
    parts = fold_episodes(probe_set, options.folds, options.seed)
    fold = np.array([next(i for i, p in enumerate(parts) if e in p) for e in np.unique(probe_set.episode)])
    errors = [CandidateErrors(c.name, int(c.costs["macs"]), c.larger, c.errors[pooling]) for c in candidates]
    what = "the place of the start" if probe_set.unit == "cm" else "the proprioception"
    baseline = float(probe_set.by_episode(distances(probe_set.target, probe_set.target.mean(0))).mean())
    found: Recommendation = recommend(errors, fold, what, probe_set.unit, options.least_gain, baseline)
    return {
        "schema": _SCHEMA,
        "recommendation": asdict(found),
        "read": what,
        "unit": probe_set.unit,
        "demos": len(fold),
        "frames": len(probe_set.frames),
        "baseline": baseline,
        "pooling": pooling,
        "candidates": [c.as_json() for c in candidates],
        "reference": None
        if reference is None
        else {"name": reference.name, "reconstruction": reference.reconstruction},
    }


def _hand_over(advice: dict[str, Any], options: AdviseOptions) -> None:
    if options.json:
        print(json.dumps(advice, indent=1, ensure_ascii=False))
    else:
        print("\n".join(table(advice)))
        print(f"\n{advice['recommendation']['words']}")
    if options.out:
        write_json(Path(options.out) / "advice.json", advice)
        write_page(Path(options.out) / "advice.html", advice)
