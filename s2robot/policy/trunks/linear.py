"""A linear map of the current step: a baseline."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from s2robot.policy.model import PolicyModel, step_vector


@dataclass(frozen=True)
class LinearOptions:
    """It has none beside the policy's `width`."""


class Linear(PolicyModel):
    """With `pooling=linear` linear in the features too."""

    Options = LinearOptions

    def build(self) -> None:
        """One layer; the head is the second."""
        self.map = nn.Linear(self.config.step_dim, self.config.width)

    def steps(
        self,
        visual: Tensor,
        state: Tensor,
        previous_action: Tensor,
        prev_action_mask: Tensor,
        timestep_pad_mask: Tensor,
    ) -> Tensor:
        """Of each step by itself."""
        return self.map(step_vector(visual, state, previous_action, prev_action_mask))
