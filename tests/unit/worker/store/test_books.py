"""What shares a transaction: the same is said, and the same is written, as when each operation has one of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeAlias

import apsw
import pytest

from producer_sdk.wire import Dedupe
from tests.contract.world import (
    ANSWER,
    BEGAN,
    DONE,
    INVALID,
    LATER_ANSWER,
    ONE_CALL,
    SOON,
    TIMEOUT,
    EmbeddedFleet,
    asked,
    make_job,
)
from worker.core.bill import Bill
from worker.core.limits import Charge, Full, Meter, Taken, Used
from worker.core.model import (
    Completed,
    DeadLetter,
    Ended,
    Job,
    Outcome,
    Park,
    Retry,
    Snooze,
    Started,
    Terminal,
)
from worker.core.spend import Account, Cap, Per, Reserved
from worker.core.terms import Reservation, Terms
from worker.store.embedded import EmbeddedStore
from worker.store.embedded.ahead import Ahead
from worker.store.embedded.books import Books
from worker.store.embedded.jobs import Jobs
from worker.store.embedded.sweeper import sweep
from worker.store.instants import to_us


class Side:
    """One of the twins, with what it was given and has to settle."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.store = store
        self.kept: list[object] = []
        self.before: list[object] = []  # of earlier turns

    async def keep(self, given: Awaitable[object]) -> object:
        value = await given
        self.kept.append(value)
        return value

    async def begin(self, job: Job, terms: Terms, *, cached: bool | None) -> object:
        begun = await self.store.ledger.begin(job, max_attempts=3, terms=terms, cached=cached)
        if isinstance(begun, Started):
            self.kept.append(begun.taken)
            if terms.reservation is not None:
                self.kept.append(terms.reservation.reserved)
        return begun

    async def settle(self, which: float, used: int, cost: Decimal | None) -> None:
        given = self._given(which)
        if isinstance(given, Taken):
            await self.store.limits.settle(given, (1, used)[: len(given.charges)])
        elif isinstance(given, Reserved):
            await self.store.spend.settle(given, cost)

    async def sweep(self) -> None:
        now = to_us(self.store._clock.now())
        await self.store._file.run(partial(sweep, now=now, options=self.store._options))

    def bill(self, which: float, used: int, cost: Decimal, *, fingerprint: str | None) -> Bill:
        given = self._given(which)
        return Bill(
            used=(Used(given, (1, used)),) if isinstance(given, Taken) else (),
            spent=((given, cost),) if isinstance(given, Reserved) else (),
            fingerprint=fingerprint,
        )

    def _given(self, which: float) -> object:
        return self.before[int(which * len(self.before))] if self.before else None


Act: TypeAlias = Callable[[Side], Awaitable[object]]
TABLES = [
    "jobs",
    "bodies",
    "submissions",
    "history",
    "letters",
    "claims",
    "answers",
    "called_off",
    "cache",
    "cache_total",
    "meters",
    "pots",
    "reservations",
]
CHARGES = [
    Charge(meter=Meter(name="endpoint:a:requests", limit=20), amount=1),
    Charge(meter=Meter(name="endpoint:a:tokens", limit=2000), amount=70),
]
ENDS: list[tuple[Outcome, Terminal]] = [
    (ANSWER, DONE),
    (LATER_ANSWER, DONE),
    (INVALID, DeadLetter(reason=INVALID.kind)),
]
PARKS: list[Park] = [Retry(after=SOON), Snooze(after=SOON)]
CAPS = [
    Cap(account=Account(tenant="acme"), per=Per.DAY, usd=Decimal("0.9")),
    Cap(account=Account(), per=Per.MONTH, usd=Decimal(2)),
]
# All that is kept for a time expires; once in a while the clock is put back.
PASSED = [*[timedelta(seconds=1)] * 8, timedelta(seconds=-40), timedelta(days=9)]


def some_job(dice: Random) -> Job:
    return make_job(
        dice.choice(["k1", "k2", "k3"]),
        dice.choice(["s1", "s1", "s2"]),
        content_hash=dice.choice(["c1", "c1", "c1", "c2"]),
        dedupe=dice.choice(list(Dedupe)),
        run=(run := dice.choice([1, 1, 1, 2])),
        generation=(generation := dice.choice([0, 0, 0, 1])),
        first=run == 1 and generation == 0 and dice.random() < 0.8,
    )


