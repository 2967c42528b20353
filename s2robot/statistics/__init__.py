"""How sure counts of successes make us: of one policy, of two on the same positions, over training seeds.

`rates` one rate; `paired` two policies on the same positions; `seeds` the same over training seeds; `power`
how many positions are needed; `sequential` looking before the end without cheating.
"""

from s2robot.statistics.paired import holm, mcnemar, newcombe
from s2robot.statistics.rates import exact, wilson

__all__ = ["exact", "holm", "mcnemar", "newcombe", "wilson"]
