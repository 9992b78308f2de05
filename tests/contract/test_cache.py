"""The response cache: what comes out is what went in, for a time and within bounds."""

from dataclasses import replace
from datetime import timedelta

import pytest

from producer_sdk.wire import Source
from tests.contract.world import ANSWER, LATER_ANSWER, Fleet, Worker
from worker.core.events import Trouble


@pytest.fixture
async def small(fleet: Fleet) -> Worker:
    return await fleet.join(small=True)


async def test_an_unknown_fingerprint_is_a_miss(worker: Worker) -> None:
    assert await worker.cache.get("acme:c1") is None


async def test_a_kept_response_comes_back_byte_for_byte_and_says_that_it_is_cached(
    worker: Worker,
) -> None:
    body = bytes(range(256))
    await worker.cache.put("acme:c1", replace(ANSWER, body=body))
    got = await worker.cache.get("acme:c1")
    assert got == replace(ANSWER, body=body, source=Source.CACHE)


async def test_another_tenants_fingerprint_is_a_miss(worker: Worker) -> None:
    await worker.cache.put("acme:c1", ANSWER)
    assert await worker.cache.get("zeta:c1") is None


async def test_all_processes_share_the_cache(fleet: Fleet, worker: Worker) -> None:
    await worker.cache.put("acme:c1", ANSWER)
    await worker.cache.get("acme:c1")  # after which it is there for the others too
    assert await (await fleet.join()).cache.get("acme:c1") is not None


async def test_a_later_response_takes_the_place_of_the_first(worker: Worker) -> None:
    await worker.cache.put("acme:c1", ANSWER)
    await worker.cache.put("acme:c1", LATER_ANSWER)
    assert await worker.cache.get("acme:c1") == replace(LATER_ANSWER, source=Source.CACHE)


async def test_an_entry_ends_with_its_lifetime_however_often_it_is_used(
    fleet: Fleet, worker: Worker
) -> None:
    await worker.cache.put("acme:c1", ANSWER)
    for _ in range(3):
        fleet.clock.pass_by(timedelta(hours=7, minutes=50))
        assert await worker.cache.get("acme:c1") is not None
    fleet.clock.pass_by(timedelta(minutes=40))
    assert await worker.cache.get("acme:c1") is None
    await worker.sweep()
    assert await worker.cache.get("acme:c1") is None


async def test_a_damaged_entry_is_a_miss_and_is_told(fleet: Fleet, worker: Worker) -> None:
    await worker.cache.put("acme:c1", ANSWER)
    await fleet.damage_responses()
    assert await worker.cache.get("acme:c1") is None
    assert [type(event) for event in fleet.ear.heard] == [Trouble]
    assert await worker.cache.get("acme:c1") is None


async def test_a_response_over_the_entry_bound_is_not_kept(small: Worker) -> None:
    await small.cache.put("acme:c1", replace(ANSWER, body=b"x" * 4_001))
    assert await small.cache.get("acme:c1") is None


async def test_the_total_stays_within_its_bound_and_the_least_recently_used_goes_first(
    fleet: Fleet, small: Worker
) -> None:
    cache = small.cache
    for number in range(3):
        await cache.put(f"acme:c{number}", replace(ANSWER, body=b"x" * 3_000))
        fleet.clock.pass_by(timedelta(hours=1))
    assert await cache.get("acme:c0") is not None
    await cache.put("acme:c3", replace(ANSWER, body=b"x" * 3_000))
    kept = [number for number in range(4) if await cache.get(f"acme:c{number}") is not None]
    assert kept == [0, 2, 3]


async def test_one_large_entry_drops_as_many_small_ones_as_it_takes(small: Worker) -> None:
    for number in range(60):
        await small.cache.put(f"acme:s{number:02}", replace(ANSWER, body=b"x" * 150))
    await small.cache.put("acme:large", replace(ANSWER, body=b"x" * 3_900))
    assert await small.cache.get("acme:large") is not None
    assert await small.cache.get("acme:s00") is None
    assert await small.cache.get("acme:s59") is not None
