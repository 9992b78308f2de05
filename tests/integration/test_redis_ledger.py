"""The ledger over a real Redis: what holds beside the contract, above all where an answer is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from producer_sdk.wire import Dedupe
from stack.occupancy import wait_until
from tests.contract.redis_fleet import RedisFleet, options_of
from tests.contract.test_bills import SPENT, bill
from tests.contract.test_spend import sums
from tests.contract.world import (
    ANSWER,
    BEGAN,
    DONE,
    ONE_CALL,
    SOON,
    TIMEOUT,
    Ear,
    as_ended,
    asked,
    carry_all,
    complete,
    dead_letter,
    make_job,
    park,
)
from tests.faults import stores
from tests.faults.room import RedisRoom
from tests.integration.cutter import Cutter
from worker.clock import SystemClock
from worker.core.events import LeaseRenewed, Trouble
from worker.core.model import Answered, Follow, Job, Retry, Settled, Started, Tally, next_generation
from worker.errors import StoreUnavailable
from worker.store.redis import encoding
from worker.store.redis.archive import RedisArchive
from worker.store.redis.direct import direct
from worker.store.redis.store import RedisStore

FIRST = Started(attempt=1, tally=Tally(attempts=1))


@pytest.fixture
async def fleet(redis_room: RedisRoom) -> AsyncIterator[RedisFleet]:
    founded = RedisFleet(redis_room)
    yield founded
    await founded.close()


@pytest.fixture
async def cutter(redis_room: RedisRoom) -> AsyncIterator[Cutter]:
    async with Cutter(redis_room.redis.port) as cutter:
        yield cutter


@asynccontextmanager
async def behind(cutter: Cutter, room: RedisRoom) -> AsyncIterator[RedisStore]:
    """Open a store whose answers the cutter may lose; it shows life when the test says so alone."""
    url = f"redis://127.0.0.1:{cutter.port}/0"
    options = replace(options_of(room), url=url, renew_every=timedelta(hours=1))
    async with RedisStore(options, clock=SystemClock(), listener=Ear()) as store:
        yield store


async def begin(store: RedisStore, job: Job) -> object:
    return await store.ledger.begin(job, max_attempts=9)


# What comes to the server and is not heard of


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_begin_whose_answer_is_lost_and_that_is_repeated_counts_once(
    cutter: Cutter, redis_room: RedisRoom, lost: int
) -> None:
    async with behind(cutter, redis_room) as store:
        cutter.answers_to_lose = lost
        if lost > 1:  # the first one is repeated by the connection itself
            with pytest.raises(StoreUnavailable):
                await begin(store, make_job())
        assert await begin(store, make_job()) == FIRST
        assert await store.ledger.holds(make_job())
        assert await begin(store, make_job()) == Follow(leader=make_job().id)


async def test_a_begin_whose_answer_is_lost_and_that_nobody_repeats_is_given_back(
    cutter: Cutter, redis_room: RedisRoom
) -> None:
    other = options_of(redis_room)
    async with (
        behind(cutter, redis_room) as store,
        RedisStore(other, clock=SystemClock(), listener=Ear()) as elsewhere,
    ):
        cutter.answers_to_lose = 2
        with pytest.raises(StoreUnavailable):
            await begin(store, make_job())
        assert await begin(elsewhere, make_job()) == Follow(leader=make_job().id)
        assert await store.renew()
        assert await begin(elsewhere, make_job()) == FIRST


async def test_of_a_begin_and_an_undoing_that_are_both_lost_neither_is_forgotten(
    cutter: Cutter, redis_room: RedisRoom
) -> None:
    other = options_of(redis_room)
    async with (
        behind(cutter, redis_room) as store,
        RedisStore(other, clock=SystemClock(), listener=Ear()) as elsewhere,
    ):
        cutter.answers_to_lose = 2
        with pytest.raises(StoreUnavailable):
            await begin(store, make_job())
        cutter.answers_to_lose = (
            1  # of a connection that has not worked yet, so nothing is sent again
        )
        calls = store.ledger.calls
        told = await asyncio.gather(
            calls.give_back_unheard(), begin(store, make_job()), return_exceptions=True
        )
        assert [type(each) for each in told] == [StoreUnavailable] * 2
        assert len(calls._unheard) == 2
        assert await store.renew()
        assert await begin(elsewhere, make_job()) == FIRST


async def test_a_begin_that_is_cancelled_and_whose_answer_is_lost_is_given_back(
    cutter: Cutter, redis_room: RedisRoom
) -> None:
    async with behind(cutter, redis_room) as store:
        cutter.answers_to_lose = 2
        cancelled = asyncio.create_task(begin(store, make_job()))
        await asyncio.sleep(0)
        cancelled.cancel()
        with suppress(asyncio.CancelledError):
            await cancelled
        with suppress(StoreUnavailable):
            await store.ledger.find(make_job())
        assert await store.renew()
        assert await begin(store, make_job()) == FIRST


async def test_a_begin_that_was_given_back_does_not_come_into_effect_late(
    fleet: RedisFleet,
) -> None:
    store = await fleet.join()
    scripts, job = store.ledger.calls._procedures.scripts, make_job()
    late = (*encoding.job_parts(job), "gone/1", 9, "")
    submit = store.ledger.calls._procedures.submit
    await submit(scripts.give_back, job.id, "gone/1", 60_000)
    assert await submit(scripts.begin, *late) == [b"void"]
    assert await begin(store, job) == FIRST


async def test_a_settlement_that_comes_late_takes_nothing_from_a_later_call(
    fleet: RedisFleet,
) -> None:
    store = await fleet.join()
    job = make_job()
    await begin(store, job)
    name = store.ledger.calls.name(job.id)
    await park(store.ledger, job)
    copy = next_generation(job, not_before=BEGAN)
    fleet.clock.pass_by(SOON)
    assert isinstance(await begin(store, copy), Started)
    store.ledger.calls._names[job.id] = name  # as the message says that comes late
    await park(store.ledger, job)
    store.ledger.calls._names[job.id] = ""
    assert await store.ledger.holds(copy)
    ended = as_ended(await store.ledger.end(copy, ANSWER, DONE, work=ONE_CALL, claimed=True))
    assert ended.record.tally == Tally(attempts=2, calls=2)


@pytest.mark.parametrize("lost", [1, 2])
async def test_an_end_whose_answer_is_lost_and_that_is_repeated_is_told_as_written(
    cutter: Cutter, redis_room: RedisRoom, lost: int
) -> None:
    async with behind(cutter, redis_room) as store:
        await begin(store, make_job())
        cutter.answers_to_lose = lost
        if lost > 1:
            with pytest.raises(StoreUnavailable):
                await store.ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True)
        told = await store.ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True)
        ended = as_ended(told)
        assert ended.written
        assert ended.record.tally == Tally(attempts=1, calls=1)
        assert [line.what for line in ended.history] == ["completed"]
        again = await store.ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True)
        assert not as_ended(again).written


async def test_an_end_is_not_told_as_written_because_a_cancelling_was_that_nobody_heard_of(
    cutter: Cutter, redis_room: RedisRoom
) -> None:
    async with behind(cutter, redis_room) as store:
        await begin(store, make_job())
        await park(store.ledger, make_job())
        await store.ledger.cancel(asked(make_job("other")))  # so that the server knows the script
        ask = asked(make_job())
        cutter.answers_to_lose = 2
        with pytest.raises(StoreUnavailable):
            await store.ledger.cancel(ask)
        told = await store.ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=False)
        ended = as_ended(told)
        assert not ended.written
        assert ended.record.outcome == encoding.CANCELLED
        again = await store.ledger.cancel(ask)
        assert isinstance(again, Settled)
        assert again.ended.written


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_park_whose_answer_is_lost_and_that_is_repeated_counts_once(
    cutter: Cutter, redis_room: RedisRoom, lost: int
) -> None:
    async with behind(cutter, redis_room) as store:
        await begin(store, make_job())
        cutter.answers_to_lose = lost
        if lost > 1:
            with pytest.raises(StoreUnavailable):
                await park(store.ledger, make_job())
        await park(store.ledger, make_job())
    told = RedisArchive(options_of(redis_room)).explain(make_job().id)
    assert told is not None
    assert (told.generation, told.tally) == (1, Tally(attempts=1, calls=1))
    assert [line.what for line in told.history] == ["retry"]


# The server's own limits


async def test_a_server_without_memory_begins_nothing_and_still_records_what_was_paid_for(
    fleet: RedisFleet, redis_room: RedisRoom
) -> None:
    store = await fleet.join()
    await begin(store, make_job("k1"))
    await begin(store, make_job("k2"))
    redis_room.redis.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await begin(store, make_job("k3"))
        assert await store.ledger.find(make_job("k3")) is None
        ended = await store.ledger.end(make_job("k1"), ANSWER, DONE, work=ONE_CALL, claimed=True)
        assert as_ended(ended).record.outcome == ANSWER
        await park(store.ledger, make_job("k2"))
    finally:
        redis_room.redis.ask("CONFIG", "SET", "maxmemory", "512mb")
    assert as_ended(await store.ledger.find(make_job("k1"))).record.outcome == ANSWER
    told = fleet.archive().explain(make_job("k2").id)
    assert told is not None
    assert [line.what for line in told.history] == ["retry"]


async def test_a_server_without_memory_still_records_what_others_may_share(
    fleet: RedisFleet, redis_room: RedisRoom
) -> None:
    store, job = await fleet.join(), make_job("k1", dedupe=Dedupe.INFLIGHT)
    await begin(store, job)
    async with stores.without_memory(redis_room.redis):
        ended = await store.ledger.end(job, ANSWER, DONE, work=ONE_CALL, claimed=True)
        assert as_ended(ended).written
    follower = make_job("k2", dedupe=Dedupe.INFLIGHT)
    assert isinstance(await begin(store, follower), Answered)


async def test_a_server_without_memory_still_settles_the_money_of_what_it_records(
    fleet: RedisFleet, redis_room: RedisRoom
) -> None:
    store, job = await fleet.join(), make_job("k1", dedupe=Dedupe.CACHE)
    await begin(store, job)
    to_settle = await bill(store, fingerprint=job.fingerprint)
    async with stores.without_memory(redis_room.redis):
        told = await store.ledger.end(
            job, ANSWER, DONE, work=ONE_CALL, claimed=True, bill=to_settle
        )
        assert as_ended(told).written
    assert await store.cache.get(job.fingerprint) is None
    assert sums(fleet.spend_book().standing()) == SPENT


@pytest.mark.parametrize("error", [StoreUnavailable, ZeroDivisionError], ids=["store", "bug"])
async def test_an_end_whose_money_was_not_settled_is_repeated_and_told_as_written(
    fleet: RedisFleet, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    store, job = await fleet.join(), make_job()
    await begin(store, job)
    to_settle = await bill(store, fingerprint=None)

    def refused(*_: object) -> asyncio.Future[object]:
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        answer.set_exception(error("refused"))
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(store.spend, "submit", refused)
        with pytest.raises(error, match="refused"):
            await store.ledger.end(job, ANSWER, DONE, work=ONE_CALL, claimed=True, bill=to_settle)
    told = await store.ledger.end(
        job, ANSWER, DONE, work=ONE_CALL, claimed=True, bill=to_settle.again()
    )
    assert as_ended(told).written
    assert sums(fleet.spend_book().standing()) == SPENT


async def test_a_server_without_memory_is_swept_of_open_jobs_too(
    fleet: RedisFleet, redis_room: RedisRoom
) -> None:
    store, called_for, open_job = await fleet.join(), make_job("k1"), make_job("k2")
    await begin(store, open_job)
    await park(store.ledger, open_job)
    await begin(store, called_for)
    fleet.clock.pass_by(timedelta(days=11))
    await store.renew()
    async with stores.without_memory(redis_room.redis):
        await store.sweep()
    assert fleet.archive().explain(open_job.id) is None
    assert await store.ledger.holds(called_for)


async def test_a_call_that_begins_before_the_next_renewal_outlives_the_loss_of_all_data(
    fleet: RedisFleet, redis_room: RedisRoom
) -> None:
    caller, other = await fleet.join(), await fleet.join()
    with direct(options_of(redis_room)) as redis:
        lost = redis.command("KEYS", redis.key("*").replace("{", "[{]"))
        redis.command("DEL", *lost)
    assert await begin(caller, make_job()) == FIRST
    assert isinstance(await begin(other, make_job()), Follow)
    assert await caller.ledger.holds(make_job())


async def test_what_has_outlived_its_time_leaves_no_key_behind(
    fleet: RedisFleet, redis_room: RedisRoom
) -> None:
    store, other = await fleet.join(), await fleet.join()
    await complete(store.ledger, make_job("k1", dedupe=Dedupe.CACHE))
    await carry_all(store.ledger, make_job("k2"), await dead_letter(store.ledger, make_job("k2")))
    await begin(store, make_job("k3"))
    await park(store.ledger, make_job("k3"))
    await begin(other, make_job("k4"))
    await fleet.kill(other)  # the claim of a dead process, for which nobody comes
    for number in range(250):
        await begin(store, make_job(f"more-{number}"))
        await store.ledger.end(
            make_job(f"more-{number}"), ANSWER, DONE, work=ONE_CALL, claimed=True
        )
    fleet.clock.pass_by(timedelta(days=11))
    await store.renew()
    await store.sweep()
    found = redis_room.redis.ask("KEYS", f"*{redis_room.prefix}*")
    assert isinstance(found, list)
    lasting = [str(key) for key in found if redis_room.redis.ask("PTTL", str(key)) == -1]
    assert {key.partition("}:")[2] for key in lasting} == {"format", "numbers", "owners"}


async def test_a_job_that_is_called_for_outlives_its_time(fleet: RedisFleet) -> None:
    store = await fleet.join()
    await begin(store, make_job())
    fleet.clock.pass_by(timedelta(days=11))
    await store.renew()
    await store.sweep()
    assert await store.ledger.holds(make_job())


async def test_a_jobs_history_keeps_its_newest_lines_only(fleet: RedisFleet) -> None:
    store, job = await fleet.join(), make_job()
    for _ in range(210):
        await begin(store, job)
        retry = Retry(after=timedelta())
        await store.ledger.park(job, retry, BEGAN, work=ONE_CALL, why=TIMEOUT, claimed=True)
        job = next_generation(job, not_before=BEGAN)
    told = fleet.archive().explain(job.id)
    assert told is not None
    assert [line.generation for line in told.history] == list(range(10, 210))


# Life and waiting, on the server's own clock


async def test_a_process_that_shows_no_life_for_its_lease_loses_its_claim(
    redis_room: RedisRoom,
) -> None:
    options = replace(
        options_of(redis_room),
        lease=timedelta(milliseconds=400),
        renew_every=timedelta(milliseconds=50),
    )
    async with (
        RedisStore(options, clock=SystemClock(), listener=Ear()) as holder,
        RedisStore(options, clock=SystemClock(), listener=Ear()) as other,
    ):
        await begin(holder, make_job())
        await other.ledger.released(make_job().claim_key, at_most=timedelta(milliseconds=600))
        assert isinstance(await begin(other, make_job()), Follow)  # the lease is renewed
        for task in holder._tasks:
            task.cancel()
        await other.ledger.released(make_job().claim_key, at_most=timedelta(seconds=10))
        assert isinstance(await begin(other, make_job()), Started)
        assert not await holder.ledger.holds(make_job())


async def test_a_lease_is_renewed_again_after_a_renewal_that_failed_for_whatever_reason(
    redis_room: RedisRoom,
) -> None:
    options = replace(options_of(redis_room), renew_every=timedelta(milliseconds=20))
    ear = Ear()
    async with RedisStore(options, clock=SystemClock(), listener=ear) as store:
        with direct(options) as redis:
            redis.command("SET", redis.key("owners"), "of another type")
            async with asyncio.timeout(5):
                while not any(isinstance(one, Trouble) for one in ear.heard):  # noqa: ASYNC110  # of what was told
                    await asyncio.sleep(0.005)
            redis.command("DEL", redis.key("owners"))
        ear.heard.clear()
        async with asyncio.timeout(5):
            while LeaseRenewed() not in ear.heard:  # noqa: ASYNC110  # of what was told
                await asyncio.sleep(0.005)
        assert await begin(store, make_job()) == FIRST


async def test_a_release_is_told_to_those_who_wait_and_to_nobody_else(fleet: RedisFleet) -> None:
    store, other = await fleet.join(), await fleet.join()
    told: list[str] = []
    wake = other.ledger.watch.wake

    def listen(key: str) -> None:
        told.append(key)
        wake(key)

    other.ledger.watch.wake = listen  # type: ignore[method-assign]  # to hear what is told
    await complete(store.ledger, make_job("k1"))
    await begin(store, make_job("k2"))
    waiting = asyncio.create_task(
        other.ledger.released(make_job("k2").claim_key, at_most=timedelta(seconds=60))
    )
    await other.ledger.find(make_job("k2"))
    await store.ledger.end(make_job("k2"), ANSWER, DONE, work=ONE_CALL, claimed=True)
    await asyncio.wait_for(waiting, 10)
    assert set(told) == {make_job("k2").claim_key}


async def test_a_release_is_found_also_while_the_subscription_is_broken(
    fleet: RedisFleet, redis_room: RedisRoom
) -> None:
    store, other = await fleet.join(), await fleet.join()
    await begin(store, make_job())
    waiting = asyncio.create_task(
        other.ledger.released(make_job().claim_key, at_most=timedelta(seconds=60))
    )
    await other.ledger.find(make_job())
    redis_room.redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    await complete(store.ledger, make_job())
    await asyncio.wait_for(waiting, 10)


async def test_a_subscription_comes_back_after_a_break(
    fleet: RedisFleet, redis_room: RedisRoom
) -> None:
    await fleet.join()
    redis_room.redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    channel = f"{{{redis_room.prefix}}}:released"
    assert await asyncio.to_thread(
        wait_until,
        lambda: redis_room.redis.ask("PUBSUB", "NUMSUB", channel) == [channel, 1],
        10,
    )


async def test_closing_gives_claims_up_at_once(fleet: RedisFleet) -> None:
    store, other = await fleet.join(), await fleet.join()
    await begin(store, make_job())
    fleet._living.remove(store)
    await store.close()
    await store.close()
    assert isinstance(await begin(other, make_job()), Started)
    with pytest.raises(StoreUnavailable, match="is closed"):
        await store.ledger.find(make_job())


# Hosts whose clocks differ


class OtherClock:
    """A host's clock that is wrong by an hour."""

    def __init__(self, *, ahead: bool) -> None:
        self._right = SystemClock()
        self._wrong_by = timedelta(hours=1 if ahead else -1)

    def now(self) -> datetime:
        return self._right.now() + self._wrong_by

    def monotonic(self) -> float:
        return self._right.monotonic()


