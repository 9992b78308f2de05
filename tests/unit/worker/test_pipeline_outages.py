"""What the line does while its store is away: by default nothing, and nothing that was paid for is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from producer_sdk.wire import Dedupe, Status, Verb
from tests.contract.world import ANSWER, BEGAN, EmbeddedFleet, asked, make_job
from tests.unit.worker.stand import FakeDelivery, FakeGate, Spy, Stand
from tests.unit.worker.test_asking import FakeAsk
from worker.asking import Asking
from worker.core.bill import NO_BILL, Bill
from worker.core.events import CalledUnrecorded, JobParked, RecordedLate, StoreBack
from worker.core.kinds import Kind
from worker.core.lanes import Closed
from worker.core.model import (
    AskAnswer,
    Asked,
    Beginning,
    Decided,
    Failed,
    Follow,
    Found,
    Job,
    Outcome,
    Park,
    State,
    Submission,
    Terminal,
    Work,
)
from worker.core.rations import NoPermit, Permit
from worker.core.retry import RetryPolicy
from worker.core.terms import Terms
from worker.crew import Crew
from worker.errors import StoreUnavailable
from worker.patience import PatientRationing
from worker.pipeline import Line
from worker.ports import Ledger

OVERLOADED = Failed(kind=Kind.OVERLOADED, status=503)


@dataclass(slots=True)
class Faulty(Spy):
    """A ledger that a test switches off and on, for all or for some operations."""

    real: Ledger
    log: list[str] = field(default_factory=list)
    down: bool = False
    but: frozenset[str] = frozenset()
    tried: list[str] = field(default_factory=list)
    away_from_released: bool = False
    parks: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.parks.set()

    def _try(self, name: str) -> None:
        self.tried.append(name)
        if self.down and name not in self.but:
            raise StoreUnavailable("down")

    async def find(self, job: Job, *, cached: bool = False) -> Found | None:
        self._try("find")
        return await self.real.find(job, cached=cached)

    async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
        del job, terms, cached
        self._try("begin")

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
        self._try("end")
        return await self.real.end(job, outcome, settlement, work=work, claimed=claimed, bill=bill)

    async def park(
        self,
        job: Job,
        settlement: Park,
        until: datetime,
        *,
        work: Work,
        why: Failed | None,
        claimed: bool,
        bill: Bill = NO_BILL,
    ) -> Decided:
        self._try("park")
        await self.parks.wait()
        return await self.real.park(
            job, settlement, until, work=work, why=why, claimed=claimed, bill=bill
        )

    async def result(self, asked: Asked) -> AskAnswer:
        self._try("result")
        return await self.real.result(asked)

    async def released(self, claim_key: str, *, at_most: timedelta) -> None:
        if self.away_from_released:
            self.away_from_released = False
            raise StoreUnavailable("down")
        await self.real.released(claim_key, at_most=at_most)

    async def carried(self, job: Job, heard: Sequence[Submission], *, letter: bool) -> None:
        self._try("carried")
        await self.real.carried(job, heard, letter=letter)


@dataclass(slots=True)
class House:
    """A stand whose ledger is faulty, and the crew's part for records that are written late."""

    stand: Stand
    ledger: Faulty
    fleet: EmbeddedFleet
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    def waiting_line(self) -> Line:
        return self.stand.line(ledger=lambda _: self.ledger)

    def calling_line(self, policy: RetryPolicy | None = None) -> Line:
        return self.stand.line(ledger=lambda _: self.ledger, spawn=self.spawn, policy=policy)

    async def known(self) -> None:
        """Let the process know that its store is away."""
        self.ledger.down = True
        self.stand.outage.failed(StoreUnavailable("down"))

    async def until_recorded(self) -> None:
        """Let the store be back, and all late records be written."""
        self.ledger.down = False
        async with asyncio.timeout(10), self.stand.looking():
            await asyncio.gather(*self.tasks)

    def heard(self, kind: type) -> list[Any]:
        return [event for event in self.stand.ear.heard if isinstance(event, kind)]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    fleet = EmbeddedFleet(tmp_path)
    store = await fleet.join()
    stand = Stand(store=store, clock=fleet.clock, ear=fleet.ear)
    stand.outage._probe = lambda: asyncio.sleep(0, result=True)
    yield House(stand, Faulty(store.ledger), fleet)
    await fleet.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # of several parts, none of which tells
            await asyncio.sleep(0.001)


