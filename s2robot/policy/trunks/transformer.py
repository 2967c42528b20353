"""To steps of visual tokens, state and actions through a transformer, causal over steps.

S² paper, section on robotic manipulation; one token a modality and step as in RPT (Radosavovic et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2robot.config.options import Count, Few, Share
from s2robot.core.errors import UserError
from s2robot.policy.model import PolicyModel


@dataclass(frozen=True)
class TransformerOptions:
    """Attributes:
    depth: blocks. heads: of the attention. dropout: in the blocks.
    """

    depth: Few = 4
    heads: Count = 4
    dropout: Share = 0.0


class Block(nn.TransformerEncoderLayer):
    """Torch's layer, norms first, for some of the tokens alone where others are not needed."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, tokens: Tensor, mask: Tensor, needed: slice = slice(None)
    ) -> Tensor:
        """tokens (B, L, width), additive mask (B, 1, L, L) -> (B, needed of L, width)."""
        attended = self._attend(self.norm1(tokens), mask[:, :, needed], needed)
        hidden = tokens[:, needed] + self.dropout1(attended)
        inner = self.dropout(F.gelu(self.linear1(self.norm2(hidden))))
        return hidden + self.dropout2(self.linear2(inner))

    def _attend(self, tokens: Tensor, mask: Tensor, needed: slice) -> Tensor:
        attention, width = self.self_attn, tokens.shape[-1]
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        query = F.linear(tokens[:, needed], weight[:width], bias[:width])
        key, value = F.linear(tokens, weight[width:], bias[width:]).chunk(2, -1)
        # On a processor in float32: in bf16 torch's kernel takes three times as long for so few tokens.
        kind = tokens.device.type
        compute = torch.float32 if kind == "cpu" else query.dtype
        q, k, v = (
            x.to(compute).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
            for x in (query, key, value)
        )
        dropout = attention.dropout if self.training else 0.0
        with torch.autocast(kind, enabled=False):
            attended = F.scaled_dot_product_attention(q, k, v, mask.to(compute), dropout)
        return attention.out_proj(attended.transpose(1, 2).flatten(2))


class Transformer(PolicyModel):
    """The default trunk."""

    Options = TransformerOptions
    options: TransformerOptions

    @classmethod
    def check(cls, width: int, options: TransformerOptions) -> None:
        """Raises UserError where the heads do not divide the width."""
        if width % options.heads:
            raise UserError(f"width={width}: expected a multiple of heads={options.heads}")

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
        options = self.options
        layer = Block(c.width, options.heads, 4 * c.width, options.dropout, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, options.depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(c.width)

    def steps(
        self,
        visual: Tensor,
        state: Tensor,
        previous_action: Tensor,
        prev_action_mask: Tensor,
        timestep_pad_mask: Tensor,
    ) -> Tensor:
        """The last token of each step, which attends to all of its step; of the last block nothing else."""
        action = torch.where(prev_action_mask[..., None], self.action_embed(previous_action), self.no_action)
        tokens = torch.cat([action[:, :, None], visual, self.proprio_embed(state)[:, :, None]], dim=2)
        tokens = tokens + self.step_position + self.modality
        per_step, hidden = tokens.shape[2], tokens.flatten(1, 2)
        mask = self._attention_mask(timestep_pad_mask, per_step)
        *others, last = self.blocks.layers
        for block in others:
            hidden = block(hidden, mask)
        return self.norm(last(hidden, mask, slice(per_step - 1, None, per_step)))

    def _attention_mask(self, timestep_pad_mask: Tensor, per_step: int) -> Tensor:
        """Additive (B, 1, L, L): a token attends to its own step and those before it, no padding."""
        steps, device = timestep_pad_mask.shape[1], timestep_pad_mask.device
        causal = torch.ones(steps, steps, dtype=torch.bool, device=device).tril()
        same = torch.eye(steps, dtype=torch.bool, device=device)
        allowed = (causal & timestep_pad_mask[:, None, :]) | same  # an empty row would be NaN
        allowed = allowed.repeat_interleave(per_step, 1).repeat_interleave(per_step, 2)
        mask = torch.zeros(allowed.shape, device=device).masked_fill(~allowed, float("-inf"))
        return mask[:, None]
