"""Brings Warren up on a bare machine: Python packages, a private RabbitMQ and Redis, and the commands of `./dev`.

`bootstrap` and everything about broker and Redis use the standard library alone, so that they run before
any package is installed.

    bootstrap     makes `.venv` from `requirements/dev.lock`, then becomes `python -m stack`
    commands      the table of `./dev` commands: one row each
    arguments     what their arguments may be
    checks        `./dev test`
    locks         `./dev lock`
    indexes       where this machine gets Python packages, told to uv

    server        where RabbitMQ's programs are: installed, or unpacked into the project
    apt           downloads and unpacks the distribution's packages, without root
    packages      RabbitMQ and Erlang from there
    transplant    mends what was unpacked, so that it runs where it lies
    node          the files and the environment of one private node
    ports         free ports for it and the workers
    interrupts    Ctrl-C and SIGTERM, also while processes are started or stopped
    occupancy     who lives in a node's folder
    keeper        the small process that owns a running node and cleans up after it
    ways          which way to a broker this machine offers
    supply        gives a house its broker, by the first way that there is
    container     a broker in a container, where docker is all there is
    broker        start, stop, kill, ask: what the rest of the project uses
    redispackages where Redis's or Valkey's program is: installed, or unpacked into the project
    prometheuspackages  where Prometheus' and promtool's programs are, for tests
    tether        the small process that lets a server die with whoever started it
    resp          asks a Redis a question
    redis         a private Redis: start, stop, kill, ask
    cluster       three nodes as one cluster, for tests; `mapper` owns the port mapper that they share
    credentials   passwords that are made here, and the definitions file that knows their hashes

    services      the processes beside the broker: simulator and workers
    stores        which store its workers share: a file, a private Redis, or another's
    house         a whole Warren in one folder: broker, simulators, workers
    upstreams     what its workers call: simulators, or a real API
    external      a broker that somebody else runs, from RABBITMQ_URL
    living        `./dev up`, `down`, `status`
    doctor        `./dev doctor`: looks at this machine; `verdicts` judge, `finding` is what they give
    demo, report  `./dev demo`, and its tables
    endpoints     `./dev demo --endpoints`; `scene` is what the two have in common
    gauges, board what workers and simulators tell of each endpoint, and its table
    records       reading logs and ledger
    auditor       holds producers, simulator, ledger and broker against the promise
    hearings      the producers' side of an audit
    callbook      the simulator's side: calls, and which of them deaths cut off
"""
