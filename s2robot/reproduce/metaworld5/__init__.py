"""Five tasks of Meta-World with frozen encoders. The plan in words: docs/results/metaworld5/plan.md."""

from s2robot.reproduce.experiment import Experiment
from s2robot.reproduce.metaworld5.report import write_report
from s2robot.reproduce.metaworld5.work import find, works

EXPERIMENT = Experiment(works, find, write_report)
