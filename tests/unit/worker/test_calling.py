import asyncio
from collections.abc import AsyncIterator, Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from producer_sdk.wire import Dedupe
from tests.contract.world import ANSWER, EmbeddedFleet, make_job
from tests.unit.worker.stand import Seats, Stand
from worker import calling
from worker.clock import SystemClock
from worker.core.kinds import Kind
from worker.core.model import Attempted, Completed, Failed, Job, Work
from worker.core.seats import Seat
from worker.errors import StoreUnavailable
from worker.ports import OUT_OF_TIME, MayCall, Upstream

CLOCK = SystemClock()


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    fleet = EmbeddedFleet(tmp_path)
    stand = Stand(store=await fleet.join(), clock=fleet.clock, ear=fleet.ear)
    stand.upstream.gate.clear()
    yield stand
    await fleet.close()


def soon(seconds: float) -> datetime:
    return CLOCK.now() + timedelta(seconds=seconds)


async def attempt(
    stand: Stand,
    job: Job,
    *,
    limit: float = 60,
    called_off: asyncio.Future[None] | None = None,
    upstream: Upstream | None = None,
    claims: calling.Claims | None = None,
) -> Attempted:
    return await calling.attempt(
        job,
        upstream=upstream or stand.upstream,
        claims=claims or stand.store.ledger,
        gate=stand.gate,
        clock=CLOCK,
        tries=2,
        limit=timedelta(seconds=limit),
        called_off=called_off or asyncio.get_running_loop().create_future(),
    )


async def test_a_call_is_closed_at_the_jobs_deadline(stand: Stand) -> None:
    job = make_job(deadline=soon(0.1))
    attempted = await attempt(stand, job)
    assert attempted.outcome == Failed(kind=Kind.EXPIRED)
    assert attempted.work.calls == 1
    assert stand.upstream.closed == [job.id]


async def test_a_call_is_closed_when_the_attempts_time_is_up(stand: Stand) -> None:
    attempted = await attempt(stand, make_job(deadline=soon(60)), limit=0.1)
    assert attempted.outcome == Failed(kind=Kind.TIMEOUT)
    assert len(stand.upstream.closed) == 1


@pytest.mark.parametrize(
    ("deadline_s", "limit_s", "called_off", "told"),
    [(60, 0.1, False, (OUT_OF_TIME,)), (0.1, 60, False, ()), (60, 60, True, ())],
)
async def test_the_upstream_is_told_whether_a_call_is_closed_for_taking_all_of_the_attempts_time(
    stand: Stand,
    deadline_s: float,
    limit_s: float,
    called_off: bool,  # noqa: FBT001  # a parameter of the test
    told: tuple[str, ...],
) -> None:
    heard: list[tuple[object, ...]] = []
    off: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    class Hanging(Seats):
        async def attempt(
            self, job: Job, *, calls_left: int, may_call: MayCall, seat: Seat | None = None
        ) -> Attempted:
            del job, calls_left, may_call, seat
            if called_off:
                off.set_result(None)
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError as cancelled:
                heard.append(cancelled.args)
                raise
            raise AssertionError

    job = make_job(deadline=soon(deadline_s))
    await attempt(stand, job, limit=limit_s, called_off=off, upstream=Hanging())
    assert heard == [told]


async def test_a_call_lives_until_the_latest_deadline_that_joined_it(stand: Stand) -> None:
    leader = make_job("k1", deadline=soon(0.2), dedupe=Dedupe.INFLIGHT)
    follower = make_job("k2", "s2", deadline=soon(60), dedupe=Dedupe.INFLIGHT)
    await stand.store.ledger.begin(leader, max_attempts=3)
    await stand.store.ledger.begin(follower, max_attempts=3)
    running = asyncio.create_task(attempt(stand, leader))
    done, _ = await asyncio.wait({running}, timeout=0.6)
    assert not done, "the call ended with its leader's deadline"
    stand.upstream.gate.set()
    assert isinstance((await running).outcome, Completed)
    assert stand.upstream.closed == []


async def test_cancelling_the_attempt_closes_the_call(stand: Stand) -> None:
    running = asyncio.create_task(attempt(stand, make_job(deadline=soon(60))))
    await stand.upstream.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(stand.upstream.closed) == 1


async def test_an_answer_in_time_is_given_as_it_is(stand: Stand) -> None:
    stand.upstream.gate.set()
    assert (await attempt(stand, make_job(deadline=soon(60)))).outcome == ANSWER


async def test_a_call_that_is_called_off_is_closed_at_once(stand: Stand) -> None:
    called_off: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    job = make_job(deadline=soon(60))
    running = asyncio.create_task(attempt(stand, job, called_off=called_off))
    await stand.upstream.begun.wait()
    called_off.set_result(None)
    attempted = await running
    assert attempted.outcome == Failed(kind=Kind.CANCELLED)
    assert stand.upstream.closed == [job.id]


async def test_every_try_that_was_let_make_counts_when_time_is_up(stand: Stand) -> None:
    asked: list[bool] = []

    class Trying(Seats):
        """An upstream whose tries fail at once but for the last, which hangs."""

        async def attempt(
            self, job: Job, *, calls_left: int, may_call: MayCall, seat: Seat | None = None
        ) -> Attempted:
            del job, calls_left, seat
            asked.extend([await may_call(), await may_call()])
            await asyncio.Event().wait()
            raise AssertionError

    job = make_job(deadline=soon(60))
    await stand.store.ledger.begin(job, max_attempts=3)
    attempted = await attempt(stand, job, limit=0.1, upstream=Trying())
    assert asked == [True, True]
    assert attempted.work.calls == 3