async def test_a_job_whose_delivery_is_gone_waits_for_the_store_no_more(house: House) -> None:
    await house.known()
    delivery = FakeDelivery(make_job())
    handling = asyncio.create_task(house.waiting_line().handle(delivery))
    await until(lambda: house.stand.outage.waiting == 1)
    delivery.lost.set()
    await asyncio.wait_for(handling, 5)
    assert house.stand.outage.waiting == 0
    assert delivery.log == []
    assert house.ledger.tried == []


async def test_a_follower_looks_again_when_the_store_is_back(house: House) -> None:
    house.stand.upstream.gate.clear()
    line, leader = house.waiting_line(), FakeDelivery(make_job("k1", "s1", dedupe=Dedupe.INFLIGHT))
    first = asyncio.create_task(line.handle(leader))
    await house.stand.upstream.begun.wait()
    house.ledger.away_from_released = True
    follower = FakeDelivery(make_job("k2", "s2", dedupe=Dedupe.INFLIGHT))
    second = asyncio.create_task(line.handle(follower))
    await until(lambda: house.stand.outage.waiting == 1)
    house.stand.upstream.gate.set()
    async with house.stand.looking():
        await asyncio.wait_for(asyncio.gather(first, second), 10)
    assert [leader.log, follower.log] == [["reply", "ack"]] * 2
    assert len(house.stand.upstream.calls) == 1


async def test_a_worker_that_goes_down_leaves_what_waits_for_the_store(house: House) -> None:
    await house.known()
    line, delivery = house.waiting_line(), FakeDelivery(make_job())
    handling = asyncio.create_task(line.handle(delivery))
    await until(lambda: house.stand.outage.waiting == 1)
    line.quiet()
    await asyncio.wait_for(handling, 5)
    assert delivery.log == []


async def test_a_worker_that_goes_down_leaves_an_ask_that_waits_for_the_store(
    house: House,
) -> None:
    await house.known()
    line, waiting = house.waiting_line(), FakeAsk(Verb.RESULT, asked(make_job()))
    asking = Asking(ledger=line.ledger, listener=house.stand.ear, noted=lambda: None)
    crew = Crew(handle=line.handle, set_aside=line.set_aside, listener=house.stand.ear)
    crew.spawn(line.until_down(lambda: asking.own(waiting)))
    await until(lambda: house.stand.outage.waiting == 1)
    line.quiet()
    assert await crew.drain(timedelta(seconds=10))
    assert waiting.log == []
    assert house.stand.outage.waiting == 0


async def test_a_worker_that_goes_down_answers_the_asks_that_need_not_wait(house: House) -> None:
    line, about = house.waiting_line(), FakeAsk(Verb.RESULT, asked(make_job()))
    asking = Asking(ledger=line.ledger, listener=house.stand.ear, noted=lambda: None)
    line.quiet()
    await line.until_down(lambda: asking.own(about))
    assert about.log == ["reply", "ack"]


async def test_an_answer_waits_for_its_record_and_is_not_called_for_again(house: House) -> None:
    house.stand.upstream.gate.clear()
    delivery = FakeDelivery(make_job())
    handling = asyncio.create_task(house.waiting_line().handle(delivery))
    await house.stand.upstream.begun.wait()
    house.ledger.down = True
    house.stand.upstream.gate.set()
    await until(lambda: house.stand.outage.waiting == 1)
    assert delivery.log == []
    house.ledger.down = False
    async with house.stand.looking():
        await asyncio.wait_for(handling, 5)
    assert delivery.log == ["reply", "ack"]
    assert delivery.replies[0][0].recorded
    assert len(house.stand.upstream.calls) == 1


