"""All experiments, in the order in which they run: a new one is a new row.

Not `in_ci` is what takes long however small it is, and what the test suite has a small version of.
"""

from tests.chaos.experiment import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        name="kills",
        title="workers killed at random moments under load",
        promise="nothing lost; only calls in flight at a kill are repeated",
        minutes=20,
        run="tests.chaos.kills:run",
    ),
    Experiment(
        name="suspensions",
        title="workers stopped for longer than their lease",
        promise="nothing lost; only calls in flight at a suspension are repeated",
        minutes=4,
        run="tests.chaos.suspensions:run",
        in_ci=False,
    ),
    Experiment(
        name="sigterms",
        title="workers told to end under load",
        promise="nothing lost, no call repeated, status 0 within the grace period",
        minutes=6,
        run="tests.chaos.sigterms:run",
        in_ci=False,
    ),
    Experiment(
        name="cuts",
        title="connections cut with calls in flight",
        promise="nothing lost, no call repeated",
        minutes=12,
        run="tests.chaos.cuts:run",
    ),
    Experiment(
        name="restarts",
        title="broker restarted under load",
        promise="no confirmed job lost, no call repeated",
        minutes=8,
        run="tests.chaos.restarts:run",
        in_ci=False,
    ),
    Experiment(
        name="alarms",
        title="memory and disk alarms of the broker",
        promise="nothing lost, no call repeated, no hang",
        minutes=5,
        run="tests.chaos.alarms:run",
        in_ci=False,
    ),
    Experiment(
        name="mutants",
        title="workers with planted bugs",
        promise="the auditor finds out every bug, and accuses no sound worker",
        minutes=2,
        run="tests.chaos.mutants:run",
        in_ci=False,
    ),
    Experiment(
        name="crash points",
        title="workers that die at each named point",
        promise="no call more at points 1-3 and 8-13, at most the one in flight at 4-7; nothing lost",
        minutes=12,
        run="tests.chaos.crash_points:run",
        in_ci=False,
    ),
    Experiment(
        name="upstream",
        title="an upstream that fails seven calls of ten",
        promise="all jobs end, with calls within the policy; every caller hears",
        minutes=8,
        run="tests.chaos.upstream:run",
    ),
    Experiment(
        name="copies killed",
        title="copies of one job, whose callers die",
        promise="one call, and one for each kill in it; every submission hears the same",
        minutes=2,
        run="tests.chaos.copies_killed:run",
        in_ci=False,
    ),
    Experiment(
        name="replay kills",
        title="a replay of all dead letters, killed again and again",
        promise="nothing lost, no call for a completed job, every letter replayed",
        minutes=6,
        run="tests.chaos.replay_kills:run",
    ),
    Experiment(
        name="soak",
        title="many jobs and cut connections through one worker and one client",
        promise="memory, tasks, threads, file descriptors and metric series stay flat",
        minutes=5,
        run="tests.chaos.soak:run",
        in_ci=False,
    ),
)
