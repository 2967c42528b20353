"""The one exception that stands for a user's mistake."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend: the command line prints its message as one line, without a traceback.

    The message says what was given, what was expected and what exists.

    Examples:
        >>> try:
        ...     s2robot.make_env("cube_pik")
        ... except s2robot.UserError as error:
        ...     print(error)
        unknown env 'cube_pik': did you mean 'cube_pick'? valid: ...
    """


def unknown(kind: str, given: object, valid: Iterable[object]) -> UserError:
    """The error for a name that does not exist, with the nearest valid one and the list of all.

    >>> str(unknown("camera", "frnt", ["front", "wrist"]))
    "unknown camera 'frnt': did you mean 'front'? valid: front, wrist"
    """
    names = [str(v) for v in valid]
    close = difflib.get_close_matches(str(given), names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return UserError(f"unknown {kind} '{given}': {hint}valid: {', '.join(names) or '(none)'}")
