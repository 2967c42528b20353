"""`s2robot record`: the options decide whether a scripted expert acts or a person."""

from __future__ import annotations

import os

from s2robot.core.errors import UserError
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
