"""Frames a second through a frozen encoder: a plain loop over scales beside ours, in bulk and at a step.

All see the same frames in turns, in one process. Bulk is what `s2robot encode` does; a control step is one
frame of every camera.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from s2robot.bench.memory import peak_memory
from s2robot.bench.options import BenchOptions, EncodeBench
from s2robot.bench.plain_loop import plain_loop
from s2robot.config.checks import check_device
from s2robot.config.options import to_plain
from s2robot.core.errors import UserError
from s2robot.data.store import DemoStore
from s2robot.utils.progress import Progress
from s2robot.vision.costs import cost
from s2robot.vision.features import FeatureExtractor, computes_in_bf16
from s2robot.vision.s2 import S2, multiscale_forward

Method = Callable[[np.ndarray], np.ndarray]
"""uint8 (B, S, S, 3) -> float16 (B, 1 + N, C)."""


@dataclass
class Contestant:
    """One way to run one encoder at one set of scales, and what was measured of it.

    Attributes:
        macs: multiply-accumulates of a frame.
        bulk: frames a second, round by round. steps: seconds of a control step, each.
        peak: bytes that a batch in bulk takes at most.
        cosine: of its tokens with float32's, the least. alike: share of them with a cosine of at least 0.999.
    """

    encoder: str
    sizes: tuple[int, ...]
    method: str
    run: Method
    macs: int
    bulk: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    peak: int | None = None
    cosine: float = 1.0
    alike: float = 1.0

    def row(self) -> dict[str, Any]:
        median, high = np.percentile(self.steps, [50, 99]) * 1000
        return {
            "encoder": self.encoder,
            "sizes": list(self.sizes),
            "method": self.method,
            "gmacs": self.macs / 1e9,
            "frames_per_second": float(np.median(self.bulk)),
            "step_ms_median": float(median),
            "step_ms_p99": float(high),
            "peak_bytes": self.peak,
            "cosine_to_float32": self.cosine,
            "share_of_cosines_from_0.999": self.alike,
            "rounds_frames_per_second": self.bulk,
        }


def measure(options: BenchOptions) -> tuple[dict[str, Any], list[str]]:
    """What `s2robot bench encode` finds. Raises UserError for a store without demos, or of several sizes."""
    section = options.encode
    check_device(section.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    store = DemoStore.open(options.demo_store)
    bulk, step = _frames(store, section.frames)
    entered = list(contestants(section))
    for number, contestant in enumerate(Progress(entered, desc="warm up", unit="method")):
        if section.memory:
            contestant.peak = peak_memory(_one_batch, options, number, device=section.device)
        for frames in (bulk, step):
            contestant.run(frames)  # warms it up: compiled, a batch of another size is another program
    compare_to_float32(entered, bulk)
    for _ in Progress(range(section.rounds), desc="bulk", unit="round"):
        for contestant in entered:
            contestant.bulk.append(len(bulk) / _seconds(contestant.run, bulk))
    for _ in Progress(range(section.control_steps), desc="control", unit="step"):
        for contestant in entered:
            contestant.steps.append(_seconds(contestant.run, step))
    rows = [contestant.row() for contestant in entered]
    reading = {"read_frames_per_second": reading_rate(store), "threads": torch.get_num_threads()}
    reading["product_gflops"] = product_rates(section.device)
    reading["unchanged_tiles"] = unchanged_tiles(store, max(section.sizes, key=len))
    ratios = to_single_scale(rows)
    config = {"demos": options.demos, "seed": options.seed, **to_plain(section)}
    result = {"rows": rows, "to_single_scale": ratios, **reading, "config": config}
    return result, list(_lines(rows, ratios, reading))


def _one_batch(options: BenchOptions, number: int) -> Callable[[], object]:
    """What contestant `number` does in bulk."""
    torch.set_num_threads(options.threads or torch.get_num_threads())
    bulk, _ = _frames(DemoStore.open(options.demo_store), options.encode.frames)
    return partial(next(islice(contestants(options.encode), number, None)).run, bulk)


def contestants(section: EncodeBench) -> Iterator[Contestant]:
    """Every method of every encoder at every set of scales."""
    methods = _methods(section)
    for name in section.encoders:
        for sizes in section.sizes:
            extractor = FeatureExtractor(name, sizes, bf16=False)
            encoder = extractor.encoder
            tile = encoder.architecture.image_size
            macs = cost(S2(encoder, sizes, tile=tile, prefix_tokens=encoder.prefix_tokens), tile).macs
            for method, make in methods.items():
                yield Contestant(name, sizes, method, make(name, sizes), macs)


def _methods(section: EncodeBench) -> dict[str, Callable[[str, tuple[int, ...]], Method]]:
    make = partial(FeatureExtractor, device=section.device, resize_to=section.resize_to)
    bf16 = computes_in_bf16(section.device) if section.bf16 is None else section.bf16
    kinds = {"float32": False} | ({"bf16": True} if bf16 else {})
    ours: dict[str, Any] = {
        f"ours, {kind}{'' if engine == 'torch' else f', {engine}'}": partial(make, bf16=value, engine=engine)
        for engine in section.engines
        for kind, value in kinds.items()
    }
    return {"plain loop, float32": lambda name, sizes: plain_loop(make(name, sizes, bf16=False))} | ours


def _frames(store: DemoStore, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` frames of the first camera, and one of every camera."""
    cameras, episodes = list(store.spec.cameras), map(store.episode, store.ids())
    if not store.ids():
        raise UserError(f"{store} holds no demos: `s2robot record` makes some")
    if len(set(store.spec.cameras.values())) > 1:
        raise UserError(f"the cameras of {store} are of several sizes: a control step has one batch")
    stream = (frame for episode in episodes for frame in episode.images(cameras[0]))
    first = store.episode(store.ids()[0])
    return np.stack(list(islice(stream, count))), np.stack([first.images(c, 0) for c in cameras])


