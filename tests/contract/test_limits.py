"""The port `Limits`: what the calls of all workers use of the accounts' limits."""

import asyncio
import random
from datetime import timedelta

import pytest

from tests.contract.world import Fleet, Worker
from worker.core.limits import Charge, Full, Meter, Taken

SPAN = timedelta(seconds=61, milliseconds=500)


def charge(amount: int = 1, *, limit: int = 60, name: str = "endpoint:alpha:requests") -> Charge:
    return Charge(meter=Meter(name=name, limit=limit), amount=amount)


def tokens(amount: int, *, limit: int = 1000) -> Charge:
    return charge(amount, limit=limit, name="endpoint:alpha:tokens")


async def taken(worker: Worker, *charges: Charge) -> Taken:
    told = await worker.limits.take(charges)
    assert isinstance(told, Taken), told
    return told


async def refused(worker: Worker, *charges: Charge) -> Full:
    told = await worker.limits.take(charges)
    assert isinstance(told, Full), told
    return told


async def test_no_minute_has_more_than_its_limit_over_two_workers(
    fleet: Fleet, worker: Worker
) -> None:
    other, starts = await fleet.join(), list[int]()
    for second in range(200):
        given = [await each.limits.take([charge(limit=20)]) for each in (worker, other)]
        starts += [second for each in given if isinstance(each, Taken)]
        fleet.clock.pass_by(timedelta(seconds=1))
    assert len(starts) > 60
    for first in range(140):
        assert sum(first <= start <= first + 60 for start in starts) <= 20


async def test_whoever_is_refused_is_let_in_after_the_wait_that_was_told(
    fleet: Fleet, worker: Worker
) -> None:
    chance = random.Random(7)  # noqa: S311  # a test's lot
    for _ in range(60):
        fleet.clock.pass_by(timedelta(milliseconds=chance.randrange(2500)))
        wanted = (charge(limit=30), tokens(chance.randrange(1, 150)))
        told = await worker.limits.take(wanted)
        if isinstance(told, Full):
            assert timedelta() < told.wait <= SPAN
            assert told.meter in {each.meter.name for each in wanted}
            fleet.clock.pass_by(told.wait)
            await taken(worker, *wanted)


async def test_a_burst_is_spread_and_the_refusal_names_the_meter(worker: Worker) -> None:
    answers = [await worker.limits.take([charge(limit=600)]) for _ in range(20)]
    assert 10 <= sum(isinstance(answer, Taken) for answer in answers) <= 12
    assert isinstance(answers[-1], Full)
    assert answers[-1].meter == "endpoint:alpha:requests"
    assert timedelta() < answers[-1].wait <= timedelta(seconds=0.2)


async def test_all_meters_are_charged_or_none(fleet: Fleet, worker: Worker) -> None:
    await taken(worker, tokens(1000))
    for _ in range(5):
        fleet.clock.pass_by(timedelta(seconds=2))
        full = await refused(worker, charge(limit=2), tokens(1))
        assert full.meter == "endpoint:alpha:tokens"
    await taken(worker, charge(limit=2))
    fleet.clock.pass_by(timedelta(seconds=2))
    await taken(worker, charge(limit=2))


async def test_a_call_that_is_not_limited_is_taken_and_settled_for_nothing(worker: Worker) -> None:
    free = await taken(worker)
    assert free == Taken()
    await worker.limits.settle(free, ())


async def test_a_restart_forgets_nothing(fleet: Fleet, worker: Worker) -> None:
    await taken(worker, charge(limit=1))
    await fleet.kill(worker)
    fleet.clock.pass_by(timedelta(seconds=30))
    again = await fleet.join()
    full = await refused(again, charge(limit=1))
    assert timedelta(seconds=31) <= full.wait <= timedelta(seconds=31.5)


