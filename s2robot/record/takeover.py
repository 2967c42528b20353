"""A scripted expert that takes over from a policy, as a person would (HG-DAgger, Kelly et al. 2019)."""

from __future__ import annotations

import numpy as np

from s2robot.core.spec import Observation
from s2robot.record.demonstration import Expert
from s2robot.teleop.supervision import Overrulable, Supervision


class TakeOver:
    """An actor: the policy for so many steps; where it has not succeeded by then, the expert to the end.

    What the policy did is not learned: `action_loss_mask` holds of the expert's steps alone.

    Args:
        after: steps that the policy has.
    """

    def __init__(self, expert: Expert, policy: Overrulable, after: int) -> None:
        self._overseer = _ExpertOverseer(expert, after)
        self._supervision = Supervision(self._overseer, policy)

    @property
    def by_person(self) -> list[bool]:
        """Of each step, whether the expert acted, who is here in a person's place."""
        return self._supervision.by_person

    @property
    def action_loss_mask(self) -> list[bool]:
        learned = iter(self._overseer.expert.action_loss_mask)
        return [by_expert and next(learned) for by_expert in self.by_person]

    def reset(self) -> None:
        self._supervision.reset()

    def act(self, observation: Observation) -> np.ndarray:
        return self._supervision.act(observation)


class _ExpertOverseer:
    def __init__(self, expert: Expert, after: int) -> None:
        self.expert, self._after = expert, after
        self.reset()

    def reset(self) -> None:
        self._steps = 0
        self.expert.reset()

    def attend(self, observation: Observation) -> np.ndarray | None:
        self._steps += 1
        if self._steps <= self._after:
            return None
        return self.expert.act(observation)

    def followed(self, action: np.ndarray) -> None:
        """The expert looks at the scene, not at what was done to it."""