def _seconds(run: Method, frames: np.ndarray) -> float:
    """Features come back to the processor, so that a GPU has finished."""
    began = time.perf_counter()
    run(frames)
    return time.perf_counter() - began


def compare_to_float32(entered: list[Contestant], frames: np.ndarray) -> None:
    """Fills in `cosine` and `alike`, against the plain loop of the same encoder and scales."""
    exact: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}
    for contestant in entered:
        tokens = torch.from_numpy(contestant.run(frames)).float()
        reference = exact.setdefault((contestant.encoder, contestant.sizes), tokens)
        cosines = F.cosine_similarity(tokens, reference, dim=-1)
        contestant.cosine = cosines.min().item()
        contestant.alike = (cosines >= 0.999).float().mean().item()


def to_single_scale(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How much longer several scales take than one with the same method, beside what the MACs say."""
    ratios = []
    for row in rows:
        like = [r for r in rows if (r["encoder"], r["method"]) == (row["encoder"], row["method"])]
        single = next((r for r in like if len(r["sizes"]) == 1), None)
        if single is None or len(row["sizes"]) == 1:
            continue
        ratios.append(
            {key: row[key] for key in ("encoder", "sizes", "method")}
            | {
                "macs": row["gmacs"] / single["gmacs"],
                "bulk": single["frames_per_second"] / row["frames_per_second"],
                "step": row["step_ms_median"] / single["step_ms_median"],
            }
        )
    return ratios


def reading_rate(store: DemoStore, episodes: int = 10) -> float:
    """Frames a second that one process reads from the store, of the first camera of the first demos."""
    camera = next(iter(store.spec.cameras))
    began, count = time.perf_counter(), 0
    for episode_id in store.ids()[:episodes]:
        count += len(store.episode(episode_id).images(camera))
    return count / (time.perf_counter() - began)


def unchanged_tiles(store: DemoStore, sizes: Sequence[int], tile: int = 224, episodes: int = 10) -> float:
    """Share of S²'s tiles that are, to the pixel, those of the frame before: what reusing them would save.

    Of the first camera of the first demos; 0 where each has one frame.
    """
    camera = next(iter(store.spec.cameras))
    same: list[bool] = []

    def look(tiles: torch.Tensor) -> torch.Tensor:
        by_frame = tiles.unflatten(0, (-1, 2))
        same.extend((by_frame[:, 0] == by_frame[:, 1]).flatten(1).all(1).tolist())
        return tiles.new_zeros(len(tiles), 1, 1)

    for episode_id in store.ids()[:episodes]:
        frames = torch.from_numpy(store.episode(episode_id).images(camera)).permute(0, 3, 1, 2).float()
        for i in range(len(frames) - 1):
            multiscale_forward(look, frames[i : i + 2], sizes, tile=tile)
    return float(np.mean(same)) if same else 0.0


def product_rates(device: str, side: int = 2048, rounds: int = 5) -> dict[str, float]:
    """GFLOPS of one large matrix product in float32 and, where the device has it, in bf16.

    Their ratio bounds what bf16 gains.
    """
    factors = torch.randn(2, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    kinds = {"float32": factors} | ({"bf16": factors.bfloat16()} if computes_in_bf16(device) else {})
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds + 1):  # in turns, the first to warm up
        for kind, (a, b) in kinds.items():
            began = time.perf_counter()
            (a @ b)[0, 0].item()  # waits for a GPU
            seconds[kind].append(time.perf_counter() - began)
    return {kind: 2e-9 * side**3 / float(np.median(taken[1:])) for kind, taken in seconds.items()}


def _lines(
    rows: list[dict[str, Any]], ratios: list[dict[str, Any]], reading: dict[str, Any]
) -> Iterator[str]:
    for row in rows:
        peak = "" if row["peak_bytes"] is None else f"  {row['peak_bytes'] / 1e6:6.0f} MB"
        yield (
            f"{row['encoder']:14} {'+'.join(map(str, row['sizes'])):12} {row['method']:24}"
            f" {row['frames_per_second']:7.1f} frames/s  step {row['step_ms_median']:6.1f} ms,"
            f" 99 % {row['step_ms_p99']:6.1f} ms{peak}"
        )
    for ratio in ratios:
        sizes = "+".join(map(str, ratio["sizes"]))
        yield (
            f"{ratio['encoder']} {sizes}, {ratio['method']}: {ratio['bulk']:.2f} x single scale in bulk,"
            f" {ratio['step']:.2f} x at a step; the MACs say {ratio['macs']:.2f} x"
        )
    product = reading["product_gflops"]
    yield (
        f"one process reads {reading['read_frames_per_second']:.0f} frames/s from the store;"
        f" {reading['unchanged_tiles']:.1%} of the tiles are those of the frame before"
    )
    if "bf16" in product:
        yield (f"a matrix product alone gains {product['bf16'] / product['float32']:.2f} x from bf16")