async def test_a_store_that_can_be_read_and_not_written_gets_no_call(house: House) -> None:
    house.ledger.down, house.ledger.but = True, frozenset({"find"})
    deliveries = [FakeDelivery(make_job(f"k{n}", f"s{n}")) for n in range(6)]
    line = house.waiting_line()
    handlings = [asyncio.create_task(line.handle(delivery)) for delivery in deliveries]
    async with house.stand.looking():
        await until(lambda: house.ledger.tried.count("begin") >= 10)
        assert not house.stand.outage.answering
        assert not house.heard(StoreBack)  # that it can be read ends nothing
        house.ledger.down = False
        await asyncio.wait_for(asyncio.gather(*handlings), 5)
    assert [delivery.log for delivery in deliveries] == [["reply", "ack"]] * 6
    # Of six jobs one at a time asks again: not all six at each look.
    assert house.ledger.tried.count("begin") <= 10 + 2 * len(deliveries)
    assert len(house.stand.upstream.calls) == 6


class Counting(FakeGate):
    """A gate whose permits the store counts."""

    rationing: PatientRationing

    async def permit(self) -> Permit | NoPermit:
        return await self.rationing.permit("small.interactive", per_minute=6000)

    async def give_back(self, permit: Permit) -> None:
        await self.rationing.give_back("small.interactive", permit)


async def test_a_store_that_can_count_a_permit_and_not_write_a_record_is_not_taken_for_back(
    house: House,
) -> None:
    gate = Counting()
    gate.rationing = PatientRationing(house.stand.store.rationing, house.stand.outage)
    house.stand.gate = gate
    house.ledger.down, house.ledger.but = True, frozenset({"find"})
    deliveries = [FakeDelivery(make_job(f"k{n}", f"s{n}")) for n in range(3)]
    line = house.waiting_line()
    handlings = [asyncio.create_task(line.handle(delivery)) for delivery in deliveries]
    async with house.stand.looking():
        await until(lambda: house.ledger.tried.count("begin") >= 6)
        assert not house.heard(StoreBack)
        house.ledger.down = False
        await asyncio.wait_for(asyncio.gather(*handlings), 5)
    assert [delivery.log for delivery in deliveries] == [["reply", "ack"]] * 3


async def test_where_it_is_chosen_a_job_is_called_and_answered_and_recorded_late(
    house: House,
) -> None:
    await house.known()
    line, delivery = house.calling_line(), FakeDelivery(make_job())
    await asyncio.wait_for(line.handle(delivery), 5)
    assert delivery.log == ["reply", "ack"]
    (told, _) = delivery.replies[0]
    assert (told.status, told.body, told.recorded) == (Status.COMPLETED, ANSWER.body, False)
    assert len(house.heard(CalledUnrecorded)) == 1
    await house.until_recorded()
    assert [event.written for event in house.heard(RecordedLate)] == [True]
    again = FakeDelivery(make_job("k1", "s2"))
    await line.handle(again)
    assert len(house.stand.upstream.calls) == 1
    assert again.replies[0][0].body == ANSWER.body
    assert again.replies[0][0].recorded
    own = FakeDelivery(make_job())
    await line.handle(own)  # its own message, should it come again
    assert own.log == ["ack"]


async def test_a_job_that_was_begun_before_the_outage_is_answered_in_it_and_its_claim_ends(
    house: House,
) -> None:
    house.stand.upstream.gate.clear()
    line, delivery = house.calling_line(), FakeDelivery(make_job())
    handling = asyncio.create_task(line.handle(delivery))
    await house.stand.upstream.begun.wait()
    await house.known()
    house.stand.upstream.gate.set()
    await asyncio.wait_for(handling, 5)
    assert delivery.log == ["reply", "ack"]
    assert not delivery.replies[0][0].recorded
    assert house.heard(CalledUnrecorded) == []
    await house.until_recorded()
    assert await house.stand.store.ledger.holds(make_job()) is False
    found: Any = await house.stand.store.ledger.find(make_job())
    assert (found.record.state, found.record.tally.attempts) == (State.COMPLETED, 1)


