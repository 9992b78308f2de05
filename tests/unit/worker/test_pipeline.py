import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from producer_sdk.wire import Dedupe, Source, Status
from tests.contract.world import ANSWER, BEGAN, INVALID, EmbeddedFleet, make_job
from tests.unit.worker.stand import CONCURRENCY, FakeDelivery, Spy, Stand
from worker.core.events import JobEnded, Step, StepReached, StoreBack, StoreLost, Trouble
from worker.core.kinds import Kind
from worker.core.model import (
    Failed,
    Found,
    Job,
    Outcome,
)
from worker.core.terms import Terms
from worker.crew import Crew
from worker.errors import StoreUnavailable

OVERLOADED = Failed(kind=Kind.OVERLOADED, status=503, endpoint="alpha")


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    fleet = EmbeddedFleet(tmp_path)
    yield Stand(store=await fleet.join(), clock=fleet.clock, ear=fleet.ear)
    await fleet.close()


@pytest.mark.parametrize(
    ("outcome", "order"),
    [
        (ANSWER, ["begin", "record", "reply", "carried", "ack"]),
        (OVERLOADED, ["begin", "record", "park", "carried", "ack"]),
        (INVALID, ["begin", "record", "dead", "reply", "carried", "ack"]),
    ],
    ids=["reply", "retry", "dead-letter"],
)
async def test_a_settlement_is_recorded_then_published_then_marked_then_acknowledged(
    stand: Stand, outcome: Outcome, order: list[str]
) -> None:
    stand.upstream.outcomes = [outcome]
    delivery = FakeDelivery(make_job())
    await stand.line(ledger=lambda real: Spy(real, delivery.log)).handle(delivery)
    assert delivery.log == order


async def test_a_redelivery_of_an_ended_job_makes_no_call_and_no_second_reply(stand: Stand) -> None:
    line, again = stand.line(), FakeDelivery(make_job())
    await line.handle(FakeDelivery(make_job()))
    await line.handle(again)
    assert len(stand.upstream.calls) == 1
    assert again.log == ["ack"]


async def test_a_settlement_that_was_not_carried_is_carried_again_without_a_call(
    stand: Stand,
) -> None:
    class Died(BaseException):
        pass

    class DyingDelivery(FakeDelivery):
        async def publish_reply(self, reply: object, route: str) -> None:
            del reply, route
            raise Died

    with pytest.raises(Died):
        await stand.line().handle(DyingDelivery(make_job()))
    again = FakeDelivery(make_job())
    await stand.line().handle(again)
    assert len(stand.upstream.calls) == 1
    assert again.log == ["reply", "ack"]
    assert again.replies[0][0].body == ANSWER.body


async def test_a_redelivery_joins_the_call_that_still_runs(stand: Stand) -> None:
    line, first, again = stand.line(), FakeDelivery(make_job()), FakeDelivery(make_job())
    stand.upstream.gate.clear()
    one = asyncio.create_task(line.handle(first))
    await stand.upstream.begun.wait()
    first.lost.set()  # the connection is cut: that cancels nothing
    two = asyncio.create_task(line.handle(again))
    stand.upstream.gate.set()
    await asyncio.gather(one, two)
    assert len(stand.upstream.calls) == 1
    assert len(first.replies) == 1
    assert again.log == ["ack"]


async def test_a_redelivery_that_is_lost_itself_stops_waiting(stand: Stand) -> None:
    line, again = stand.line(), FakeDelivery(make_job())
    stand.upstream.gate.clear()
    one = asyncio.create_task(line.handle(FakeDelivery(make_job())))
    await stand.upstream.begun.wait()
    again.lost.set()
    await asyncio.wait_for(line.handle(again), 10)
    assert again.log == []
    stand.upstream.gate.set()
    await one


async def test_cancelled_means_unsettled_and_the_call_is_closed(stand: Stand) -> None:
    stand.upstream.gate.clear()
    line, delivery = stand.line(), FakeDelivery(make_job())
    crew = Crew(handle=line.handle, set_aside=line.set_aside, listener=stand.ear)
    crew.take(delivery)
    await stand.upstream.begun.wait()
    assert not await crew.drain(timedelta(0))
    await crew.stop()
    assert delivery.log == []
    assert len(stand.upstream.closed) == 1
    assert crew.held == 0


@pytest.mark.parametrize(
    ("job", "status", "kind"),
    [
        (replace(make_job(), flaw="not JSON"), Status.DEAD_LETTERED, "invalid_request"),
        (replace(make_job(), deadline=BEGAN), Status.EXPIRED, "expired"),
    ],
    ids=["flaw", "expired"],
)
async def test_what_needs_no_call_gets_none_and_the_caller_hears(
    stand: Stand, job: Job, status: Status, kind: str
) -> None:
    delivery = FakeDelivery(job)
    await stand.line().handle(delivery)
    assert stand.upstream.calls == []
    reply, route = delivery.replies[0]
    assert (reply.status, reply.error().kind, route) == (status, kind, "acme.s1")
    assert bool(delivery.dead) == (status is Status.DEAD_LETTERED)
    assert delivery.acks == 1


