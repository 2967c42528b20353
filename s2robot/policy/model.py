"""What all policies have in common: inputs, the predicted action chunk, and its loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2robot.policy.config import PolicyConfig
from s2robot.policy.normalize import Normalizer, Statistics
from s2robot.policy.pooling import make_pooling
from s2robot.policy.registry import load_part, part_options
from s2robot.utils.randomness import WHOLE_BATCH, BatchRandom, Microbatch

MASKS = {"action": "action_loss_mask", "grasp": "before_grasp"}
"""Loss -> the entry of a window that says where it counts."""


@dataclass
class _Inputs:
    """Of `PolicyModel.steps`; in training with noise, and parts of them dropped."""

    visual: Tensor
    state: Tensor
    previous_action: Tensor
    prev_action_mask: Tensor
    timestep_pad_mask: Tensor


class PolicyModel(nn.Module):
    """Predicts, at each observed step, the Ta actions from that step on.

    A trunk is a subclass: `build` makes its parts, `steps` turns the observations into one vector a step.
    How to write one: `s2robot.policy.registry`.
    """

    Options: ClassVar[type[Any]]
    """The trunk's own options, a frozen dataclass whose fields all have defaults."""

    def __init__(
        self, config: PolicyConfig, proprio: Statistics | None = None, action: Statistics | None = None
    ) -> None:
        super().__init__()
        c = self.config = config
        self.options = part_options("trunk", c.trunk, c.trunk_options)
        self.proprio_normalizer = Normalizer(c.proprio_dim, proprio)
        self.action_normalizer = Normalizer(c.action_dim, action)
        self.pooling = nn.ModuleDict(
            {
                _module_name(name): make_pooling(c.pooling, c.cameras[name], c.width, c.pooling_dropout)
                for name in c.active_cameras
            }
        )
        self.build()
        self.head = load_part("head", c.head)(c, part_options("head", c.head, c.head_options))
        self._grasp_indices = list(c.grasp_indices)
        if c.active_cameras:
            self.grasp_head = nn.Linear(len(c.active_cameras) * c.width, len(self._grasp_indices))

    @classmethod
    def check(cls, width: int, options: Any) -> None:
        """Raises UserError where the trunk's options do not fit the policy's width."""

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
        """One vector a step (B, To, width).

        state: (B, To, Ds), the proprioception and, with grasp conditioning, the offset to the predicted
        grasp; the other arguments as for `forward`.
        """
        raise TypeError(f"{type(self).__name__} is no trunk")

    def camera_pooling(self, camera: str) -> Any:
        """The pooling of one camera's features."""
        return self.pooling[_module_name(camera)]

    def pool(self, camera: str, features: Tensor) -> Tensor:
        """features (..., 1 + N, C) of one camera -> visual tokens (..., width)."""
        flat = features.flatten(0, -3)
        return self.camera_pooling(camera)(flat).unflatten(0, features.shape[:-2])

    def grasp_offset(self, visual: Tensor, proprio: Tensor) -> Tensor:
        """From the gripper's position to the predicted grasp (B, To, G), normalised.

        Arguments as for `forward`; G are the config's `grasp_indices`.
        """
        predicted = self.grasp_head(visual.flatten(2))
        is_offset = self.config.grasp_target == "offset"
        return predicted if is_offset else predicted - proprio[..., self._grasp_indices]

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
            prev_action_mask: bool (B, To): False where there is no previous action, or it is dropped.
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
        microbatch: Microbatch = WHOLE_BATCH,
    ) -> dict[str, Tensor]:
        """Losses of a batch of `WindowDataset` windows: `total`, `action`, `grasp`; in normalised units.

        With a generator, as in training: past actions of some windows dropped, noise on proprioception, and
        whatever else the config asks for. Of a microbatch: what it adds to the mean over the batch.
        """
        random = None if generator is None else BatchRandom(generator, microbatch)
        inputs = self._inputs(window, random)
        visual = inputs.visual
        if random is not None and self.config.has_grasp_conditioning and self.config.visual_dropout:
            keep_mask = _keep_mask(len(visual), self.config.visual_dropout, random).to(visual.device)
            inputs = replace(inputs, visual=visual * keep_mask[..., None, None])
        hidden = self.steps(*vars(inputs).values())
        target = self.action_normalizer(window["chunk"])
        errors = self.head.errors(hidden, target, random)
        action = _masked_mean(errors, self.mask("action", window), microbatch, "action")
        grasp = self._grasp_loss(visual, window, microbatch)
        return {"total": action + self.config.grasp_weight * grasp, "action": action, "grasp": grasp}

    def chunks(self, window: Mapping[str, Tensor], generator: torch.Generator | None = None) -> Tensor:
        """The actions (B, Ta, Da) from the last step of each window on, in the units of the demos."""
        hidden = self.steps(*vars(self._inputs(window, None)).values())
        return self.action_normalizer.inverse(self.head(hidden, generator)[:, -1])

    def mask(self, name: str, window: Mapping[str, Tensor]) -> Tensor:
        """Where a loss counts, bool."""
        return window[MASKS[name]]

    def _inputs(self, window: Mapping[str, Tensor], random: BatchRandom | None) -> _Inputs:
        c, proprio = self.config, self.proprio_normalizer(window["proprio"])
        mask, previous = window["prev_action_mask"], self.action_normalizer(window["previous_action"])
        if random is not None:
            proprio = proprio + c.proprio_noise * random.normal(proprio.shape).to(proprio.device)
            mask = mask & _keep_mask(len(mask), c.action_dropout, random).to(mask.device)
            if c.action_noise:
                previous = previous + c.action_noise * random.normal(previous.shape).to(previous.device)
            if c.proprio_dropout:
                keep_mask = _keep_mask(len(proprio), c.proprio_dropout, random).to(proprio.device)
                proprio = proprio * keep_mask[..., None]
        visual = self._visual(window)
        return _Inputs(visual, self._state(visual, proprio), previous, mask, window["timestep_pad_mask"])

    def _state(self, visual: Tensor, proprio: Tensor) -> Tensor:
        """The grasp prediction is detached: the action loss does not train it."""
        if not self.config.has_grasp_conditioning:
            return proprio
        return torch.cat([proprio, self.grasp_offset(visual, proprio).detach()], dim=-1)

    def _visual(self, window: Mapping[str, Tensor]) -> Tensor:
        """(B, To, K, width) of a window's features; zeros in the padding, whose features are not read."""
        width, weight, mask = self.config.width, next(self.parameters()), window["timestep_pad_mask"]
        observed = mask.flatten().nonzero()[:, 0]
        visual = []
        for name in self.config.active_cameras:
            features = window[f"features/{name}"]
            if features.ndim > 3:  # a window's own; those of `WindowDataset.batch` are without padding
                features = features.flatten(0, 1).index_select(0, observed)
            pooled = self.camera_pooling(name)(features)
            visual.append(pooled.new_zeros(*mask.shape, width).masked_scatter(mask[..., None], pooled))
        if not visual:
            return weight.new_zeros(*mask.shape, 0, width)
        return torch.stack(visual, dim=2)

    def _grasp_loss(self, visual: Tensor, window: Mapping[str, Tensor], microbatch: Microbatch) -> Tensor:
        if not self.config.active_cameras:
            return visual.new_zeros(())
        prediction = self.grasp_head(visual.flatten(2))
        target = self.proprio_normalizer(window["grasp"])[:, None]
        if self.config.grasp_target == "offset":
            target = target - self.proprio_normalizer(window["proprio"])
        target = target[..., self._grasp_indices].expand_as(prediction)
        errors = F.l1_loss(prediction, target, reduction="none")
        return _masked_mean(errors, self.mask("grasp", window), microbatch, "grasp")