async def test_no_further_try_is_made_while_the_store_cannot_tell_of_the_claim(
    stand: Stand,
) -> None:
    class Away:
        async def holds(self, job: Job) -> bool:
            raise StoreUnavailable(f"down, for {job.id} too")

        async def wanted_until(self, claim_key: str) -> None:
            del claim_key

    class Trying(Seats):
        async def attempt(
            self, job: Job, *, calls_left: int, may_call: MayCall, seat: Seat | None = None
        ) -> Attempted:
            del job, calls_left, seat
            assert not await may_call()
            return Attempted(outcome=Failed(kind=Kind.OVERLOADED), work=Work(calls=1))

    job = make_job(deadline=soon(60))
    attempted = await attempt(stand, job, upstream=Trying(), claims=Away())
    assert attempted.outcome == Failed(kind=Kind.OVERLOADED)


@pytest.mark.parametrize("limit_s", [0.05, 60])
async def test_a_task_whose_call_was_closed_goes_on_as_if_nobody_had_cancelled_it(
    stand: Stand, limit_s: float
) -> None:
    called_off: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.1, called_off.set_result, None)
    await attempt(stand, make_job(deadline=soon(60)), limit=limit_s, called_off=called_off)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    async with asyncio.timeout(5):  # as whoever records the outcome waits
        await asyncio.sleep(0.01)


async def test_cancelling_the_attempt_stays_that_when_its_call_is_called_off_too(
    stand: Stand,
) -> None:
    called_off: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    job = make_job(deadline=soon(60))
    running = asyncio.create_task(attempt(stand, job, called_off=called_off))
    await stand.upstream.begun.wait()
    called_off.set_result(None)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert stand.upstream.closed == [job.id]


async def test_an_answer_that_comes_while_followers_are_asked_for_is_not_thrown_away(
    stand: Stand,
) -> None:
    asked = asyncio.Event()

    class Slow:
        async def holds(self, job: Job) -> bool:
            del job
            return True

        async def wanted_until(self, claim_key: str) -> None:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError(claim_key)

    running = asyncio.create_task(attempt(stand, make_job(deadline=soon(0.05)), claims=Slow()))
    await asked.wait()
    stand.upstream.gate.set()
    assert (await running).outcome == ANSWER


class Answers(Seats):
    """An upstream whose call ends with `answer`."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Attempted] = asyncio.get_running_loop().create_future()

    async def attempt(
        self, job: Job, *, calls_left: int, may_call: MayCall, seat: Seat | None = None
    ) -> Attempted:
        del job, calls_left, may_call, seat
        return await self.answer


class Wanted:
    """The claims of a call whose answer is wanted until `until`."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.until: asyncio.Future[datetime | None] = asyncio.get_running_loop().create_future()

    async def holds(self, job: Job) -> bool:
        del job
        return True

    async def wanted_until(self, claim_key: str) -> datetime | None:
        del claim_key
        self.asked.set()
        return await self.until


async def and_then(attempting: Coroutine[Any, Any, Attempted]) -> Attempted:
    """Wait a while after the attempt, as for its record."""
    attempted = await attempting
    await asyncio.sleep(0.2)
    return attempted


async def test_an_answer_that_comes_with_the_word_to_close_its_call_is_recorded_undisturbed(
    stand: Stand,
) -> None:
    called_off: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    upstream = Answers()
    running = asyncio.create_task(
        and_then(
            attempt(stand, make_job(deadline=soon(60)), called_off=called_off, upstream=upstream)
        )
    )
    await asyncio.sleep(0.01)
    answer = Attempted(outcome=ANSWER, work=Work(calls=1))
    upstream.answer.set_result(answer)
    called_off.set_result(None)
    assert await running == answer
    assert running.cancelling() == 0


@pytest.mark.parametrize("wanted_s", [None, 0.05])
@pytest.mark.parametrize("turns", range(5))
async def test_an_answer_that_comes_with_the_word_of_the_followers_is_recorded_undisturbed(
    stand: Stand, turns: int, wanted_s: float | None
) -> None:
    upstream, claims = Answers(), Wanted()
    running = asyncio.create_task(
        and_then(attempt(stand, make_job(deadline=soon(0.01)), claims=claims, upstream=upstream))
    )
    await claims.asked.wait()
    answer = Attempted(outcome=ANSWER, work=Work(calls=1))
    claims.until.set_result(None if wanted_s is None else soon(wanted_s))
    for _ in range(turns):
        await asyncio.sleep(0)
    if not upstream.answer.cancelled():  # else the call was closed first
        upstream.answer.set_result(answer)
    attempted = await running
    assert attempted.outcome in {ANSWER, Failed(kind=Kind.EXPIRED)}
    assert running.cancelling() == 0


async def test_a_call_that_is_cancelled_by_nobody_is_one_that_broke_off(stand: Stand) -> None:
    upstream = Answers()
    upstream.answer.cancel()
    attempted = await attempt(stand, make_job(deadline=soon(60)), upstream=upstream)
    assert attempted.outcome == Failed(kind=Kind.CONNECTION)
    assert (attempted.work.calls, attempted.work.unpriced) == (1, 1)


async def test_a_bug_in_asking_for_followers_closes_the_call_and_is_told(stand: Stand) -> None:
    class Broken:
        async def holds(self, job: Job) -> bool:
            del job
            return True

        async def wanted_until(self, claim_key: str) -> None:
            raise LookupError(claim_key)

    with pytest.raises(LookupError):
        await attempt(stand, make_job(deadline=soon(0.05)), claims=Broken())
    assert len(stand.upstream.closed) == 1
