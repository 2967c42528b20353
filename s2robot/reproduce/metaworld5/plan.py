"""What is compared in `s2robot reproduce metaworld5`: frozen encoders on five tasks of Meta-World.

The plan in words, and why each value is what it is: docs/results/metaworld5/plan.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

TASKS = ("assembly", "bin-picking", "button-press", "drawer-open", "hammer")
"""Those of CortexBench; here in their third version (`assembly-v3`)."""

EPISODES, STEPS, STARTS = 25, 1000, 25
"""Demos a task, training steps, and held-out starts a task: the same for every arm and seed."""

RECORD = ("env.kwargs.repeat=2", "env.max_steps=250")
"""Further options of every recording: 40 Hz, and as many of the simulator's steps as Meta-World has it."""

TRAIN = (
    *("policy=mlp", "policy.n_obs_steps=1", "policy.chunk_size=8"),
    *("batch_size=64", "precision=bf16", "report=false"),
)
"""Of every training."""

EVALUATE = ("max_steps=150",)
"""Of every evaluation."""


SECOND = ("policy.head=flow",)
"""The second recipe, beside `TRAIN`, whose L1 stops where the expert waits; `SECOND_STEPS` of training."""

SECOND_STEPS = 1500


@dataclass(frozen=True)
class Arm:
    """A frozen encoder and a recipe.

    Attributes:
        encoder: whose options choose it, `small` or `large`.
        sizes: its scales of S² in px. resize_to: to whose grid of patches they are resized.
        train: further options of its trainings. steps: of them.
    """

    name: str
    encoder: str
    sizes: tuple[int, ...] = (224,)
    resize_to: int = 0
    train: tuple[str, ...] = ()
    steps: int = STEPS


ARMS = (
    Arm("small-1x", "small"),
    Arm("large-1x-flow", "large", train=SECOND, steps=SECOND_STEPS),
    Arm("small-1x-flow", "small", train=SECOND, steps=SECOND_STEPS),
    Arm("small-s2-flow", "small", (224, 448), -1, SECOND, SECOND_STEPS),
    Arm("large-s2-flow", "large", (224, 448), -1, SECOND, SECOND_STEPS),
)


COMPARISONS = (
    ("small-s2-flow", "small-1x-flow"),
    ("large-s2-flow", "large-1x-flow"),
    ("large-1x-flow", "small-1x-flow"),
    ("small-1x-flow", "small-1x"),
)
"""Arms whose difference the report tells, the first minus the second; of S², on the fine grid, first."""


class Published(NamedTuple):
    """A row of VC-1's model card: mean success (%) over the five tasks, and its spread."""

    encoder: str
    mean: float
    spread: float


PUBLISHED = (
    Published("Ego4D, ViT-L", 92.9, 2.4),
    Published("VC-1, ViT-L", 88.8, 2.2),
    Published("Ego4D, ViT-B", 86.1, 2.1),
    Published("VC-1, ViT-B", 85.3, 5.2),
)
