"""All experiments, in the order in which they run: a new one is a new row."""

from tests.chaos.experiment import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        name="copies",
        title="the same job many times over eight workers on one Redis",
        promise="one call, and every submission hears its answer",
        minutes=2,
        run="tests.chaos.copies:copies",
    ),
)
