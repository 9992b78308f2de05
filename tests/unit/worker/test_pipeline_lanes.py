"""The line in lanes that close, are rationed, and whose jobs are cancelled."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from producer_sdk.wire import Dedupe, Lane, Source, Status
from tests.contract.world import BEGAN, EmbeddedFleet, HandClock, asked, make_job
from tests.unit.worker.stand import FakeDelivery, FakeGate, FakeUpstream, Spy, Stand
from worker import waiting
from worker.core.bill import NO_BILL, Bill
from worker.core.lanes import NO_ORDERS, Closed, LaneRules
from worker.core.model import (
    Attempted,
    Beginning,
    Decided,
    Exhausted,
    Follow,
    Job,
    Outcome,
    Settled,
    Tally,
    Terminal,
    Work,
)
from worker.core.rations import Permit
from worker.core.seats import NoSeat, Seat
from worker.core.terms import Terms
from worker.core.windows import Window
from worker.errors import StoreUnavailable
from worker.lanes import Gate
from worker.ports import MayCall

HOUR = timedelta(hours=1)


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    fleet = EmbeddedFleet(tmp_path)
    yield Stand(store=await fleet.join(), clock=fleet.clock, ear=fleet.ear)
    await fleet.close()


async def test_a_job_in_a_closed_lane_is_parked_until_it_opens_and_counts_no_attempt(
    stand: Stand,
) -> None:
    stand.gate.shut = Closed(reason="outside its windows", until=BEGAN + HOUR / 2)
    line, delivery = stand.line(), FakeDelivery(make_job())
    await line.handle(delivery)
    (parked, after) = delivery.parked[0]
    assert after == HOUR / 2
    assert stand.paused == []
    stand.gate.shut = None
    stand.clock.pass_by(after)
    again = FakeDelivery(parked)
    await line.handle(again)
    assert again.replies[0][0].attempts == 1


async def test_a_job_in_a_paused_lane_looks_again_after_a_while(stand: Stand) -> None:
    stand.gate.shut = Closed(reason="paused", until=None)
    delivery = FakeDelivery(make_job())
    await stand.line().handle(delivery)
    assert delivery.parked[0][1] == timedelta(minutes=1)


async def test_a_deadline_that_passes_before_a_lane_opens_is_told_then(stand: Stand) -> None:
    stand.gate.shut = Closed(reason="outside its windows", until=BEGAN + 5 * HOUR)
    line, delivery = stand.line(), FakeDelivery(make_job(deadline=BEGAN + HOUR))
    await line.handle(delivery)
    (parked, after) = delivery.parked[0]
    assert after == HOUR
    stand.clock.pass_by(after)
    late = FakeDelivery(parked)
    await line.handle(late)
    assert late.replies[0][0].status is Status.EXPIRED
    assert stand.upstream.calls == []


async def test_a_cached_answer_needs_no_open_lane_and_no_permit(stand: Stand) -> None:
    line = stand.line()
    await line.handle(FakeDelivery(make_job("k1", "s1", dedupe=Dedupe.CACHE)))
    stand.gate.shut, stand.gate.permits = Closed(reason="x", until=None), 0
    asked = stand.gate.asked
    second = FakeDelivery(make_job("k2", "s2", dedupe=Dedupe.CACHE))
    await line.handle(second)
    assert second.replies[0][0].source is Source.CACHE
    assert stand.gate.asked == asked


async def test_without_a_permit_for_long_a_job_waits_in_its_place_and_lets_the_next_be_looked_at(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "HOLD", timedelta(milliseconds=1))
    stand.gate.permits = 0
    line, delivery = stand.line(), FakeDelivery(make_job())
    running = asyncio.create_task(line.handle(delivery))
    await stand.gate.until(lambda: stand.gate.asked >= 3)
    assert delivery.nexts > 0
    assert (delivery.parked, stand.paused, delivery.acks) == ([], [], 0)
    stand.gate.permits = 1
    await running
    assert delivery.replies[0][0].attempts == 1


async def test_a_worker_that_goes_down_leaves_what_waits_for_a_permit_to_the_broker(
    stand: Stand,
) -> None:
    stand.gate.permits = 0
    line, delivery = stand.line(), FakeDelivery(make_job())
    running = asyncio.create_task(line.handle(delivery))
    await stand.gate.until(lambda: stand.gate.asked >= 1)
    line.quiet()
    await asyncio.wait_for(running, 5)
    assert delivery.log == []
    late = FakeDelivery(make_job("k2", "s2"))
    await asyncio.wait_for(line.handle(late), 5)
    assert late.log == []


async def test_a_delivery_that_is_gone_waits_for_no_permit(stand: Stand) -> None:
    stand.gate.permits = 0
    delivery = FakeDelivery(make_job())
    running = asyncio.create_task(stand.line().handle(delivery))
    await stand.gate.until(lambda: stand.gate.asked >= 1)
    delivery.lost.set()
    await asyncio.wait_for(running, 5)
    assert (delivery.log, stand.upstream.calls) == ([], [])


async def test_a_job_that_waits_for_a_permit_still_expires_in_time(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "HOLD", timedelta(milliseconds=1))
    stand.gate.permits = 0
    delivery = FakeDelivery(make_job())
    running = asyncio.create_task(stand.line().handle(delivery))
    await stand.gate.until(lambda: stand.gate.asked >= 2)
    stand.clock.pass_by(2 * HOUR)
    await asyncio.wait_for(running, 5)
    assert delivery.replies[0][0].status is Status.EXPIRED


async def test_a_permit_that_grew_old_while_the_ledger_was_asked_starts_no_call(
    stand: Stand,
) -> None:
    class Slow(Spy):
        async def after_begin(self, begun: Beginning) -> None:
            del begun
            stand.clock.pass_by(timedelta(seconds=70))

    stand.gate.permits = 1
    delivery = FakeDelivery(make_job())
    await stand.line(ledger=lambda real: Slow(real, [])).handle(delivery)
    assert stand.upstream.calls == []
    assert stand.gate.given_back == 1
    (copy, _) = delivery.parked[0]
    again = FakeDelivery(copy)
    await stand.line().handle(again)
    assert again.replies[0][0].attempts == 1


async def test_a_permit_that_has_grown_old_while_a_seat_was_waited_for_starts_no_call(
    stand: Stand,
) -> None:
    class Slow(FakeUpstream):
        def propose(self, job: Job) -> Seat | NoSeat | None:
            del job
            return None

        async def seat(self, job: Job) -> Seat | NoSeat:
            stand.clock.pass_by(timedelta(seconds=70))
            return await super().seat(job)

    stand.gate.permits, stand.upstream = 1, Slow()
    delivery = FakeDelivery(make_job())
    await stand.line().handle(delivery)
    assert stand.upstream.calls == []
    assert (len(delivery.parked), stand.gate.permits) == (1, 1)


async def test_for_a_moment_without_a_permit_a_job_waits_in_its_place(stand: Stand) -> None:
    stand.gate.permits, stand.gate.wait = 0, timedelta(milliseconds=1)
    delivery = FakeDelivery(make_job())
    running = asyncio.create_task(stand.line().handle(delivery))
    await stand.gate.until(lambda: stand.gate.asked >= 2)
    assert delivery.nexts == 0
    stand.gate.permits = 1
    await running
    assert delivery.parked == []
    assert len(delivery.replies) == 1


async def test_a_permit_under_which_nothing_starts_is_given_back(stand: Stand) -> None:
    line = stand.line()
    stand.upstream.gate.clear()
    leader = FakeDelivery(make_job("k1", "s1", dedupe=Dedupe.INFLIGHT))
    running = asyncio.create_task(line.handle(leader))
    await stand.upstream.begun.wait()
    stand.gate.permits = 1
    follower = FakeDelivery(make_job("k2", "s2", dedupe=Dedupe.INFLIGHT))
    following = asyncio.create_task(line.handle(follower))
    await stand.gate.until(lambda: stand.gate.given_back > 0)
    assert stand.gate.permits == 1
    stand.upstream.gate.set()
    await asyncio.gather(running, following)
    assert len(stand.upstream.calls) == 1


@pytest.mark.parametrize("at", ["seat", "begin"])
async def test_a_permit_is_given_back_where_the_store_fails_before_the_call(
    stand: Stand, at: str
) -> None:
    class Failing(Spy):
        failures = 1

        async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
            del job, terms, cached
            if self.failures and at == "begin":
                self.failures -= 1
                raise StoreUnavailable("for a moment")

    stand.gate.permits = 1
    stand.upstream.no_seats = [StoreUnavailable("for a moment")] * (at == "seat")
    delivery = FakeDelivery(make_job())
    async with stand.looking(), asyncio.timeout(5):
        await stand.line(ledger=lambda real: Failing(real, [])).handle(delivery)
    assert delivery.replies[0][0].attempts == 1


async def test_a_permit_is_given_back_once_where_the_store_fails_after_a_begin_without_a_call(
    stand: Stand,
) -> None:
    class Failing(Spy):
        failures = 1

        async def begin(
            self,
            job: Job,
            *,
            max_attempts: int,
            terms: Terms | None = None,
            cached: bool | None = None,
        ) -> Beginning:
            del job, max_attempts, terms, cached
            return Exhausted(tally=Tally(attempts=3))

        async def end(
            self,
            job: Job,
            outcome: Outcome,
            settlement: Terminal,
            *,
            work: Work,
            claimed: bool,
            bill: Bill = NO_BILL,
        ) -> Decided | Follow:
            if self.failures:
                self.failures -= 1
                raise StoreUnavailable("for a moment")
            return await super().end(
                job, outcome, settlement, work=work, claimed=claimed, bill=bill
            )

    stand.gate.permits = 1
    delivery = FakeDelivery(make_job())
    async with stand.looking():
        await stand.line(ledger=lambda real: Failing(real, [])).handle(delivery)
    assert len(delivery.dead) == 1
    assert (stand.gate.asked, stand.gate.permits) == (2, 1)


async def test_a_worker_that_goes_down_in_an_outage_waits_for_no_permit_that_goes_back(
    stand: Stand,
) -> None:
    class Silent(FakeGate):
        async def give_back(self, permit: Permit) -> None:
            await super().give_back(permit)
            await asyncio.Future()

    class Failing(Spy):
        async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
            del job, terms, cached
            raise StoreUnavailable("for good")

    gate = Silent(permits=1)
    line, delivery = (
        stand.line(gate=gate, ledger=lambda real: Failing(real, [])),
        FakeDelivery(make_job()),
    )
    running = asyncio.create_task(line.handle(delivery))
    await gate.until(lambda: gate.given_back > 0)
    line.quiet()
    await asyncio.wait_for(running, 5)
    assert delivery.log == []


@pytest.mark.parametrize("permits", [None, 1])
async def test_a_lane_that_closes_while_the_ledger_is_asked_starts_no_call(
    stand: Stand, permits: int | None
) -> None:
    class Closing(Spy):
        async def after_begin(self, begun: Beginning) -> None:
            del begun
            stand.gate.shut = Closed(reason="now", until=BEGAN + HOUR / 2)

    delivery = FakeDelivery(make_job())
    stand.gate.permits = permits
    await stand.line(ledger=lambda real: Closing(real, [])).handle(delivery)
    assert stand.upstream.calls == []
    assert stand.gate.permits == permits
    (parked, _) = delivery.parked[0]
    stand.gate.shut = None
    stand.clock.pass_by(HOUR / 2)
    again = FakeDelivery(parked)
    await stand.line().handle(again)
    assert again.replies[0][0].attempts == 1


@pytest.mark.parametrize("obstacle", ["closed", "spent"])
async def test_no_second_try_starts_in_a_closed_lane_or_without_a_permit(
    stand: Stand, obstacle: str
) -> None:
    allowed: list[bool] = []

    class Trying(FakeUpstream):
        async def attempt(
            self, job: Job, *, calls_left: int, may_call: MayCall, seat: Seat | None = None
        ) -> Attempted:
            allowed.append(await may_call())
            if obstacle == "closed":
                stand.gate.shut = Closed(reason="x", until=None)
            else:
                stand.gate.permits = 0
            allowed.append(await may_call())
            stand.gate.shut = None
            return await super().attempt(job, calls_left=calls_left, may_call=may_call, seat=seat)

    stand.upstream = Trying()
    await stand.line().handle(FakeDelivery(make_job()))
    assert allowed == [True, False]


async def test_a_running_call_is_closed_and_its_submission_hears(stand: Stand) -> None:
    stand.upstream.gate.clear()
    line, delivery = stand.line(), FakeDelivery(make_job())
    running = asyncio.create_task(line.handle(delivery))
    await stand.upstream.begun.wait()
    assert line.calls == 1
    line.call_off({delivery.job.id, "another"})
    line.call_off({delivery.job.id})
    await running
    assert stand.upstream.closed == [delivery.job.id]
    assert delivery.replies[0][0].status is Status.CANCELLED
    assert delivery.dead == []
    assert line.calls == 0
    after = FakeDelivery(make_job("k2", "s2"))
    stand.upstream.gate.set()
    await line.handle(after)
    assert after.replies[0][0].status is Status.COMPLETED


async def test_a_job_that_was_cancelled_before_it_came_is_not_called(stand: Stand) -> None:
    job = make_job()
    await stand.store.ledger.cancel(asked(job, by_key=True))
    delivery = FakeDelivery(job)
    await stand.line().handle(delivery)
    assert stand.upstream.calls == []
    assert delivery.replies[0][0].status is Status.CANCELLED
    assert isinstance(await stand.store.ledger.result(asked(job)), Settled)


async def test_a_redelivery_of_a_job_that_is_being_cancelled_waits_for_its_end(
    stand: Stand,
) -> None:
    stand.upstream.gate.clear()
    line, delivery, again = stand.line(), FakeDelivery(make_job()), FakeDelivery(make_job())
    running = asyncio.create_task(line.handle(delivery))
    await stand.upstream.begun.wait()
    await stand.store.ledger.cancel(asked(delivery.job))
    joined = asyncio.create_task(line.handle(again))
    await asyncio.sleep(0.05)
    assert not joined.done()
    line.call_off(await stand.store.ledger.called_off())
    await asyncio.gather(running, joined)
    assert again.acks == 1
    assert len(stand.upstream.calls) == 1


class NightUpstream(FakeUpstream):
    """Notes the instant at which each call starts."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__()
        self.clock = clock
        self.starts: list[datetime] = []

    async def attempt(
        self, job: Job, *, calls_left: int, may_call: MayCall, seat: Seat | None = None
    ) -> Attempted:
        self.starts.append(self.clock.now())
        return await super().attempt(job, calls_left=calls_left, may_call=may_call, seat=seat)


