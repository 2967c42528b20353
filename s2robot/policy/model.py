"""What all policies have in common: what goes in, what is predicted, and how wrong it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2robot.policy.config import PolicyConfig
from s2robot.policy.heads import make_head
from s2robot.policy.normalize import Normalizer, Statistics
from s2robot.policy.pooling import Pooling, make_pooling
from s2robot.utils.randomness import WHOLE_BATCH, BatchRandom, Microbatch

MASKS = {"action": "action_loss_mask", "grasp": "before_grasp"}
"""Loss -> the entry of a window that says where it counts."""


@dataclass
class _Inputs:
    """Of `PolicyModel.steps`, as training shows them: with noise, and parts of them hidden."""

    visual: Tensor
    state: Tensor
    previous_action: Tensor
    prev_action_mask: Tensor
    timestep_pad_mask: Tensor


class PolicyModel(nn.Module):
    """Predicts, at each observed step, the Ta actions from that step on.

    A trunk is a subclass: `build` makes its parts, `steps` turns what was observed into one vector a step.
    """

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
                for name in c.active_cameras
            }
        )
        self.build()
        self.head = make_head(c)
        self._grasp_indices = list(c.grasp_indices)
        if c.active_cameras:
            self.grasp_head = nn.Linear(len(c.active_cameras) * c.width, len(self._grasp_indices))

    def build(self) -> None:
        """Makes the parts of the trunk."""
        raise TypeError(f"{type(self).__name__} is no trunk")

    def steps(
        self,
        visual: Tensor,
        state: Tensor,
        previous_action: Tensor,
        prev_action_mask: Tensor,
        timestep_pad_mask: Tensor,
    ) -> Tensor:
        """What is prev_action_mask at each step (B, To, width).

        state: (B, To, Ds), the proprioception and, where the config says so, the way left to the grasp; the
        other arguments as for `forward`.
        """
        raise TypeError(f"{type(self).__name__} is no trunk")

    def pool(self, camera: str, features: Tensor) -> Tensor:
        """features (..., 1 + N, C) of one camera -> visual tokens (..., width)."""
        flat = features.flatten(0, -3)
        return self.pooling[camera](flat).unflatten(0, features.shape[:-2])

    def grasp_offset(self, visual: Tensor, proprio: Tensor) -> Tensor:
        """From where the gripper is to where vision says the grasp will be (B, To, G), normalised.

        Arguments as for `forward`; G are the config's `grasp_indices`.
        """
        return self.grasp_head(visual.flatten(2)) - proprio[..., self._grasp_indices]

    def forward(
        self,
        visual: Tensor,
        proprio: Tensor,
        previous_action: Tensor,
        prev_action_mask: Tensor,
        timestep_pad_mask: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Normalised actions (B, To, Ta, Da).

        Args:
            visual: (B, To, K, width), pooled.
            proprio: (B, To, Dp), normalised. previous_action: (B, To, Da), normalised.
            prev_action_mask: bool (B, To): False where there is no previous action, or it is hidden.
            timestep_pad_mask: bool (B, To): False for padding before the episode's start.
            generator: of the noise that a flow starts from.
        """
        state = self._state(visual, proprio)
        return self.head(
            self.steps(visual, state, previous_action, prev_action_mask, timestep_pad_mask), generator
        )

    # ------------------------------------------------------------------ training

    def loss(
        self,
        window: Mapping[str, Tensor],
        generator: torch.Generator | None = None,
        part: Microbatch = WHOLE_BATCH,
    ) -> dict[str, Tensor]:
        """Losses of a batch of `WindowDataset` windows: `total`, `action`, `grasp`; in normalised units.

        With a generator, as in training: past actions of some windows hidden, noise on proprioception, and
        whatever else the config asks for. Of a part of a batch: what it adds to the mean over all parts.
        """
        random = None if generator is None else BatchRandom(generator, part)
        inputs = self._inputs(window, random)
        visual = inputs.visual
        if random is not None and self.config.has_grasp_conditioning and self.config.visual_dropout:
            shown = _keep_mask(len(visual), self.config.visual_dropout, random).to(visual.device)
            inputs = replace(inputs, visual=visual * shown[..., None, None])
        hidden = self.steps(*vars(inputs).values())
        target = self.action_normalizer(window["chunk"])
        errors = self.head.errors(hidden, target, random)
        action = _masked_mean(errors, self.mask("action", window), part, "action")
        grasp = self._grasp_loss(visual, window, part)
        return {"total": action + self.config.grasp_weight * grasp, "action": action, "grasp": grasp}

    def mask(self, name: str, window: Mapping[str, Tensor]) -> Tensor:
        """Where a loss counts, bool."""
        mask = window[MASKS[name]]
        if name == "action" and self.config.attention == "bidirectional":
            mask = mask.clone()
            mask[:, :-1] = False  # the earlier steps have seen what they are to predict
        return mask

    def _inputs(self, window: Mapping[str, Tensor], random: BatchRandom | None) -> _Inputs:
        c, proprio = self.config, self.proprio_normalizer(window["proprio"])
        prev_action_mask, previous = (
            window["prev_action_mask"],
            self.action_normalizer(window["previous_action"]),
        )
        if random is not None:
            proprio = proprio + c.proprio_noise * random.normal(proprio.shape).to(proprio.device)
            prev_action_mask = prev_action_mask & _keep_mask(
                len(prev_action_mask), c.action_dropout, random
            ).to(prev_action_mask.device)
            if c.action_noise:
                previous = previous + c.action_noise * random.normal(previous.shape).to(previous.device)
            if c.proprio_dropout:
                shown = _keep_mask(len(proprio), c.proprio_dropout, random).to(proprio.device)
                proprio = proprio * shown[..., None]
        visual = self._visual(window, random)
        return _Inputs(
            visual, self._state(visual, proprio), previous, prev_action_mask, window["timestep_pad_mask"]
        )

    def _state(self, visual: Tensor, proprio: Tensor) -> Tensor:
        """The guess is not moved by how the trunk would like it: it stays one of the place."""
        if not self.config.has_grasp_conditioning:
            return proprio
        return torch.cat([proprio, self.grasp_offset(visual, proprio).detach()], dim=-1)

    def _visual(self, window: Mapping[str, Tensor], random: BatchRandom | None) -> Tensor:
        """(B, To, K, width) of a window's features; zeros in the padding, whose features are not read."""
        c, weight, timestep_pad_mask = self.config, next(self.parameters()), window["timestep_pad_mask"]
        observed = timestep_pad_mask.flatten().nonzero()[:, 0]
        visual = []
        for name in c.active_cameras:
            features = window[f"features/{name}"]
            if random is not None and (c.feature_noise or c.patch_dropout):
                features = self._augmented(name, features.to(weight.dtype), random)
            features = features.flatten(0, 1).index_select(0, observed)
            pooled = self.pooling[name](features.to(weight.dtype))
            visual.append(
                pooled.new_zeros(*timestep_pad_mask.shape, c.width).masked_scatter(
                    timestep_pad_mask[..., None], pooled
                )
            )
        if not visual:
            return weight.new_zeros(*timestep_pad_mask.shape, 0, c.width)
        return torch.stack(visual, dim=2)

    def _augmented(self, camera: str, features: Tensor, random: BatchRandom) -> Tensor:
        """Features (B, To, 1 + N, C) with noise, and some of their patches hidden."""
        pooling, c = self.pooling[camera], self.config
        assert isinstance(pooling, Pooling)
        usual = pooling.standardize
        if c.feature_noise:
            noise = random.normal(features.shape).to(features)
            features = features + c.feature_noise * usual.std.to(features) * noise
        hidden = random.uniform((*features.shape[:-1], 1)).to(features.device) < c.patch_dropout
        return torch.where(hidden, usual.mean.to(features), features)

    def _grasp_loss(self, visual: Tensor, window: Mapping[str, Tensor], part: Microbatch) -> Tensor:
        if not self.config.active_cameras:
            return visual.new_zeros(())
        guess = self.grasp_head(visual.flatten(2))
        target = self.proprio_normalizer(window["grasp"])[:, None, self._grasp_indices].expand_as(guess)
        errors = F.l1_loss(guess, target, reduction="none")
        return _masked_mean(errors, self.mask("grasp", window), part, "grasp")


def _keep_mask(windows: int, hidden: float, random: BatchRandom) -> Tensor:
    """bool (windows, 1), False for a share of them."""
    return random.uniform((windows, 1)) >= hidden


def _masked_mean(values: Tensor, mask: Tensor, part: Microbatch, name: str) -> Tensor:
    """Mean over the last axis and where the mask (without that axis) holds."""
    return (values.mean(-1) * mask).sum() / part.count(name, mask.sum())
