"""All experiments, in the order in which they run: a new one is a new row."""

from tests.chaos.experiment import Experiment

EXPERIMENTS: tuple[Experiment, ...] = ()
