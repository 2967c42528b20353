"""s2robot: record demos, train behaviour-cloning policies on multi-scale visual features, count successes."""

__version__ = "0.1.0"
