"""Looks at the broker and at this machine, and has what is found judged. Nothing is changed."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from producer_sdk.wire import Lane
from worker import descriptors
from worker.broker.inspection import Inspected, inspect
from worker.broker.management import Management
from worker.broker.names import jobs_queue
from worker.broker.topology import topology as topology_of
from worker.broker.trouble import Troubles
from worker.cli.doctor import broker, clock, host, stored
from worker.cli.doctor.finding import BROKER, MANAGEMENT, Finding, failed, ok, warn
from worker.clock import SystemClock
from worker.core.events import Event
from worker.errors import BrokerUnavailable, SettingsError
from worker.parts import broker_address, broker_tls
from worker.settings import Settings

_CGROUP: Final = Path("/sys/fs/cgroup")
_CLOCK: Final = SystemClock()


def broker_findings(settings: Settings) -> Iterator[Finding]:
    """Look at the broker over AMQP, as the configured user."""
    queues = [jobs_queue(tier, lane) for tier in settings.tiers for lane in Lane]
    try:
        found = asyncio.run(_inspected(settings, queues))
    except (BrokerUnavailable, SettingsError) as error:
        yield failed(
            BROKER, str(error), "start the broker, or set broker.url and broker.password_file"
        )
        return
    address = broker_address(settings.broker)
    hosts = " or ".join(str(url.host) for url in address.urls)
    yield ok(BROKER, f"{hosts} takes user {address.user}")
    yield broker.version(found.version)
    yield broker.queue_type(settings.broker.queue_type, found.version)
    yield broker.channels(len(queues), found.channel_max)
    yield broker.queues(found.refused)


def management_findings(
    settings: Settings, management: Management | None, tenants: tuple[str, ...]
) -> Iterator[Finding]:
    """Look at the broker through its management API; without one, say what could not be looked at."""
    attempts = {name: tier.attempt_timeout for name, tier in settings.tiers.items()}
    configured = settings.broker.consumer_timeout
    if management is None:
        mend = "warren doctor --management-url http://admin:PASSWORD@HOST:15672"
        yield warn(MANAGEMENT, "none is configured: topology and clock were not checked", mend)
        yield from broker.delivery_timeout(attempts, {}, configured)
        return
    try:
        asked = _CLOCK.now()
        date = management.date()
        answered = _CLOCK.now()
        wanted = topology_of(
            tuple(settings.tiers), tenants=tenants, queue_type=settings.broker.queue_type
        )
        differences = management.check(wanted)
        limits = management.delivery_timeouts()
        nodes, replicas = management.replicas()
    except BrokerUnavailable as error:
        mend = "start the broker with rabbitmq_management, or give another --management-url"
        yield failed(MANAGEMENT, str(error), mend)
        yield from broker.delivery_timeout(attempts, {}, configured)
        return
    yield ok(MANAGEMENT, f"{management.url} takes user {management.user}")
    if date is not None:
        yield clock.clock("the broker", date, asked=asked, answered=answered)
    by_tier = {
        tier: [limits[queue] for lane in Lane if (queue := jobs_queue(tier, lane)) in limits]
        for tier in settings.tiers
    }
    set_by = {tier: min(found) for tier, found in by_tier.items() if found}
    yield from broker.delivery_timeout(attempts, set_by, configured)
    yield from broker.replicas(nodes, replicas)
    yield from broker.topology(differences)


def host_findings(settings: Settings) -> Iterator[Finding]:
    """Look at this machine."""
    jobs = descriptors.jobs_at_once(settings)
    store = settings.store
    yield host.descriptors(descriptors.allowed(), jobs, descriptors.needed(settings))
    yield from stored.store_findings(store)
    yield host.memory(
        host.available_memory(
            host.text(Path("/proc/meminfo")),
            host.text(_CGROUP / "memory.max")
            or host.text(_CGROUP / "memory/memory.limit_in_bytes"),
            host.text(_CGROUP / "memory.current")
            or host.text(_CGROUP / "memory/memory.usage_in_bytes"),
        ),
        jobs,
    )
    yield host.records(
        result=store.result_ttl,
        record=store.record_ttl,
        deadline=max(tier.deadline for tier in settings.tiers.values()),
    )


async def _inspected(settings: Settings, queues: list[str]) -> Inspected:
    return await inspect(
        broker_address(settings.broker),
        queues,
        tls=broker_tls(settings.broker),
        troubles=Troubles(_Deaf()),
    )


@dataclass(frozen=True, slots=True)
class _Deaf:
    """What goes wrong is in the findings."""

    def tell(self, event: Event) -> None:
        del event
