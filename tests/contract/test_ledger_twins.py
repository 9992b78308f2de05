"""Both ledgers, side by side, through lives that nobody would wish on a job: they must say the same of each step."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pytest

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
    asked,
    make_job,
)
from tests.faults.room import RedisRoom
from worker.core.kinds import Kind
from worker.core.letters import Selection
from worker.core.model import (
    Completed,
    DeadLetter,
    Ended,
    Failed,
    Job,
    Outcome,
    Park,
    Reply,
    Retry,
    Settled,
    Snooze,
    State,
    Submission,
    Terminal,
    Work,
)

T = TypeVar("T")
Twins: TypeAlias = tuple[Worker, Worker]
Act: TypeAlias = Callable[[Worker], Coroutine[Any, Any, object]]

WALKS, STEPS = 20, 150
PROCESSES = 2
# Of the small tier there are few jobs and much to share; what completes is lost to the walk.
TIERS = dict.fromkeys("abcd", "small") | dict.fromkeys("efghij", "large")
SUBMISSIONS = tuple(
    Submission(id=id_, reply_to=route)
    for id_, route in (("s0", "acme.s0"), ("s0", "acme.s0"), ("s1", None), ("ä", ""))
)
EXHAUSTED = Failed(kind=Kind.ATTEMPTS_EXHAUSTED, status=503, code="käse", detail="x" * 99)
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


class SideBySide:
    """A walk through the lives of a few jobs; `seed` decides each step."""

    def __init__(self, fleets: tuple[Fleet, Fleet], seed: int) -> None:
        self.fleets = fleets
        self.dice = random.Random(seed)  # noqa: S311  # chance of a test, which hides nothing
        self.runner = asyncio.Runner()
        self.twins = [self.join() for _ in range(PROCESSES)]
        self.taken: list[str] = []

    def walk(self) -> None:
        steps = {
            self.deliver: 12,
            self.end: 4,
            self.park: 5,
            self.ask: 3,
            self.die: 1,
            self.pass_time: 1,
        }
        for step in self.dice.choices(list(steps), list(steps.values()), k=STEPS):
            step()
        self.compare_archives()

    def close(self) -> None:
        for fleet in self.fleets:
            self.run(fleet.close())
        self.runner.close()

    # Steps

    def deliver(self) -> None:
        who, job = self.process(), self.delivery()
        if not job.first and self.dice.random() < 0.5:
            wait = timedelta(seconds=self.dice.choice([-90, 0, 1, 20]))
            job = replace(job, not_before=self.now() + wait)
        self.both(who, lambda worker: worker.ledger.find(job))
        self.both(who, lambda worker: worker.ledger.begin(job, max_attempts=3))
        self.both(who, lambda worker: worker.ledger.wanted_until(job.claim_key))
        self.both(who, lambda worker: worker.ledger.holds(job))
        if self.dice.random() < 0.2:
            self.both(who, lambda worker: worker.ledger.carried(job, (), letter=False))

    def end(self) -> None:
        who, job, claimed = self.process(), self.delivery(), self.dice.random() < 0.8
        how, work = self.dice.choice(ENDS), self.dice.choice(WORKS)
        carried = self.dice.choice([None, 0, 1, 9])

        async def settle(worker: Worker) -> object:
            told = await worker.ledger.end(job, *how, work=work, claimed=claimed)
            if isinstance(told, Ended) and carried is not None:
                await worker.ledger.carried(job, told.hear[:carried], letter=told.letter_due)
            return told

        self.both(who, settle)

    def park(self) -> None:
        who, job, claimed = self.process(), self.delivery(), self.dice.random() < 0.7
        after = timedelta(seconds=self.dice.choice([0, 2, 30]))
        retried = self.dice.random() < 0.5
        settlement: Park = Retry(after=after) if retried else Snooze(after=after)
        until, why = self.now() + after, self.dice.choice([None, TIMEOUT, INVALID])
        work, carried = self.dice.choice(WORKS), self.dice.random() < 0.5

        async def settle(worker: Worker) -> object:
            told = await worker.ledger.park(
                job, settlement, until, work=work, why=why, claimed=claimed
            )
            if carried:
                await worker.ledger.carried(job, (), letter=False)
            return told

        self.both(who, settle)

    def ask(self) -> None:
        job = make_job(self.dice.choice([*TIERS, "unknown"]))
        tenant = self.dice.choice(["acme", "acme", None, "zeta"])
        ask = asked(job, tenant=tenant, by_key=self.dice.random() < 0.5)
        if self.dice.random() < 0.2:
            ask = replace(ask, submission=self.dice.choice(SUBMISSIONS))
        cancels = self.dice.random() < 0.6

        async def answer(worker: Worker) -> object:
            told = await (worker.ledger.cancel(ask) if cancels else worker.ledger.result(ask))
            return (told, told.ended.written) if isinstance(told, Settled) else told

        self.both(self.process(), answer)
        for who in range(PROCESSES):
            self.both(who, lambda worker: worker.ledger.called_off())

    def die(self) -> None:
        who = self.process()
        for fleet, worker in zip(self.fleets, self.twins[who], strict=True):
            self.run(fleet.kill(worker))
        self.twins[who] = self.join()

    def pass_time(self) -> None:
        """Let time pass, in which a process may miss its lease, and all that has outlived its time go."""
        self.fleets[0].clock.pass_by(timedelta(seconds=self.dice.choice([1, 20, 20, 4_000])))
        asleep = self.dice.choice([None, *range(PROCESSES)])
        for who in range(PROCESSES):
            if who != asleep:
                self.both(who, lambda worker: worker.renew())
        for worker in self.twins[self.process()]:
            self.run(worker.sweep())

    # What they are made of

    def delivery(self) -> Job:
        """Give a delivery: mostly the one that the ledgers wait for, or the replay of a run that failed."""
        key = self.dice.choice([*TIERS, *"abcabc"])
        job = make_job(
            key,
            tier=TIERS[key],
            dedupe=self.dice.choice([Dedupe.OFF, Dedupe.INFLIGHT, Dedupe.INFLIGHT, Dedupe.CACHE]),
            content_hash=self.dice.choice(["c1"] * 15 + ["c2"]),
            deadline=self.dice.choice([BEGAN + timedelta(minutes=5), BEGAN.replace(year=9999)]),
            received_at=self.now() - timedelta(seconds=self.dice.choice([0, 0, 5, 600])),
        )
        job = replace(job, submission=self.dice.choice(SUBMISSIONS))
        known = self.fleets[0].archive().explain(job.id)
        aimed = self.dice.random()
        if known is None or aimed < 0.25:
            return job
        if aimed < 0.35:
            run, generation = self.dice.choice([1, 2, 3]), self.dice.choice([0, 1, 2])
            return replace(job, run=run, generation=generation, first=False)
        if known.state not in {State.OPEN, State.COMPLETED} and aimed < 0.7:
            return replace(job, run=known.run + 1, generation=0, first=False)
        back = self.dice.choice([0, 0, 0, 0, 1, -1])
        generation = max(0, known.generation - back)
        return replace(job, run=known.run, generation=generation, first=False)

    def process(self) -> int:
        return self.dice.randrange(PROCESSES)

    def now(self) -> datetime:
        return self.fleets[0].clock.now()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def join(self) -> Twins:
        one, other = self.fleets
        return self.run(one.join()), self.run(other.join())

    def both(self, who: int, act: Act) -> None:
        one, other = (self.run(act(worker)) for worker in self.twins[who])
        self.taken.append(f"{who}: {one}")
        assert one == other, "\n".join(self.taken[-9:])
        assert getattr(one, "written", None) == getattr(other, "written", None)

    def compare_archives(self) -> None:
        one, other = (fleet.archive() for fleet in self.fleets)
        for key in TIERS:
            told, same = (each.explain(make_job(key).id) for each in (one, other))
            if told is not None and same is not None and told.claimed_by is not None:
                assert same.claimed_by is not None
                told = replace(told, claimed_by=same.claimed_by)
            assert told == same
        assert one.letters(Selection()) == other.letters(Selection())
        assert one.counts() == other.counts()


@pytest.mark.parametrize("seed", range(WALKS))
def test_both_ledgers_say_the_same_of_every_life(
    redis_room: RedisRoom, tmp_path: Path, seed: int
) -> None:
    one, other = EmbeddedFleet(tmp_path), RedisFleet(redis_room)
    other.clock = one.clock
    walk = SideBySide((one, other), seed)
    try:
        walk.walk()
    finally:
        walk.close()