def some_act(dice: Random, number: int) -> Act:
    job, claimed = some_job(dice), dice.random() < 0.8
    outcome, settlement = dice.choice(ENDS)
    parked = dice.choice(PARKS)
    why = dice.choice([TIMEOUT, None])
    heard, letter = dice.choice([((), False), ((job.submission,), False), ((), True)])
    ask = asked(job, ask=f"ask{number}")
    which, used = dice.random(), dice.randrange(90)
    name = f"t{dice.choice([number, number // 5])}"  # which nobody else uses, the port says: so twice counts once
    money = Reservation(name=name, caps=CAPS, amount=Decimal("0.1"))
    terms = Terms(
        charges=dice.choice([(), tuple(CHARGES), tuple(CHARGES)]),
        reservation=dice.choice([None, money, money]),
    )
    cost = dice.choice([None, Decimal("0.01"), Decimal("0.3")])
    fingerprint = dice.choice([None, job.fingerprint])
    cached = dice.choice([None, False, True, True])

    def bill(side: Side) -> Bill:
        return side.bill(which, used, cost or Decimal(0), fingerprint=fingerprint)

    acts: dict[Act, int] = {
        lambda side: side.store.ledger.find(job, cached=claimed): 1,
        lambda side: side.store.ledger.begin(job, max_attempts=3): 3,
        lambda side: side.store.ledger.end(
            job, outcome, settlement, work=ONE_CALL, claimed=claimed, bill=bill(side)
        ): 2,
        lambda side: side.store.ledger.park(
            job, parked, BEGAN + SOON, work=ONE_CALL, why=why, claimed=claimed, bill=bill(side)
        ): 1,
        lambda side: side.store.ledger.carried(job, heard, letter=letter): 1,
        lambda side: side.store.ledger.holds(job): 1,
        lambda side: side.store.ledger.cancel(ask): 1,
        lambda side: side.store.ledger.result(ask): 1,
        lambda side: side.store.cache.get(job.fingerprint): 1,
        lambda side: side.store.cache.put(job.fingerprint, ANSWER): 1,
        lambda side: side.begin(job, terms, cached=cached): 4,
        lambda side: side.keep(side.store.limits.take(CHARGES)): 1,
        lambda side: side.keep(side.store.spend.reserve(f"r{number}", CAPS, Decimal("0.1"))): 1,
        lambda side: side.settle(which, used, cost): 1,
        lambda side: side.sweep(): 1,
    }
    (act,) = dice.choices(list(acts), weights=list(acts.values()))
    return act


