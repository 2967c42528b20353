"""Flow matching, for demos that do one thing in several ways."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2robot.config.options import Few
from s2robot.policy.config import PolicyConfig
from s2robot.utils.randomness import BatchRandom

_TIMES = 8  # sines and as many cosines by which the flow's network knows its time


@dataclass(frozen=True)
class FlowOptions:
    """Attributes:
    steps: of the integration from noise to actions.
    """

    steps: Few = 10


class FlowHead(nn.Module):
    """Flow matching: a velocity field that carries noise to chunks of actions along straight lines.

    Lipman et al. 2023; for actions Black et al. 2024 (π0). The field is a small network beside the trunk, as
    the diffusion heads of Octo (2024) and MAR (Li et al. 2024): the trunk runs once a prediction, whatever
    the number of steps. It predicts where the line ends, not the velocity there: the end is a chunk, which a
    small network learns as it learns regression, and the noise need not pass through it (Li and He 2025).
    """

    Options = FlowOptions

    def __init__(self, config: PolicyConfig, options: FlowOptions) -> None:
        super().__init__()
        self._chunk, self._steps = (config.chunk_size, config.action_dim), options.steps
        size, width = config.chunk_size * config.action_dim, 2 * config.width
        self.end = nn.Sequential(
            nn.Linear(size + config.width + 2 * _TIMES, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, size),
        )
        self.frequencies = nn.Buffer(math.pi * 2.0 ** (torch.arange(_TIMES) / 2), persistent=False)

    def forward(self, hidden: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """hidden (..., width) -> normalised actions (..., Ta, Da), by Euler steps from noise drawn here."""
        size = self._chunk[0] * self._chunk[1]
        noise = torch.randn((*hidden.shape[:-1], size), generator=generator or _fixed())
        chunk = noise.to(hidden)
        for step in range(self._steps):
            time = hidden.new_full((*hidden.shape[:-1], 1), step / self._steps)
            velocity = (self._end(chunk, hidden, time) - chunk) / (1 - time)
            chunk = chunk + velocity / self._steps
        return chunk.unflatten(-1, self._chunk)

    def errors(self, hidden: Tensor, target: Tensor, random: BatchRandom | None) -> Tensor:
        """Squared, of the end predicted at a random time between noise and target (..., Ta, Da)."""
        random = random or BatchRandom(_fixed())
        goal = target.flatten(-2)
        noise = random.normal(goal.shape).to(goal)
        time = random.uniform((*goal.shape[:-1], 1)).to(goal)
        end = self._end((1 - time) * noise + time * goal, hidden, time)
        return F.mse_loss(end, goal, reduction="none").unflatten(-1, self._chunk)

    def _end(self, chunk: Tensor, hidden: Tensor, time: Tensor) -> Tensor:
        angles = time * self.frequencies
        return self.end(torch.cat([chunk, hidden, angles.sin(), angles.cos()], dim=-1))


def _fixed() -> torch.Generator:
    """For a held-out loss: the same noise every time."""
    return torch.Generator().manual_seed(0)
