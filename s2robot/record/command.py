"""`s2robot record`: the options decide whether a scripted expert acts or a person."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from s2robot.config.compose import compose
from s2robot.config.options import read_options
from s2robot.config.overrides import as_overrides
from s2robot.core.errors import UserError
from s2robot.data.store import DemoStore
from s2robot.record.options import RecordOptions
from s2robot.record.person import record_person
from s2robot.record.scripted import record_scripted


def main(options: RecordOptions) -> None:
    """Records until the store at `out` holds `episodes` successes; those that are there already are kept.

    A person at a device ends the session when they like.
    """
    if not options.resume and os.path.lexists(options.out):
        raise UserError(f"{options.out} is there already and resume=false: name another out=")
    if options.teleop == "none":
        record_scripted(options)
    else:
        record_person(options)


def record_demos(out: str | Path, **options: Any) -> DemoStore:
    """Records as `s2robot record` does, in this process, and opens the store.

    Args:
        out: the store's folder; demos that are there already are kept and counted.
        options: those of the command, e.g. `env="cube_pick"`, `episodes=10`, `seed=1`; of a section:
            `env={"image_size": 224}`. `workers=2` needs a script that guards its main part
            (`if __name__ == "__main__":`).

    Raises UserError as the command.

    Examples:
        >>> store = s2robot.record_demos("runs/new", env="toy", episodes=2)
        >>> len(store)
        2
    """
    overrides = as_overrides({"out": out, "workers": 0, **options})
    main(read_options(RecordOptions, compose("record", overrides)))
    return DemoStore.open(out)
