"""All experiments, in the order in which they run: a new one is a new row."""

from tests.chaos.experiment import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        name="kills",
        title="SIGKILL at random moments under load",
        promise="nothing lost; only calls in flight at a kill are repeated",
        minutes=20,
        run="tests.chaos.kills:run",
    ),
)
