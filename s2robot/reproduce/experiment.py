"""What an experiment is: works, each one policy made and evaluated by commands a user would type."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from s2robot.core.errors import unknown
from s2robot.reproduce.options import ReproduceOptions


@dataclass(frozen=True)
class Command:
    """`s2robot NAME OVERRIDES`."""

    name: str
    overrides: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(["s2robot", self.name, *self.overrides])


class Work(Protocol):
    """A policy: where its files lie in `out`, and what makes them."""

    @property
    def name(self) -> str:
        """Of the file of its raw outcomes."""
        ...

    @property
    def options(self) -> ReproduceOptions: ...

    @property
    def evaluation(self) -> Path:
        """The folder that `s2robot evaluate` writes."""
        ...

    @property
    def kind(self) -> Hashable:
        """Works of one kind differ in what the plan alone decides."""
        ...

    def commands(self) -> list[Command]:
        """record, train and evaluate, in the order in which they run."""
        ...

    def with_options(self, options: ReproduceOptions) -> Work:
        """The same under other options."""
        ...


@dataclass(frozen=True)
class Experiment:
    """A plan and its report.

    Attributes:
        works: what the options ask for, in order; raises UserError for a cell or an arm that there is not.
        find: the work of a name, or None.
        write_report: writes `report.md` beside the raw outcomes in a folder.
    """

    works: Callable[[ReproduceOptions], Sequence[Work]]
    find: Callable[[str, ReproduceOptions], Work | None]
    write_report: Callable[[Path], None]


def choose(kind: str, given: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """The known names that are given, in their order; None: all. Raises UserError for an unknown one."""
    for name in given or ():
        if name not in known:
            raise unknown(kind, name, known)
    return [name for name in known if given is None or name in given]