def make_model(
    config: PolicyConfig, proprio: Statistics | None = None, action: Statistics | None = None
) -> PolicyModel:
    """The untrained policy that the config names."""
    return load_part("trunk", config.trunk)(config, proprio, action)


def step_vector(visual: Tensor, state: Tensor, previous_action: Tensor, prev_action_mask: Tensor) -> Tensor:
    """(B, To, K · width + Ds + Da), for trunks without history; a masked action is the mean one, 0."""
    return torch.cat([visual.flatten(2), state, previous_action * prev_action_mask[..., None]], dim=-1)


def _module_name(camera: str) -> str:
    """A camera's key in a ModuleDict, which refuses dots and the names of its own attributes."""
    if camera.isidentifier() and not hasattr(nn.ModuleDict(), camera):
        return camera
    return "%" + camera.replace("%", "%25").replace(".", "%2E")


def _keep_mask(windows: int, dropped: float, random: BatchRandom) -> Tensor:
    """bool (windows, 1), False for a share of them."""
    return random.uniform((windows, 1)) >= dropped


def _masked_mean(values: Tensor, mask: Tensor, microbatch: Microbatch, name: str) -> Tensor:
    """Mean over the last axis and where the mask (without that axis) holds."""
    return (values.mean(-1) * mask).sum() / microbatch.count(name, mask.sum())
