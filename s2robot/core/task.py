"""What is attempted over and over: a task, the starts it is attempted from, and why an attempt failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from s2robot.core.errors import UserError

Range = tuple[float, float]


@dataclass(frozen=True)
class Start:
    """Where an episode begins.

    Attributes:
        options: JSON that `env.reset(options=...)` takes; empty where the seed alone decides.
        place: (x [m], y [m], angle [rad]) of its marker on maps, seen from above; None: it has no marker.
        setup: how a person sets it up by hand, in a sentence; empty where nothing is to be set up.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    place: tuple[float, float, float] | None = None
    setup: str = ""

    def to_dict(self) -> dict[str, Any]:
        """What a store or an evaluation keeps: JSON."""
        return {"options": dict(self.options), "place": None if self.place is None else list(self.place)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Start:
        """The inverse of `to_dict`. Raises UserError for something else."""
        try:
            place = plain["place"]
            if place is not None:
                x, y, angle = (float(value) for value in place)
                return cls(dict(plain["options"]), (x, y, angle))
            return cls(dict(plain["options"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"a start is damaged ({error}): {plain}") from error


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed.

    Attributes:
        label: one of the task's `failure_labels`; failures are counted by it.
        text: the label with its figures, e.g. `missed by 2.3 cm`.
        metrics: name with its unit -> value, e.g. `{"missed_by_m": 0.023}`.
    """

    label: str
    text: str
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SpawnRegion:
    """The rectangle that starts are drawn from (m), for maps. `x` goes up the map, `y` to the left."""

    x: Range
    y: Range


@dataclass(frozen=True)
class Task:
    """A task of any environment: its starts are seeds. Tasks that know more are subclasses.

    Attributes:
        name: in files and reports, e.g. `cube_pick`.
        instruction: what is to be done, in the imperative, stored with each demo.
        goal: what a success has done, in the past tense: the headline's words.
    """

    name: str = "task"
    instruction: str = ""
    goal: str = "succeeded"

    region: ClassVar[SpawnRegion | None] = None
    failure_labels: ClassVar[tuple[str, ...]] = ()
    expert: ClassVar[Mapping[str, Any] | None] = None
    """Config of its scripted expert, which made with `env=` is an `Actor`: the upper bound of an evaluation.
    None: there is none."""
    perturbations: ClassVar[Mapping[str, Any] | None] = None
    """Config of what `evaluate perturbation=NAME` changes: made with `name=` it is `{"env": options of the
    environment, "channel": config of a wrapper or None}`. None: there is none."""

    @property
    def fixed_starts(self) -> Sequence[Start]:
        """The starts that success is always counted on; empty where seeds take their place."""
        return ()

    def starts(self, count: int) -> list[Start]:
        """The first `count` of the fixed starts, or as many seeds. Raises UserError for too many."""
        fixed = list(self.fixed_starts)
        if not fixed:
            return [Start()] * count
        if not 0 <= count <= len(fixed):
            raise UserError(f"starts={count}: expected 0 to {len(fixed)}, the fixed starts of {self.name}")
        return fixed[:count]

    def random_starts(self, count: int, seed: int) -> list[Start]:
        """`count` further starts; a seed's first k are the same for every count."""
        return [Start()] * count

    def failure(self, trace: Sequence[Any]) -> Failure | None:
        """Why an attempt failed; None where it is not known.

        Args:
            trace: what `env.unwrapped.scene()` said before the first action and after each one.
        """
        return None

    def metrics(self, trace: Sequence[Any], grasp_offsets: Sequence[np.ndarray]) -> dict[str, float]:
        """Figures of an attempt, name with its unit -> value.

        Args:
            trace: as `failure` takes it.
            grasp_offsets: (3,) each (m): at each step, from the gripper to the predicted grasp;
                empty for an actor that predicts none.
        """
        return {}

    def to_dict(self) -> dict[str, Any]:
        """What a report needs to know of it: JSON."""
        region = None if self.region is None else {"x": list(self.region.x), "y": list(self.region.y)}
        return {
            "name": self.name,
            "instruction": self.instruction,
            "goal": self.goal,
            "fixed_starts": len(self.fixed_starts),
            "failure_labels": list(self.failure_labels),
            "region": region,
        }
