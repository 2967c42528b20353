"""Named suites of changes, for `s2robot evaluate suite=NAME`: does the policy still succeed?

In each, every rollout has changes of its own, drawn from its seed; the positions and the arm's starts are
those of the evaluation without changes, so outcomes are paired (`s2robot compare`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from s2robot.core.errors import unknown


@dataclass(frozen=True)
class Suite:
    """Options of the environment and of `envs.imperfect_channel.ImperfectChannel` that a suite sets."""

    env: Mapping[str, Any] = field(default_factory=dict)
    channel: Mapping[str, Any] = field(default_factory=dict)


SUITES = {
    "light": Suite({"perturb": {"light": 1.0}}),
    "texture": Suite({"perturb": {"texture": 1.0}}),
    "camera": Suite({"perturb": {"camera": 1.0}}),
    "table": Suite({"perturb": {"table": 1.0}}),
    "distractors": Suite({"perturb": {"distractors": 3}}),
    "all": Suite({"perturb": {"light": 1.0, "texture": 1.0, "camera": 1.0, "table": 1.0, "distractors": 3}}),
    "latency": Suite(channel={"latency": 1}),
    "dropped": Suite(channel={"dropped": 0.3}),
    "noise": Suite(channel={"action_noise": 1.0}),
    "small": Suite({"cube_size": 0.030}),
    "far": Suite({"camera_distance": 1.3}),
}
"""By name: lamp, surfaces, cameras knocked, table height, other things on the table, all of these; frames
0.1 s late at 10 Hz, 30 % of the frames lost, 6 mm of noise on the actions; a cube of 30 mm, the front camera
1.3 times as far away."""


def suite(name: str) -> dict[str, Any]:
    """What a suite sets: `env`, options of the environment; `channel`, the wrapper's config or None.

    Raises UserError for an unknown name.
    """
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    chosen = SUITES[name]
    channel = (
        {"_target_": "envs.imperfect_channel.ImperfectChannel", **chosen.channel} if chosen.channel else None
    )
    return {"env": dict(chosen.env), "channel": channel}
