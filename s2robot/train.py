"""`s2robot train`: a policy from a demo store, by behaviour cloning on cached features."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from s2robot.data.dataset import Track, WindowDataset
from s2robot.data.durable import disk_errors
from s2robot.data.store import DemoStore
from s2robot.errors import UserError
from s2robot.policy.checkpoint import save_checkpoint
from s2robot.policy.normalize import FLOOR, Statistics
from s2robot.policy.pooling import Pooling
from s2robot.policy.transformer import PolicyConfig, PolicyTransformer
from s2robot.provenance import git_state, machine, sha256_json, versions, write_atomic, write_json
from s2robot.schedule import cosine, parameter_groups
from s2robot.spec import RobotSpec
from s2robot.vision.cache import encode_store, make_extractor

Window = dict[str, Tensor]
Curves = dict[str, list[tuple[int, float]]]

_STATE = "training_state.pt"
_VALIDATION_WINDOWS = 128
_FIT_FRAMES = 512  # over all episodes: enough for each token's mean and each channel's deviation


@dataclass
class Run:
    """A training as it stands: what a checkpoint for resuming holds."""

    model: PolicyTransformer
    optimiser: torch.optim.Optimizer
    recipe: str
    step: int = 0
    curves: Curves = field(default_factory=dict)

    def log(self, writer: SummaryWriter, name: str, value: float) -> None:
        self.curves.setdefault(name, []).append((self.step, value))
        writer.add_scalar(name, value, self.step)


def main(cfg: DictConfig) -> None:
    """Trains `steps` steps, or goes on to them, and leaves the policy's checkpoint in `out`."""
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    torch.set_num_threads(cfg.threads or os.cpu_count() or 1)
    store = DemoStore.open(cfg.demos)
    spec = store.spec.select_cameras(plain["cameras"])
    tracks = load_tracks(store, spec, plain)
    training, validation = split_episodes(tracks, cfg.validation, cfg.seed)
    run = _start(plain, spec, training, sha256_json([_recipe(plain), store.digest()]))
    settings = _settings(plain, store)
    out = Path(cfg.out)
    _resume(run, out)
    sizes = (cfg.policy.observed, cfg.policy.predicted)
    windows = WindowDataset(training, *sizes), WindowDataset(validation, *sizes)
    _fit(cfg, run, *windows, out, spec, settings)
    summary = ", ".join(f"{name} {values[-1][1]:.4f}" for name, values in run.curves.items())
    print(f"{out}: {run.step} steps on {len(training)} demos; {summary}")


# ---------------------------------------------------------------------- data


def load_tracks(store: DemoStore, spec: RobotSpec, plain: dict[str, Any]) -> list[Track]:
    """Every episode with its features, computed first where they are missing.

    Raises UserError for an empty store, and for an episode that holds values that are not finite.
    """
    ids = store.ids()
    if not ids:
        raise UserError(f"{store} holds no demos: `s2robot record` makes some")
    cameras = list(spec.cameras)
    options = {"bf16": plain["bf16"], "workers": plain["workers"]}
    cache = encode_store(str(store), plain["features"], plain["encoder"], cameras=cameras, **options)
    tracks = []
    for episode_id in ids:
        episode = store.episode(episode_id)
        action = episode.action
        imitate = np.array(episode.attributes.get("imitate", [True] * len(action)), bool)
        features = {name: cache.load(store, episode_id, name) for name in cameras}
        try:
            tracks.append(Track(features, episode.proprio, action, imitate))
        except UserError as error:
            raise UserError(f"episode {episode_id} of {store}: {error}") from error
    return tracks


def split_episodes(tracks: list[Track], share: float, seed: int) -> tuple[list[Track], list[Track]]:
    """Training and held-out episodes; whole episodes, since windows of one overlap."""
    if not 0 <= share < 1:
        raise UserError(f"validation={share}: expected a share from 0 to below 1")
    held_out = min(round(share * len(tracks)), len(tracks) - 1)
    order = np.random.default_rng([seed, 2]).permutation(len(tracks))
    return [tracks[i] for i in sorted(order[held_out:])], [tracks[i] for i in sorted(order[:held_out])]


class Batches:
    """Batch k as a pure function of (seed, k): windows reshuffled every epoch."""

    def __init__(self, windows: int, batch_size: int, seed: int, first: int, last: int) -> None:
        self._windows, self._size, self._seed = windows, batch_size, seed
        self._range = range(first, last)
        self._epoch, self._order = -1, np.empty(0, int)

    def __len__(self) -> int:
        return len(self._range)

    def __iter__(self) -> Iterator[list[int]]:
        for k in self._range:
            yield [self._window(i) for i in range(k * self._size, (k + 1) * self._size)]

    def _window(self, position: int) -> int:
        epoch, index = divmod(position, self._windows)
        if epoch != self._epoch:
            rng = np.random.default_rng([self._seed, 3, epoch])
            self._epoch, self._order = epoch, rng.permutation(self._windows)
        return int(self._order[index])


# ---------------------------------------------------------------------- the loop


