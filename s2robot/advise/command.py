"""`s2robot advise`: the paper's question, answered on a user's own frames before any robot time is spent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from s2robot.advise.candidate import Contender, curve_points
from s2robot.advise.head_cache import Kept
from s2robot.advise.page import table, write_page
from s2robot.advise.probe import ProbeSet, distances, draw_frames, extract, fold_episodes
from s2robot.advise.recommendation import Candidate, Recommendation, recommend
from s2robot.advise.reconstruct import Of, Reconstruction, reconstruct
from s2robot.config.checks import check_folder, check_least, check_scales
from s2robot.core.errors import UserError, unknown
from s2robot.data.store import DemoStore
from s2robot.policy.pooling import POOLINGS
from s2robot.utils.provenance import machine, plain, usable_cores, versions, write_json
from s2robot.vision.features import FeatureExtractor

_LEAST_DEMOS = 3  # one held out, two for a linear map

Features = dict[str, torch.Tensor]


def main(cfg: DictConfig) -> None:
    """Prints table and recommendation; where `out` is given, writes `advice.json` and `advice.html`, and what
    it goes on from when it was broken off.
    """
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    _check(cfg)
    torch.set_num_threads(cfg.threads or usable_cores())
    store = DemoStore.open(cfg.demos)
    if len(store.ids()) < _LEAST_DEMOS:
        raise UserError(f"{store} holds {len(store.ids())} demos: expected at least {_LEAST_DEMOS}")
    contenders, reference = _contenders(cfg)
    probe_set = draw_frames(store, cfg.camera, cfg.frames, cfg.seed, _readable(store))
    curve = curve_points(cfg.curve, probe_set, cfg.folds, cfg.seed)
    features = {c.name: extract(c.extractor, probe_set.frames) for c in contenders}
    for contender in contenders:
        contender.weigh(probe_set.frames, cfg.repeats)
    _reconstruct(contenders, reference, features, probe_set, cfg)
    read = {"demos": store.digest(), "camera": cfg.camera, "frames": cfg.frames}
    kept = Kept(Path(cfg.out) / "heads" if cfg.out else None, read)
    for contender in contenders:
        for pooling in cfg.poolings:
            contender.probe(
                *(features[contender.name], probe_set, pooling, curve),
                folds=cfg.folds,
                steps=cfg.steps,
                seed=cfg.seed,
                kept=kept,
            )
    advice = _advice(contenders, reference, probe_set, cfg)
    about = {"demos_sha256": store.digest(), "versions": versions(), "machine": machine(), "config": settings}
    _hand_over(plain(advice | about), cfg)


def _check(cfg: DictConfig) -> None:
    """What costs an hour to find out later. Raises UserError."""
    for name in cfg.poolings:
        if name not in POOLINGS:
            raise unknown("pooling", name, POOLINGS)
    for name in ("scales", "larger_scales", "poolings"):
        if not cfg[name]:
            raise UserError(f"{name}=[]: expected at least one")
    check_scales("scales", cfg.scales)
    check_scales("larger_scales", cfg.larger_scales)
    check_least(cfg, 1, "frames", "steps", "tokens", "repeats", "threads")
    check_least(cfg, 0, "least_gain", "seed")
    if any(demos < 1 for demos in cfg.curve):
        raise UserError(f"curve={list(cfg.curve)}: expected numbers of demos, at least 1")
    if cfg.small == cfg.larger:
        raise UserError(f"small and larger are both {cfg.small}: expected two encoders")
    if cfg.out:
        check_folder(cfg.out)
        if (Path(cfg.out) / "advice.json").exists() and not cfg.overwrite:
            raise UserError(f"{cfg.out} holds an advice already: overwrite=true replaces it")


def _contenders(cfg: DictConfig) -> tuple[list[Contender], Contender | None]:
    """All of them loaded before anything is computed: a file that is missing is told at once."""
    wanted = [(cfg.small, sizes, False) for sizes in cfg.scales]
    wanted += [(cfg.larger, sizes, True) for sizes in cfg.larger_scales]
    contenders = [Contender(FeatureExtractor(n, s, bf16=cfg.bf16), larger) for n, s, larger in wanted]
    names = [contender.name for contender in contenders]
    if len(set(names)) < len(names):
        raise UserError(f"the same encoder and scales twice: {', '.join(names)}")
    small, larger = (
        min((c for c in contenders if c.larger is is_larger), key=_macs) for is_larger in (False, True)
    )
    if _macs(larger) <= _macs(small):
        raise UserError(
            f"{larger.name} takes {_macs(larger) / 1e9:.2f} G multiply-accumulates, {small.name} "
            f"{_macs(small) / 1e9:.2f} G: expected the larger model as larger="
        )
    if not cfg.reference:
        return contenders, None
    extractor = FeatureExtractor(cfg.reference, cfg.larger_scales[0], bf16=cfg.bf16)
    return contenders, Contender(extractor, larger=True)


def _macs(contender: Contender) -> int:
    return contender.cost.macs


def _readable(store: DemoStore) -> Any:
    """What heads are to read: the cube's position where every episode has it."""
    with_cube = all("cube_pose" in store.episode(episode_id).attributes for episode_id in store.ids())
    return "cube" if with_cube else "proprio"


