"""A training as it stands, and its step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.dataset import EpisodeFeatures, WindowDataset
from s2robot.policy.model import MASKS, PolicyModel
from s2robot.train.batches import Window
from s2robot.train.model import initial
from s2robot.train.options import TrainOptions
from s2robot.utils.distributed import World
from s2robot.utils.randomness import WHOLE_BATCH, Microbatch
from s2robot.utils.schedule import cosine, parameter_groups
from s2robot.vision.features import computes_in_bf16

Curves = dict[str, list[tuple[int, float]]]

_VALIDATION_WINDOWS = 128


class _Loss(nn.Module):
    """The loss as the forward pass of a module, as DistributedDataParallel wants it."""

    def __init__(self, model: PolicyModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, window: Window, generator: torch.Generator, part: Microbatch) -> dict[str, Tensor]:
        return self.model.loss(window, generator, part)


@dataclass
class Run:
    """What a checkpoint for resuming holds.

    Attributes:
        averaged: the mean of the weights over the last steps, where `ema_decay` asks for it.
    """

    model: PolicyModel
    optimiser: torch.optim.Optimizer
    recipe: str
    averaged: AveragedModel | None = None
    step: int = 0
    curves: Curves = field(default_factory=dict)

    @property
    def kept(self) -> PolicyModel:
        """The policy that is scored and saved."""
        if self.averaged is None:
            return self.model
        assert isinstance(self.averaged.module, PolicyModel)
        return self.averaged.module

    def log(self, name: str, value: float) -> None:
        """Notes a value of this step."""
        self.curves.setdefault(name, []).append((self.step, value))


def start(
    options: TrainOptions,
    spec: RobotSpec,
    episodes: Sequence[EpisodeFeatures],
    recipe: str,
    device: torch.device,
) -> Run:
    """Before its first step, with its optimiser. Raises UserError for options that no policy has."""
    model = initial(options, spec, episodes).to(device)
    groups = parameter_groups(model, options.weight_decay)
    optimiser = torch.optim.AdamW(groups, lr=options.lr, fused=True)
    decay = options.ema_decay
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
    return Run(model, optimiser, recipe, averaged)


class Trainer:
    """Takes steps. Every process of a world takes the same ones, each on its parts of the batches."""

    def __init__(self, options: TrainOptions, run: Run, world: World) -> None:
        self.run, self._options, self._world = run, options, world
        self._device = next(run.model.parameters()).device
        precision = options.precision
        self._bf16 = computes_in_bf16(self._device.type) if precision is None else precision == "bf16"
        self._gradient_norm = torch.zeros(())
        loss = _Loss(run.model)
        self._loss = loss if world.size == 1 else DistributedDataParallel(loss)

    def step(self, windows: Sequence[Window]) -> dict[str, float]:
        """One step on this process's parts of a batch; the losses of the whole batch.

        Raises UserError where they are not finite.
        """
        run, options = self.run, self._options
        for group in run.optimiser.param_groups:
            group["lr"] = options.lr * cosine(run.step, options.steps, options.warmup)
        run.model.train()
        run.optimiser.zero_grad()
        losses = self._backward([self._here(window) for window in windows])
        if not np.isfinite(losses["total"]):
            raise UserError(
                f"the loss is {losses['total']} at step {run.step}: try a smaller lr than {options.lr}"
            )
        parameters = run.model.parameters()
        self._gradient_norm = torch.nn.utils.clip_grad_norm_(parameters, options.grad_clip_norm)
        run.optimiser.step()
        if run.averaged is not None:
            run.averaged.update_parameters(run.model)
        run.step += 1
        return losses

    def optimisation(self) -> dict[str, float]:
        """The learning rate of the last step and the norm of its gradient before it was clipped."""
        rate = self.run.optimiser.param_groups[0]["lr"]
        return {"learning_rate": rate, "gradient_norm": float(self._gradient_norm)}

    def _backward(self, windows: Sequence[Window]) -> dict[str, float]:
        """Gradients of the mean loss over all parts of the batch, and that mean."""
        sums: dict[str, Tensor] = {}
        counts = self._counts(windows)
        for i, window in enumerate(windows):
            part = self._part(i, len(windows), counts)
            with self._exchange(i + 1 == len(windows)):
                with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
                    losses = self._loss(window, self._generator(part), part)
                (losses["total"] / len(windows)).backward()
            sums = {name: sums.get(name, 0) + value.detach() for name, value in losses.items()}
        mean = self._world.total(torch.stack(list(sums.values()))) / (len(windows) * self._world.size)
        return dict(zip(sums, mean.tolist(), strict=True))

    def _part(self, i: int, own: int, counts: dict[str, Tensor] | None) -> Microbatch:
        if counts is None:
            return WHOLE_BATCH
        return Microbatch(i * self._world.size + self._world.rank, own * self._world.size, counts)

    def _counts(self, windows: Sequence[Window]) -> dict[str, Tensor] | None:
        """Of how much each loss is the mean, over the whole batch; None where one part is all of it."""
        if len(windows) * self._world.size == 1:
            return None
        own = [torch.stack([self.run.model.mask(n, w).sum() for w in windows]).sum() for n in MASKS]
        total = self._world.total(torch.stack(own))
        return dict(zip(MASKS, total, strict=True))

    def _generator(self, part: Microbatch) -> torch.Generator:
        """Of what is drawn for this step, which all parts share; dropout is each part's own."""
        seeds = [self._options.seed, 5, self.run.step]
        dropout = seeds if part.index == 0 else [*seeds, part.index]
        torch.manual_seed(_seed(dropout))
        return torch.Generator().manual_seed(_seed(seeds))

    @contextmanager
    def _exchange(self, last: bool) -> Iterator[None]:
        """Gradients are exchanged with the last part alone."""
        model = self._loss
        apart: AbstractContextManager[Any] = nullcontext()
        if isinstance(model, DistributedDataParallel) and not last:
            apart = model.no_sync()
        with apart:
            yield

    def _here(self, window: Window) -> Window:
        return {name: value.to(self._device, non_blocking=True) for name, value in window.items()}


@torch.inference_mode()
def validate(model: PolicyModel, windows: WindowDataset, batch_size: int) -> dict[str, float]:
    """Mean losses over windows spread evenly over the held-out episodes."""
    model.eval()
    device = next(model.parameters()).device
    count = len(windows)
    chosen = np.linspace(0, count - 1, min(count, _VALIDATION_WINDOWS)).astype(int).tolist()
    batches = [chosen[i : i + batch_size] for i in range(0, len(chosen), batch_size)]
    losses = []
    for batch in batches:
        window = windows.batch(batch)
        losses.append(model.loss({name: value.to(device) for name, value in window.items()}))
    weights = np.array([len(batch) for batch in batches])
    return {name: float(np.average([x[name].item() for x in losses], weights=weights)) for name in losses[0]}


def _seed(numbers: Sequence[int]) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
