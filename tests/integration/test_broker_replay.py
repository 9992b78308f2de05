import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from tests.faults.vhost import Vhost
from tests.integration.house import (
    QUEUE,
    Ears,
    House,
    WallClock,
    open_house,
    open_worker,
)
from worker.broker.connection import Connections
from worker.broker.publisher import Publisher
from worker.broker.replay import Progress, Replay, Report
from worker.broker.trouble import Troubles
from worker.core.kinds import Kind
from worker.core.letters import Selection
from worker.core.model import Failed, Job, Record, State, Tally
from worker.errors import BrokerUnavailable

pytestmark = pytest.mark.broker

DEAD = "warren.dead.standard"


@pytest_asyncio.fixture
async def house(vhost: Vhost) -> AsyncIterator[House]:
    async with open_house(vhost) as opened:
        yield opened


@asynccontextmanager
async def open_replay(
    house: House, *, report: Report = lambda _: None, span: timedelta | None = None, flight: int = 5
) -> AsyncIterator[Replay]:
    troubles = Troubles(Ears())
    connections = Connections.to(house.address("operator"), troubles=troubles)
    publisher = Publisher(connections.publish, troubles)
    try:
        yield Replay(
            link=connections.consume,
            publisher=publisher,
            clock=WallClock(),
            report=report,
            span=span,
            flight=flight,
        )
    finally:
        await connections.close()


def record(job: Job, kind: Kind) -> Record:
    return Record(
        job_id=job.id,
        run=job.run,
        state=State.DEAD_LETTERED,
        outcome=Failed(kind=kind),
        tally=Tally(attempts=1),
        waited=timedelta(),
        upstream=timedelta(),
        total=timedelta(),
    )


async def kill(house: House, count: int, kind: Kind = Kind.TIMEOUT, prefix: str = "s") -> list[Job]:
    """Make so many jobs, and let them die."""
    async with open_worker(house, concurrency=count) as worker:
        await asyncio.gather(*(house.submit(f"{prefix}{number}") for number in range(count)))
        deliveries = await worker.desk.wait_for(count)

        async def end(index: int) -> None:
            delivery = deliveries[index]
            await delivery.publish_dead(delivery.job, record(delivery.job, kind), [])
            await delivery.ack()

        await asyncio.gather(*(end(index) for index in range(count)))
        await worker.intake.quiet()
        return [delivery.job for delivery in deliveries]


async def take_all(house: House, count: int) -> list[Job]:
    async with open_worker(house, concurrency=1000) as worker:
        return [delivery.job for delivery in await worker.desk.wait_for(count)]


async def test_a_replayed_letter_is_the_next_run_of_the_same_job_with_its_time_anew(
    house: House,
) -> None:
    (old,) = await kill(house, 1)
    before = datetime.now(UTC)
    async with open_replay(house) as replay:
        progress = await replay.run(Selection(), ["standard"])
    assert progress == Progress(total=1, seen=1, replayed=1)
    (new,) = await take_all(house, 1)
    assert (new.id, new.run, new.generation, new.first) == (old.id, 2, 0, False)
    assert (new.tenant, new.submission, new.body) == (old.tenant, old.submission, old.body)
    assert new.deadline - new.received_at == old.deadline - old.received_at
    assert new.deadline >= before + timedelta(minutes=5) - timedelta(seconds=1)
    assert await house.count(DEAD) == 0


async def test_a_replay_can_give_jobs_another_span(house: House) -> None:
    await kill(house, 1)
    async with open_replay(house, span=timedelta(hours=2)) as replay:
        await replay.run(Selection(), ["standard"])
    (new,) = await take_all(house, 1)
    assert new.deadline - new.received_at == timedelta(hours=2)


async def test_only_what_is_selected_is_replayed_and_the_rest_stays_in_its_place(
    house: House,
) -> None:
    timeouts = await kill(house, 3, Kind.TIMEOUT, "t")
    await kill(house, 2, Kind.INVALID_REQUEST, "i")
    async with open_replay(house) as replay:
        progress = await replay.run(Selection(kinds=frozenset({Kind.TIMEOUT})), ["standard"])
    assert (progress.total, progress.replayed) == (5, 3)
    assert {job.id for job in await take_all(house, 3)} == {job.id for job in timeouts}
    assert await house.count(DEAD) == 2
    async with open_replay(house) as replay:
        progress = await replay.run(Selection(tiers=frozenset({"premium"})), ["standard"])
    assert progress == Progress()


async def test_a_killed_replay_loses_nothing_and_the_next_one_does_the_rest(house: House) -> None:
    jobs = await kill(house, 300)
    enough = asyncio.Event()

    def report(progress: Progress) -> None:
        if progress.replayed >= 60:
            enough.set()

    async with open_replay(house, report=report) as replay:
        running = asyncio.create_task(replay.run(Selection(), ["standard"]))
        await enough.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    left, done = await house.count(DEAD), await house.count(QUEUE)
    assert 0 < left < 300
    assert left + done >= 300
    async with open_replay(house) as replay:
        await replay.run(Selection(), ["standard"])
    total = await house.count(QUEUE)
    runs = await take_all(house, total)
    assert {job.id for job in runs} == {job.id for job in jobs}
    assert {job.run for job in runs} == {2}
    assert await house.count(DEAD) == 0


async def test_a_replay_whose_connection_is_cut_says_so_and_loses_nothing(house: House) -> None:
    await kill(house, 300)
    enough = asyncio.Event()

    def report(progress: Progress) -> None:
        if progress.replayed >= 50:
            enough.set()

    async with open_replay(house, report=report) as replay:
        running = asyncio.create_task(replay.run(Selection(), ["standard"]))
        await enough.wait()
        await asyncio.to_thread(house.admin.close_connections, "operator")
        with pytest.raises(BrokerUnavailable, match="run it again for the rest"):
            await running
    assert await house.count(DEAD) + await house.count(QUEUE) >= 300


async def test_a_letter_without_a_queue_to_go_to_stays(house: House) -> None:
    await kill(house, 1)
    await house.api("DELETE", f"queues/{{v}}/{QUEUE}")
    async with open_replay(house) as replay:
        progress = await replay.run(Selection(), ["standard"])
    assert (progress.replayed, progress.homeless) == (0, 1)
    assert await house.count(DEAD) == 1


async def test_a_message_that_the_broker_dead_lettered_by_itself_is_not_believed(
    house: House,
) -> None:
    now = int(datetime.now(UTC).timestamp() * 1000)
    forged = {
        "x-warren-tenant": "victim",
        "x-warren-run": 1,
        "x-warren-generation": 0,
        "x-warren-received": now,
        "x-warren-deadline": now + 60_000,
        "x-warren-died": now,
        "x-warren-tier": "standard",
        "x-warren-lane": "interactive",
        "x-warren-kind": "timeout",
    }
    for user_id in ("producer", None):
        properties = {"expiration": "1", "user_id": user_id, "reply_to": "victim.client"}
        await house.submit("s1", headers=forged, properties=properties)
    async with asyncio.timeout(20):
        while await house.count(DEAD) < 2:
            pass
    async with open_replay(house) as replay:
        progress = await replay.run(Selection(), ["standard"])
    assert (progress.unreadable, progress.replayed) == (2, 0)
    assert await house.count(QUEUE) == 0
    assert await house.count(DEAD) == 2
