"""`s2robot pretrain`: makes an encoder by masked visual pre-training on frames of the simulator.

Two stages, each resumed where it stopped: render frames of random states into shards, then train. Frame i and
batch i are pure functions of the seed.
"""

from __future__ import annotations

import os
import pickle
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from s2robot.config import instantiate
from s2robot.config.checks import check_folder, check_least
from s2robot.config.overrides import as_override
from s2robot.core.errors import UserError, unknown
from s2robot.utils.distributed import World, join_world
from s2robot.utils.provenance import (
    first_difference,
    has_bf16,
    sha256_file,
    sha256_json,
    versions,
    write_atomic,
    write_json,
)
from s2robot.utils.randomness import WHOLE_BATCH, Microbatch
from s2robot.utils.schedule import cosine, parameter_groups
from s2robot.utils.workers import run_jobs
from s2robot.vision.encoders.mvp import ARCHITECTURES
from s2robot.vision.encoders.state import hash_weights
from s2robot.vision.pretrain.mae import MaskedAutoencoder

SHARD = 100  # states
_CHECKPOINT_EVERY = 200  # steps
_STATE = "state.pt"
_ENCODER = "encoder.safetensors"
_WIDTH_STEP = 4  # of the decoder: its heads, and the parts of a sine-cosine embedding

FrameSource = Callable[[int], dict[str, np.ndarray]]


def main(cfg: DictConfig) -> None:
    """Renders `states` states, trains `steps` steps, writes the encoder and its card into `out`."""
    out = Path(cfg.out)
    _check(cfg, out)
    with join_world() as world:
        if cfg.batch_size % world.size:
            raise UserError(f"batch_size={cfg.batch_size}: cannot be divided by {world.size} processes")
        shards = render_frames(cfg, Path(cfg.frames or out / "frames"), world)
        torch.set_num_threads(world.threads(cfg.threads))
        model, losses, seconds = _train(cfg, out, Frames(shards), world)
        if world.leads:
            _write_encoder(cfg, out, model, losses, seconds)


def _check(cfg: DictConfig, out: Path) -> None:
    """What would be found out late. Raises UserError."""
    if cfg.encoder.architecture not in ARCHITECTURES:
        raise unknown("architecture", cfg.encoder.architecture, ARCHITECTURES)
    check_least(cfg, 1, "states", "steps", "batch_size", "decoder_depth", "threads")
    check_least(cfg, 0, "warmup", "weight_decay", "lr", "seed", "workers")
    if cfg.decoder_width < 1 or cfg.decoder_width % _WIDTH_STEP:
        raise UserError(f"decoder_width={cfg.decoder_width}: expected a multiple of {_WIDTH_STEP}")
    check_folder(out)
    if (out / _ENCODER).exists() and not (out / _STATE).exists():
        raise UserError(f"{out} holds an encoder without {_STATE} to go on from: give another out=")


# ---------------------------------------------------------------------- frames


def render_frames(cfg: DictConfig, folder: Path, world: World | None = None) -> list[Path]:
    """Shards of frames (uint8 .npy of (states · cameras, H, W, 3)); those that are there already are kept."""
    world = world or World()
    folder.mkdir(parents=True, exist_ok=True)
    recipe = sha256_json({"source": OmegaConf.to_container(cfg.source, resolve=True), "seed": cfg.seed})[:12]
    sizes = [min(SHARD, cfg.states - start) for start in range(0, cfg.states, SHARD)]
    shards = [folder / _shard_name(recipe, i, size) for i, size in enumerate(sizes)]
    jobs = [(i, sizes[i], shard) for i, shard in enumerate(shards) if not shard.is_file()]
    world.wait()  # every process has seen what is missing
    _render(cfg, world.share(jobs))
    world.wait()
    return shards


def _render(cfg: DictConfig, jobs: list[tuple[int, int, Path]]) -> None:
    source = OmegaConf.to_container(cfg.source, resolve=True)
    with tqdm(total=sum(states for _, states, _ in jobs), desc="frames", unit="state") as progress:
        for states in run_jobs(
            _render_shard, jobs, workers=cfg.workers, start=_start_source, start_args=(source, cfg.seed)
        ):
            progress.update(states)


def _shard_name(recipe: str, index: int, states: int) -> str:
    part = "" if states == SHARD else f"-first{states}"  # another number of states must not make do with it
    return f"frames-{recipe}-{index:05d}{part}.npy"


def _start_source(config: dict[str, Any], seed: int) -> FrameSource:
    return instantiate(config, seed=seed)


def _render_shard(source: FrameSource, job: tuple[int, int, Path]) -> int:
    shard, states, path = job
    frames = [f for i in range(states) for f in source(shard * SHARD + i).values()]
    staging = path.with_suffix(f".{os.getpid()}.part")
    with staging.open("wb") as file:
        np.save(file, np.stack(frames))
    staging.rename(path)
    return states


