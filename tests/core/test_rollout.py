"""The one loop of an episode: who is called when, with what."""

from __future__ import annotations

from typing import Any

import numpy as np

from demos.toy import ToyExpert
from envs.toy import Toy
from s2robot.core.rollout import Outcome, Subscriber, run_episode
from s2robot.core.spec import Observation


class Journal(Subscriber):
    """Keeps what it hears; is an actor too, which only waits."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.observations: list[Observation] = []
        self.actions: list[np.ndarray] = []
        self.infos: list[dict[str, Any]] = []

    def reset(self) -> None:
        self.calls.append("reset")

    def act(self, observation: Observation) -> np.ndarray:
        self.calls.append("act")
        return np.array([0.01, 0.0, 0.0, -1.0], np.float32)

    def on_reset(self, observation: Observation, info: dict[str, Any]) -> None:
        self.calls.append("on_reset")
        self.observations.append(observation)
        self.infos.append(info)

    def on_step(self, observation: Observation, action: np.ndarray, info: dict[str, Any]) -> None:
        self.calls.append("on_step")
        self.observations.append(observation)
        self.actions.append(action)
        self.infos.append(info)


def test_an_expert_succeeds_and_its_listeners_hear_the_same() -> None:
    env = Toy(image_size=16)
    first, second = Journal(), Journal()
    outcome = run_episode(env, ToyExpert(env), seed=3, subscribers=iter([first, second]))
    assert outcome == Outcome(success=True, steps=len(first.actions))
    assert [info["success"] for info in first.infos] == [False] * outcome.steps + [True]
    assert first.calls == second.calls == ["on_reset"] + ["on_step"] * outcome.steps


def test_the_environments_limit_ends_a_failure() -> None:
    journal = Journal()
    outcome = run_episode(Toy(image_size=16, max_steps=3), journal, seed=0, subscribers=[journal])
    assert outcome == Outcome(success=False, steps=3)
    assert sorted(journal.calls[:2]) == ["on_reset", "reset"]
    assert journal.calls[2:] == ["act", "on_step"] * 3


def test_an_action_is_told_with_the_observation_it_answers() -> None:
    journal = Journal()
    run_episode(Toy(image_size=16, max_steps=4), journal, seed=0, subscribers=[journal])
    start, *steps = journal.observations
    x = [observation["proprio"][0] for observation in steps]
    assert x[0] == start["proprio"][0]
    np.testing.assert_allclose(np.diff(x), 0.01, atol=1e-6)


def test_seed_and_options_reach_the_environment() -> None:
    journals = [Journal() for _ in range(3)]
    poses = [(0.1, 0.1, 0.0), (0.1, 0.1, 0.0), (-0.1, 0.1, 0.0)]
    for journal, pose in zip(journals, poses, strict=True):
        options = {"cube": pose}
        run_episode(Toy(image_size=16, max_steps=1), journal, seed=5, options=options, subscribers=[journal])
    same, again, other = (j.observations[0]["images"]["front"] for j in journals)
    assert np.array_equal(same, again)
    assert not np.array_equal(same, other)
