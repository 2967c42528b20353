"""The policies by the name of their trunk, and two baselines that know no history."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2robot.policy.config import PolicyConfig
from s2robot.policy.model import PolicyModel
from s2robot.policy.normalize import Statistics
from s2robot.policy.transformer import PolicyTransformer


class PolicyMlp(PolicyModel):
    """An MLP of the current step, as MVP's own behaviour cloning (Radosavovic et al. 2022)."""

    def build(self) -> None:
        """Three layers, `width` wide."""
        c = self.config
        size = len(c.active_cameras) * c.width + c.state_dim + c.action_dim
        layers = [nn.Linear(size, c.width), nn.GELU(), nn.Linear(c.width, c.width), nn.GELU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(c.width, c.width), nn.LayerNorm(c.width))

    def steps(
        self,
        visual: Tensor,
        state: Tensor,
        previous_action: Tensor,
        prev_action_mask: Tensor,
        timestep_pad_mask: Tensor,
    ) -> Tensor:
        """Of each step by itself."""
        return self.mlp(_side_by_side(visual, state, previous_action, prev_action_mask))


class PolicyLinear(PolicyModel):
    """A linear map of the current step; with `pooling=linear` linear in the features too."""

    def build(self) -> None:
        """One layer; the head is the second."""
        c = self.config
        self.map = nn.Linear(len(c.active_cameras) * c.width + c.state_dim + c.action_dim, c.width)

    def steps(
        self,
        visual: Tensor,
        state: Tensor,
        previous_action: Tensor,
        prev_action_mask: Tensor,
        timestep_pad_mask: Tensor,
    ) -> Tensor:
        """Of each step by itself."""
        return self.map(_side_by_side(visual, state, previous_action, prev_action_mask))


TRUNKS: dict[str, type[PolicyModel]] = {
    "transformer": PolicyTransformer,
    "mlp": PolicyMlp,
    "linear": PolicyLinear,
}


def make_model(
    config: PolicyConfig, proprio: Statistics | None = None, action: Statistics | None = None
) -> PolicyModel:
    """The untrained policy that the config names."""
    return TRUNKS[config.trunk](config, proprio, action)


def _side_by_side(visual: Tensor, state: Tensor, previous_action: Tensor, prev_action_mask: Tensor) -> Tensor:
    """(B, To, K · width + Ds + Da); an action that is not prev_action_mask is the mean one, 0."""
    return torch.cat([visual.flatten(2), state, previous_action * prev_action_mask[..., None]], dim=-1)