async def test_whoever_joined_a_job_before_the_outage_hears_when_it_is_recorded(
    house: House,
) -> None:
    house.stand.upstream.gate.clear()
    line, first = house.calling_line(), FakeDelivery(make_job())
    handling = asyncio.create_task(line.handle(first))
    await house.stand.upstream.begun.wait()
    await line.handle(FakeDelivery(make_job("k1", "s2")))
    await house.known()
    house.stand.upstream.gate.set()
    await asyncio.wait_for(handling, 5)
    assert [told.submission_id for told, _ in first.replies] == ["s1"]
    await house.until_recorded()
    assert [told.submission_id for told, _ in first.replies] == ["s1", "s2"]
    assert {told.body for told, _ in first.replies} == {ANSWER.body}


async def test_an_answer_in_the_place_of_a_process_that_died_in_the_outage_is_recorded(
    house: House,
) -> None:
    other = await house.fleet.join()
    await other.ledger.begin(make_job(), max_attempts=3)
    await other.ledger.begin(make_job("k1", "s2"), max_attempts=3)
    await house.known()
    line, delivery = house.calling_line(), FakeDelivery(make_job())
    await asyncio.wait_for(line.handle(delivery), 5)
    house.ledger.down = False
    async with asyncio.timeout(10), house.stand.looking():
        await until(lambda: "end" in house.ledger.tried)
        await asyncio.sleep(
            0.05
        )  # the other's claim still stands, as it does for a lease after an outage
        await house.fleet.kill(other)
        await asyncio.gather(*house.tasks)
    found: Any = await house.stand.store.ledger.find(make_job())
    assert found.record.state is State.COMPLETED
    assert [told.submission_id for told, _ in delivery.replies] == ["s1", "s2"]


async def test_retries_without_a_ledger_are_bounded_by_the_message_itself(house: House) -> None:
    await house.known()
    house.stand.upstream.outcomes = [OVERLOADED]
    line = house.calling_line(RetryPolicy(max_attempts=3, backoffs=(timedelta(),)))
    job, deliveries = make_job(), list[FakeDelivery]()
    while True:
        deliveries.append(FakeDelivery(job))
        await asyncio.wait_for(line.handle(deliveries[-1]), 5)
        if not deliveries[-1].parked:
            break
        job = deliveries[-1].parked[0][0]
    assert [delivery.log for delivery in deliveries] == [
        ["park", "ack"],
        ["park", "ack"],
        ["dead", "reply", "ack"],
    ]
    assert len(house.stand.upstream.calls) == 3
    assert deliveries[-1].dead[0].tally.attempts == 3
    assert [event.kind for event in house.heard(JobParked)] == [Kind.OVERLOADED] * 2
    house.ledger.tried.clear()
    await house.until_recorded()
    written = [name for name in house.ledger.tried if name != "carried"]
    assert written == [
        "park",
        "park",
        "end",
    ]  # one after the other, in the order in which it happened
    found: Any = await house.stand.store.ledger.find(make_job())
    assert found.record.state is State.DEAD_LETTERED
    assert not found.letter_due  # it was published in the outage


async def test_a_parked_copy_that_comes_back_first_waits_for_what_comes_before_it(
    house: House,
) -> None:
    await house.known()
    house.stand.upstream.outcomes = [OVERLOADED, ANSWER]
    line = house.calling_line(RetryPolicy(max_attempts=3, backoffs=(timedelta(),)))
    first = FakeDelivery(make_job())
    await asyncio.wait_for(line.handle(first), 5)
    copy = FakeDelivery(first.parked[0][0])
    house.ledger.down = False
    house.ledger.parks.clear()
    house.stand.outage.worked()
    handling = asyncio.create_task(line.handle(copy))
    await until(lambda: "park" in house.ledger.tried)
    await asyncio.sleep(0.05)
    # To begin now would be to hold a claim that the late record ends.
    assert not {"find", "begin"} & set(house.ledger.tried)
    house.ledger.parks.set()
    await asyncio.wait_for(asyncio.gather(handling, *house.tasks), 5)
    assert copy.log == ["reply", "ack"]
    assert copy.replies[0][0].attempts == 1  # of those that the ledger has counted