def _reconstruct(
    contenders: Sequence[Contender],
    reference: Contender | None,
    features: Features,
    probe_set: ProbeSet,
    cfg: DictConfig,
) -> None:
    """The first larger contender's features, from every smaller one's and the reference's."""
    target = features[next(c.name for c in contenders if c.larger)]
    held_out = fold_episodes(probe_set, cfg.folds, cfg.seed)[0]

    def of(source: torch.Tensor, kind: Of) -> Reconstruction:
        common = {"tokens": cfg.tokens, "seed": cfg.seed}
        return reconstruct(source, target, probe_set.episode, held_out, of=kind, **common)

    ceiling: dict[Of, Reconstruction] = {}
    if reference is not None:
        source = extract(reference.extractor, probe_set.frames)
        ceiling = {kind: of(source, kind) for kind in get_args(Of)}
        _note(reference, ceiling, ceiling)
    for contender in contenders:
        if not contender.larger:
            _note(contender, {kind: of(features[contender.name], kind) for kind in get_args(Of)}, ceiling)


def _note(contender: Contender, found: dict[Of, Reconstruction], ceiling: dict[Of, Reconstruction]) -> None:
    for kind, r in found.items():
        ratio, error = r.ratio(ceiling[kind]) if kind in ceiling else (None, None)
        contender.reconstruction[kind] = {
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
    contenders: Sequence[Contender], reference: Contender | None, probe_set: ProbeSet, cfg: DictConfig
) -> dict[str, Any]:
    def overall(pooling: str) -> float:
        return float(np.mean([c.errors[pooling].mean() for c in contenders]))

    pooling = min(cfg.poolings, key=overall)
    parts = fold_episodes(probe_set, cfg.folds, cfg.seed)
    fold = np.array([next(i for i, p in enumerate(parts) if e in p) for e in np.unique(probe_set.episode)])
    candidates = [Candidate(c.name, int(c.costs["macs"]), c.larger, c.errors[pooling]) for c in contenders]
    what = "the cube" if probe_set.unit == "cm" else "the proprioception"
    guess = float(probe_set.by_episode(distances(probe_set.target, probe_set.target.mean(0))).mean())
    judged: Recommendation = recommend(candidates, fold, what, probe_set.unit, cfg.least_gain, guess)
    return {
        "recommendation": asdict(judged),
        "read": what,
        "unit": probe_set.unit,
        "demos": len(fold),
        "frames": len(probe_set.frames),
        "guess": guess,
        "pooling": pooling,
        "contenders": [c.as_json() for c in contenders],
        "reference": None
        if reference is None
        else {"name": reference.name, "reconstruction": reference.reconstruction},
    }


def _hand_over(advice: dict[str, Any], cfg: DictConfig) -> None:
    if cfg.json:
        print(json.dumps(advice, indent=1, ensure_ascii=False))
    else:
        print("\n".join(table(advice)))
        print(f"\n{advice['recommendation']['words']}")
    if cfg.out:
        write_json(Path(cfg.out) / "advice.json", advice)
        write_page(Path(cfg.out) / "advice.html", advice)
