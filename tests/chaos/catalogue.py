"""All experiments, in the order in which they run: a new one is a new row."""

from tests.chaos.experiment import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        name="schedules",
        title="simulated schedules of the whole line",
        promise="every guarantee holds, and every planted bug is caught",
        minutes=12,
        run="tests.chaos.simulated:schedules",
    ),
    Experiment(
        name="crash points",
        title="deaths at each named crash point, simulated",
        promise="nothing lost; a call is repeated only where it was in flight",
        minutes=3,
        run="tests.chaos.simulated:crash_points",
    ),
)
