"""16 steps of visual features, proprioception and actions -> the next 16 actions.

S² paper, section on robotic manipulation; one token a modality and step as in RPT (Radosavovic et al. 2023),
causal over steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2robot.errors import UserError, unknown
from s2robot.policy.normalize import Normalizer, Statistics
from s2robot.policy.pooling import make_pooling


@dataclass(frozen=True)
class PolicyConfig:
    """The size of everything, as a checkpoint stores it.

    Attributes:
        cameras: K of them, each one token a step.
        tokens, channels: (1 + N, C) of one frame's features.
        proprio_dim, action_dim: Dp, Da.
        observed, predicted: To, Ta.
        pooling: a name of `POOLINGS`.
        width, depth, heads: of the transformer.
        pooling_dropout: share of what a pooling read from the tokens that is hidden in training.
        dropout: inside the transformer.
        action_dropout: share of the windows whose past actions are hidden in training, since a policy that
            sees them may copy them.
        proprio_noise: standard deviation added in training, in normalised units.
        grasp_weight: of an auxiliary loss by which the visual tokens alone tell where the gripper will be
            at the grasp to come; taken from the demo in hindsight, so it needs no privileged label.
        grasp_entries: of the proprioception, those that say where; empty: all of it. Joint angles and the
            gripper's turn, which an image hardly tells, keep a small head from learning the place.
    """

    cameras: tuple[str, ...]
    tokens: int
    channels: int
    proprio_dim: int
    action_dim: int
    observed: int = 16
    predicted: int = 16
    pooling: str = "spatial_projection"
    width: int = 192
    depth: int = 4
    heads: int = 4
    pooling_dropout: float = 0.3
    dropout: float = 0.0
    action_dropout: float = 0.5
    proprio_noise: float = 0.02
    grasp_weight: float = 3.0
    grasp_entries: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"cameras": list(self.cameras), "grasp_entries": list(self.grasp_entries)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> PolicyConfig:
        """The inverse of `to_dict`. Raises UserError for an unknown or missing option."""
        names = [f.name for f in fields(cls)]
        for name in plain:
            if name not in names:
                raise unknown("policy option", name, names)
        missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in plain]
        if missing:
            raise UserError(f"policy lacks {', '.join(missing)}; it has {', '.join(plain) or 'nothing'}")
        tuples = {name: tuple(plain[name]) for name in ("cameras", "grasp_entries") if name in plain}
        return cls(**{**plain, **tuples})


class PolicyTransformer(nn.Module):
    """Predicts, at each observed step, the Ta actions from that step on."""

    def __init__(
        self, config: PolicyConfig, proprio: Statistics | None = None, action: Statistics | None = None
    ) -> None:
        super().__init__()
        c = self.config = config
        self.proprio_normalizer = Normalizer(c.proprio_dim, proprio)
        self.action_normalizer = Normalizer(c.action_dim, action)
        self.pooling = nn.ModuleDict(
            {
                name: make_pooling(c.pooling, c.tokens, c.channels, c.width, c.pooling_dropout)
                for name in c.cameras
            }
        )
        self.proprio_embed = nn.Sequential(
            nn.Linear(c.proprio_dim, c.width), nn.GELU(), nn.Linear(c.width, c.width)
        )
        self.action_embed = nn.Linear(c.action_dim, c.width)
        self.no_action = nn.Parameter(torch.randn(c.width) * 0.02)
        self.step_position = nn.Parameter(torch.randn(c.observed, 1, c.width) * 0.02)
        self.modality = nn.Parameter(torch.randn(len(c.cameras) + 2, c.width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            c.width, c.heads, 4 * c.width, c.dropout, F.gelu, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, c.depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(c.width)
        self.head = nn.Linear(c.width, c.predicted * c.action_dim)
        self._grasp_entries = list(c.grasp_entries or range(c.proprio_dim))
        self.grasp_head = nn.Linear(len(c.cameras) * c.width, len(self._grasp_entries))

    def pool(self, camera: str, features: Tensor) -> Tensor:
        """features (..., 1 + N, C) of one camera -> visual tokens (..., width)."""
        flat = features.flatten(0, -3)
        return self.pooling[camera](flat).unflatten(0, features.shape[:-2])

    def forward(
        self, visual: Tensor, proprio: Tensor, previous_action: Tensor, known: Tensor, valid: Tensor
    ) -> Tensor:
        """Normalised actions (B, To, Ta, Da).

        Args:
            visual: (B, To, K, width), pooled.
            proprio: (B, To, Dp), normalised. previous_action: (B, To, Da), normalised.
            known: bool (B, To): False where there is no previous action, or it is hidden.
            valid: bool (B, To): False for padding before the episode's start.
        """
        action = torch.where(known[..., None], self.action_embed(previous_action), self.no_action)
        tokens = torch.cat([action[:, :, None], visual, self.proprio_embed(proprio)[:, :, None]], dim=2)
        tokens = tokens + self.step_position + self.modality
        batch, steps, per_step, _ = tokens.shape
        mask = self._attention_mask(valid, per_step)
        hidden = self.blocks(tokens.flatten(1, 2), mask=mask)
        last = self.norm(hidden.unflatten(1, (steps, per_step))[:, :, -1])  # has seen all of its step
        return self.head(last).view(batch, steps, self.config.predicted, self.config.action_dim)

    def _attention_mask(self, valid: Tensor, per_step: int) -> Tensor:
        """Additive (B · heads, L, L): a token sees its own step and the valid steps before it."""
        steps = valid.shape[1]
        earlier = torch.ones(steps, steps, dtype=torch.bool, device=valid.device).tril()
        same = torch.eye(steps, dtype=torch.bool, device=valid.device)
        allowed = (earlier & valid[:, None, :]) | same  # padding sees itself: an empty row would be NaN
        allowed = allowed.repeat_interleave(per_step, 1).repeat_interleave(per_step, 2)
        mask = torch.zeros(allowed.shape, device=valid.device).masked_fill(~allowed, float("-inf"))
        return mask.repeat_interleave(self.config.heads, 0)

    # ------------------------------------------------------------------ training

    def loss(
        self, window: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Losses of a batch of `WindowDataset` windows: `total`, `action`, `grasp`; L1, in normalised units.

        With a generator, as in training: past actions of some windows hidden, noise on proprioception.
        """
        c = self.config
        dtype = self.head.weight.dtype
        pooled = [self.pool(name, window[f"features/{name}"].to(dtype)) for name in c.cameras]
        visual = torch.stack(pooled, dim=2)
        proprio = self.proprio_normalizer(window["proprio"])
        known = window["known"]
        if generator is not None:
            noise = torch.randn(proprio.shape, generator=generator).to(proprio.device)
            proprio = proprio + c.proprio_noise * noise
            shown = torch.rand(len(known), 1, generator=generator).to(known.device) >= c.action_dropout
            known = known & shown
        previous = self.action_normalizer(window["previous_action"])
        prediction = self(visual, proprio, previous, known, window["valid"])
        target = self.action_normalizer(window["chunk"])
        action = _masked_mean(F.l1_loss(prediction, target, reduction="none"), window["imitate"])
        grasp = self._grasp_loss(visual, window)
        return {"total": action + c.grasp_weight * grasp, "action": action, "grasp": grasp}

    def _grasp_loss(self, visual: Tensor, window: Mapping[str, Tensor]) -> Tensor:
        guess = self.grasp_head(visual.flatten(2))
        target = self.proprio_normalizer(window["grasp"])[:, None, self._grasp_entries].expand_as(guess)
        return _masked_mean(F.l1_loss(guess, target, reduction="none"), window["before_grasp"])


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the last axis and where the mask (without that axis) holds."""
    return (values.mean(-1) * mask).sum() / mask.sum().clamp_min(1)