async def test_a_cached_answer_is_given_without_a_call_even_when_no_endpoint_is_ready(
    stand: Stand,
) -> None:
    line = stand.line()
    await line.handle(FakeDelivery(make_job("k1", dedupe=Dedupe.CACHE)))
    stand.upstream.ready = stand.clock.now() + timedelta(hours=1)
    other = FakeDelivery(make_job("k2", "s2", dedupe=Dedupe.CACHE))
    await line.handle(other)
    assert len(stand.upstream.calls) == 1
    reply = other.replies[0][0]
    assert (reply.body, reply.source, reply.attempts) == (ANSWER.body, Source.CACHE, 0)


async def test_the_cache_is_looked_into_with_the_ledger_where_the_job_may_be_answered_from_it(
    stand: Stand,
) -> None:
    looked: dict[str, bool] = {}

    class Watched(Spy):
        async def find(self, job: Job, *, cached: bool = False) -> Found | None:
            looked[job.key] = cached
            return await super().find(job, cached=cached)

        async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
            del terms
            assert cached is not None
            looked[job.key] = cached

    line = stand.line(ledger=lambda real: Watched(real, []))
    jobs = [
        make_job("cache", dedupe=Dedupe.CACHE),
        make_job("inflight", dedupe=Dedupe.INFLIGHT),
        make_job("off"),
        make_job("late", dedupe=Dedupe.CACHE, deadline=stand.clock.now()),
        replace(make_job("flawed", dedupe=Dedupe.CACHE), flaw="no model"),
    ]
    for job in jobs:
        await line.handle(FakeDelivery(job))
    assert [name for name, cached in looked.items() if cached] == ["cache"]
    assert len(looked) == len(jobs)


async def test_a_fallbacks_answer_is_the_jobs_own_and_no_other_jobs(stand: Stand) -> None:
    line = stand.line()
    stand.upstream.outcomes = [replace(ANSWER, fallback=True)]
    first = FakeDelivery(make_job("k1", dedupe=Dedupe.CACHE))
    await line.handle(first)
    stand.clock.pass_by(timedelta(seconds=1))
    later = make_job("k2", "s2", dedupe=Dedupe.CACHE, received_at=stand.clock.now())
    await line.handle(FakeDelivery(later))
    assert first.replies[0][0].body == ANSWER.body
    assert len(stand.upstream.calls) == 2


async def test_a_tier_without_an_endpoint_parks_its_job_and_pauses(stand: Stand) -> None:
    stand.upstream.ready = stand.clock.now() + timedelta(seconds=30)
    delivery = FakeDelivery(make_job())
    await stand.line().handle(delivery)
    assert delivery.log == ["park", "ack"]
    copy, after = delivery.parked[0]
    assert after == timedelta(seconds=30)
    assert (copy.generation, copy.first) == (1, False)
    assert [event.seconds for event in stand.paused] == [30.0]
    explained = (await stand.store.ledger.find(delivery.job), stand.upstream.calls)
    assert explained[1] == []


async def test_a_retry_waits_its_backoff_and_completes_in_the_next_generation(stand: Stand) -> None:
    stand.upstream.outcomes = [OVERLOADED, ANSWER]
    line, delivery = stand.line(), FakeDelivery(make_job())
    await line.handle(delivery)
    copy, after = delivery.parked[0]
    assert after == timedelta(seconds=2)
    stand.clock.pass_by(after)
    parked = FakeDelivery(copy)
    await line.handle(parked)
    reply = parked.replies[0][0]
    assert (reply.status, reply.attempts, reply.tries) == (Status.COMPLETED, 2, 2)


async def test_a_second_copy_of_a_generation_changes_nothing(stand: Stand) -> None:
    stand.upstream.outcomes = [OVERLOADED, ANSWER]
    line, delivery = stand.line(), FakeDelivery(make_job())
    await line.handle(delivery)
    copy, after = delivery.parked[0]
    stand.clock.pass_by(after)
    one, two = FakeDelivery(copy), FakeDelivery(copy)
    await asyncio.gather(line.handle(one), line.handle(two))
    assert len(stand.upstream.calls) == 2
    assert len(one.replies) + len(two.replies) == 1
    assert one.acks == two.acks == 1


