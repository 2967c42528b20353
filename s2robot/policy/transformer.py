"""16 steps of visual features, proprioception and actions -> the next 16 actions.

S² paper, section on robotic manipulation; one token a modality and step as in RPT (Radosavovic et al. 2023),
causal over steps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2robot.policy.config import PolicyConfig
from s2robot.policy.model import PolicyModel

__all__ = ["PolicyConfig", "PolicyTransformer"]


class PolicyTransformer(PolicyModel):
    """The default policy."""

    def build(self) -> None:
        """Embeddings, positions, and the blocks."""
        c, kinds = self.config, len(self.config.active_cameras) + 2
        self.proprio_embed = nn.Sequential(
            nn.Linear(c.state_dim, c.width), nn.GELU(), nn.Linear(c.width, c.width)
        )
        self.action_embed = nn.Linear(c.action_dim, c.width)
        self.no_action = nn.Parameter(torch.randn(c.width) * 0.02)
        self.step_position = nn.Parameter(torch.randn(c.n_obs_steps, 1, c.width) * 0.02)
        self.modality = nn.Parameter(torch.randn(kinds, c.width) * 0.02)
        if c.layout == "step":
            self.join = nn.Linear(kinds * c.width, c.width)
        layer = nn.TransformerEncoderLayer(
            c.width, c.heads, 4 * c.width, c.dropout, F.gelu, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, c.depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(c.width)

    def steps(
        self,
        visual: Tensor,
        state: Tensor,
        previous_action: Tensor,
        prev_action_mask: Tensor,
        timestep_pad_mask: Tensor,
    ) -> Tensor:
        """The last token of each step: it has seen all of its step."""
        action = torch.where(prev_action_mask[..., None], self.action_embed(previous_action), self.no_action)
        tokens = torch.cat([action[:, :, None], visual, self.proprio_embed(state)[:, :, None]], dim=2)
        tokens = tokens + self.step_position + self.modality
        if self.config.layout == "step":
            tokens = self.join(tokens.flatten(2))[:, :, None]
        _, steps, per_step, _ = tokens.shape
        mask = self._attention_mask(timestep_pad_mask, per_step)
        hidden = self.blocks(tokens.flatten(1, 2), mask=mask)
        return self.norm(hidden.unflatten(1, (steps, per_step))[:, :, -1])

    def _attention_mask(self, timestep_pad_mask: Tensor, per_step: int) -> Tensor:
        """Additive (B · heads, L, L): a token sees its own step and the steps before it, or all."""
        steps = timestep_pad_mask.shape[1]
        reach = torch.ones(steps, steps, dtype=torch.bool, device=timestep_pad_mask.device)
        if self.config.attention == "causal":
            reach = reach.tril()
        same = torch.eye(steps, dtype=torch.bool, device=timestep_pad_mask.device)
        allowed = (
            reach & timestep_pad_mask[:, None, :]
        ) | same  # padding sees itself: an empty row would be NaN
        allowed = allowed.repeat_interleave(per_step, 1).repeat_interleave(per_step, 2)
        mask = torch.zeros(allowed.shape, device=timestep_pad_mask.device).masked_fill(
            ~allowed, float("-inf")
        )
        return mask.repeat_interleave(self.config.heads, 0)
