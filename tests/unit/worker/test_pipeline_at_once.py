"""Jobs of which nothing has to be found out first: they begin with one visit to the store, and all others do not."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from producer_sdk.wire import Dedupe, Source, Status
from tests.contract.world import (
    ANSWER,
    BEGAN,
    LATER_ANSWER,
    EmbeddedFleet,
    asked,
    complete,
    make_job,
)
from tests.unit.worker.stand import CONCURRENCY, ONE_REQUEST, FakeDelivery, Spy, Stand
from worker.core.kinds import Kind
from worker.core.lanes import Closed
from worker.core.model import Found, Job
from worker.core.seats import NoSeat, Obstacle, Unready
from worker.core.terms import Terms
from worker.errors import StoreUnavailable

MOMENT = NoSeat(wait=timedelta(milliseconds=5), obstacle=Obstacle.REQUESTS, kind=Kind.RATE_LIMITED)


@dataclass(slots=True)
class Asked(Spy):
    """A ledger that notes how it is asked before a call; it `fails` so many times to begin."""

    fails: int = 0
    asks: list[str] = field(default_factory=list)

    async def find(self, job: Job, *, cached: bool = False) -> Found | None:
        self.asks.append("find")
        return await self.real.find(job, cached=cached)

    async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
        del job, terms
        self.asks.append("begin" if cached is None else "find and begin")
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable("for a moment")


class House:
    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.ledger = Asked(stand.store.ledger, [])
        self.line = stand.line(ledger=lambda _: self.ledger)

    async def asks(self, job: Job) -> tuple[list[str], FakeDelivery]:
        """Tell how the ledger is asked before a job's call, and give its delivery."""
        delivery = FakeDelivery(job)
        await asyncio.wait_for(self.line.handle(delivery), 10)
        return self.ledger.asks, delivery


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    fleet = EmbeddedFleet(tmp_path)
    yield House(Stand(store=await fleet.join(), clock=fleet.clock, ear=fleet.ear))
    await fleet.close()


@pytest.mark.parametrize("dedupe", list(Dedupe))
async def test_a_new_job_that_waits_for_nothing_is_found_and_begun_at_once(
    house: House, dedupe: Dedupe
) -> None:
    asks, delivery = await house.asks(make_job(dedupe=dedupe))
    assert asks == ["find and begin"]
    assert delivery.replies[0][0].attempts == 1


async def test_what_is_cached_is_answered_with_that_and_nothing_is_taken(house: House) -> None:
    job = make_job(dedupe=Dedupe.CACHE)
    house.stand.upstream.due = (ONE_REQUEST,)
    await house.stand.store.cache.put(job.fingerprint, LATER_ANSWER)
    asks, delivery = await house.asks(job)
    assert asks == ["find and begin"]
    assert delivery.replies[0][0].source is Source.CACHE
    assert house.stand.upstream.calls == []
    assert len(house.stand.upstream.left) == 1
    assert house.line.slots["small.interactive"].calls._taken == 0


async def test_what_was_decided_is_carried_out_with_that(house: House) -> None:
    job = make_job()
    await complete(house.stand.store.ledger, job)
    asks, delivery = await house.asks(job)
    assert asks == ["find and begin"]
    assert delivery.replies[0][0].body == ANSWER.body
    assert house.stand.upstream.calls == []


async def test_what_was_cancelled_before_it_came_ends_so(house: House) -> None:
    job = make_job()
    await house.stand.store.ledger.cancel(asked(job, by_key=True))
    asks, delivery = await house.asks(job)
    assert asks == ["find and begin", "find"]
    assert delivery.replies[0][0].status is Status.CANCELLED
    assert house.stand.upstream.calls == []


@pytest.mark.parametrize(
    "because", ["flaw", "expired", "closed", "rationed", "unready", "no seat", "slots", "early"]
)
async def test_a_job_that_cannot_begin_now_is_looked_for_first(house: House, because: str) -> None:
    """So what an answer that is there needs not is not waited for."""
    stand, job = house.stand, make_job(dedupe=Dedupe.CACHE)
    calls = house.line.slots["small.interactive"].calls
    match because:
        case "flaw":
            job = replace(job, flaw="not JSON")
        case "expired":
            job = replace(job, deadline=BEGAN)
        case "closed":
            stand.gate.shut = Closed(reason="an operator", until=BEGAN + timedelta(minutes=1))
        case "rationed":
            stand.gate.permits = 1
        case "unready":
            until = stand.clock.now() + timedelta(minutes=1)
            stand.upstream.readiness = lambda _: Unready(until=until)
        case "no seat":
            stand.upstream.no_seats = [MOMENT]
        case "slots":
            for _ in range(CONCURRENCY):
                assert calls.take()
        case _:
            job = replace(job, not_before=BEGAN + timedelta(hours=1), first=False, generation=1)
    kept = job.deadline > BEGAN and job.flaw is None
    if kept:
        await stand.store.cache.put(job.fingerprint, LATER_ANSWER)
    asks, delivery = await house.asks(job)
    assert asks == ["find"]
    assert stand.upstream.calls == []
    assert (delivery.replies[0][0].source is Source.CACHE) is kept
    assert stand.gate.permits in {None, 1}


async def test_a_permit_that_is_gone_meanwhile_is_waited_for_behind_a_look(house: House) -> None:
    house.stand.upstream.due = (ONE_REQUEST,)
    await house.stand.store.limits.take([replace(ONE_REQUEST, amount=600)])
    asks, delivery = await house.asks(make_job())
    assert asks[:2] == ["find and begin", "find"]
    assert house.stand.upstream.full
    assert delivery.replies[0][0].attempts == 1


async def test_who_follows_another_call_looks_at_it_afterwards(house: House) -> None:
    job = make_job(dedupe=Dedupe.INFLIGHT)
    house.stand.upstream.gate.clear()
    first = asyncio.create_task(house.line.handle(FakeDelivery(job)))
    await house.stand.upstream.begun.wait()
    follower = FakeDelivery(make_job("k2", "s2", dedupe=Dedupe.INFLIGHT))
    second = asyncio.create_task(house.line.handle(follower))
    async with asyncio.timeout(10):
        while not follower.nexts:  # noqa: ASYNC110  # until it waits for the call
            await asyncio.sleep(0)
    house.stand.upstream.gate.set()
    await asyncio.wait_for(asyncio.gather(first, second), 10)
    assert follower.replies[0][0].source is Source.SHARED
    assert len(house.stand.upstream.calls) == 1
    assert "find" in house.ledger.asks


async def test_a_store_that_fails_is_asked_from_the_top(house: House) -> None:
    house.ledger.fails = 1
    async with house.stand.looking():
        asks, delivery = await house.asks(make_job())
    assert asks == ["find and begin", "find", "begin"]
    assert delivery.replies[0][0].attempts == 1
    assert house.line.slots["small.interactive"].calls._taken == 0
    assert len(house.stand.upstream.left) == 2
