"""`s2robot pretrain`: makes an encoder by masked visual pre-training on frames of the simulator.

Two stages, each resumed where it stopped: render frames of random states into shards, then train. Frame i and
batch i are pure functions of the seed. With several `encoder.sizes` the model is trained as S² runs it; the
weights that come out are the plain ViT's.
"""

from __future__ import annotations

import io
import math
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from s2robot.config import instantiate
from s2robot.config.checks import check_folder
from s2robot.config.options import Component, Count, Natural, NonNegative, to_plain
from s2robot.config.overrides import as_override
from s2robot.core.errors import UserError, unknown
from s2robot.data.durable import disk_errors
from s2robot.utils.atomic_io import replacing, write_atomic, write_json
from s2robot.utils.distributed import World, join_world
from s2robot.utils.hashing import first_difference, sha256_file, sha256_json
from s2robot.utils.progress import Progress
from s2robot.utils.provenance import has_bf16, versions
from s2robot.utils.randomness import WHOLE_BATCH, Microbatch
from s2robot.utils.schedule import cosine, parameter_groups
from s2robot.utils.signals import deferred
from s2robot.utils.state import damage, load_state
from s2robot.utils.workers import run_jobs
from s2robot.vision.encoders.encoder import Architecture
from s2robot.vision.encoders.mvp import ARCHITECTURES
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.encoders.state import hash_weights
from s2robot.vision.pretrain.mae import MaskedAutoencoder

SHARD = 100  # states
_CHECKPOINT_EVERY = 200  # steps
_SCHEMA = 3  # of the state and the card
_STATE = "state.pt"
_ENCODER = "encoder.safetensors"
_WIDTH_STEP = 4  # of the decoder: its heads, and the parts of a sine-cosine embedding

FrameSource = Callable[[int], dict[str, np.ndarray]]


@dataclass(frozen=True)
class PretrainOptions:
    """Of `s2robot pretrain`, see configs/pretrain.yaml."""

    encoder: EncoderOptions
    out: str
    frames: str | None
    states: Count
    steps: Count
    batch_size: Count
    lr: NonNegative
    warmup: Natural
    weight_decay: NonNegative
    decoder_depth: Count
    decoder_width: Count
    bf16: bool | None
    seed: Natural
    workers: Natural
    threads: Count | None
    source: Component


def main(options: PretrainOptions) -> None:
    """Renders `states` states, trains `steps` steps, writes the encoder and its card into `out`."""
    out = Path(options.out)
    _check(options, out)
    with join_world() as world:
        if options.batch_size % world.size:
            raise UserError(f"batch_size={options.batch_size}: cannot be divided by {world.size} processes")
        shards = render_frames(options, Path(options.frames or out / "frames"), world)
        torch.set_num_threads(world.threads(options.threads))
        model, losses, seconds = _train(options, out, Frames(shards), world)
        if world.leads:
            _write_encoder(options, out, model, losses, seconds)


def _check(options: PretrainOptions, out: Path) -> None:
    """What would be found out late. Raises UserError."""
    if options.encoder.architecture not in ARCHITECTURES:
        raise unknown("architecture", options.encoder.architecture, ARCHITECTURES)
    _scales(options)
    if options.decoder_width % _WIDTH_STEP:
        raise UserError(f"decoder_width={options.decoder_width}: expected a multiple of {_WIDTH_STEP}")
    check_folder(out)
    if (out / _ENCODER).exists() and not (out / _STATE).exists():
        raise UserError(f"{out} holds an encoder without {_STATE} to go on from: give another out=")


# ---------------------------------------------------------------------- frames


def render_frames(options: PretrainOptions, folder: Path, world: World | None = None) -> list[Path]:
    """Shards of frames (uint8 .npy of (states · cameras, H, W, 3)); those that are there already are kept."""
    world = world or World()
    folder.mkdir(parents=True, exist_ok=True)
    recipe = sha256_json({"source": options.source, "seed": options.seed})[:12]
    sizes = [min(SHARD, options.states - start) for start in range(0, options.states, SHARD)]
    shards = [folder / _shard_name(recipe, i, size) for i, size in enumerate(sizes)]
    jobs = [(i, sizes[i], shard) for i, shard in enumerate(shards) if not shard.is_file()]
    world.wait()  # every process has listed what is missing
    _render(options, world.share(jobs))
    world.wait()
    return shards


def _render(options: PretrainOptions, jobs: list[tuple[int, int, Path]]) -> None:
    with Progress(total=sum(states for _, states, _ in jobs), desc="frames", unit="state") as progress:
        for states in run_jobs(
            _render_shard,
            jobs,
            workers=options.workers,
            start=_start_source,
            start_args=(options.source, options.seed),
        ):
            progress.update(states)


def _shard_name(recipe: str, index: int, states: int) -> str:
    part = "" if states == SHARD else f"-first{states}"  # another number of states must not make do with it
    return f"frames-{recipe}-{index:05d}{part}.npy"


