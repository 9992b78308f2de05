"""The composition root: builds a worker from its settings, starts it, and brings it down in order.

Down means: quiet (take no more), drain (finish what is held, within the grace period), stop (cancel the rest,
whose deliveries go back to the broker unsettled).
"""

import asyncio
import errno
import random
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import Any, Final

import uvloop

from producer_sdk.wire import Lane as LaneName
from producer_sdk.wire import request_key
from worker import descriptors, garbage, parts, stores
from worker.asking import Asking
from worker.background import background, every
from worker.broker.asks import AskIntake
from worker.broker.connection import Link
from worker.broker.delivery import Outlet
from worker.broker.intake import Intake, TierIntake
from worker.broker.publisher import Publisher
from worker.broker.trouble import Troubles
from worker.calloff import call_off
from worker.clock import SystemClock
from worker.core.events import TierPaused
from worker.core.lanes import Cause, LaneRules
from worker.counting import OneByOne
from worker.crew import Crew
from worker.errors import CannotStart, StoreUnavailable
from worker.keys import read_managed
from worker.lanes import Gate, Lane, Lanes
from worker.outage import Outage, opened
from worker.ownlimits import OwnLimits
from worker.patience import (
    PatientLedger,
    PatientLimits,
    PatientRationing,
    PatientSpend,
    WatchedOrders,
)
from worker.pipeline import Line
from worker.ports import Clock, Listener, Store, Upstream
from worker.settings import Address as ListenAddress
from worker.settings import Settings, secrets_of
from worker.slots import LaneSlots
from worker.spending import Spending
from worker.telemetry.fanout import Fanout
from worker.telemetry.health import Health
from worker.telemetry.libraries import library_lines
from worker.telemetry.logs import Logs
from worker.telemetry.metrics import Metrics
from worker.telemetry.readiness import Pulse, Readiness
from worker.telemetry.sink import Sink, open_sink
from worker.unrecorded import LateRecords

_BEAT_S: Final = 1.0
_QUIET_S: Final = 5.0
_ASKS: Final = "asks"
# A log that nobody reads any more, or that has no room, must not keep a worker from going down in order.
_UNREAD: Final = (OSError, ValueError)


def run(
    settings: Settings, *, listeners: Sequence[Listener] = (), clock: Clock | None = None
) -> int:
    """Run a worker until SIGTERM or SIGINT; 0: all that it held was settled, 1: some was given back.

    `listeners` are told every event, before logs and metrics. `clock` is the system's, unless a test gives another.

    Raises:
        SettingsError: a manager does not give secrets that the settings say it keeps.
    """
    read_managed(secrets_of(settings))
    descriptors.raise_limit()
    return uvloop.run(serve(settings, listeners=listeners, clock=clock or SystemClock()))


async def serve(settings: Settings, *, listeners: Sequence[Listener], clock: Clock) -> int:
    """Build a worker, run it until it is told to end, and bring it down in order."""
    sink = open_sink(clock, level=settings.worker.log_level, style=settings.worker.log_format)
    with library_lines(sink, clock):
        for warning in settings.warnings:
            sink.warning("settings", warning=warning)
        if (shortage := descriptors.shortage(settings)) is not None:
            sink.warning("settings", warning=shortage)
        told = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        async with AsyncExitStack() as resources:
            building = asyncio.ensure_future(
                _build(settings, clock, sink, resources, listeners=listeners)
            )
            if not await _done_before(told, building):
                sink.info("stopped", drained=True)
                return 0
            worker = building.result()
            garbage.settle(jobs=descriptors.jobs_at_once(settings))
            sink.info("started", tiers=sorted(settings.tiers), health=worker.address)
            await told.wait()
            with suppress(*_UNREAD):
                sink.info("draining", held=worker.crew.held)
            drained = await worker.down(settings)
        with suppress(*_UNREAD):
            sink.info("stopped", drained=drained)
    return 0 if drained else 1


