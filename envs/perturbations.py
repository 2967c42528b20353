"""Named perturbations, for `s2robot evaluate perturbation=NAME`: does the policy still succeed?

In each, every rollout has changes of its own, drawn from its seed. The starts and the arm's initial poses are
those of the evaluation without changes, so outcomes are paired (`s2robot compare`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from s2robot.core.errors import unknown


@dataclass(frozen=True)
class NamedPerturbation:
    """Options of the environment, and of `envs.imperfect_channel.ImperfectChannel`, that it sets."""

    env: Mapping[str, Any] = field(default_factory=dict)
    channel: Mapping[str, Any] = field(default_factory=dict)


PERTURBATIONS = {
    "light": NamedPerturbation({"perturb": {"light": 1.0}}),
    "texture": NamedPerturbation({"perturb": {"texture": 1.0}}),
    "camera": NamedPerturbation({"perturb": {"camera": 1.0}}),
    "table": NamedPerturbation({"perturb": {"table": 1.0}}),
    "distractors": NamedPerturbation({"perturb": {"distractors": 3}}),
    "all": NamedPerturbation(
        {"perturb": {"light": 1.0, "texture": 1.0, "camera": 1.0, "table": 1.0, "distractors": 3}}
    ),
    "latency": NamedPerturbation(channel={"latency": 1}),
    "dropped": NamedPerturbation(channel={"dropped": 0.3}),
    "noise": NamedPerturbation(channel={"action_noise": 1.0}),
    "small": NamedPerturbation({"cube_size": 0.030}),
    "far": NamedPerturbation({"camera_distance": 1.3}),
}
"""By name: lamp, surfaces, cameras knocked, table height, other things on the table, all of these; frames
0.1 s late at 10 Hz, 30 % of the frames lost, 6 mm of noise on the actions; a cube of 30 mm, the front camera
1.3 times as far away."""


def find_perturbation(name: str) -> dict[str, Any]:
    """What a perturbation sets: `env`, options of the environment; `channel`, the wrapper's config or None.

    Raises UserError for an unknown name.
    """
    if name not in PERTURBATIONS:
        raise unknown("perturbation", name, PERTURBATIONS)
    chosen = PERTURBATIONS[name]
    wrapper = {"_target_": "envs.imperfect_channel.ImperfectChannel", **chosen.channel}
    return {"env": dict(chosen.env), "channel": wrapper if chosen.channel else None}
