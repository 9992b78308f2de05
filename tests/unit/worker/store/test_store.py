"""The embedded store as a whole: its life sign, its cleaning, its close, and what an operator meets."""

import asyncio
import gc
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from producer_sdk.wire import Dedupe
from tests.contract.world import (
    ANSWER,
    BEGAN,
    DONE,
    ONE_CALL,
    TIMEOUT,
    Ear,
    EmbeddedFleet,
    HandClock,
    complete,
    dead_letter,
    make_job,
)
from worker.core.bill import Bill
from worker.core.events import LeaseRenewed, Trouble
from worker.core.kinds import Kind
from worker.core.letters import Counts, Selection
from worker.core.limits import Full, Taken, Used, charges
from worker.core.model import Completed, Ended, Retry, Started, Usage, next_generation
from worker.errors import SettingsError, StoreUnavailable
from worker.store import outcomes
from worker.store.embedded import EmbeddedArchive, EmbeddedOptions, EmbeddedStore, calling_off
from worker.store.embedded.books import Books
from worker.store.embedded.jobs import Jobs
from worker.store.embedded.owners import Owner, lock_path, locked, remove_if_dead
from worker.store.embedded.rows import HISTORY_LINES
from worker.store.embedded.sweeper import sweep
from worker.store.embedded.transaction import Transaction

QUICK = EmbeddedOptions(
    renew_every=timedelta(milliseconds=5),
    sweep_every=timedelta(milliseconds=5),
    busy_timeout=timedelta(milliseconds=20),
)


def count(path: Path, table: str) -> object:
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").get  # noqa: S608  # the test's own tables


async def test_the_lease_is_renewed_and_told(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path, QUICK)
    await fleet.join()
    await fleet.ear.hears(LeaseRenewed)
    await fleet.close()


async def test_a_lease_that_cannot_be_renewed_is_told_as_trouble_and_tried_again(
    tmp_path: Path,
) -> None:
    fleet = EmbeddedFleet(tmp_path, QUICK)
    await fleet.join()
    with closing(apsw.Connection(str(fleet.path))) as other:
        other.execute("BEGIN IMMEDIATE")
        await fleet.ear.hears(Trouble)
        fleet.ear.heard.clear()
        other.execute("ROLLBACK")
    await fleet.ear.hears(LeaseRenewed)
    await fleet.close()