async def _done_before(told: asyncio.Event, work: asyncio.Future[Any]) -> bool:
    """Wait for the work, or until the worker is told to end: then the work is cancelled, and this is False."""
    ending = asyncio.ensure_future(told.wait())
    try:
        await asyncio.wait({ending, work}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
    return not work.cancelled()


class _Worker:
    """What is running, and how it goes down."""

    def __init__(
        self,
        *,
        crew: Crew,
        line: Line,
        intakes: Sequence[Intake[Any]],
        readiness: Readiness,
        address: str,
    ) -> None:
        self.crew = crew
        self._line = line
        self.address = address
        self._intakes = intakes
        self._readiness = readiness

    async def down(self, settings: Settings) -> bool:
        """Quiet, drain, stop; True when all that was held was settled."""
        self._readiness.draining()
        grace = settings.worker.grace_period
        quiet = asyncio.gather(*(intake.quiet() for intake in self._intakes))
        # A broker that does not answer must not eat the grace period of the calls in flight.
        await asyncio.wait({quiet}, timeout=min(_QUIET_S, grace.total_seconds()))
        quiet.cancel()
        await asyncio.gather(quiet, return_exceptions=True)
        self._line.quiet()
        drained = await self.crew.drain(grace)
        await self.crew.stop()
        return drained


def _metrics(settings: Settings, clock: Clock) -> Metrics:
    """Give the metrics of what is configured; they show its limits from the start."""
    tiers = {name: tier.endpoints for name, tier in settings.tiers.items()}
    metrics = Metrics(tiers, clock, models=parts.models_named(settings))
    parts.tell_limits(settings, metrics)
    return metrics


async def _build(
    settings: Settings,
    clock: Clock,
    sink: Sink,
    resources: AsyncExitStack,
    *,
    listeners: Sequence[Listener],
) -> _Worker:
    """Build and start every part; what is opened is closed by `resources`, last first."""
    metrics = _metrics(settings, clock)
    listener = Fanout(*listeners, Logs(sink, clock), metrics)
    rules = parts.lane_rules(settings.tiers)
    pulse, readiness = Pulse(clock), Readiness([*rules, _ASKS])
    metrics.watch_ready(lambda: not readiness.missing())
    health = Health(clock, pulse=pulse, readiness=readiness, metrics=metrics.page)
    try:
        host, port = health.start(settings.http.listen.host, settings.http.listen.port)
    except OSError as error:
        raise CannotStart(_unheard(settings.http.listen, error)) from error
    resources.callback(health.stop)

    # Alive from here on, though it may have to wait for its store.
    background(resources, listener, lambda: every(_BEAT_S, pulse.beat), "pulse")
    store = await opened(
        lambda: stores.store(settings.store, clock, listener),
        resources,
        clock=clock,
        listener=listener,
    )
    outage = Outage(probe=store.renew, clock=clock, listener=listener)
    limits = _limits(settings, store, outage, clock)
    upstream = parts.upstream(settings, clock, listener, limits=limits)
    resources.push_async_callback(upstream.aclose)
    troubles = Troubles(listener)
    connections = parts.connections(settings.broker, troubles)
    resources.push_async_callback(connections.close)
    intakes: dict[str, TierIntake] = {}

    def pause(event: TierPaused) -> None:
        intake = intakes[request_key(event.tier, LaneName(event.lane))]
        if not intake.paused_by(event.cause):
            for_ = None if event.seconds is None else timedelta(seconds=event.seconds)
            intake.pause(for_, event.reason, event.cause)

    slots = {
        request_key(tier, lane): LaneSlots.of(
            rules[request_key(tier, lane)].concurrency, settings.tiers[tier].attempt_timeout
        )
        for tier, lane in parts.lanes_of(settings.tiers)
    }
    gates = _gates(rules, store, outage, clock)
    crew, line = _crew_and_line(
        settings,
        store,
        outage,
        one_by_one=_one_by_one(resources, store, limits, outage),
        upstream=upstream,
        clock=clock,
        listener=listener,
        # Neither logs nor metrics follow a job's steps.
        steps=listener if listeners else None,
        slots=slots,
        gates=gates,
        pause=pause,
        spending=_spending(resources, settings, store, outage, clock=clock),
    )
    outlet = Outlet(
        publisher=Publisher(connections.publish, troubles),
        listener=listener,
        clock=clock,
        steps=line.steps,
    )
    for tier, lane in parts.lanes_of(settings.tiers):
        key = request_key(tier, lane)
        intakes[key] = TierIntake(
            rules=parts.tier_rules(settings.tiers[tier], lane),
            concurrency=rules[key].concurrency,
            link=connections.consume,
            outlet=outlet,
            troubles=troubles,
            take=crew.take,
            spawn=crew.spawn,
            hold=parts.hold(settings.broker),
        )
        metrics.watch_in_flight(tier, lane.value, slots[key].calling.__len__)
    lanes = Lanes(
        {
            key: Lane(gate=gates[key], slots=slots[key], consumer=intake)
            for key, intake in intakes.items()
        },
        orders=WatchedOrders(store.lane_orders, outage),
        listener=listener,
    )
    # Before anything is taken: a lane that was paused stays so across a restart. Unknown orders close every lane.
    with suppress(StoreUnavailable):
        await lanes.look()
    background(resources, listener, lanes.run, "lanes")
    for key, intake in intakes.items():
        background(resources, listener, intake.run, f"intake {key}")
    asks = _take_asks(resources, connections.consume, outlet, troubles, crew=crew, line=line)

    all_intakes: list[Intake[Any]] = [*intakes.values(), asks]
    _pause_for(outage, [asks, *(intakes[key] for key in intakes if not line.calls_on(key))])
    background(resources, listener, outage.run, "outage")

    def beat() -> None:
        readiness.broker(connected=connections.connected)
        readiness.store(ok=outage.answering)
        readiness.consumer(_ASKS, consuming=asks.consuming or asks.paused)
        for key, intake in intakes.items():
            readiness.consumer(key, consuming=intake.consuming or intake.paused)

    background(resources, listener, lambda: every(_BEAT_S, beat), "beat")
    # Not with the first publish: a worker that cannot publish should say so before it takes a job, and one that
    # has nothing to publish is no less ready for that.
    background(resources, listener, connections.stay, "connect")
    return _Worker(
        crew=crew,
        line=line,
        intakes=all_intakes,
        readiness=readiness,
        address=f"{host}:{port}",
    )


def _crew_and_line(
    settings: Settings,
    store: Store,
    outage: Outage,
    *,
    one_by_one: OneByOne,
    upstream: Upstream,
    clock: Clock,
    listener: Listener,
    steps: Listener | None,
    slots: Mapping[str, LaneSlots],
    gates: Mapping[str, Gate],
    pause: Callable[[TierPaused], None],
    spending: Spending,
) -> tuple[Crew, Line]:
    """Give the line, and the crew that carries deliveries down it."""
    calls_on = settings.store.on_outage == "call"

    def spawn(work: Coroutine[Any, Any, None]) -> None:
        crew.spawn(work)

    late = LateRecords(ledger=PatientLedger(store.ledger, outage), spawn=spawn, listener=listener)
    line = Line(
        ledger=PatientLedger(store.ledger, outage, another_way=calls_on, one_by_one=one_by_one),
        upstream=upstream,
        clock=clock,
        listener=listener,
        steps=steps,
        policy=parts.retry_policy(settings.retry),
        tries=settings.retry.tries,
        slots=slots,
        gates=gates,
        pause=pause,
        chance=random.random,
        outage=outage,
        late=late if calls_on else None,
        spending=spending,
    )
    crew = Crew(handle=line.handle, set_aside=line.set_aside, listener=listener)
    return crew, line


def _spending(
    resources: AsyncExitStack, settings: Settings, store: Store, outage: Outage, *, clock: Clock
) -> Spending:
    """Give what holds jobs to their budgets; it settles what it can before the store closes."""
    spending = parts.spending(settings, spend=PatientSpend(store.spend, outage), clock=clock)
    resources.push_async_callback(spending.aclose)
    return spending


def _one_by_one(
    resources: AsyncExitStack, store: Store, limits: PatientLimits, outage: Outage
) -> OneByOne:
    """Give what counts a job's terms where its ledger does not; what goes back does so before the store closes."""
    one_by_one = OneByOne(limits=limits, spend=PatientSpend(store.spend, outage))
    resources.push_async_callback(one_by_one.aclose)
    return one_by_one


def _limits(settings: Settings, store: Store, outage: Outage, clock: Clock) -> PatientLimits:
    """Give what counts against accounts' limits: the store, or without it what this process knows."""
    own = OwnLimits(clock) if settings.store.on_outage == "call" else None
    return PatientLimits(store.limits, outage, own=own)


def _gates(
    rules: Mapping[str, LaneRules], store: Store, outage: Outage, clock: Clock
) -> dict[str, Gate]:
    """Give each lane's gate, by `<tier>.<lane>`."""
    rationing = PatientRationing(store.rationing, outage)
    return {key: Gate(key, each, rationing=rationing, clock=clock) for key, each in rules.items()}


def _pause_for(outage: Outage, intakes: Sequence[Intake[Any]]) -> None:
    """Let the intakes pause while the store does not answer."""

    def follow() -> None:
        for intake in intakes:
            if outage.answering:
                intake.resume(Cause.STORE)
            else:
                intake.pause(None, "the store does not answer", Cause.STORE)

    outage.follow(follow)
    if not outage.answering:
        follow()


def _take_asks(
    resources: AsyncExitStack,
    link: Link,
    outlet: Outlet,
    troubles: Troubles,
    *,
    crew: Crew,
    line: Line,
) -> AskIntake:
    """Start to answer asks, and to close the calls that they cancel."""
    closing = asyncio.Event()
    asking = Asking(ledger=line.ledger, listener=line.listener, noted=closing.set)
    asks = AskIntake(
        link=link,
        outlet=outlet,
        troubles=troubles,
        take=lambda ask: crew.spawn(line.until_down(lambda: asking.own(ask))),
        spawn=crew.spawn,
    )
    background(resources, line.listener, asks.run, "intake asks")
    background(resources, line.listener, lambda: call_off(line, closing), "call off")
    return asks


def _unheard(listen: ListenAddress, error: OSError) -> str:
    """Say that the address of the probes cannot be listened on, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"{listen} is taken by another process, perhaps by another worker: give this one an address of its own "
            "in http.listen or WARREN_HTTP__LISTEN, such as 127.0.0.1:0 for any free port"
        )
    return (
        f"{listen} cannot be listened on ({error.strerror or error}): set http.listen or WARREN_HTTP__LISTEN to an "
        "address of this machine, with a port above 1023 or 0 for any free one"
    )
