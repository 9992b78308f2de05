"""Interleavings that had once cost a call, an answer or a slot."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from producer_sdk.wire import Dedupe, Status
from tests.contract.world import ANSWER, BEGAN, EmbeddedFleet, make_job
from tests.unit.worker.stand import CONCURRENCY, FakeDelivery, Seats, Spy, Stand
from worker.core.kinds import Kind
from worker.core.model import Attempted, Beginning, Failed, Job, Work
from worker.core.seats import Seat
from worker.core.terms import Terms
from worker.crew import Crew
from worker.errors import StoreUnavailable
from worker.pipeline import Line
from worker.ports import MayCall
from worker.slots import LaneSlots

MINUTES = timedelta(minutes=2)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[EmbeddedFleet]:
    made = EmbeddedFleet(tmp_path)
    yield made
    await made.close()


async def stand_of(fleet: EmbeddedFleet) -> Stand:
    return Stand(store=await fleet.join(), clock=fleet.clock, ear=fleet.ear)


@pytest.fixture
async def stand(fleet: EmbeddedFleet) -> Stand:
    return await stand_of(fleet)


def crew_of(line: Line, stand: Stand) -> Crew:
    return Crew(handle=line.handle, set_aside=line.set_aside, listener=stand.ear)


async def settled(crew: Crew, *deliveries: FakeDelivery) -> None:
    for delivery in deliveries:
        crew.take(delivery)
    assert await crew.drain(timedelta(seconds=10))


async def test_a_bug_leaves_no_claim_behind_that_a_replay_would_follow(stand: Stand) -> None:
    crew = crew_of(stand.line(), stand)
    stand.upstream.bug = ZeroDivisionError()
    await settled(crew, FakeDelivery(make_job()))
    stand.upstream.bug = None
    replayed = FakeDelivery(make_job(run=2, first=False))
    await settled(crew, replayed)
    assert replayed.replies[0][0].status is Status.COMPLETED


async def test_a_bug_leaves_no_claim_behind_for_others_of_the_fingerprint(stand: Stand) -> None:
    crew = crew_of(stand.line(), stand)
    stand.upstream.bug = ZeroDivisionError()
    await settled(crew, FakeDelivery(make_job(dedupe=Dedupe.INFLIGHT)))
    stand.upstream.bug = None
    later = BEGAN + timedelta(seconds=1)
    other = FakeDelivery(make_job("k2", "s2", dedupe=Dedupe.INFLIGHT, received_at=later))
    await settled(crew, other)
    assert other.replies[0][0].status is Status.COMPLETED


async def test_second_submissions_of_a_running_job_hold_no_slot(stand: Stand) -> None:
    stand.upstream.gate.clear()
    line = stand.line()
    first = asyncio.create_task(line.handle(FakeDelivery(make_job())))
    await stand.upstream.begun.wait()
    others = [FakeDelivery(make_job("k1", f"more{n}")) for n in range(CONCURRENCY - 1)]
    async with asyncio.timeout(10):  # while the call runs
        await asyncio.gather(*(line.handle(each) for each in others))
    assert [each.log for each in others] == [["ack"]] * len(others)
    stand.upstream.gate.set()
    await first


async def test_a_tiers_own_failure_is_not_shared_with_another_tier(stand: Stand) -> None:
    class Upstream(Seats):
        def __init__(self) -> None:
            self.calls: list[str] = []
            self.begun, self.gate = asyncio.Event(), asyncio.Event()

        async def attempt(
            self, job: Job, *, calls_left: int, may_call: MayCall, seat: Seat | None = None
        ) -> Attempted:
            del calls_left, may_call, seat
            self.calls.append(job.tier)
            self.begun.set()
            if job.tier == "large":
                return Attempted(outcome=ANSWER, work=Work(calls=1))
            await self.gate.wait()
            missing = Failed(kind=Kind.MODEL_NOT_FOUND, status=404)
            return Attempted(outcome=missing, work=Work(calls=1))

    upstream = Upstream()
    lanes = ("small.interactive", "large.interactive")
    slots = {lane: LaneSlots.of(4, MINUTES) for lane in lanes}
    gates = dict.fromkeys(lanes, stand.gate)
    line = replace(stand.line(), upstream=upstream, slots=slots, gates=gates)
    small = FakeDelivery(make_job("k1", "s1", dedupe=Dedupe.INFLIGHT))
    large = FakeDelivery(make_job("k2", "s2", dedupe=Dedupe.INFLIGHT, tier="large"))
    running = asyncio.create_task(line.handle(small))
    await upstream.begun.wait()
    other = asyncio.create_task(line.handle(large))
    upstream.gate.set()
    await asyncio.gather(running, other)
    assert sorted(upstream.calls) == ["large", "small"]
    assert large.replies[0][0].status is Status.COMPLETED


async def test_an_answer_that_came_while_the_ledger_was_asked_is_kept(stand: Stand) -> None:
    stand.upstream.gate.clear()

    class Asked(Spy):
        async def wanted_until(self, claim_key: str) -> datetime | None:
            del claim_key
            stand.upstream.gate.set()
            await asyncio.sleep(0.05)
            return None

    line = stand.line(ledger=lambda real: Asked(real, []))
    delivery = FakeDelivery(make_job(deadline=BEGAN + timedelta(seconds=0.1)))
    await line.handle(delivery)
    assert delivery.replies[0][0].status is Status.COMPLETED


async def test_no_call_starts_after_the_deadline_when_the_store_was_down(stand: Stand) -> None:
    class Down(Spy):
        left = 3

        async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
            del job, terms, cached
            if self.left:
                self.left -= 1
                stand.clock.pass_by(timedelta(minutes=1))
                raise StoreUnavailable("down")

    line = stand.line(ledger=lambda real: Down(real, []))
    delivery = FakeDelivery(make_job(deadline=BEGAN + timedelta(seconds=30)))
    async with stand.looking():
        await line.handle(delivery)
    assert stand.upstream.calls == []
    assert delivery.replies[0][0].status is Status.EXPIRED


async def test_no_call_starts_after_the_deadline_when_the_slots_were_full(stand: Stand) -> None:
    line = replace(stand.line(), slots={"small.interactive": LaneSlots.of(1, MINUTES)})
    stand.upstream.gate.clear()
    first = asyncio.create_task(line.handle(FakeDelivery(make_job("k0", "s0"))))
    await stand.upstream.begun.wait()
    late = FakeDelivery(make_job("k1", "s1", deadline=BEGAN + timedelta(seconds=30)))
    second = asyncio.create_task(line.handle(late))
    await asyncio.sleep(0.1)  # it has passed admission and waits for the slot
    stand.clock.pass_by(timedelta(seconds=60))
    stand.upstream.gate.set()
    await asyncio.gather(first, second)
    assert len(stand.upstream.calls) == 1
    assert late.replies[0][0].status is Status.EXPIRED


async def test_a_duplicate_elsewhere_does_not_end_a_run_whose_call_is_wanted(
    fleet: EmbeddedFleet,
) -> None:
    here, there = await stand_of(fleet), await stand_of(fleet)
    here.upstream.gate.clear()
    job = make_job(deadline=BEGAN + timedelta(seconds=10))
    first, duplicate = FakeDelivery(job), FakeDelivery(job)
    running = asyncio.create_task(here.line().handle(first))
    await here.upstream.begun.wait()
    joined = FakeDelivery(make_job("k1", "s2", deadline=BEGAN + timedelta(seconds=60)))
    await there.line().handle(joined)
    assert joined.log == ["ack"]
    fleet.clock.pass_by(timedelta(seconds=11))
    await there.line().handle(duplicate)
    assert duplicate.log == ["park", "ack"]
    here.upstream.gate.set()
    await running
    told = {(reply.submission_id, reply.status) for reply, _ in first.replies}
    assert ("s2", Status.COMPLETED) in told


async def test_a_submission_after_the_carrying_copy_was_lost_hears(stand: Stand) -> None:
    line = stand.line()
    stand.upstream.outcomes = [Failed(kind=Kind.OVERLOADED, status=503)]
    lost = FakeDelivery(make_job())
    await line.handle(lost)
    assert lost.parked  # and that copy never comes back
    stand.clock.pass_by(timedelta(days=2))
    now = stand.clock.now()
    stand.upstream.outcomes = [ANSWER]
    again = FakeDelivery(
        make_job("k1", "s2", received_at=now, submitted_at=now, deadline=now + MINUTES)
    )
    await line.handle(again)
    assert ("s2", Status.COMPLETED) in {(it.submission_id, it.status) for it, _ in again.replies}


async def test_a_refused_wait_binds_the_copy_that_a_duplicate_parked(fleet: EmbeddedFleet) -> None:
    here, there = await stand_of(fleet), await stand_of(fleet)
    here.upstream.gate.clear()
    wait = timedelta(minutes=10)
    here.upstream.outcomes = [Failed(kind=Kind.RATE_LIMITED, status=429, retry_after=wait)]
    first, duplicate = FakeDelivery(make_job()), FakeDelivery(make_job())
    running = asyncio.create_task(here.line().handle(first))
    await here.upstream.begun.wait()
    await there.line().handle(duplicate)
    here.upstream.gate.set()
    await running
    fleet.clock.pass_by(timedelta(seconds=3))
    back = FakeDelivery(duplicate.parked[0][0])
    await there.line().handle(back)
    assert there.upstream.calls == []
    assert back.parked[0][1] > timedelta(minutes=9)


async def test_a_process_that_was_stopped_at_the_start_of_its_call_makes_none_for_a_recorded_job(
    fleet: EmbeddedFleet,
) -> None:
    here, there = await stand_of(fleet), await stand_of(fleet)
    redelivered = FakeDelivery(make_job())

    class Stopped(Spy):
        async def after_begin(self, begun: Beginning) -> None:
            del begun
            fleet.clock.pass_by(timedelta(seconds=20))
            await there.line().handle(redelivered)

    delivery = FakeDelivery(make_job())
    await here.line(ledger=lambda real: Stopped(real, [])).handle(delivery)
    assert (len(there.upstream.calls), here.upstream.calls) == (1, [])
    assert redelivered.replies[0][0].status is Status.COMPLETED
    assert delivery.log == ["ack"]


async def test_a_worker_that_slept_while_it_began_calls_for_no_job_that_another_has_ended(
    fleet: EmbeddedFleet,
) -> None:
    here, there = await stand_of(fleet), await stand_of(fleet)
    duplicate = FakeDelivery(make_job())

    class Asleep(Spy):
        async def after_begin(self, begun: Beginning) -> None:
            del begun
            fleet.clock.pass_by(timedelta(seconds=20))
            await there.store.renew()
            await there.line().handle(duplicate)
            await here.store.renew()

    delivery = FakeDelivery(make_job())
    await here.line(ledger=lambda real: Asleep(real, [])).handle(delivery)
    assert len(there.upstream.calls) == 1
    assert here.upstream.calls == []
    assert delivery.acks == duplicate.acks == 1


async def test_a_stopped_crew_takes_nothing(stand: Stand) -> None:
    crew, delivery = crew_of(stand.line(), stand), FakeDelivery(make_job())
    await crew.stop()
    crew.take(delivery)
    assert crew.held == 0
    assert delivery.log == []


async def test_setting_aside_is_tried_again_until_it_works(stand: Stand) -> None:
    class Flaky(FakeDelivery):
        async def ack(self) -> None:
            if not self.acks:
                self.acks += 1
                raise ValueError("not this time")
            await FakeDelivery.ack(self)

    crew, delivery = crew_of(stand.line(), stand), Flaky(make_job())
    await settled(crew, delivery)
    assert delivery.log[-1] == "ack"