async def test_a_handing_over_again_in_the_outage_is_answered_from_memory(house: House) -> None:
    await house.known()
    line = house.calling_line()
    await line.handle(FakeDelivery(make_job()))
    again, other = FakeDelivery(make_job()), FakeDelivery(make_job("k1", "s2"))
    await line.handle(again)
    await line.handle(other)
    assert len(house.stand.upstream.calls) == 1
    assert [it.log for it in (again, other)] == [["reply", "ack"]] * 2
    assert other.replies[0][0].body == ANSWER.body
    await house.until_recorded()
    assert len(house.heard(RecordedLate)) == 1


async def test_the_same_key_with_another_body_is_not_answered_with_the_firsts_answer(
    house: House,
) -> None:
    await house.known()
    line = house.calling_line()
    await line.handle(FakeDelivery(make_job()))
    other = FakeDelivery(make_job("k1", "s2", content_hash="c2"))
    await line.handle(other)
    assert len(house.stand.upstream.calls) == 2
    await house.until_recorded()


async def test_memory_for_late_records_is_bounded_and_what_has_no_room_is_told(
    house: House,
) -> None:
    await house.known()
    line = house.calling_line()
    assert line.late is not None
    line.late._room = len(ANSWER.body) + len(make_job().body)
    deliveries = [FakeDelivery(make_job(f"k{n}", f"s{n}")) for n in range(3)]
    for delivery in deliveries:
        await line.handle(delivery)
    assert [delivery.log for delivery in deliveries] == [["reply", "ack"]] * 3
    assert [event.written for event in house.heard(RecordedLate)] == [False, False]
    await house.until_recorded()
    assert [event.written for event in house.heard(RecordedLate)] == [False, False, True]
    assert line.late._room == len(ANSWER.body) + len(make_job().body)


async def test_what_was_begun_before_the_outage_is_recorded_though_there_is_no_room(
    house: House,
) -> None:
    house.stand.upstream.gate.clear()
    line, delivery = house.calling_line(), FakeDelivery(make_job())
    assert line.late is not None
    line.late._room = 0
    handling = asyncio.create_task(line.handle(delivery))
    await house.stand.upstream.begun.wait()
    await house.known()
    house.stand.upstream.gate.set()
    await asyncio.wait_for(handling, 5)
    await house.until_recorded()
    assert [event.written for event in house.heard(RecordedLate)] == [True]
    assert not await house.stand.store.ledger.holds(make_job())  # else others would follow a ghost
    assert line.late._room == 0


async def test_a_worker_that_goes_down_has_its_grace_period_for_late_records_too(
    house: House,
) -> None:
    def spawn(work: Coroutine[Any, Any, None]) -> None:
        crew.spawn(work)

    house.stand.upstream.gate.clear()
    await house.known()
    line = house.stand.line(ledger=lambda _: house.ledger, spawn=spawn)
    crew = Crew(handle=line.handle, set_aside=line.set_aside, listener=house.stand.ear)
    crew.take(FakeDelivery(make_job()))
    await house.stand.upstream.begun.wait()
    draining = asyncio.create_task(crew.drain(timedelta(seconds=10)))
    await asyncio.sleep(0)  # it knows of the call, and of no record yet
    house.stand.upstream.gate.set()
    await until(lambda: house.stand.outage.waiting == 1)
    assert not draining.done()
    house.ledger.down = False
    async with house.stand.looking():
        assert await draining
    await crew.stop()
    assert [event.written for event in house.heard(RecordedLate)] == [True]


