"""An MLP of the current step: a baseline without history."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from s2robot.policy.model import PolicyModel, step_vector


@dataclass(frozen=True)
class MlpOptions:
    """It has none beside the policy's `width`."""


class Mlp(PolicyModel):
    """Of the current step, as MVP's own behaviour cloning (Radosavovic et al. 2022)."""

    Options = MlpOptions

    def build(self) -> None:
        """Three layers, `width` wide."""
        c = self.config
        layers = [nn.Linear(c.step_dim, c.width), nn.GELU(), nn.Linear(c.width, c.width), nn.GELU()]
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
        return self.mlp(step_vector(visual, state, previous_action, prev_action_mask))