def _start_source(config: Component, seed: int) -> FrameSource:
    return instantiate(config, seed=seed)


def _render_shard(source: FrameSource, job: tuple[int, int, Path]) -> int:
    shard, states, path = job
    frames = [f for i in range(states) for f in source(shard * SHARD + i).values()]
    with disk_errors(f"write {path}"), replacing(path) as staging, staging.open("wb") as file:
        np.save(file, np.stack(frames))
    return states


def _open_shard(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it, and it is rendered again") from error


class Frames:
    """Views of the rendered frames as an encoder will meet them: whole frames, S² tiles, and random crops.

    The model itself cuts a view for S², as large as its last scale, into tiles.
    """

    def __init__(self, shards: list[Path]) -> None:
        self._shards = [_open_shard(shard) for shard in shards]
        self._ends = np.cumsum([len(shard) for shard in self._shards])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def batch(
        self, size: int, image_size: int, rng: np.random.Generator, part: Microbatch = WHOLE_BATCH
    ) -> Tensor:
        """A part of a batch of `size` views: float (size / parts, 3, image_size, image_size) in [0, 1]."""
        frames = rng.integers(len(self), size=size)
        crops = [self._crop(self._shards[0].shape[1], image_size, rng) for _ in frames]
        own = slice(part.index * size // part.of, (part.index + 1) * size // part.of)
        chosen = zip(frames[own], crops[own], strict=True)
        return torch.stack([self._view(self._frame(int(i)), image_size, crop) for i, crop in chosen])

    def _frame(self, index: int) -> np.ndarray:
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return self._shards[shard][index - (self._ends[shard] - len(self._shards[shard]))]

    @staticmethod
    def _crop(side: int, size: int, rng: np.random.Generator) -> tuple[int, int, int]:
        """Top, left and side of a view of a frame (px)."""
        kind = rng.choice(["whole", "tile", "crop"], p=[0.4, 0.4, 0.2])
        crop = int(rng.integers(side // 3, side + 1))
        extent = {"whole": side, "tile": min(size, side), "crop": crop}[kind]
        step = extent if kind == "tile" else 1
        top, left = (step * int(rng.integers((side - extent) // step + 1)) for _ in range(2))
        return top, left, extent

    @staticmethod
    def _view(frame: np.ndarray, size: int, crop: tuple[int, int, int]) -> Tensor:
        top, left, extent = crop
        view = torch.from_numpy(frame[top : top + extent, left : left + extent].copy())
        view = view.permute(2, 0, 1).float() / 255
        if extent == size:
            return view
        return F.interpolate(view[None], (size, size), mode="bicubic", align_corners=False)[0].clamp(0, 1)


# ---------------------------------------------------------------------- training


def _train(
    options: PretrainOptions, out: Path, frames: Frames, world: World
) -> tuple[MaskedAutoencoder, list[float], float]:
    torch.manual_seed(options.seed)
    device = world.device(None)
    model = MaskedAutoencoder(
        _architecture(options),
        decoder_depth=options.decoder_depth,
        decoder_width=options.decoder_width,
        scales=_scales(options),
    ).to(device)
    optimiser = torch.optim.AdamW(
        parameter_groups(model, options.weight_decay), lr=options.lr, betas=(0.9, 0.95)
    )
    start, losses, before = _resume(options, out, model, optimiser)
    loss_of = model if world.size == 1 else DistributedDataParallel(model)
    began = time.monotonic()
    bar = {"desc": "pretrain", "unit": "step", "disable": not world.leads}
    progress = Progress(range(start, options.steps), initial=start, total=options.steps, **bar)
    with deferred() as signals:
        for step in progress:
            for group in optimiser.param_groups:
                group["lr"] = cosine(step, options.steps, options.warmup) * options.lr
            losses.append(_step(options, step, loss_of, optimiser, frames, world))
            progress.set_postfix(loss=f"{np.mean(losses[-50:]):.4f}")
            number = world.largest(signals.number)
            is_due = (step + 1) % _CHECKPOINT_EVERY == 0 or step + 1 == options.steps
            if world.leads and (is_due or number):
                _save(options, out, model, optimiser, losses, before + time.monotonic() - began)
            if number:
                world.wait()
                signals.deliver(number)
    return model, losses, before + time.monotonic() - began


def _step(
    options: PretrainOptions,
    step: int,
    loss_of: nn.Module,
    optimiser: torch.optim.Optimizer,
    frames: Frames,
    world: World,
) -> float:
    rng = np.random.default_rng([options.seed, step])
    masks = torch.Generator().manual_seed(int(rng.integers(2**62)))
    part, device = Microbatch(world.rank, world.size), next(loss_of.parameters()).device
    images = frames.batch(options.batch_size, _sizes(options)[-1], rng, part).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=_in_bf16(options)):
        loss = loss_of(images, masks, part)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(loss_of.parameters(), 1.0)
    optimiser.step()
    return world.total(loss.detach()).item() / world.size


def _architecture(options: PretrainOptions) -> Architecture:
    return ARCHITECTURES[options.encoder.architecture or ""]


def _scales(options: PretrainOptions) -> tuple[int, ...]:
    """Image sides by the ViT's own; one size is that side itself, whatever it says. Raises UserError."""
    side, grid, sizes = _architecture(options).image_size, _architecture(options).grid, options.encoder.sizes
    if len(sizes) == 1 and sizes[0] <= side:
        return (1,)
    scales, tiles = tuple(size // side for size in sizes), math.lcm(*(-(-size // side) for size in sizes))
    in_order = sizes[0] == side and sorted(set(sizes)) == list(sizes)
    if in_order and not any(size % side for size in sizes) and grid % tiles == 0 and tiles < grid:
        return scales
    raise UserError(
        f"encoder.sizes={list(sizes)}: expected [{side}] or, for S², {side} px and multiples of it whose "
        f"tiles divide its {grid} x {grid} patches, such as [{side},{2 * side}]"
    )


def _sizes(options: PretrainOptions) -> list[int]:
    """Of the images (px), that of the ViT first."""
    return [scale * _architecture(options).image_size for scale in _scales(options)]


def _recipe(options: PretrainOptions) -> dict[str, Any]:
    schedule = ("states", "steps", "batch_size", "lr", "warmup", "weight_decay")
    keys = (*schedule, "decoder_depth", "decoder_width", "bf16", "seed", "source")
    plain = to_plain(options)
    chosen = {key: plain[key] for key in keys}
    encoder = {"architecture": options.encoder.architecture, "sizes": _sizes(options)}
    return {**encoder, **chosen, "bf16": _in_bf16(options)}


def _in_bf16(options: PretrainOptions) -> bool:
    return has_bf16() if options.bf16 is None else bool(options.bf16)


def _command(options: PretrainOptions) -> str:
    """What makes this encoder again, every number of the recipe given."""
    recipe = _recipe(options)
    architecture, source = recipe.pop("architecture"), recipe.pop("source")
    given = {"encoder.sizes": recipe.pop("sizes")} | recipe
    given |= {_source_option(key): value for key, value in source.items()}
    overrides = shlex.join(f"{key}={as_override(value)}" for key, value in given.items())
    return f"s2robot pretrain out=OUT encoder={architecture} {overrides}"


def _source_option(key: str) -> str:
    """As it is typed: what the default source has not is added to it."""
    return f"source.{key}" if key in ("_target_", "image_size") else f"+source.{key}"


def _save(
    options: PretrainOptions,
    out: Path,
    model: MaskedAutoencoder,
    optimiser: torch.optim.Optimizer,
    losses: list[float],
    seconds: float,
) -> None:
    state = {
        "schema": _SCHEMA,
        "recipe": _recipe(options),
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "losses": losses,
        "seconds": seconds,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with disk_errors(f"save {out}"):
        write_atomic(out / _STATE, buffer.getvalue())


def _resume(
    options: PretrainOptions, out: Path, model: MaskedAutoencoder, optimiser: torch.optim.Optimizer
) -> tuple[int, list[float], float]:
    path = out / _STATE
    if not path.is_file():
        return 0, [], 0.0
    mend = "delete it to train again, or give another out="
    state = load_state(path, {}, mend)
    if state.get("schema") != _SCHEMA:
        raise UserError(f"{path} is of a former schema: {mend}")
    with damage(path, mend):
        difference = first_difference(state["recipe"], _recipe(options))
        losses, seconds = [float(loss) for loss in state["losses"]], float(state["seconds"])
    if difference:
        raise UserError(f"{path} was made with {difference}: give the same options, or another out=")
    with damage(path, mend):
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
    return len(losses), losses, seconds


def _write_encoder(
    options: PretrainOptions, out: Path, model: MaskedAutoencoder, losses: list[float], seconds: float
) -> None:
    state = {k: v.detach().cpu().half().contiguous() for k, v in model.encoder.state_dict().items()}
    path = out / _ENCODER
    write_atomic(path, save(state))
    card = {
        "schema": _SCHEMA,
        "name": out.resolve().name,
        "command": _command(options),
        "recipe": _recipe(options),
        "views": options.steps * options.batch_size,
        "final_loss": float(np.mean(losses[-200:])),
        "seconds": round(seconds),
        "weights_sha256": hash_weights(state),
        "file_sha256": sha256_file(path),
        "parameters": sum(v.numel() for v in state.values()),
        "versions": versions(),
    }
    write_json(out / "card.json", card)
    write_json(out / "losses.json", [round(x, 5) for x in losses])
    print(f"{path}: final loss {card['final_loss']:.4f} after {card['views']} views")
