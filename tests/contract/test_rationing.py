"""The port `Rationing`: permits for a lane's calls, counted over all workers."""

import asyncio
from datetime import timedelta

from tests.contract.world import Fleet, Worker
from worker.core.rations import NoPermit, Permit

LANE = "small.bulk"


async def take(worker: Worker, count: int, *, per_minute: int, lane: str = LANE) -> list[object]:
    return [await worker.rationing.permit(lane, per_minute=per_minute) for _ in range(count)]


async def test_so_many_calls_start_and_the_next_one_waits(fleet: Fleet, worker: Worker) -> None:
    given = await take(worker, 3, per_minute=60)
    assert [isinstance(each, Permit) for each in given] == [True, True, False]
    assert given[2] == NoPermit(wait=timedelta(seconds=2))
    fleet.clock.pass_by(timedelta(seconds=2))
    assert isinstance((await take(worker, 1, per_minute=60))[0], Permit)


async def test_no_minute_has_more_than_its_ration_over_two_workers(
    fleet: Fleet, worker: Worker
) -> None:
    other, starts = await fleet.join(), list[int]()
    for second in range(200):
        given = [await each.rationing.permit(LANE, per_minute=20) for each in (worker, other)]
        starts += [second for each in given if isinstance(each, Permit)]
        fleet.clock.pass_by(timedelta(seconds=1))
    assert len(starts) > 60
    for first in range(140):
        assert sum(first <= start <= first + 60 for start in starts) <= 20


async def test_a_restart_forgets_no_call(fleet: Fleet, worker: Worker) -> None:
    await take(worker, 1, per_minute=1)
    await fleet.kill(worker)
    fleet.clock.pass_by(timedelta(seconds=30))
    again = await fleet.join()
    (answer,) = await take(again, 1, per_minute=1)
    assert answer == NoPermit(wait=timedelta(seconds=31))


async def test_two_who_ask_at_once_share_what_is_left(fleet: Fleet, worker: Worker) -> None:
    other = await fleet.join()
    answers = await asyncio.gather(
        *(each.rationing.permit(LANE, per_minute=90) for each in (worker, other) * 5)
    )
    assert sum(isinstance(answer, Permit) for answer in answers) == 3


async def test_a_permit_that_is_given_back_is_anothers(worker: Worker) -> None:
    permit = await worker.rationing.permit(LANE, per_minute=1)
    assert isinstance(permit, Permit)
    await worker.rationing.give_back(LANE, permit)
    await worker.rationing.give_back(LANE, permit)
    assert isinstance((await take(worker, 1, per_minute=1))[0], Permit)


async def test_a_permit_that_is_given_back_late_is_no_others(fleet: Fleet, worker: Worker) -> None:
    late = await worker.rationing.permit(LANE, per_minute=1)
    assert isinstance(late, Permit)
    fleet.clock.pass_by(timedelta(minutes=3))
    assert isinstance((await take(worker, 1, per_minute=1))[0], Permit)
    await worker.rationing.give_back(LANE, late)
    assert isinstance((await take(worker, 1, per_minute=1))[0], NoPermit)


async def test_a_permit_given_back_among_others_costs_nobody_more_than_a_wait(
    fleet: Fleet, worker: Worker
) -> None:
    one, two = await take(worker, 2, per_minute=60)
    assert isinstance(one, Permit)
    assert isinstance(two, Permit)
    await worker.rationing.give_back(LANE, one)
    fleet.clock.pass_by(timedelta(seconds=2))
    assert isinstance((await take(worker, 1, per_minute=60))[0], Permit)


async def test_what_was_started_long_ago_makes_nobody_wait(fleet: Fleet, worker: Worker) -> None:
    for _ in range(10):
        for _ in range(3):
            assert isinstance((await take(worker, 1, per_minute=4))[0], Permit)
            fleet.clock.pass_by(timedelta(seconds=2))
        fleet.clock.pass_by(timedelta(seconds=70))


async def test_lanes_are_counted_apart(worker: Worker) -> None:
    await take(worker, 1, per_minute=1)
    assert isinstance((await take(worker, 1, per_minute=1, lane="large.bulk"))[0], Permit)


async def test_a_clock_that_is_put_back_stops_a_lane_for_a_minute_at_most(
    fleet: Fleet, worker: Worker
) -> None:
    await take(worker, 1, per_minute=1)
    fleet.clock.pass_by(-timedelta(hours=1))
    (answer,) = await take(worker, 1, per_minute=1)
    assert answer == NoPermit(wait=timedelta(seconds=61))


async def test_what_is_past_leaves_nothing_behind(fleet: Fleet, worker: Worker) -> None:
    for _ in range(100):
        await take(worker, 1, per_minute=30)
        fleet.clock.pass_by(timedelta(seconds=10))
    assert await fleet.permits(LANE) <= 13
