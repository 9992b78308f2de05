"""A stand-in for an OpenAI-compatible API that misbehaves on request.

Demo, tests and benchmarks use it, in their own event loop (`Simulator`) or as a process
(`python -m simulator --help`). Nothing here imports the worker or the producer SDK.

From the wire inwards::

    server     lifecycle
    doorway    the switch of a fresh connection to its protocol
    http1      HTTP/1.1: httptools in, bytes out
    http2      HTTP/2: h2 in and out, GOAWAY        streams   one stream and its responder
    h2state    h2, set up
    sockets    closing with RST
    wire       the interface between a protocol and a call
    service    a call of each request: key, storm, limits, plan, latency, reaction, log
    exchange   one call: plays a reaction, with timers
    control    the API under /_sim/
    behaviour  what can be changed while it runs
    calllog    records of calls, their file, waiting for conditions
    stats      counts
    clock      wall time, and the time that limits count in

Pure, no I/O and no clock::

    ask        what a request asks for
    faults     the words and the plans
    script     rules, chaos, and how far each request is in its plan
    storm      faults over every call for a time
    quota      what one key may use in a minute, and has used
    accounts   the limits of all keys: headers and refusals
    reactions  a fault -> status, headers, bytes, manner
    answers    OpenAI-shaped bodies
    latency    distributions

And for the command: `options`, `__main__`.
"""

from simulator.calllog import Call
from simulator.faults import PlanError
from simulator.latency import Latencies, parse_latencies
from simulator.quota import LimitError, Limits
from simulator.script import Chaos, Rule, parse_chaos, parse_rules, rule
from simulator.server import Simulator, tls_context
from simulator.stats import Stats
from simulator.wire import How

__all__ = [
    "Call",
    "Chaos",
    "How",
    "Latencies",
    "LimitError",
    "Limits",
    "PlanError",
    "Rule",
    "Simulator",
    "Stats",
    "parse_chaos",
    "parse_latencies",
    "parse_rules",
    "rule",
    "tls_context",
]