async def test_those_who_ask_at_once_share_what_is_left(fleet: Fleet, worker: Worker) -> None:
    other = await fleet.join()
    answers = await asyncio.gather(
        *(each.limits.take([tokens(300)]) for each in (worker, other) * 5)
    )
    assert sum(isinstance(answer, Taken) for answer in answers) == 1
    await asyncio.gather(*(each.limits.take([charge(limit=5)]) for each in (worker, other) * 5))
    for _ in range(20):
        fleet.clock.pass_by(timedelta(seconds=1))
        await asyncio.gather(*(each.limits.take([charge(limit=5)]) for each in (worker, other)))
    full = await refused(worker, charge(limit=5))
    assert full.wait > timedelta(seconds=35)


async def test_what_is_given_back_is_anothers_at_once(fleet: Fleet, worker: Worker) -> None:
    mine = await taken(worker, charge(limit=1), tokens(1000))
    await worker.limits.settle(mine, (0, 0))
    await taken(await fleet.join(), charge(limit=1), tokens(1000))


@pytest.mark.parametrize("later", [timedelta(), timedelta(seconds=30)])
async def test_a_call_that_used_less_leaves_the_rest_to_others(
    fleet: Fleet, worker: Worker, later: timedelta
) -> None:
    mine = await taken(worker, charge(), tokens(900))
    fleet.clock.pass_by(later)
    await worker.limits.settle(mine, (1, 400))
    fleet.clock.pass_by(timedelta(seconds=2))
    await refused(worker, tokens(601))
    await taken(worker, tokens(600))


async def test_a_call_that_used_more_is_counted_from_when_that_is_known(
    fleet: Fleet, worker: Worker
) -> None:
    mine = await taken(worker, tokens(400))
    fleet.clock.pass_by(timedelta(seconds=40))
    await worker.limits.settle(mine, (700,))
    await refused(worker, tokens(400))
    fleet.clock.pass_by(timedelta(seconds=22))
    await taken(worker, tokens(700))
    fleet.clock.pass_by(timedelta(seconds=10))
    full = await refused(worker, tokens(100))
    assert timedelta(seconds=29) < full.wait < timedelta(seconds=31)


async def test_what_is_settled_when_it_is_past_changes_nothing(
    fleet: Fleet, worker: Worker
) -> None:
    mine = await taken(worker, tokens(800))
    fleet.clock.pass_by(SPAN)
    await taken(worker, tokens(800))
    await worker.limits.settle(mine, (0,))
    fleet.clock.pass_by(timedelta(seconds=2))
    await refused(worker, tokens(201))


async def test_a_charge_beyond_the_limit_passes_alone(fleet: Fleet, worker: Worker) -> None:
    await taken(worker, tokens(1))
    full = await refused(worker, tokens(5000))
    assert timedelta(seconds=60) < full.wait <= SPAN
    fleet.clock.pass_by(full.wait)
    await taken(worker, tokens(5000))
    fleet.clock.pass_by(timedelta(seconds=50))
    await refused(worker, tokens(1))


async def test_another_limit_holds_at_once(fleet: Fleet, worker: Worker) -> None:
    await taken(worker, tokens(500))
    fleet.clock.pass_by(timedelta(seconds=2))
    await refused(worker, tokens(100, limit=550))
    await taken(worker, tokens(100, limit=600))


async def test_meters_are_counted_apart(worker: Worker) -> None:
    await taken(worker, charge(limit=1))
    await taken(worker, charge(limit=1, name="endpoint:beta:requests"))


@pytest.mark.parametrize("back", [timedelta(seconds=3), timedelta(hours=1)])
async def test_a_clock_that_is_put_back_forgets_nothing_and_stops_a_meter_for_a_span_at_most(
    fleet: Fleet, worker: Worker, back: timedelta
) -> None:
    for _ in range(5):
        await taken(worker, tokens(200))
        fleet.clock.pass_by(timedelta(seconds=2.5))
    fleet.clock.pass_by(-back)
    full = await refused(worker, tokens(1000))
    assert timedelta(seconds=57) < full.wait <= SPAN
    fleet.clock.pass_by(full.wait)
    await taken(worker, tokens(1000))
