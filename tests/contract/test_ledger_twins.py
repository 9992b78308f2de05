"""Both ledgers, side by side, through lives that nobody would wish on a job: they must say the same of each step."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from producer_sdk.wire import Dedupe, Status
from tests.contract.redis_fleet import RedisFleet
from tests.contract.world import (
    ANSWER,
    BEGAN,
    DONE,
    EXPIRED,
    INVALID,
    LATE,
    ONE_CALL,
    TIMEOUT,
    EmbeddedFleet,
    Fleet,
    Worker,
    make_job,
)
from tests.faults.room import RedisRoom
from worker.core.kinds import Kind
from worker.core.letters import Selection
from worker.core.model import (
    Asked,
    Completed,
    DeadLetter,
    Ended,
    Failed,
    Job,
    Outcome,
    Reply,
    Retry,
    Settled,
    Snooze,
    Submission,
    Terminal,
    Work,
)

T = TypeVar("T")
Twins: TypeAlias = tuple[Worker, Worker]

PROCESSES = 3
SUBMISSIONS = tuple(
    Submission(id=id_, reply_to=route)
    for id_, route in (("s0", "acme.s0"), ("s1", None), ("s2", ""), ("ä", "acme.ä\n"))
)
EXHAUSTED = Failed(kind=Kind.ATTEMPTS_EXHAUSTED)
ENDS: tuple[tuple[Outcome, Terminal], ...] = (
    (ANSWER, DONE),
    (Completed(body=b"", endpoint="b"), DONE),
    (INVALID, DeadLetter(reason=INVALID.kind)),
    (TIMEOUT, DeadLetter(reason=Kind.ATTEMPTS_EXHAUSTED)),
    (EXHAUSTED, DeadLetter(reason=Kind.ATTEMPTS_EXHAUSTED)),
    (LATE, EXPIRED),
    (Failed(kind=Kind.CANCELLED), Reply(status=Status.CANCELLED)),
)
WORKS = (ONE_CALL, Work(), Work(calls=2, refusals=3, upstream=timedelta(microseconds=1_234_567)))

jobs = st.builds(
    lambda key, dedupe, submission, **facts: replace(
        make_job(key, dedupe=dedupe, tier="small" if key < "c" else "large", **facts),
        submission=submission,
    ),
    key=st.sampled_from("abc"),
    dedupe=st.sampled_from(Dedupe),
    submission=st.sampled_from(SUBMISSIONS),
    content_hash=st.sampled_from(["c1", "c1", "c1", "c1", "c1", "c1", "c1", "c2"]),
    deadline=st.sampled_from([BEGAN + timedelta(minutes=5), BEGAN.replace(year=9999)]),
    run=st.sampled_from([1, 1, 1, 2, 3]),
    generation=st.sampled_from([0, 0, 0, 1, 2]),
    first=st.booleans(),
)


def as_producers_send(job: Job) -> Job:
    return replace(job, run=1, generation=0) if job.first else job


class SideBySide(RuleBasedStateMachine):
    found: ClassVar[Callable[[], tuple[Fleet, Fleet]]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.fleets = type(self).found()
        self.twins = [self.join() for _ in range(PROCESSES)]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def join(self) -> Twins:
        one, other = self.fleets
        return self.run(one.join()), self.run(other.join())

    def both(self, who: int, act: Callable[[Worker], Coroutine[Any, Any, object]]) -> None:
        one, other = (self.run(act(worker)) for worker in self.twins[who])
        assert one == other
        assert getattr(one, "written", None) == getattr(other, "written", None)

    def teardown(self) -> None:
        one, other = (fleet.archive() for fleet in self.fleets)
        for key in "abc":
            job_id = make_job(key).id
            told, same = one.explain(job_id), other.explain(job_id)
            if told is not None and same is not None:  # owners' tokens differ
                claimed = None if told.claimed_by is None else same.claimed_by
                told = replace(told, claimed_by=claimed)
            assert told == same
        assert one.letters(Selection()) == other.letters(Selection())
        assert one.counts() == other.counts()
        for fleet in self.fleets:
            self.run(fleet.close())
        self.runner.close()

    @rule(who=st.integers(0, PROCESSES - 1), job=jobs, wait=st.sampled_from([None, 1, 20]))
    def deliver(self, who: int, job: Job, wait: int | None) -> None:
        job = as_producers_send(job)
        if wait is not None and not job.first:
            job = replace(job, not_before=self.now() + timedelta(seconds=wait))
        job = replace(job, received_at=self.now())
        self.both(who, lambda worker: worker.ledger.find(job))
        self.both(who, lambda worker: worker.ledger.begin(job, max_attempts=2))
        self.both(who, lambda worker: worker.ledger.wanted_until(job.claim_key))
        self.both(who, lambda worker: worker.ledger.holds(job))

    @rule(
        who=st.integers(0, PROCESSES - 1),
        job=jobs,
        how=st.sampled_from(ENDS),
        work=st.sampled_from(WORKS),
        claimed=st.booleans(),
        carried=st.sampled_from([None, 0, 1, 9]),
    )
    def end(  # hypothesis passes them by name
        self,
        who: int,
        job: Job,
        how: tuple[Outcome, Terminal],
        work: Work,
        claimed: bool,  # noqa: FBT001  # see above
        carried: int | None,
    ) -> None:
        job = as_producers_send(job)

        async def settle(worker: Worker) -> object:
            told = await worker.ledger.end(job, *how, work=work, claimed=claimed)
            if isinstance(told, Ended) and carried is not None:
                await worker.ledger.carried(job, told.hear[:carried], letter=told.letter_due)
            return told

        self.both(who, settle)

    @rule(
        who=st.integers(0, PROCESSES - 1),
        job=jobs,
        settlement=st.sampled_from([Retry, Snooze]),
        seconds=st.integers(0, 30),
        why=st.sampled_from([None, TIMEOUT, INVALID]),
        claimed=st.booleans(),
        carried=st.booleans(),
    )
    def park(  # hypothesis passes them by name
        self,
        who: int,
        job: Job,
        settlement: type[Retry | Snooze],
        seconds: int,
        why: Failed | None,
        claimed: bool,  # noqa: FBT001  # see above
        carried: bool,  # noqa: FBT001  # see above
    ) -> None:
        job, after = as_producers_send(job), timedelta(seconds=seconds)
        until = self.now() + after

        async def settle(worker: Worker) -> object:
            told = await worker.ledger.park(
                job, settlement(after=after), until, work=ONE_CALL, why=why, claimed=claimed
            )
            if carried:
                await worker.ledger.carried(job, (), letter=False)
            return told

        self.both(who, settle)

    @rule(
        who=st.integers(0, PROCESSES - 1),
        key=st.sampled_from("abcd"),
        tenant=st.sampled_from(["acme", "acme", None, "zeta"]),
        by_key=st.booleans(),
        cancels=st.booleans(),
        asker=st.sampled_from([Submission(id="ask", reply_to="acme.ask"), *SUBMISSIONS]),
    )
    def ask(  # hypothesis passes them by name
        self,
        who: int,
        key: str,
        tenant: str | None,
        by_key: bool,  # noqa: FBT001  # see above
        cancels: bool,  # noqa: FBT001  # see above
        asker: Submission,
    ) -> None:
        asked = Asked(job_id=make_job(key).id, tenant=tenant, submission=asker, by_key=by_key)

        async def answer(worker: Worker) -> object:
            told = await (worker.ledger.cancel(asked) if cancels else worker.ledger.result(asked))
            return (told, told.ended.written) if isinstance(told, Settled) else told

        self.both(who, answer)
        for each in range(PROCESSES):
            self.both(each, lambda worker: worker.ledger.called_off())

    @rule(who=st.integers(0, PROCESSES - 1))
    def die(self, who: int) -> None:
        for fleet, worker in zip(self.fleets, self.twins[who], strict=True):
            self.run(fleet.kill(worker))
        self.twins[who] = self.join()

    @rule(asleep=st.sampled_from([None, 0, 1]), seconds=st.sampled_from([1, 20, 3_000, 4_000]))
    def pass_time(self, asleep: int | None, seconds: int) -> None:
        """Let time pass, in which one process may miss its lease, and all that has outlived its time go."""
        self.fleets[0].clock.pass_by(timedelta(seconds=seconds))
        for each in range(PROCESSES):
            if each != asleep:
                self.both(each, lambda worker: worker.renew())
        for worker in self.twins[2]:
            self.run(worker.sweep())

    def now(self) -> datetime:
        return self.fleets[0].clock.now()


def test_both_ledgers_say_the_same_of_every_life(redis_room: RedisRoom, tmp_path: Path) -> None:
    founded = 0

    def found() -> tuple[Fleet, Fleet]:
        nonlocal founded
        founded += 1
        room = replace(redis_room, prefix=f"{redis_room.prefix}-{founded}")
        one, other = EmbeddedFleet(tmp_path / str(founded)), RedisFleet(room)
        other.clock = one.clock
        return one, other

    run_state_machine_as_test(
        type("SideBySideOnBoth", (SideBySide,), {"found": staticmethod(found)}),
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
