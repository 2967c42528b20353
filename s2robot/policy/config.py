"""Every option of a policy, as a checkpoint stores it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from s2robot.config.checks import check_least
from s2robot.core.errors import UserError, unknown

CHOICES = {
    "trunk": ("transformer", "mlp", "linear"),
    "layout": ("modality", "step"),
    "attention": ("causal", "bidirectional"),
    "head": ("l1", "mse", "flow"),
}
"""Option -> its values, the default first. The poolings have a table of their own."""

_SIZES = ("n_obs_steps", "chunk_size", "width", "depth", "heads", "flow_steps")
_AMOUNTS = ("grasp_weight", "proprio_noise", "action_noise", "feature_noise")
_SHARES = (
    *("pooling_dropout", "dropout", "action_dropout", "proprio_dropout"),
    *("visual_dropout", "patch_dropout"),
)

_BEFORE: dict[str, Any] = {"grasp_conditioning": False, "visual_dropout": 0.0}
"""What checkpoints of before an option existed were."""


@dataclass(frozen=True)
class PolicyConfig:
    """The size of everything, as a checkpoint stores it.

    Attributes:
        cameras: K of them, each one token a step.
        tokens, channels: (1 + N, C) of one frame's features.
        proprio_dim, action_dim: Dp, Da.
        n_obs_steps, chunk_size: To, Ta.
        pooling: a name of `POOLINGS`.
        width, depth, heads: of the transformer.
        pooling_dropout: share of what a pooling read from the tokens that is hidden in training.
        dropout: inside the transformer.
        action_dropout: share of the windows whose past actions are hidden in training, since a policy that
            sees them may copy them (de Haan et al. 2019, causal confusion; Wen et al. 2020, copycats).
        proprio_noise: standard deviation added in training, in normalised units.
        grasp_weight: of an auxiliary loss by which the visual tokens alone tell where the gripper will be
            at the grasp to come; taken from the demo in hindsight, so it needs no privileged label.
        grasp_conditioning: the trunk is conditioned on that place, as the offset to it from where the
            gripper is; else it must find it among the visual tokens by itself.
        grasp_state_indices: of the proprioception, those that say where; empty: all. Joint angles and the
            gripper's turn, which an image hardly tells, keep a small head from learning the place.
        trunk: `transformer`; or, as baselines on the same features, `mlp` and `linear`.
        layout: `modality`, one token a modality and step (RPT, Radosavovic et al. 2023); or `step`, one token
            a step, as policies of low-dimensional observations have it (BC-Transformer of robomimic).
        attention: `causal` over steps, each of which is trained; or `bidirectional` as in RPT, where the last
            step alone is trained, since the others would see the actions they are to predict.
        head: `l1` (Zhao et al. 2023, ACT: more precise than the squared error), `mse`, or `flow` (flow
            matching, Lipman et al. 2023, for demos that do one thing in several ways).
        visual_dropout: share of the windows whose visual tokens are hidden from the trunk in training, where
            it is told what vision says of the grasp: that is not hidden, and must be relied upon.
        flow_steps: of the integration from noise to a chunk.
        vision: False leaves the features unread: the control that must fail where the cube must be seen.
        action_noise: standard deviation added to past actions in training, in normalised units.
        proprio_dropout: share of the windows whose proprioception is hidden (its mean is shown) in training.
        feature_noise: standard deviation added to features in training, in their own standard deviations.
        patch_dropout: share of the patches hidden (their mean is shown) in training (Cutout, DeVries and
            Taylor 2017, on features).
    """

    cameras: tuple[str, ...]
    tokens: int
    channels: int
    proprio_dim: int
    action_dim: int
    n_obs_steps: int = 16
    chunk_size: int = 16
    pooling: str = "spatial_convolution"
    width: int = 192
    depth: int = 4
    heads: int = 4
    pooling_dropout: float = 0.3
    dropout: float = 0.0
    action_dropout: float = 0.5
    proprio_noise: float = 0.02
    grasp_weight: float = 3.0
    grasp_conditioning: bool = True
    grasp_state_indices: tuple[int, ...] = ()
    trunk: str = "transformer"
    layout: str = "modality"
    attention: str = "causal"
    head: str = "l1"
    flow_steps: int = 10
    vision: bool = True
    action_noise: float = 0.0
    proprio_dropout: float = 0.0
    visual_dropout: float = 0.0
    feature_noise: float = 0.0
    patch_dropout: float = 0.0

    def __post_init__(self) -> None:
        for option, valid in CHOICES.items():
            if getattr(self, option) not in valid:
                raise unknown(option, getattr(self, option), valid)
        check_policy(asdict(self))

    @property
    def active_cameras(self) -> tuple[str, ...]:
        """The cameras whose features are read."""
        return self.cameras if self.vision else ()

    @property
    def grasp_indices(self) -> tuple[int, ...]:
        """Of the proprioception, those of which the grasp is told."""
        return self.grasp_state_indices or tuple(range(self.proprio_dim))

    @property
    def predicts_grasp(self) -> bool:
        """Whether vision is taught the place of the grasp."""
        return self.grasp_weight > 0 and bool(self.active_cameras)

    @property
    def has_grasp_conditioning(self) -> bool:
        """Whether the trunk is told what vision says of it."""
        return self.grasp_conditioning and self.predicts_grasp

    @property
    def state_dim(self) -> int:
        """Ds, the numbers beside the visual tokens by which a trunk knows a step."""
        return self.proprio_dim + (len(self.grasp_indices) if self.has_grasp_conditioning else 0)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "cameras": list(self.cameras),
            "grasp_state_indices": list(self.grasp_state_indices),
        }

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
        tuples = {name: tuple(plain[name]) for name in ("cameras", "grasp_state_indices") if name in plain}
        return cls(**{**_BEFORE, **plain, **tuples})


def check_policy(options: Mapping[str, Any]) -> None:
    """Of a policy's options, those that are numbers. Raises UserError for one out of its range."""
    check_least(options, 1, *(name for name in _SIZES if name in options))
    check_least(options, 0, *(name for name in _AMOUNTS if name in options))
    for name in (name for name in _SHARES if name in options):
        if not 0 <= options[name] <= 1:
            raise UserError(f"{name}={options[name]}: expected a share from 0 to 1")
    width, heads = options.get("width", 1), options.get("heads", 1)
    if options.get("trunk") == "transformer" and width % heads:
        raise UserError(f"width={width}: expected a multiple of heads={heads}")
