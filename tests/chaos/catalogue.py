"""All experiments, in the order in which they run: a new one is a new row."""

from tests.chaos.experiment import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        name="wire poison",
        title="messages that no producer should send, among innocents",
        promise="no connection lost, no innocent set aside, all poison in quarantine with its bytes",
        minutes=40,
        run="tests.chaos.poison:run",
    ),
    Experiment(
        name="forged headers",
        title="headers that only Warren or the broker may write, from two tenants",
        promise="believed 0 times",
        minutes=3,
        run="tests.chaos.forging:run",
    ),
    Experiment(
        name="permission matrix",
        title="every operation as every role of the broker",
        promise="as written by hand",
        minutes=3,
        run="tests.chaos.permissions:run",
    ),
    Experiment(
        name="fuzzed envelopes",
        title="random AMQP frames through reader, codec and back",
        promise="a job, or a reason that quotes nothing",
        minutes=12,
        run="tests.chaos.fuzz:envelopes",
    ),
    Experiment(
        name="fuzzed upstream answers",
        title="random answers of upstreams, and random batch lines",
        promise="a kind of failure or a completion; never an exception",
        minutes=8,
        run="tests.chaos.fuzz:answers",
    ),
)