@pytest.mark.parametrize(
    "evening",
    [
        datetime(2026, 11, 3, 20, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 10, 24, 20, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2027, 3, 27, 20, tzinfo=ZoneInfo("Europe/Berlin")),
    ],
    ids=["any-night", "clocks-go-back", "clocks-go-forward"],
)
@pytest.mark.parametrize("hours", ["22:00-06:00", "23:30-02:30", "02:00-03:00"])
async def test_over_midnight_and_both_changes_of_the_clocks_no_call_starts_outside_and_none_is_lost(
    stand: Stand, evening: datetime, hours: str
) -> None:
    window = Window.parse(f"{hours} Europe/Berlin")
    stand.clock.pass_by(evening - stand.clock.now())
    upstream = stand.upstream = NightUpstream(stand.clock)
    gate = Gate(
        "small.interactive",
        LaneRules(concurrency=4, windows=(window,)),
        rationing=stand.store.rationing,
        clock=stand.clock,
    )
    gate.order(NO_ORDERS)
    line = stand.line(gate=gate)
    waiting = [
        make_job(
            f"k{n}",
            f"s{n}",
            lane=Lane.INTERACTIVE,
            received_at=stand.clock.now(),
            deadline=stand.clock.now() + timedelta(days=3),
        )
        for n in range(70)
    ]
    jobs, answered, parked = list(waiting), 0, list[tuple[datetime, Job]]()
    for _ in range(36 * 6):  # a day and a half, in steps of ten minutes
        now = stand.clock.now()
        ready = [job for at, job in parked if at <= now] + waiting[:1]
        waiting, parked = waiting[1:], [each for each in parked if each[0] > now]
        for job in ready:
            delivery = FakeDelivery(job)
            await line.handle(delivery)
            answered += len(delivery.replies)
            parked += [(now + after, copy) for copy, after in delivery.parked]
        stand.clock.pass_by(timedelta(minutes=10))
    assert all(window.is_open(start) for start in upstream.starts)
    assert answered == len(upstream.starts) == len(jobs)
    assert parked == []