def _open_shard(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it, and it is rendered again") from error


class Frames:
    """Views of the rendered frames as an encoder will meet them: whole frames, S² tiles, and random crops."""

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
        """Top, left and side of what is seen of a frame (px)."""
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
    cfg: DictConfig, out: Path, frames: Frames, world: World
) -> tuple[MaskedAutoencoder, list[float], float]:
    torch.manual_seed(cfg.seed)
    device = world.device(None)
    decoder = {key: cfg[key] for key in ("decoder_depth", "decoder_width")}
    model = MaskedAutoencoder(ARCHITECTURES[cfg.encoder.architecture], **decoder).to(device)
    optimiser = torch.optim.AdamW(parameter_groups(model, cfg.weight_decay), lr=cfg.lr, betas=(0.9, 0.95))
    start, losses, before = _resume(cfg, out, model, optimiser)
    loss_of = model if world.size == 1 else DistributedDataParallel(model)
    began = time.monotonic()
    shown = {"desc": "pretrain", "unit": "step", "disable": not world.leads}
    progress = tqdm(range(start, cfg.steps), initial=start, total=cfg.steps, **shown)
    for step in progress:
        for group in optimiser.param_groups:
            group["lr"] = cosine(step, cfg.steps, cfg.warmup) * cfg.lr
        losses.append(_step(cfg, step, loss_of, optimiser, frames, world))
        progress.set_postfix(loss=f"{np.mean(losses[-50:]):.4f}")
        if world.leads and ((step + 1) % _CHECKPOINT_EVERY == 0 or step + 1 == cfg.steps):
            _save(cfg, out, model, optimiser, losses, before + time.monotonic() - began)
    return model, losses, before + time.monotonic() - began


def _step(
    cfg: DictConfig,
    step: int,
    loss_of: nn.Module,
    optimiser: torch.optim.Optimizer,
    frames: Frames,
    world: World,
) -> float:
    rng = np.random.default_rng([cfg.seed, step])
    masks = torch.Generator().manual_seed(int(rng.integers(2**62)))
    part, device = Microbatch(world.rank, world.size), next(loss_of.parameters()).device
    image_size = ARCHITECTURES[cfg.encoder.architecture].image_size
    images = frames.batch(cfg.batch_size, image_size, rng, part).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=_in_bf16(cfg)):
        loss = loss_of(images, masks, part)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(loss_of.parameters(), 1.0)
    optimiser.step()
    return world.total(loss.detach()).item() / world.size


def _recipe(cfg: DictConfig) -> dict[str, Any]:
    schedule = ("states", "steps", "batch_size", "lr", "warmup", "weight_decay")
    keys = (*schedule, "decoder_depth", "decoder_width", "bf16", "seed", "source")
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    chosen = {key: plain[key] for key in keys}
    return {"architecture": cfg.encoder.architecture, **chosen, "bf16": _in_bf16(cfg)}


def _in_bf16(cfg: DictConfig) -> bool:
    return has_bf16() if cfg.bf16 is None else bool(cfg.bf16)


def _command(cfg: DictConfig) -> str:
    """What makes this encoder again, every number of the recipe given."""
    recipe = _recipe(cfg)
    architecture, source = recipe.pop("architecture"), recipe.pop("source")
    given = recipe | {_source_option(key): value for key, value in source.items()}
    options = shlex.join(f"{key}={as_override(value)}" for key, value in given.items())
    return f"s2robot pretrain out=OUT encoder={architecture} {options}"


def _source_option(key: str) -> str:
    """As it is typed: what the default source has not is added to it."""
    return f"source.{key}" if key in ("_target_", "image_size") else f"+source.{key}"


def _save(
    cfg: DictConfig,
    out: Path,
    model: MaskedAutoencoder,
    optimiser: torch.optim.Optimizer,
    losses: list[float],
    seconds: float,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    state = {
        "recipe": _recipe(cfg),
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "losses": losses,
        "seconds": seconds,
    }
    torch.save(state, out / f"{_STATE}.part")
    (out / f"{_STATE}.part").replace(out / _STATE)


def _resume(
    cfg: DictConfig, out: Path, model: MaskedAutoencoder, optimiser: torch.optim.Optimizer
) -> tuple[int, list[float], float]:
    path = out / _STATE
    if not path.is_file():
        return 0, [], 0.0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # runs no code of the file's
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} is damaged: delete it to train again, or give another out=") from error
    if difference := first_difference(state["recipe"], _recipe(cfg)):
        raise UserError(f"{path} was made with {difference}: give the same options, or another out=")
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return len(state["losses"]), state["losses"], state["seconds"]


def _write_encoder(
    cfg: DictConfig, out: Path, model: MaskedAutoencoder, losses: list[float], seconds: float
) -> None:
    state = {k: v.detach().cpu().half().contiguous() for k, v in model.encoder.state_dict().items()}
    path = out / _ENCODER
    write_atomic(path, save(state))
    card = {
        "name": out.resolve().name,
        "command": _command(cfg),
        "recipe": _recipe(cfg),
        "frames_seen": cfg.steps * cfg.batch_size,
        "final_loss": float(np.mean(losses[-200:])),
        "seconds": round(seconds),
        "weights_sha256": hash_weights(state),
        "file_sha256": sha256_file(path),
        "parameters": sum(v.numel() for v in state.values()),
        "versions": versions(),
    }
    write_json(out / "card.json", card)
    write_json(out / "losses.json", [round(x, 5) for x in losses])
    print(f"{path}: final loss {card['final_loss']:.4f} after {card['frames_seen']} frames seen")