@pytest.mark.parametrize("ahead", [True, False])
async def test_a_follower_on_a_host_with_another_clock_takes_its_leaders_answer(
    redis_room: RedisRoom, *, ahead: bool
) -> None:
    right, wrong = SystemClock(), OtherClock(ahead=ahead)
    options = options_of(redis_room)
    async with (
        RedisStore(options, clock=right, listener=Ear()) as leading,
        RedisStore(options, clock=wrong, listener=Ear()) as following,
    ):
        leader = make_job("k1", dedupe=Dedupe.INFLIGHT, received_at=right.now())
        follower = make_job("k2", dedupe=Dedupe.INFLIGHT, received_at=wrong.now())
        assert await begin(leading, leader) == FIRST
        assert await begin(following, follower) == Follow(leader=leader.id)
        await leading.ledger.end(leader, ANSWER, DONE, work=ONE_CALL, claimed=True)
        assert isinstance(await begin(following, follower), Answered)
        later = make_job("k3", dedupe=Dedupe.INFLIGHT, received_at=wrong.now())
        assert isinstance(await begin(following, later), Started)


async def test_of_the_calls_before_costs_were_kept_no_cost_is_known(fleet: RedisFleet) -> None:
    worker = await fleet.join()
    job, other = make_job("one"), make_job("two", content_hash="c2")
    await dead_letter(worker.ledger, job)
    assert isinstance(await begin(worker, other), Started)
    await park(worker.ledger, other)
    for each in (job, other):
        row = worker.connection.key("job", each.id)
        await worker.connection.command("HDEL", row, "spent", "unpriced")
    told = await worker.ledger.find(job)
    assert as_ended(told).record.tally.cost is None
    assert {each.tally.unpriced for each in fleet.archive().jobs()} == {1}
    again = next_generation(other, not_before=BEGAN + SOON)
    begun = await begin(worker, again)
    assert isinstance(begun, Started)
    assert begun.tally.unpriced == 1
