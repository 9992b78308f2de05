"""The line before a call: a seat at an endpoint, or a wait that costs the job nothing."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from producer_sdk.wire import Dedupe, Status
from tests.contract.world import ANSWER, BEGAN, EmbeddedFleet, HandClock, make_job
from tests.unit.worker.stand import ONE_REQUEST, FakeDelivery, FakeUpstream, Spy, Stand
from worker import starting, waiting
from worker.core.kinds import Kind
from worker.core.model import Beginning, Failed, Found, Job
from worker.core.seats import NoSeat, Obstacle, Seat, Unready
from worker.core.terms import Terms
from worker.errors import StoreUnavailable

MOMENT = NoSeat(wait=timedelta(milliseconds=1), obstacle=Obstacle.REQUESTS, kind=Kind.RATE_LIMITED)
MINUTE = NoSeat(wait=timedelta(minutes=1), obstacle=Obstacle.CIRCUIT, kind=Kind.UNAVAILABLE)


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    fleet = EmbeddedFleet(tmp_path)
    yield Stand(store=await fleet.join(), clock=fleet.clock, ear=fleet.ear)
    await fleet.close()


async def test_a_job_that_gets_a_seat_in_a_moment_waits_in_its_place(stand: Stand) -> None:
    stand.upstream.no_seats = [MOMENT, MOMENT]
    delivery = FakeDelivery(make_job())
    await stand.line().handle(delivery)
    assert (delivery.parked, stand.paused) == ([], [])
    assert delivery.replies[0][0].attempts == 1
    assert len(stand.upstream.calls) == 1


@pytest.mark.parametrize("asking", ["whether there is one", "for one"])
async def test_a_job_that_waits_for_a_place_does_not_ask_the_ledger_each_time_it_asks(
    stand: Stand, asking: str
) -> None:
    found: list[str] = []

    class Watched(Spy):
        async def find(self, job: Job, *, cached: bool = False) -> Found | None:
            found.append(job.id)
            return await super().find(job, cached=cached)

    looks = 0

    def unready(job: Job) -> Unready | None:
        nonlocal looks
        del job
        looks += 1
        return Unready(until=stand.clock.now() + timedelta(milliseconds=5)) if looks < 20 else None

    if asking == "for one":
        stand.upstream.no_seats = [MOMENT] * 20
    else:
        stand.upstream.readiness = unready
    delivery = FakeDelivery(make_job())
    await stand.line(ledger=lambda real: Watched(real, [])).handle(delivery)
    assert len(delivery.replies) == 1
    assert len(found) <= 2


@pytest.mark.parametrize("asking", ["whether there is one", "for one"])
@pytest.mark.parametrize("shared", [False, True])
async def test_a_job_is_held_for_long_only_where_no_other_of_its_tier_may_run(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, asking: str, *, shared: bool
) -> None:
    for module in (starting, waiting):
        monkeypatch.setattr(module, "HOLD", timedelta(milliseconds=50))
    looks = 0

    def unready(job: Job) -> Unready | None:
        nonlocal looks
        del job
        looks += 1
        until = stand.clock.now() + timedelta(milliseconds=5)
        return Unready(until=until, shared=shared) if looks < 30 else None

    if asking == "for one":
        moment = replace(MOMENT, wait=timedelta(milliseconds=5), shared=shared)
        stand.upstream.no_seats = [moment] * 30
    else:
        stand.upstream.readiness = unready
    delivery = FakeDelivery(make_job())
    await stand.line().handle(delivery)
    assert stand.paused == []
    if shared:
        assert (delivery.parked, len(delivery.replies)) == ([], 1)
    else:
        ((_, after),) = delivery.parked
        assert after == timedelta(seconds=2)
        assert stand.upstream.calls == []


async def test_a_job_that_waits_for_a_place_looks_for_an_answer_in_the_cache_each_time(
    stand: Stand,
) -> None:
    stand.upstream.no_seats = [replace(MOMENT, wait=timedelta(milliseconds=300))]
    delivery = FakeDelivery(make_job("k1", "s1", dedupe=Dedupe.CACHE))
    running = asyncio.create_task(stand.line().handle(delivery))
    await stand.upstream.asked.wait()
    await stand.store.cache.put(delivery.job.fingerprint, ANSWER)
    await running
    assert len(delivery.replies) == 1
    assert stand.upstream.calls == []


async def test_a_worker_that_goes_down_begins_no_call_for_a_job_that_waits_for_its_endpoints(
    stand: Stand,
) -> None:
    looks, looked = 0, asyncio.Event()

    def unready(job: Job) -> Unready | None:
        nonlocal looks
        del job
        looks += 1
        if looks == 2:  # before it asks what is known, and after that
            looked.set()
        until = stand.clock.now() + timedelta(seconds=1.9)
        return Unready(until=until) if looks <= 2 else None

    stand.upstream.readiness = unready
    line, delivery = stand.line(), FakeDelivery(make_job())
    running = asyncio.create_task(line.handle(delivery))
    await looked.wait()
    line.quiet()
    await running
    assert (stand.upstream.calls, delivery.acks) == ([], 0)


async def test_a_job_that_gets_no_seat_for_long_is_parked_uncounted_and_its_tier_pauses(
    stand: Stand,
) -> None:
    stand.upstream.no_seats = [MINUTE]
    line, delivery = stand.line(), FakeDelivery(make_job())
    await line.handle(delivery)
    ((parked, after),) = delivery.parked
    assert timedelta(minutes=1) <= after <= timedelta(minutes=1.2)
    assert [pause.seconds for pause in stand.paused] == [60]
    assert stand.upstream.calls == []
    stand.clock.pass_by(after)
    again = FakeDelivery(parked)
    await line.handle(again)
    assert again.replies[0][0].attempts == 1


async def test_a_wait_that_is_not_the_tiers_pauses_no_other_job(stand: Stand) -> None:
    stand.upstream.no_seats = [replace(MINUTE, shared=False)]
    delivery = FakeDelivery(make_job())
    await stand.line().handle(delivery)
    assert [after for _, after in delivery.parked] == [timedelta(minutes=1)]
    assert stand.paused == []


async def test_no_job_waits_for_a_seat_beyond_its_deadline(stand: Stand) -> None:
    stand.upstream.no_seats = [MINUTE]
    line, delivery = stand.line(), FakeDelivery(make_job(deadline=BEGAN + timedelta(seconds=30)))
    await line.handle(delivery)
    ((parked, after),) = delivery.parked
    assert after == timedelta(seconds=30)
    stand.clock.pass_by(after)
    late = FakeDelivery(parked)
    await line.handle(late)
    assert late.replies[0][0].status is Status.EXPIRED


async def test_without_a_seat_the_lanes_permit_is_given_back(stand: Stand) -> None:
    stand.gate.permits = 1
    stand.upstream.no_seats = [MINUTE]
    await stand.line().handle(FakeDelivery(make_job()))
    assert (stand.gate.permits, stand.gate.given_back) == (1, 1)


async def test_without_a_permit_no_seat_is_asked_for(stand: Stand) -> None:
    stand.gate.permits, stand.gate.wait = 0, timedelta(milliseconds=1)
    running = asyncio.create_task(stand.line().handle(FakeDelivery(make_job())))
    await stand.gate.until(lambda: stand.gate.asked >= 2)
    assert (stand.upstream.seated, stand.upstream.given) == ([], [])
    stand.gate.permits = 1
    await running
    assert len(stand.upstream.given) == 1


async def test_the_first_try_goes_to_the_seat(stand: Stand) -> None:
    await stand.line().handle(FakeDelivery(make_job()))
    assert stand.upstream.took == [Seat(endpoint="fake", model=make_job().model)]


async def test_every_seat_is_left_again_whether_it_was_used_or_not(stand: Stand) -> None:
    line = stand.line()
    await line.handle(FakeDelivery(make_job("k1", "s1")))
    stand.upstream.no_seats = [MINUTE]
    await line.handle(FakeDelivery(make_job("k2", "s2")))
    assert len(stand.upstream.seated) == 1
    assert (len(stand.upstream.given), stand.upstream.left) == (1, stand.upstream.given)


async def test_the_seat_of_a_job_that_is_cancelled_is_left(stand: Stand) -> None:
    stand.upstream.gate.clear()
    running = asyncio.create_task(stand.line().handle(FakeDelivery(make_job())))
    await stand.upstream.begun.wait()
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    assert (len(stand.upstream.given), stand.upstream.left) == (1, stand.upstream.given)


async def test_the_seat_of_a_job_on_which_the_line_fails_is_left(stand: Stand) -> None:
    stand.upstream.bug = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await stand.line().handle(FakeDelivery(make_job()))
    assert (len(stand.upstream.given), stand.upstream.left) == (1, stand.upstream.given)


class Slow(Spy):
    """A ledger that takes longer to begin a job than a permit is good for."""

    clock: HandClock

    async def after_begin(self, begun: Beginning) -> None:
        del begun
        self.clock.pass_by(timedelta(seconds=1.5))


async def test_while_the_ledger_is_slow_a_job_is_called_for_at_a_seat_that_is_taken_after_it(
    stand: Stand,
) -> None:
    Slow.clock = stand.clock
    stand.upstream.counted = True
    delivery = FakeDelivery(make_job())
    await stand.line(ledger=lambda real: Slow(real, [])).handle(delivery)
    assert (delivery.parked, len(delivery.replies)) == ([], 1)
    assert len(stand.upstream.calls) == 1
    assert len(stand.upstream.given) == 2
    assert len(stand.upstream.left) == 2


async def test_a_job_whose_endpoint_takes_no_calls_any_more_once_it_is_begun_is_called_for_at_another(
    stand: Stand,
) -> None:
    stand.upstream.fallen = True
    delivery = FakeDelivery(make_job())
    await stand.line().handle(delivery)
    first, second = stand.upstream.given
    assert stand.upstream.took == [second]
    assert stand.upstream.left == [second, first]
    assert delivery.replies[0][0].attempts == 1


async def test_a_job_whose_only_endpoint_falls_while_it_begins_is_parked_uncounted(
    stand: Stand,
) -> None:
    class Falling(FakeUpstream):
        def stands(self, seat: Seat) -> bool:
            self.no_seats = [MINUTE]
            return super().stands(seat)

    stand.upstream = Falling(fallen=True)
    delivery = FakeDelivery(make_job())
    await stand.line().handle(delivery)
    assert stand.upstream.calls == []
    ((parked, after),) = delivery.parked
    assert after == timedelta(minutes=1)
    stand.upstream = FakeUpstream()
    stand.clock.pass_by(after)
    again = FakeDelivery(parked)
    await stand.line().handle(again)
    assert again.replies[0][0].attempts == 1


async def test_a_store_with_much_to_do_makes_nothing_old_that_is_counted_with_the_claim(
    stand: Stand,
) -> None:
    class Busy(Spy):
        async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
            del job, terms, cached
            stand.clock.pass_by(timedelta(seconds=1.5))  # before its turn has come

        async def holds(self, job: Job) -> bool:
            raise AssertionError(job)

    stand.upstream.due = (ONE_REQUEST,)
    delivery = FakeDelivery(make_job())
    await stand.line(ledger=lambda real: Busy(real, [])).handle(delivery)
    assert len(delivery.replies) == 1
    assert stand.upstream.took == stand.upstream.given
    assert len(stand.upstream.given) == 1
    assert stand.upstream.took[0] is not None
    assert stand.upstream.took[0].taken.charges == (ONE_REQUEST,)


@pytest.mark.parametrize("lacking", ["a seat", "the store"])
async def test_a_begun_job_without_a_second_seat_is_parked_uncounted(
    stand: Stand, lacking: str
) -> None:
    Slow.clock = stand.clock
    stand.upstream.counted = True
    seats = stand.upstream.no_seats = []

    class Late(Slow):
        async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
            del job, terms, cached
            seats.append(MINUTE if lacking == "a seat" else StoreUnavailable("away"))

    delivery = FakeDelivery(make_job())
    await stand.line(ledger=lambda real: Late(real, [])).handle(delivery)
    assert stand.upstream.calls == []
    ((parked, after),) = delivery.parked
    assert after == (timedelta(minutes=1) if lacking == "a seat" else timedelta())
    stand.clock.pass_by(after)
    again = FakeDelivery(parked)
    await stand.line().handle(again)
    assert again.replies[0][0].attempts == 1


async def test_a_job_that_no_endpoint_will_ever_take_is_dead_lettered_without_a_call(
    stand: Stand,
) -> None:
    stand.upstream.flawed = Failed(kind=Kind.MODEL_NOT_FOUND, detail="no endpoint serves it")
    delivery = FakeDelivery(make_job())
    await stand.line().handle(delivery)
    assert delivery.replies[0][0].status is Status.DEAD_LETTERED
    assert len(delivery.dead) == 1
    assert (stand.upstream.calls, stand.upstream.seated) == ([], [])