def _start(plain: dict[str, Any], spec: RobotSpec, tracks: list[Track], recipe: str) -> Run:
    torch.manual_seed(plain["seed"])
    tokens, channels = next(iter(tracks[0].features.values())).shape[1:]
    config = PolicyConfig(
        cameras=tuple(spec.cameras),
        tokens=tokens,
        channels=channels,
        proprio_dim=spec.proprio_dim,
        action_dim=spec.action_dim,
        grasp_entries=spec.gripper_position,
        **plain["policy"],
    )
    model = PolicyTransformer(
        config,
        Statistics.of([t.proprio for t in tracks], FLOOR["proprio"]),
        Statistics.of([t.action for t in tracks], FLOOR["action"]),
    )
    rng = np.random.default_rng([plain["seed"], 4])
    each = _FIT_FRAMES // len(tracks) + 1
    for name, pooling in model.pooling.items():
        assert isinstance(pooling, Pooling)
        frames = [t.features[name][rng.integers(t.length)] for t in tracks for _ in range(each)]
        pooling.standardize.fit(torch.from_numpy(np.stack(frames)))
    groups = parameter_groups(model, plain["weight_decay"])
    return Run(model, torch.optim.AdamW(groups, lr=plain["lr"]), recipe)


def _fit(
    cfg: DictConfig,
    run: Run,
    training: WindowDataset,
    validation: WindowDataset,
    out: Path,
    spec: RobotSpec,
    settings: dict[str, Any],
) -> None:
    if run.step >= cfg.steps:
        return
    batches = Batches(len(training), cfg.batch_size, cfg.seed, run.step, cfg.steps)
    loader = DataLoader(training, batch_sampler=batches)
    progress = tqdm(loader, desc="train", unit="step", initial=run.step, total=cfg.steps)
    with SummaryWriter(str(out / "log"), purge_step=run.step) as writer:
        for window in progress:
            losses = _step(cfg, run, window)
            run.step += 1
            if run.step % cfg.log_every == 0:
                for name, value in losses.items():
                    run.log(writer, f"{name}/train", value)
                progress.set_postfix(loss=f"{losses['total']:.4f}")
            if run.step % cfg.checkpoint_every == 0 or run.step == cfg.steps:
                if len(validation):
                    for name, value in validate(run.model, validation, cfg.batch_size).items():
                        run.log(writer, f"{name}/validation", value)
                _save(run, out, spec, settings)


def _step(cfg: DictConfig, run: Run, window: Window) -> dict[str, float]:
    for group in run.optimiser.param_groups:
        group["lr"] = cfg.lr * cosine(run.step, cfg.steps, cfg.warmup)
    seed = int(np.random.SeedSequence([cfg.seed, 5, run.step]).generate_state(1)[0])
    torch.manual_seed(seed)  # of dropout
    run.model.train()
    losses = run.model.loss(window, torch.Generator().manual_seed(seed))
    if not torch.isfinite(losses["total"]):
        loss = losses["total"].item()
        raise UserError(f"the loss is {loss} at step {run.step}: try a smaller lr than {cfg.lr}")
    run.optimiser.zero_grad()
    losses["total"].backward()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), cfg.clip)
    run.optimiser.step()
    return {name: value.item() for name, value in losses.items()}


@torch.inference_mode()
def validate(model: PolicyTransformer, windows: WindowDataset, batch_size: int) -> dict[str, float]:
    """Mean losses over windows spread evenly over the held-out episodes."""
    model.eval()
    count = len(windows)
    chosen = np.linspace(0, count - 1, min(count, _VALIDATION_WINDOWS)).astype(int)
    batches = [chosen[i : i + batch_size] for i in range(0, len(chosen), batch_size)]
    losses = [model.loss(default_collate([windows[int(i)] for i in batch])) for batch in batches]
    weights = np.array([len(batch) for batch in batches])
    return {name: float(np.average([x[name].item() for x in losses], weights=weights)) for name in losses[0]}


# ---------------------------------------------------------------------- what is kept


def _recipe(plain: dict[str, Any]) -> dict[str, Any]:
    """The options that decide the weights."""
    kept = ("cameras", "encoder", "policy", "steps", "batch_size", "lr", "warmup", "weight_decay", "clip")
    return {key: plain[key] for key in (*kept, "validation", "seed", "bf16")}


def _settings(plain: dict[str, Any], store: DemoStore) -> dict[str, Any]:
    extractor = make_extractor(plain["encoder"], plain["bf16"])
    return {
        "encoder": plain["encoder"],
        "encoder_identity": extractor.identity,
        "bf16": extractor.bf16,
        "env": store.attributes.get("record", {}).get("env"),
        "training": _recipe(plain) | {"demos": str(store), "episodes": len(store)},
        "demos_sha256": store.digest(),
        "versions": versions(),
        "git": git_state(),
        "machine": machine(),
    }


def _save(run: Run, out: Path, spec: RobotSpec, settings: dict[str, Any]) -> None:
    with disk_errors(f"save {out}"):
        save_checkpoint(out, run.model, spec, settings)
        write_json(out / "curves.json", run.curves)
        state = {
            "recipe": run.recipe,
            "step": run.step,
            "model": run.model.state_dict(),
            "optimiser": run.optimiser.state_dict(),
            "curves": run.curves,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomic(out / _STATE, buffer.getvalue())


def _resume(run: Run, out: Path) -> None:
    path = out / _STATE
    if not path.is_file():
        if (out / "model.safetensors").exists():
            raise UserError(f"{out} holds a checkpoint without {_STATE} to resume from: give another out=")
        return
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # runs no code of the file's
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} is damaged: delete {out} and train again, or give another out=") from error
    if state["recipe"] != run.recipe:
        what = "was trained with other options or other demos"
        raise UserError(f"{out} {what}: give the same ones, or another out=")
    run.model.load_state_dict(state["model"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.step, run.curves = state["step"], state["curves"]
