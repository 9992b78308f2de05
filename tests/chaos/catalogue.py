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
        name="copies",
        title="one job many times over many workers on a Redis",
        promise="one call, and every submission hears its answer",
        minutes=2,
        run="tests.chaos.copies:run",
        in_ci=False,  # the acceptance tests have a smaller one
    ),
    Experiment(
        name="stores",
        title="the store locked, slow, taken away and full under load",
        promise="nothing lost, no call after the record, no call repeated; jobs go on when it is back",
        minutes=10,
        run="tests.chaos.stores:run",
        in_ci=False,  # each locked store takes 5 s to be noticed; the acceptance tests have one of each
    ),
    Experiment(
        name="redis",
        title="a Redis stopped, killed and out of memory under load",
        promise="nothing lost, no call after the record, no call repeated; jobs go on when it is back",
        minutes=10,
        run="tests.chaos.stores:redis",
    ),
    Experiment(
        name="node-kills",
        title="SIGKILL of the nodes of a three-node cluster",
        promise="nothing lost, no call repeated",
        minutes=10,
        run="tests.chaos.nodekills:run",
        in_ci=False,
    ),
    Experiment(
        name="node-stops",
        title="nodes stopped for longer than the others wait",
        promise="nothing lost, no call repeated",
        minutes=4,
        run="tests.chaos.nodekills:run_stops",
        in_ci=False,
    ),
    Experiment(
        name="partitions",
        title="nodes cut off from the others, not from their clients",
        promise="nothing lost, no call repeated",
        minutes=5,
        run="tests.chaos.nodekills:run_partitions",
        in_ci=False,
    ),
    Experiment(
        name="poison",
        title="messages that no producer should send, among innocents",
        promise="no connection lost, no innocent set aside, all poison in quarantine with its bytes",
        minutes=40,
        run="tests.chaos.poison:run",
    ),
    Experiment(
        name="forged",
        title="headers that only Warren or the broker may write, from two tenants",
        promise="believed 0 times",
        minutes=3,
        run="tests.chaos.forging:run",
    ),
    Experiment(
        name="permissions",
        title="every operation as every role of the broker",
        promise="as written by hand",
        minutes=3,
        run="tests.chaos.permissions:run",
    ),
    Experiment(
        name="fuzzed-envelopes",
        title="random AMQP frames through reader, codec and back",
        promise="a job, or a reason that quotes nothing",
        minutes=12,
        run="tests.chaos.fuzz:envelopes",
    ),
    Experiment(
        name="fuzzed-answers",
        title="random answers of upstreams, and random batch lines",
        promise="a kind of failure or a completion; never an exception",
        minutes=8,
        run="tests.chaos.fuzz:answers",
    ),
)
