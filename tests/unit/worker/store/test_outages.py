"""A real store that is made unavailable, and what becomes of claims over an outage longer than their leases."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.contract.world import ANSWER, EmbeddedFleet, complete, make_job
from tests.faults import stores
from worker.core.model import Follow, Started
from worker.errors import StoreUnavailable, StoreUnusable
from worker.store.embedded import EmbeddedOptions, EmbeddedStore

SHORT = EmbeddedOptions(busy_timeout=timedelta(seconds=0.1))
LEASE = SHORT.lease

FAULTS: dict[str, Callable[[EmbeddedStore], AbstractAsyncContextManager[None]]] = {
    "locked": lambda store: stores.locked(store._file.path),
    "moved": lambda store: stores.moved(store._file.path),
    "short of pages": stores.short_of_pages,
    "read-only": stores.read_only,
}


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[EmbeddedFleet]:
    fleet = EmbeddedFleet(tmp_path, SHORT)
    yield fleet
    await fleet.close()


@pytest.mark.parametrize("name", FAULTS)
async def test_a_store_that_fails_says_so_and_works_again_afterwards(
    fleet: EmbeddedFleet, name: str
) -> None:
    store = await fleet.join()

    async def fill() -> None:
        for number in range(1000):  # what is free inside the file may do for some
            await complete(store.ledger, make_job(f"k{number}"), large)

    large = replace(ANSWER, body=bytes(100_000))
    async with FAULTS[name](store):
        with pytest.raises(StoreUnavailable):
            await fill()
    await complete(store.ledger, make_job("after"))


async def test_a_store_that_is_slow_fails_nothing(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    store = await fleet.join()
    async with stores.slow(store._file.path):
        for number in range(3):
            await complete(store.ledger, make_job(f"k{number}"))
    await fleet.close()


async def test_a_damaged_file_ends_a_start_and_opens_once_it_is_mended(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path)
    await complete((await fleet.join()).ledger, make_job())
    await fleet.close()
    fleet = EmbeddedFleet(tmp_path)
    with stores.corrupt(fleet.path), pytest.raises(StoreUnusable):
        await fleet.join()
    store = await fleet.join()
    assert await store.ledger.find(make_job()) is not None
    await fleet.close()


async def test_a_file_that_is_locked_at_the_start_is_no_error_that_waiting_would_not_mend(
    fleet: EmbeddedFleet,
) -> None:
    first = await fleet.join()
    async with stores.locked(fleet.path):
        with pytest.raises(StoreUnavailable) as raised:
            await fleet.join()
    assert not isinstance(raised.value, StoreUnusable)
    await complete(first.ledger, make_job())


async def outage(fleet: EmbeddedFleet, judge: EmbeddedStore, *, lasting: timedelta) -> None:
    """Let the store be away for as long as that, so that nobody renews a lease; the judge sees it fail."""
    async with stores.locked(fleet.path):
        with pytest.raises(StoreUnavailable):
            await judge.ledger.begin(make_job("other"), max_attempts=3)
        fleet.clock.pass_by(lasting)


async def test_nobody_is_taken_for_dead_because_the_store_was_away(fleet: EmbeddedFleet) -> None:
    caller, judge = await fleet.join(), await fleet.join()
    await caller.ledger.begin(make_job(), max_attempts=3)
    await outage(fleet, judge, lasting=4 * LEASE)
    # First the judge's write comes through, before anybody's renewal; then its own renewal.
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Follow)
    assert await judge.renew()
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Follow)
    fleet.clock.pass_by(LEASE / 3)
    assert await caller.renew()
    fleet.clock.pass_by(LEASE * 0.9)
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Follow)


async def test_a_stopped_process_loses_its_claim_one_lease_after_the_store_is_back(
    fleet: EmbeddedFleet,
) -> None:
    stopped, judge = await fleet.join(), await fleet.join()
    await stopped.ledger.begin(make_job(), max_attempts=3)
    await outage(fleet, judge, lasting=4 * LEASE)
    assert await judge.renew()
    fleet.clock.pass_by(LEASE - timedelta(seconds=1))
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Follow)
    fleet.clock.pass_by(timedelta(seconds=2))
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Started)


async def test_a_process_that_died_in_the_outage_loses_its_claim_at_once(
    fleet: EmbeddedFleet,
) -> None:
    dead, judge = await fleet.join(), await fleet.join()
    await dead.ledger.begin(make_job(), max_attempts=3)
    await outage(fleet, judge, lasting=4 * LEASE)
    await fleet.kill(dead)
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Started)


async def test_who_opens_the_store_after_an_outage_that_it_did_not_see_takes_nobody_for_dead(
    fleet: EmbeddedFleet,
) -> None:
    caller = await fleet.join()
    await caller.ledger.begin(make_job(), max_attempts=3)
    fleet.clock.pass_by(4 * LEASE)
    judge = await fleet.join()
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Follow)
    fleet.clock.pass_by(LEASE)
    await judge.renew()
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Started)


async def test_a_transaction_that_took_longer_than_a_renewal_counts_as_an_outage(
    tmp_path: Path,
) -> None:
    options = EmbeddedOptions(renew_every=timedelta(seconds=0.2))
    fleet = EmbeddedFleet(tmp_path, options)
    caller, judge = await fleet.join(), await fleet.join()
    await caller.ledger.begin(make_job(), max_attempts=3)
    for task in (*caller._tasks, *judge._tasks):  # no renewal but the test's own
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    async with stores.locked(fleet.path):
        slow = asyncio.create_task(judge.renew())
        await asyncio.sleep(0.3)
    assert await slow
    fleet.clock.pass_by(options.lease + timedelta(seconds=1))
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Follow)
    await fleet.close()
