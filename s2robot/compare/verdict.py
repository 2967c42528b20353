"""What a comparison comes to, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from s2robot.compare.comparison import Comparison, percent
from s2robot.compare.result import Outcomes, Row


def verdict(parts: Sequence[Outcomes]) -> str:
    """The sentence of the part with the most starts: a page's title and the last line on the terminal.

    `a succeeds more often than b: +9 pp (95 % CI +2 to +20), from 100 random starts`.
    """
    part = max(parts, key=lambda part: len(part.trials))
    return f"{_sentence(part)}, from {part.title}"


def _sentence(part: Outcomes) -> str:
    rows = part.arm_rows
    if not part.comparisons:
        return f"{rows[0].name}: {_rate(rows[0])}"
    if len(part.comparisons) == 1:
        return _of_two(part.comparisons[0])
    separated = [c for c in part.comparisons if c.separated]
    if not separated:
        return f"No measurable difference among {len(rows)} arms"
    best = rows[0]  # ranked
    worse = sum(best.name in (c.first, c.second) for c in separated)
    beaten = f", measurably above {_count(worse, len(rows) - 1)}" if worse else ""
    return f"{best.name} succeeds most often: {_rate(best)}{beaten}"


def _of_two(c: Comparison) -> str:
    if c.separated and c.difference < 0:
        return _of_two(c.turned())
    limits = f"{percent(c.low, sign=True)} to {percent(c.high, sign=True)}"
    difference = f"{percent(c.difference, sign=True)} pp ({100 * c.confidence:g} % CI {limits})"
    if not c.separated:
        return f"No measurable difference between {c.first} and {c.second}: {difference}"
    return f"{c.first} succeeds more often than {c.second}: {difference}"


def _rate(row: Row) -> str:
    return f"{row.successes} of {row.trials} ({percent(row.rate)} %)"


def _count(some: int, of: int) -> str:
    return "all others" if some == of else f"{some} of {of} others"
