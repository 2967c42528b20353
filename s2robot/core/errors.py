"""The one exception that stands for a user's mistake."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_FEW = 8
_ALIKE, _ABOUT_AS = 0.6, 0.1  # likenesses of two words, 0 to 1: of a near one, and between two as near


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


def unknown(kind: str, given: object, valid: Iterable[object], listed_by: str = "") -> UserError:
    """The error for a name that does not exist, with the nearest valid ones and the list of all.

    Where all are many, `listed_by`, which lists them, is named instead.

    >>> str(unknown("camera", "frnt", ["front", "wrist"]))
    "unknown camera 'frnt': did you mean 'front'? valid: front, wrist"
    """
    names = [str(v) for v in valid]
    short = not listed_by or len(names) <= _FEW
    close = [f"'{name}'" for name in _nearest(str(given), names)][: 1 if short else 3]
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    all_ = f"valid: {', '.join(names) or '(none)'}" if short else f"{listed_by} lists all {len(names)}"
    return UserError(f"unknown {kind} '{given}': {hint}{all_}")


def _nearest(given: str, names: Sequence[str]) -> list[str]:
    """The names that are spelt alike, the nearest first; of dotted ones the last part alone may be."""
    scores = {name: max(_likeness(given, name), _likeness(given, name.rpartition(".")[2])) for name in names}
    least = max(_ALIKE, max(scores.values(), default=0) - _ABOUT_AS)
    return sorted((name for name in scores if scores[name] >= least), key=lambda name: -scores[name])


def _likeness(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()