async def test_followers_get_half_of_the_slots_and_the_rest_are_parked(stand: Stand) -> None:
    line = stand.line()
    stand.upstream.gate.clear()
    same = [FakeDelivery(make_job(f"k{n}", f"s{n}", dedupe=Dedupe.INFLIGHT)) for n in range(5)]
    leader = asyncio.create_task(line.handle(same[0]))
    await stand.upstream.begun.wait()
    others = [asyncio.create_task(line.handle(each)) for each in same[1:]]
    done, waiting = await asyncio.wait(others, timeout=0.5)
    assert len(waiting) == CONCURRENCY // 2
    assert len(done) == len(others) - CONCURRENCY // 2
    stand.upstream.gate.set()
    await asyncio.gather(leader, *others)
    assert len(stand.upstream.calls) == 1
    assert sum(len(each.replies) for each in same) == 1 + CONCURRENCY // 2
    shared = [each.replies[0][0].source for each in same[1:] if each.replies]
    assert set(shared) == {Source.SHARED}


async def test_another_request_under_the_same_key_is_refused_alone(stand: Stand) -> None:
    line = stand.line()
    await line.handle(FakeDelivery(make_job()))
    other = FakeDelivery(make_job("k1", "s2", content_hash="another"))
    await line.handle(other)
    reply, route = other.replies[0]
    assert (reply.status, reply.submission_id, route) == (Status.REFUSED, "s2", "acme.s2")
    assert reply.error().kind == "idempotency_conflict"
    assert len(stand.upstream.calls) == 1


async def test_every_submission_of_a_running_job_hears_when_it_ends(stand: Stand) -> None:
    line = stand.line()
    stand.upstream.gate.clear()
    first = FakeDelivery(make_job())
    running = asyncio.create_task(line.handle(first))
    await stand.upstream.begun.wait()
    others = [FakeDelivery(make_job("k1", f"more{n}")) for n in range(3)]
    handled = [asyncio.create_task(line.handle(each)) for each in others]
    stand.upstream.gate.set()
    await asyncio.gather(running, *handled)
    told = [reply for each in (first, *others) for reply in each.replies]
    assert {route for _, route in told} == {"acme.s1", "acme.more0", "acme.more1", "acme.more2"}
    assert {reply.body for reply, _ in told} == {ANSWER.body}
    assert len(stand.upstream.calls) == 1


async def test_a_bug_ends_that_job_alone_as_a_dead_letter_and_the_caller_hears(
    stand: Stand,
) -> None:
    stand.upstream.bug = ZeroDivisionError("secret prompt text")
    line, delivery = stand.line(), FakeDelivery(make_job())
    crew = Crew(handle=line.handle, set_aside=line.set_aside, listener=stand.ear)
    crew.take(delivery)
    assert await crew.drain(timedelta(seconds=10))
    assert delivery.replies[0][0].error().kind == "internal_error"
    assert delivery.dead
    assert delivery.acks == 1
    troubles = [event for event in stand.ear.heard if isinstance(event, Trouble)]
    assert [trouble.error for trouble in troubles] == ["ZeroDivisionError"]
    stand.upstream.bug = None
    fine = FakeDelivery(make_job("k2", "s2"))
    await line.handle(fine)
    assert fine.replies[0][0].status is Status.COMPLETED


async def test_a_store_that_is_down_makes_jobs_wait_and_costs_no_call(stand: Stand) -> None:
    class Down(Spy):
        left = 3

        async def find(self, job: Job, *, cached: bool = False) -> Found | None:
            self.fail()
            return await self.real.find(job, cached=cached)

        async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
            del job, terms, cached
            self.fail()

        def fail(self) -> None:
            if self.left:
                self.left -= 1
                assert stand.upstream.calls == []
                raise StoreUnavailable("down")

    delivery = FakeDelivery(make_job())
    async with stand.looking():
        await stand.line(ledger=lambda real: Down(real, [])).handle(delivery)
    assert delivery.log == ["reply", "ack"]
    assert len(stand.upstream.calls) == 1
    assert stand.outage.answering
    outage = [type(event) for event in stand.ear.heard if isinstance(event, StoreLost | StoreBack)]
    assert outage == [StoreLost, StoreBack]


async def test_the_record_is_told_once_by_the_process_that_wrote_it(stand: Stand) -> None:
    line = stand.line()
    await line.handle(FakeDelivery(make_job()))
    await line.handle(FakeDelivery(make_job("k1", "s2")))
    ended = [event for event in stand.ear.heard if isinstance(event, JobEnded)]
    assert [event.record.tally.attempts for event in ended] == [1]


async def test_steps_are_told_in_the_order_of_the_line(stand: Stand) -> None:
    await stand.line().handle(FakeDelivery(make_job()))
    steps = [event.step for event in stand.ear.heard if isinstance(event, StepReached)]
    assert steps == [
        Step.TAKEN,
        Step.BEGUN,
        Step.CALLING,
        Step.ANSWERED,
        Step.RECORDED,
        Step.CARRIED,
        Step.ACKED,
    ]
