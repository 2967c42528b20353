"""A checkpoint whose policy acts while demos are recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec

if TYPE_CHECKING:
    from s2robot.policy.policy import Policy  # imports torch, which nobody else needs in recording


@dataclass(frozen=True)
class ActingCheckpoint:
    """A checkpoint's policy, the robot it was trained on, and where it comes from."""

    policy: Policy
    spec: RobotSpec
    origin: dict[str, Any]

    def check(self, spec: RobotSpec) -> None:
        """Raises UserError where the policy was trained on another robot than this."""
        difference = self.spec.difference(spec.select_cameras(list(self.spec.cameras)))
        if difference:
            raise UserError(f"{self.origin['checkpoint']} was trained on another robot: {difference}")


def load_acting(checkpoint: str) -> ActingCheckpoint:
    """The policy, which takes one thread. Raises UserError as `load_policy`."""
    import torch

    from s2robot.policy.checkpoint import checkpoint_sha256, load_policy

    torch.set_num_threads(1)
    policy = load_policy(checkpoint)
    origin = {"checkpoint": str(checkpoint), "sha256": checkpoint_sha256(checkpoint)}
    return ActingCheckpoint(policy, policy.spec, origin)
