"""Every option of a policy, as a checkpoint stores it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from s2robot.config.options import Count, Natural, NonNegative, Share, read_options, to_plain
from s2robot.core.errors import UserError, unknown
from s2robot.policy.registry import HEADS, TRUNKS, load_part, part_options


@dataclass(frozen=True, kw_only=True)
class PolicyOptions:
    """What a user chooses: the section `policy` of `s2robot train`.

    Attributes:
        n_obs_steps, chunk_size: To, Ta.
        trunk, head: names of `s2robot.policy.registry`.
        trunk_options, head_options: theirs. In YAML they stand in a section of the trunk's or head's name.
        pooling: a name of `POOLINGS`.
        width: of the visual tokens and of the vector of a step.
        vision: False leaves the features unread: the control that must fail where vision is needed.
        pooling_dropout: share of what a pooling read from the tokens that is dropped in training.
        action_dropout: share of the windows whose past actions are dropped in training, since a policy that
            reads them may copy them (de Haan et al. 2019, causal confusion; Wen et al. 2020, copycats).
        action_noise: standard deviation added to past actions in training, in normalised units.
        proprio_noise: standard deviation added to proprioception in training, in normalised units.
        proprio_dropout: share of the windows whose proprioception is replaced by its mean in training.
        visual_dropout: with grasp conditioning, share of the windows whose visual tokens are dropped in
            training; the grasp prediction is not, and must be relied upon.
        grasp_weight: of an auxiliary loss by which the visual tokens alone predict the grasp to come; taken
            from the demo in hindsight, so it needs no privileged label.
        grasp_target: what they predict of it: the gripper's `position` there, or the `offset` to it from
            where the gripper is, which a camera on the hand sees too, and one that was moved since the demos.
        grasp_conditioning: the trunk is given the offset from the gripper to the predicted grasp.
    """

    n_obs_steps: Count = 16
    chunk_size: Count = 16
    trunk: str = "transformer"
    trunk_options: Mapping[str, Any] = field(default_factory=dict)
    head: str = "l1"
    head_options: Mapping[str, Any] = field(default_factory=dict)
    pooling: str = "spatial_convolution"
    width: Count = 192
    vision: bool = True
    pooling_dropout: Share = 0.3
    action_dropout: Share = 0.5
    action_noise: NonNegative = 0.0
    proprio_noise: NonNegative = 0.02
    proprio_dropout: Share = 0.0
    visual_dropout: Share = 0.0
    grasp_weight: NonNegative = 3.0
    grasp_target: Literal["position", "offset"] = "position"
    grasp_conditioning: bool = True

    def __post_init__(self) -> None:
        for kind in ("trunk", "head"):
            options = part_options(kind, getattr(self, kind), getattr(self, f"{kind}_options"))
            object.__setattr__(self, f"{kind}_options", to_plain(options))
        trunk = part_options("trunk", self.trunk, self.trunk_options)
        load_part("trunk", self.trunk).check(self.width, trunk)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_gathered, handler(source))


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(PolicyOptions):
    """The options, and what the demos decide.

    Attributes:
        cameras: name -> (h, w, C) of one frame's patches; K of them, each one visual token a step.
        proprio_dim, action_dim: Dp, Da.
        grasp_state_indices: of the proprioception, the gripper's position; empty: all entries stand for it.
            Joint angles and the gripper's turn, which an image hardly tells, keep a small head from learning
            the position.
    """

    cameras: Mapping[str, tuple[Count, Count, Count]]
    proprio_dim: Count
    action_dim: Count
    grasp_state_indices: tuple[Natural, ...] = ()

    @property
    def active_cameras(self) -> tuple[str, ...]:
        """The cameras whose features are read."""
        return tuple(self.cameras) if self.vision else ()

    @property
    def grasp_indices(self) -> tuple[int, ...]:
        """The G entries of the proprioception that are predicted at the grasp."""
        return self.grasp_state_indices or tuple(range(self.proprio_dim))

    @property
    def predicts_grasp(self) -> bool:
        """Whether the visual tokens learn to predict the grasp."""
        return self.grasp_weight > 0 and bool(self.active_cameras)

    @property
    def has_grasp_conditioning(self) -> bool:
        """Whether the trunk is given the prediction."""
        return self.grasp_conditioning and self.predicts_grasp

    @property
    def state_dim(self) -> int:
        """Ds, the numbers beside the visual tokens by which a trunk knows a step."""
        return self.proprio_dim + (len(self.grasp_indices) if self.has_grasp_conditioning else 0)

    @property
    def step_dim(self) -> int:
        """K · width + Ds + Da, all of a step side by side."""
        return len(self.active_cameras) * self.width + self.state_dim + self.action_dim

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, fit for YAML."""
        return to_plain(self)

    @classmethod
    def of(cls, options: PolicyOptions, **sizes: Any) -> PolicyConfig:
        """The options, with what the demos decide."""
        return cls(**asdict(options), **sizes)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> PolicyConfig:
        """The inverse of `to_dict`. Raises UserError for an unknown or missing option."""
        names = [f.name for f in fields(cls)]
        for name in plain:
            if name not in names:
                raise unknown("policy option", name, names)
        if missing := [name for name in names if name not in plain]:  # a default may have been another then
            raise UserError(f"policy lacks {', '.join(missing)}; it has {', '.join(plain) or 'nothing'}")
        return read_options(cls, plain)


def _gathered(section: Any) -> Any:
    """The fields of the options: the section of the trunk's or head's name becomes its options."""
    if not isinstance(section, dict):
        return section
    names = {f.name for f in fields(PolicyConfig)}
    own = {name: value for name, value in section.items() if name in names}
    for kind in ("trunk", "head"):
        own.setdefault(f"{kind}_options", section.get(str(section.get(kind)), {}))
    for name in section:
        if name not in names and name not in TRUNKS and name not in HEADS:
            raise unknown("policy option", name, sorted(names))
    return {name: _tuples(value) for name, value in own.items()}


def _tuples(value: Any) -> Any:
    """Lists as tuples, which a strict check behind a validator no longer makes of JSON."""
    if isinstance(value, dict):
        return {key: _tuples(entry) for key, entry in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
