"""Who takes part in `./dev bench`: one row each, with what it is and how it is told about a job."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks import letters
from benchmarks.letters import Letter
from benchmarks.peers.asked import JOBS
from producer_sdk.wire import Dedupe

# Far away: they are counted for each call and never reached.
_FAR_LIMITS: Final = {
    "endpoints.main": ("requests_per_minute = 10000000", "tokens_per_minute = 100000000000")
}
_FAR_BUDGET: Final = {"budgets.bench": ('per = "month"', 'usd = "100000.00"')}
_ALL: Final = {**_FAR_LIMITS, **_FAR_BUDGET}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A worker that is measured.

    `told` wraps a request into the message that its workers take; `queue_arguments` are those with which its library
    declares a queue; `calls` is false for a floor without an upstream; `program` is what is run where that is not called by the name.
    """

    name: str
    title: str
    told: Callable[[str], Letter] = letters.plain
    queue_arguments: Mapping[str, Any] = field(default_factory=dict)
    calls: bool = True
    program: str | None = None

    @property
    def module(self) -> str:
        """What is run as its process."""
        return f"benchmarks.peers.{self.program or self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Warren:
    """Warren's own worker with these lines in its configuration, by table; its jobs go to `lanes` in turn."""

    name: str
    title: str
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _ALL)
    dedupe: Dedupe = Dedupe.CACHE
    lanes: tuple[str, ...] = ("standard.interactive",)
    calls: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """A way to publish jobs, of `benchmarks.publishing`; nobody serves the queue meanwhile."""

    name: str
    title: str


PEERS: Final = (
    Contestant(name="echo", title="floor: AMQP alone, no call", calls=False),
    Contestant(name="bare", title="floor: aiormq + pyqwest, no feature"),
    Contestant(name="gateway", title="a gateway as many write it: aio-pika + httpx"),
    Contestant(name="faststream_httpx", title="FastStream + httpx"),
    Contestant(name="faststream_aiohttp", title="FastStream + aiohttp"),
    Contestant(name="taskiq_httpx", title="taskiq + httpx", told=letters.taskiq),
    Contestant(name="celery_gevent", title="Celery, gevent + requests", told=letters.celery),
    Contestant(name="celery_prefork", title="Celery, prefork + requests", told=letters.celery),
    Contestant(
        name="dramatiq_threads",
        title="dramatiq, threads + requests",
        told=letters.dramatiq,
        queue_arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{JOBS}.XQ"},
    ),
)

EVERYTHING_ON: Final = Warren(name="warren", title="Warren, everything on")

FEATURES: Final = (
    Warren(name="warren_no_limits", title="- without an endpoint's limits", settings=_FAR_BUDGET),
    Warren(name="warren_no_budget", title="- without a budget", settings=_FAR_LIMITS),
    Warren(name="warren_no_cache", title="- without the response cache", dedupe=Dedupe.INFLIGHT),
    Warren(name="warren_no_dedupe", title="- without sharing answers", dedupe=Dedupe.OFF),
    Warren(
        name="warren_no_logs",
        title="- without a log line a job",
        settings={**_ALL, "worker": ('log_level = "error"',)},
    ),
    Warren(
        name="warren_least",
        title="- without all of these",
        settings={"worker": ('log_level = "error"',)},
        dedupe=Dedupe.OFF,
    ),
    Warren(
        name="warren_power",
        title="+ commits that survive a loss of power",
        settings={**_ALL, "store": ('durability = "power"',)},
    ),
)

# One connection bears many calls, where else each call in flight has one of its own.
MULTIPLEXED: Final = (
    Warren(
        name="warren_http2",
        title="Warren, everything on, over HTTP/2",
        settings={
            **_ALL,
            "endpoints.main": (*_FAR_LIMITS["endpoints.main"], 'http = "2"'),
        },
    ),
)

# Who knows what is urgent.
OVERTAKING: Final = (
    Contestant(
        name="bare_priority",
        title="floor, a queue with priorities",
        queue_arguments={"x-max-priority": 10},
        program="bare",
    ),
    Warren(
        name="warren_bulk",
        title="Warren, the others in the bulk lane",
        settings={**_ALL, "tiers.standard": ("bulk_concurrency = 200",)},
        lanes=("standard.bulk",),
    ),
)

PUBLISHERS: Final = (
    Publisher(name="publish_raw", title="floor: aiormq, 200 unconfirmed"),
    Publisher(name="sdk_many", title="SDK, submit_many, 200 unconfirmed"),
    Publisher(name="sdk_one", title="SDK, one after the other"),
    Publisher(name="sdk_sync", title="SDK without a loop, one by one"),
)

# What no setting switches off, so that its price is in every figure of Warren's.
ALWAYS_ON: Final = (
    "the embedded ledger: found, begun and ended, each a transaction",
    "the claim on a job's call, and joining a call that still runs",
    "the confirm of each reply before its acknowledgement",
    "reading that a broken message cannot harm",
    "metrics and health",
    "deadlines, tries, classification, the circuit, the choice of an endpoint",
    "what an answer cost",
)

ALL: Final = (*PEERS, EVERYTHING_ON, *FEATURES, *MULTIPLEXED, *OVERTAKING, *PUBLISHERS)


def chosen(names: Collection[str]) -> tuple[Contestant | Warren | Publisher, ...]:
    """Give the contestants with these names, in the order of the table.

    Raises:
        ValueError: one is not known; the text lists those that are.
    """
    wanted = set(names)
    known = {each.name for each in ALL}
    if unknown := sorted(wanted - known):
        raise ValueError(
            f"no contestant {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    return tuple(each for each in ALL if each.name in wanted)


def edited(text: str, settings: Mapping[str, tuple[str, ...]]) -> str:
    """Give a TOML text with lines in its tables, instead of those with the same key; a table that is not there comes at the end."""
    for table, lines in settings.items():
        before, header, rest = text.partition(f"[{table}]\n")
        inside, opening, after = rest.partition("\n[")
        given = {line.partition(" ")[0] for line in lines}
        kept = (line for line in inside.splitlines() if line.partition(" ")[0] not in given)
        body = "\n".join([*lines, *kept])
        text = (
            f"{before}{header}{body}\n{opening}{after}"
            if header
            else f"{text}\n[{table}]\n{body}\n"
        )
    return text