async def test_closing_gives_claims_up_and_removes_the_life_sign(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    one, two = await fleet.join(), await fleet.join()
    await one.ledger.begin(make_job(), max_attempts=3)
    await one.close()
    assert not lock_path(fleet.path.parent / "owners", one.owner).exists()
    assert isinstance(await two.ledger.begin(make_job(), max_attempts=3), Started)
    await fleet.close()


async def test_closing_twice_is_harmless_and_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    store = await fleet.join()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.ledger.find(make_job())
    assert await store.cache.get("acme:c1") is None
    await store.cache.put("acme:c1", ANSWER)
    assert [type(event) for event in fleet.ear.heard] == [Trouble, Trouble]


async def test_a_cache_whose_pages_are_damaged_is_a_miss_and_keeps_no_job_from_its_ledger(
    tmp_path: Path,
) -> None:
    fleet = EmbeddedFleet(tmp_path)
    store, job = await fleet.join(), make_job(dedupe=Dedupe.CACHE)
    await store.cache.put(job.fingerprint, ANSWER)
    await store.close()
    with closing(apsw.Connection(str(fleet.path))) as connection:
        page, size = connection.execute(
            "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_schema WHERE name = 'cache'"
        ).get
    with fleet.path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    store = await fleet.join()
    assert await store.ledger.find(job, cached=True) is None
    assert isinstance(await store.ledger.begin(job, max_attempts=3), Started)
    assert await store.cache.get(job.fingerprint) is None
    assert [type(event) for event in fleet.ear.heard] == [Trouble, Trouble]
    await fleet.close()


async def test_transactions_leave_no_circles_behind(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    store = await fleet.join()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            assert await store.ledger.find(make_job()) is None
        left = [each for each in gc.get_objects() if isinstance(each, Books)]
    finally:
        gc.enable()
    assert len(left) <= 1  # the thread may not have let go of the last one yet
    await fleet.close()


async def test_closing_ends_a_followers_wait(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    store = await fleet.join()
    await store.ledger.begin(make_job(), max_attempts=3)
    wait = asyncio.create_task(
        store.ledger.released(make_job().claim_key, at_most=timedelta(minutes=1))
    )
    await store.ledger.find(make_job())
    await store.close()
    await asyncio.wait_for(wait, 10)


async def test_nobody_polls_when_nobody_waits(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    store = await fleet.join()
    await store.ledger.begin(make_job(), max_attempts=3)
    await store.ledger.released(make_job().claim_key, at_most=timedelta(milliseconds=1))
    poller = store.ledger._watch._poller
    if poller is not None:
        await asyncio.wait_for(poller, 10)
    assert store.ledger._watch._awaited == {}
    await fleet.close()


async def test_a_store_that_cannot_be_opened_leaves_no_life_sign(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(apsw.Connection(str(path))) as other:
        other.execute("CREATE TABLE theirs (x)")
    store = EmbeddedStore(path, clock=HandClock(), listener=Ear())
    with pytest.raises(SettingsError):
        await store.open()
    assert not (tmp_path / "owners").exists()


# Owners


def test_a_lock_is_seen_from_outside_and_goes_with_its_holder(tmp_path: Path) -> None:
    owner = Owner(tmp_path / "owners", HandClock(), 15.0)
    path = lock_path(tmp_path / "owners", owner.token)
    assert not locked(path)
    owner.hold()
    assert locked(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not remove_if_dead(path)
    owner.leave()
    assert not locked(path)


def test_two_who_look_at_the_same_time_do_not_take_each_other_for_the_holder(
    tmp_path: Path,
) -> None:
    path = tmp_path / "dead.lock"
    path.touch()
    assert not any(locked(path) for _ in range(3))
    assert remove_if_dead(path)
    assert not path.exists()
    assert remove_if_dead(path)


async def test_an_owner_of_another_boot_is_dead_though_its_lock_is_held(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    one, two = await fleet.join(), await fleet.join()
    await one.ledger.begin(make_job(), max_attempts=3)
    await two._file.run(
        lambda connection: connection.execute(
            "UPDATE owners SET boot_id = 'earlier' WHERE owner = ?", (one.owner,)
        )
    )
    assert isinstance(await two.ledger.begin(make_job(), max_attempts=3), Started)
    await fleet.close()


# Cleaning


class Watched(EmbeddedStore):
    """Says when a sweep has ended."""

    def __init__(self, path: Path, clock: HandClock) -> None:
        super().__init__(path, clock=clock, listener=Ear(), options=QUICK)
        self.swept = asyncio.Event()

    async def sweep(self) -> None:
        await super().sweep()
        self.swept.set()


async def test_the_sweeper_runs_by_itself(tmp_path: Path) -> None:
    clock, path = HandClock(), tmp_path / "warren.db"
    async with Watched(path, clock) as store:
        await complete(store.ledger, make_job())
        clock.pass_by(timedelta(days=11))
        for _ in range(2):  # the first may have begun before the time had passed
            store.swept.clear()
            await asyncio.wait_for(store.swept.wait(), 10)
        assert count(path, "jobs") == 0


async def test_what_has_outlived_its_time_leaves_no_row_behind(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    store = await fleet.join()
    for number in range(150):
        job = make_job(f"k{number}", dedupe=Dedupe.CACHE, content_hash=f"c{number}")
        await (complete if number % 2 else dead_letter)(store.ledger, job)
        await store.cache.put(job.fingerprint, ANSWER)
    fleet.clock.pass_by(timedelta(days=11))
    await store.sweep()
    for table in ("jobs", "bodies", "submissions", "history", "letters", "claims", "answers"):
        assert count(fleet.path, table) == 0, table
    assert count(fleet.path, "cache") == 0
    total = await store._file.run(
        lambda connection: connection.execute("SELECT size FROM cache_total").get
    )
    assert total == 0
    await fleet.close()


async def test_a_meter_on_which_nothing_counts_any_more_is_swept(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    store = await fleet.join()
    for account in ("alpha", "beta"):
        told = charges(account, requests_per_minute=9, tokens_per_minute=0, tokens=0)
        assert isinstance(await store.limits.take(told), Taken)
        fleet.clock.pass_by(timedelta(seconds=60))
        await store.sweep()
        assert count(fleet.path, "meters") == 1
    await fleet.close()


async def test_one_step_of_sweeping_is_bounded(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    store = await fleet.join()
    for number in range(230):
        await complete(store.ledger, make_job(f"k{number}"))
    fleet.clock.pass_by(timedelta(days=2))
    before = store.commits
    await store.sweep()
    assert count(fleet.path, "bodies") == 0
    assert store.commits - before >= 1 + 3
    await fleet.close()


async def test_the_dead_are_buried_the_living_and_open_claims_stay(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    dead, living, sweeper = [await fleet.join() for _ in range(3)]
    await dead.ledger.begin(make_job("open"), max_attempts=3)
    await living.ledger.begin(make_job("living"), max_attempts=3)
    await fleet.kill(dead)
    await sweeper.sweep()
    owners = {path.stem for path in (fleet.path.parent / "owners").glob("*.lock")}
    assert owners == {living.owner, sweeper.owner}
    assert count(fleet.path, "owners") == 2
    for key, claimed in (("open", True), ("living", True)):
        told = fleet.archive().explain(make_job(key).id)
        assert told is not None
        assert (told.claimed_by is not None) == claimed, key
    begun = await sweeper.ledger.begin(make_job("open"), max_attempts=3)
    assert isinstance(begun, Started)
    await fleet.close()


async def test_a_jobs_history_keeps_its_newest_lines_only(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    store = await fleet.join()
    job = make_job()
    retry = Retry(after=timedelta(seconds=1))
    for _ in range(HISTORY_LINES + 20):
        await store.ledger.park(job, retry, BEGAN, work=ONE_CALL, why=TIMEOUT, claimed=False)
        job = next_generation(job, not_before=BEGAN)
    told = fleet.archive().explain(job.id)
    assert told is not None
    assert len(told.history) == HISTORY_LINES
    assert told.history[-1].generation == job.generation - 1
    await fleet.close()


# The archive's file


async def test_counts_tell_open_jobs_and_letters(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    ledger = (await fleet.join()).ledger
    await ledger.begin(make_job("a"), max_attempts=3)
    await ledger.begin(make_job("b", tier="large"), max_attempts=3)
    await complete(ledger, make_job("c"))
    for key in "de":
        await dead_letter(ledger, make_job(key, tier="large"), TIMEOUT)
    assert fleet.archive().counts() == Counts(
        open_jobs={"small": 1, "large": 1}, letters={("large", Kind.TIMEOUT): 2}
    )
    await fleet.close()


async def test_the_archive_reads_while_no_worker_runs(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    await dead_letter((await fleet.join()).ledger, make_job())
    await fleet.close()
    assert len(fleet.archive().letters(Selection())) == 1


async def test_the_archive_blocks_no_worker(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path, QUICK)
    ledger = (await fleet.join()).ledger
    await dead_letter(ledger, make_job())
    with fleet.archive()._reading() as reading:
        assert reading.execute("SELECT count(*) FROM jobs").get == 1
        await complete(ledger, make_job("k2"))
        with pytest.raises(apsw.ReadOnlyError):
            reading.execute("DELETE FROM jobs")
    await fleet.close()


def test_an_archive_without_a_file_says_so_and_creates_none(tmp_path: Path) -> None:
    path = tmp_path / "missing.db"
    with pytest.raises(StoreUnavailable, match="does not exist"):
        EmbeddedArchive(path).letters(Selection())
    assert not path.exists()


def test_an_archive_refuses_a_foreign_or_damaged_file(tmp_path: Path) -> None:
    foreign, damaged = tmp_path / "foreign.db", tmp_path / "damaged.db"
    with closing(apsw.Connection(str(foreign))) as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(SettingsError, match="no Warren store"):
        EmbeddedArchive(foreign).counts()
    damaged.write_bytes(b"no database " * 1000)
    with pytest.raises(StoreUnavailable, match="damaged"):
        EmbeddedArchive(damaged).counts()


def test_what_an_older_warren_wrote_is_read_with_two_counts_and_no_known_cost() -> None:
    old = '{"endpoint": "a", "model": "m", "usage": [3, 5], "source": "upstream"}'
    assert outcomes.read(old, b"{}") == Completed(
        body=b"{}",
        endpoint="a",
        model="m",
        usage=Usage(prompt_tokens=3, completion_tokens=5),
    )
    assert outcomes.own_cost(old) is None


def test_that_an_answer_is_a_fallbacks_is_kept_with_it() -> None:
    completed = Completed(body=b"{}", endpoint="a", model="small", fallback=True)
    assert outcomes.read(outcomes.written(completed), b"{}") == completed


def plans(connection: apsw.Connection, act: Callable[[], object], about: str) -> list[str]:
    """Give how SQLite does the statements of an act that are about a table."""
    done: list[tuple[str, Any]] = []

    def heed(_: object, statement: str, given: Any) -> bool:  # noqa: ANN401  # apsw's bindings
        done.append((statement, given))
        return True

    connection.exec_trace = heed
    act()
    connection.exec_trace = None
    return [
        detail
        for statement, given in done
        if about in statement
        for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {statement}", given)
    ]


async def test_to_look_for_called_off_calls_looks_not_at_every_call(tmp_path: Path) -> None:
    """It is asked every now and then, and each call in flight has a claim."""
    path = tmp_path / "warren.db"
    async with EmbeddedStore(path, clock=HandClock(), listener=Ear()):
        pass
    with closing(apsw.Connection(str(path))) as connection:
        books = Books(connection)
        transaction = Transaction(
            books=books,
            jobs=books.page(Jobs),
            me="me",
            now=0,
            alive=lambda _, __: True,
            options=QUICK,
        )
        found = plans(connection, lambda: calling_off.mine(transaction), "claims")
    assert found
    assert "SCAN c" not in found


async def test_a_sweep_looks_through_no_pots_that_are_kept(tmp_path: Path) -> None:
    """There are as many of them as tenants, for a hundred days."""
    path = tmp_path / "warren.db"
    async with EmbeddedStore(path, clock=HandClock(), listener=Ear()):
        pass
    with closing(apsw.Connection(str(path))) as connection:
        found = plans(connection, lambda: sweep(connection, now=0, options=QUICK), "pots")
    assert found
    assert not [plan for plan in found if plan.startswith("SCAN pots")]


async def test_a_call_ends_also_where_upstreams_have_told_more_tokens_than_a_meter_holds(
    tmp_path: Path,
) -> None:
    fleet = EmbeddedFleet(tmp_path)
    store, job = await fleet.join(), make_job()
    told = 1 << 54  # the most that one usage says, of prompt and answer
    terms = charges("alpha", requests_per_minute=0, tokens_per_minute=1_000_000, tokens=1)
    taken = [await store.limits.take(terms) for _ in range(512)]
    await asyncio.gather(
        *(store.limits.settle(each, [told]) for each in taken if isinstance(each, Taken))
    )
    await store.ledger.begin(job, max_attempts=3)
    bill = Bill(used=(Used(Taken(charges=terms, slot=0), [told]),))
    ended = await store.ledger.end(job, ANSWER, DONE, work=ONE_CALL, claimed=True, bill=bill)
    assert isinstance(ended, Ended)
    assert isinstance(await store.limits.take(terms), Full)
    await fleet.close()
