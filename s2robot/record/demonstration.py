"""What an attempt at a demo consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import gymnasium

from s2robot.core.rollout import Actor
from s2robot.core.task import Start


class Expert(Actor, Protocol):
    """An actor that says of each of its steps whether it is worth learning (a planned mistake is not)."""

    action_loss_mask: list[bool]


@dataclass(frozen=True)
class Demonstration:
    """What one attempt needs: the environment (perhaps wrapped), who acts, and how the episode starts."""

    env: gymnasium.Env
    expert: Expert
    start: Start