async def test_a_record_that_a_worker_takes_to_its_grave_is_told(house: House) -> None:
    await house.known()
    await house.calling_line().handle(FakeDelivery(make_job()))
    await asyncio.sleep(0)
    (task,) = house.tasks
    task.cancel()
    await asyncio.wait({task})
    assert [event.written for event in house.heard(RecordedLate)] == [False]


async def test_a_lane_whose_calls_are_counted_calls_nothing_uncounted(house: House) -> None:
    await house.known()
    house.stand.gate.permits = 9
    delivery = FakeDelivery(make_job())
    handling = asyncio.create_task(house.calling_line().handle(delivery))
    await until(lambda: house.stand.outage.waiting == 1)
    assert house.stand.upstream.calls == []
    delivery.lost.set()
    await handling


async def test_a_job_past_its_deadline_is_answered_without_a_ledger_and_not_called(
    house: House,
) -> None:
    await house.known()
    delivery = FakeDelivery(make_job(deadline=BEGAN))
    await house.calling_line().handle(delivery)
    assert delivery.replies[0][0].status is Status.EXPIRED
    assert house.stand.upstream.calls == []
    await house.until_recorded()


class LostAfterBegin(Faulty):
    """A ledger that is lost once a call has begun; the lane `closes` meanwhile, if it is given."""

    closes: FakeGate | None = None

    async def after_begin(self, begun: Beginning) -> None:
        del begun
        if self.closes is not None:
            self.closes.shut = Closed(reason="an operator", until=None)
        self.down = True


async def test_a_claim_under_which_nothing_was_called_does_not_outlive_an_outage(
    house: House,
) -> None:
    house.ledger = ledger = LostAfterBegin(house.stand.store.ledger)
    ledger.closes = house.stand.gate
    house.stand.gate.permits = 9
    delivery = FakeDelivery(make_job())
    handling = asyncio.create_task(house.calling_line().handle(delivery))
    await until(lambda: house.stand.outage.waiting == 1)
    house.stand.gate.shut = None
    house.ledger.down = False
    async with house.stand.looking():
        await asyncio.wait_for(handling, 5)
    assert delivery.log == ["park", "ack"]
    assert not await house.stand.store.ledger.holds(make_job())


async def test_a_claim_of_a_call_in_which_the_line_failed_does_not_outlive_an_outage(
    house: House,
) -> None:
    house.ledger = LostAfterBegin(house.stand.store.ledger)
    house.stand.upstream.bug = RuntimeError("a bug")
    handling = asyncio.create_task(house.calling_line().handle(FakeDelivery(make_job())))
    await until(lambda: house.stand.outage.waiting == 1 or handling.done())
    house.ledger.down = False
    async with house.stand.looking():
        with pytest.raises(RuntimeError, match="a bug"):
            await asyncio.wait_for(handling, 5)
    assert not await house.stand.store.ledger.holds(make_job())


@pytest.mark.parametrize("begun_in_it", [False, True])
async def test_a_second_submission_in_the_outage_waits_for_the_firsts_call(
    house: House, *, begun_in_it: bool
) -> None:
    house.stand.upstream.gate.clear()
    if begun_in_it:
        await house.known()
    line, first = house.calling_line(), FakeDelivery(make_job())
    calling = asyncio.create_task(line.handle(first))
    await house.stand.upstream.begun.wait()
    await house.known()
    second = FakeDelivery(make_job("k1", "s2"))
    handling = asyncio.create_task(line.handle(second))
    await asyncio.sleep(0.05)
    assert len(house.stand.upstream.calls) == 1
    house.stand.upstream.gate.set()
    await asyncio.wait_for(asyncio.gather(calling, handling), 5)
    assert [it.log for it in (first, second)] == [["reply", "ack"]] * 2
    assert second.replies[0][0].body == ANSWER.body
    assert len(house.stand.upstream.calls) == 1
    await house.until_recorded()
