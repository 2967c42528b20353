"""The S² paper's experiment in simulation. The plan in words: docs/results/table10/plan.md."""

from s2robot.reproduce.experiment import Experiment
from s2robot.reproduce.table10.report import write_report
from s2robot.reproduce.table10.work import find, works

EXPERIMENT = Experiment(works, find, write_report)