def written(sides: list[Side], fleet: EmbeddedFleet) -> dict[str, list[object]]:
    """Give all that is in the tables, without the names of processes."""
    names: dict[object, object] = {
        side.store.owner: f"process {number}" for number, side in enumerate(sides)
    }
    connection = apsw.Connection(str(fleet.path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {
            table: sorted(
                [
                    # An entry of the cache that takes another's place may have its number, or the next one.
                    tuple(names.get(value, value) for value in row)[table == "cache" :]
                    for row in connection.execute(f"SELECT * FROM {table}")  # noqa: S608  # names from above
                ],
                key=repr,
            )
            for table in TABLES
        }
    finally:
        connection.close()


def known(jobs: Jobs) -> int:
    """Count what is known of all jobs."""
    return sum(len(kept) for kept in vars(jobs).values() if isinstance(kept, dict))


async def listen(store: EmbeddedStore) -> list[str]:
    """Give the list to which each statement is added from now on."""
    said: list[str] = []

    def begin(books: Books) -> None:
        books.aside.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: said.append(event["sql"]))

    await store._file.join(begin)
    return said


@pytest.fixture
async def twins(tmp_path: Path) -> AsyncIterator[list[EmbeddedFleet]]:
    fleets = [EmbeddedFleet(tmp_path / name) for name in ("together", "alone")]
    yield fleets
    for fleet in fleets:
        await fleet.close()


@pytest.mark.parametrize("seed", range(40))
async def test_together_and_alone_say_and_write_the_same(
    twins: list[EmbeddedFleet], seed: int
) -> None:
    """The twins together know what they have written; those alone forget it after each operation."""
    dice = Random(seed)  # noqa: S311  # the same lives in every run
    pairs = [[Side(await fleet.join()) for fleet in twins] for _ in range(2)]
    for turn in range(12):
        together, alone = pairs[dice.random() < 0.3]  # another process writes the same file
        acts = [some_act(dice, 100 * turn + number) for number in range(dice.randrange(2, 14))]
        for side in (together, alone):
            side.before = sorted(side.kept, key=repr)  # whoever was told first
        before = together.store.commits
        said = await asyncio.gather(*(act(together) for act in acts))
        await together.store._file.join(lambda _: None)  # what nobody waits for is written too
        assert together.store.commits - before <= 2
        for act, told in zip(acts, said, strict=True):
            assert await act(alone) == told
            await alone.store._file.run(lambda _: None)  # and so forgets
        assert written([each for each, _ in pairs], twins[0]) == written(
            [each for _, each in pairs], twins[1]
        )
        passed = dice.choice(PASSED)
        for fleet in twins:
            fleet.clock.pass_by(passed)


async def test_what_is_known_of_a_job_is_not_read_again(twins: list[EmbeddedFleet]) -> None:
    store, job = await twins[0].join(), make_job()
    await store.ledger.begin(job, max_attempts=3)
    asked_of_sqlite = await listen(store)
    assert await store.ledger.called_off() == frozenset()  # asked several times a second
    assert await store.ledger.result(asked(job, ask="a")) is not None
    asked_of_sqlite.clear()
    ended = await store.ledger.end(job, ANSWER, DONE, work=ONE_CALL, claimed=True)
    assert isinstance(ended, Ended)
    await store.ledger.carried(job, ended.hear, letter=False)
    # A job that was called off, which is not known of before the first end.
    read = [sql for sql in asked_of_sqlite if sql.startswith("SELECT") and "called_off" not in sql]
    assert read == []


async def test_what_begins_look_for_is_read_for_all_of_them_at_once(
    twins: list[EmbeddedFleet],
) -> None:
    store = await twins[0].join()
    jobs = [
        make_job(f"k{number}", dedupe=Dedupe.CACHE, content_hash=str(number))
        for number in range(20)
    ]
    await store.cache.put(jobs[0].fingerprint, ANSWER)
    await store._file.run(lambda _: None)  # nothing is known
    asked_of_sqlite = await listen(store)

    async def begin(job: Job) -> object:
        money = Reservation(name=job.id, caps=CAPS, amount=Decimal("0.01"))
        terms = Terms(charges=tuple(CHARGES), reservation=money)
        return await store.ledger.begin(job, max_attempts=3, terms=terms, cached=True)

    first, *others = await asyncio.gather(*map(begin, jobs))
    assert isinstance(first, Completed)
    assert {type(begun) for begun in others} == {Started, Full}
    read = [sql for sql in asked_of_sqlite if sql.startswith("SELECT")]
    assert sum(" cache" in sql for sql in read) == 2  # the second gives what the first has seen
    assert sum("reservations" in sql for sql in read) == 1
    assert len(read) < len(jobs)


async def test_whether_claims_are_held_is_told_without_a_look_at_histories(
    twins: list[EmbeddedFleet],
) -> None:
    store, jobs = await twins[0].join(), [make_job("k1"), make_job("k2")]
    for job in jobs:
        await store.ledger.begin(job, max_attempts=3)
    await store._file.run(lambda _: None)  # nothing is known
    asked_of_sqlite = await listen(store)
    assert await asyncio.gather(*(store.ledger.holds(job) for job in jobs)) == [True, True]
    read = [sql for sql in asked_of_sqlite if sql.startswith("SELECT")]
    assert sum("claims" in sql for sql in read) == 1  # of both at once
    assert not [sql for sql in read if "history" in sql]


async def test_a_job_that_was_settled_is_not_kept_at_hand(twins: list[EmbeddedFleet]) -> None:
    store, job = await twins[0].join(), make_job()
    await store.ledger.begin(job, max_attempts=3)
    ended = await store.ledger.end(job, ANSWER, DONE, work=ONE_CALL, claimed=True)
    assert isinstance(ended, Ended)
    assert await store._file.join(lambda books: known(books.page(Jobs))) > 0
    await store.ledger.carried(job, ended.hear, letter=False)
    assert await store._file.join(lambda books: known(books.page(Jobs))) == 0


async def test_what_another_process_has_written_is_read(twins: list[EmbeddedFleet]) -> None:
    one, other, job = await twins[0].join(), await twins[0].join(), make_job()
    assert await one.ledger.find(job) is None
    await other.ledger.begin(job, max_attempts=3)
    await other.ledger.end(job, ANSWER, DONE, work=ONE_CALL, claimed=True)
    assert isinstance(await one.ledger.find(job), Ended)


async def test_what_was_rolled_back_is_not_known(twins: list[EmbeddedFleet]) -> None:
    store, job = await twins[0].join(), make_job()

    def fail(books: Books) -> None:
        books.page(Jobs).insert(job, expires_at=1)
        raise LookupError

    with pytest.raises(LookupError):
        await store._file.join(fail)
    assert await store._file.join(lambda books: books.page(Jobs).row(job.id)) is None


async def test_no_more_is_known_than_some_thousand_operations_have_left(
    twins: list[EmbeddedFleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.store.embedded.books._MOST_OPERATIONS", 4)
    store = await twins[0].join()
    pages = [await store._file.join(lambda books: books.page(Jobs)) for _ in range(6)]
    assert pages[1] is pages[0]
    assert pages[-1] is not pages[0]


async def test_what_is_read_straight_is_written_before_and_read_anew_after(
    twins: list[EmbeddedFleet],
) -> None:
    store, job = await twins[0].join(), make_job()

    def act(books: Books) -> tuple[object, object, str]:
        jobs = books.page(Jobs)
        jobs.look_ahead([Ahead(job.id)])
        before = jobs.row(job.id)
        jobs.insert(job, expires_at=1)
        connection = books.straight()
        connection.execute("UPDATE jobs SET carrier = 'another' WHERE id = ?", (job.id,))
        after = jobs.row(job.id)
        assert after is not None
        return before, connection.execute("SELECT count(*) FROM jobs").get, after.carrier

    assert await store._file.join(act) == (None, 1, "another")
