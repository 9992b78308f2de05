"""The port `Spend`: money against budgets, counted over all workers, exact to the last digit."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from random import Random

from tests.contract.world import Fleet, Worker
from worker.core.money import dollars, times
from worker.core.spend import KEPT, Account, Cap, Counted, Over, OverBudget, Per, Reserved

ACME = Account(tenant="acme")
NAMES = count()
NOTHING = Decimal(0)


def cap(usd: str, per: Per = Per.DAY, account: Account = ACME) -> Cap:
    return Cap(account=account, per=per, usd=Decimal(usd))


async def reserve(worker: Worker, amount: str, *caps: Cap) -> Reserved | OverBudget:
    return await worker.spend.reserve(f"r{next(NAMES)}", caps, Decimal(amount))


async def spend(worker: Worker, amount: str, *caps: Cap) -> None:
    reserved = await reserve(worker, amount, *caps)
    assert isinstance(reserved, Reserved)
    await worker.spend.settle(reserved, Decimal(amount))


def sums(standing: Sequence[Counted]) -> dict[str, tuple[Decimal, Decimal]]:
    return {each.pot.key: (each.spent, each.reserved) for each in standing}


async def test_what_is_reserved_counts_and_the_next_one_is_refused(worker: Worker) -> None:
    assert isinstance(await reserve(worker, "0.6", cap("1")), Reserved)
    full = await reserve(worker, "0.41", cap("1"))
    assert full == OverBudget(
        over=(
            Over(account=ACME, per=Per.DAY, until=datetime(2026, 11, 4, tzinfo=UTC), spent=False),
        )
    )
    assert isinstance(await reserve(worker, "0.4", cap("1")), Reserved)


async def test_what_was_not_spent_is_anothers(fleet: Fleet, worker: Worker) -> None:
    reserved = await reserve(worker, "1", cap("1"))
    assert isinstance(reserved, Reserved)
    await worker.spend.settle(reserved, Decimal("0.25"))
    assert isinstance(await reserve(worker, "0.75", cap("1")), Reserved)
    assert sums(fleet.spend_book().standing()) == {
        "day:2026-11-03::acme": (Decimal("0.25"), Decimal("0.75"))
    }


async def test_what_was_spent_beyond_the_estimate_is_counted(worker: Worker) -> None:
    reserved = await reserve(worker, "0.5", cap("1"))
    assert isinstance(reserved, Reserved)
    await worker.spend.settle(reserved, Decimal(3))
    assert isinstance(await reserve(worker, "0.000000000000000001", cap("1")), OverBudget)
    assert isinstance(await reserve(worker, "0", cap("1")), Reserved)


async def test_a_cost_that_is_not_known_counts_as_its_estimate(
    fleet: Fleet, worker: Worker
) -> None:
    reserved = await reserve(worker, "0.5", cap("1"))
    assert isinstance(reserved, Reserved)
    await worker.spend.settle(reserved, None)
    assert sums(fleet.spend_book().standing()) == {
        "day:2026-11-03::acme": (Decimal("0.5"), Decimal(0))
    }


async def test_settled_twice_counts_once(fleet: Fleet, worker: Worker) -> None:
    reserved = await reserve(worker, "0.5", cap("1"))
    assert isinstance(reserved, Reserved)
    for _ in range(2):
        await worker.spend.settle(reserved, Decimal("0.25"))
    assert sums(fleet.spend_book().standing()) == {
        "day:2026-11-03::acme": (Decimal("0.25"), Decimal(0))
    }


async def test_a_reservation_that_is_asked_for_twice_counts_once(
    fleet: Fleet, worker: Worker
) -> None:
    for _ in range(2):
        given = await worker.spend.reserve("same", [cap("1")], Decimal("0.8"))
        assert given == Reserved(name="same", amount=Decimal("0.8"))
    assert sums(fleet.spend_book().standing())["day:2026-11-03::acme"] == (NOTHING, Decimal("0.8"))


async def test_all_pots_count_or_none_does(fleet: Fleet, worker: Worker) -> None:
    tier = Account(tier="small")
    await spend(worker, "0.9", cap("1", account=tier))
    full = await reserve(worker, "0.2", cap("5"), cap("9", Per.MONTH), cap("1", account=tier))
    assert isinstance(full, OverBudget)
    assert [each.account for each in full.over] == [tier]
    assert sums(fleet.spend_book().standing()) == {
        "day:2026-11-03:small:": (Decimal("0.9"), NOTHING)
    }
    await spend(worker, "0.1", cap("5"), cap("9", Per.MONTH), cap("1", account=tier))
    assert sums(fleet.spend_book().standing()) == {
        "day:2026-11-03::acme": (Decimal("0.1"), NOTHING),
        "day:2026-11-03:small:": (Decimal(1), NOTHING),
        "month:2026-11-01::acme": (Decimal("0.1"), NOTHING),
    }


async def test_an_amount_above_the_whole_budget_never_has_room(worker: Worker) -> None:
    full = await reserve(worker, "1.01", cap("1"))
    assert full == OverBudget(over=(Over(account=ACME, per=Per.DAY, until=None, spent=True),))


async def test_a_new_period_has_a_new_pot_and_the_month_goes_on(
    fleet: Fleet, worker: Worker
) -> None:
    caps = (cap("1"), cap("1.5", Per.MONTH))
    await spend(worker, "1", *caps)
    assert isinstance(await reserve(worker, "0.1", *caps), OverBudget)
    fleet.clock.pass_by(timedelta(days=1))
    await spend(worker, "0.5", *caps)
    full = await reserve(worker, "0.1", *caps)
    assert full == OverBudget(
        over=(
            Over(account=ACME, per=Per.MONTH, until=datetime(2026, 12, 1, tzinfo=UTC), spent=True),
        )
    )


async def test_a_call_counts_in_the_period_in_which_it_began(fleet: Fleet, worker: Worker) -> None:
    reserved = await reserve(worker, "1", cap("1"))
    assert isinstance(reserved, Reserved)
    fleet.clock.pass_by(timedelta(days=1))
    await worker.spend.settle(reserved, Decimal("0.75"))
    assert sums(fleet.spend_book().standing()) == {
        "day:2026-11-03::acme": (Decimal("0.75"), NOTHING)
    }


async def test_what_a_dead_process_reserved_stays_counted(fleet: Fleet, worker: Worker) -> None:
    await reserve(worker, "0.7", cap("1"))
    await fleet.kill(worker)
    fleet.clock.pass_by(timedelta(hours=11))
    again = await fleet.join()
    assert isinstance(await reserve(again, "0.4", cap("1")), OverBudget)
    assert isinstance(await reserve(again, "0.3", cap("1")), Reserved)


async def test_sums_are_exact_whatever_their_digits(fleet: Fleet, worker: Worker) -> None:
    dice, expected = Random(7), 0  # noqa: S311  # the same amounts in every run
    huge = cap("999999999999")
    for _ in range(200):
        units = dice.choice([dice.randrange(10), dice.randrange(10**18), 10 ** dice.randrange(30)])
        amount = Decimal(units).scaleb(-18)
        reserved = await worker.spend.reserve(f"r{next(NAMES)}", [huge], times(2, amount))
        assert isinstance(reserved, Reserved)
        await worker.spend.settle(reserved, amount)
        expected += units
    assert sums(fleet.spend_book().standing()) == {
        "day:2026-11-03::acme": (dollars(expected * 10**6), NOTHING)
    }


async def spend_all(worker: Worker, seed: int, *, real: Decimal, budget: Cap) -> None:
    """Make calls until none is allowed any more; each costs `real` times its estimate, which is 0.013 at most."""
    dice = Random(seed)  # noqa: S311  # the same amounts in every run
    while True:
        estimate = Decimal(dice.randrange(1, 13_000)).scaleb(-6)
        reserved = await worker.spend.reserve(f"r{next(NAMES)}", [budget], estimate)
        if isinstance(reserved, OverBudget):
            return
        await asyncio.sleep(0)
        await worker.spend.settle(reserved, estimate * real)


async def test_eight_who_spend_at_once_never_exceed_a_budget_when_estimates_are_upper_bounds(
    fleet: Fleet,
) -> None:
    workers = [await fleet.join() for _ in range(8)]
    await asyncio.gather(
        *(
            spend_all(each, number, real=Decimal("0.37"), budget=cap("1.00"))
            for number, each in enumerate(workers)
        )
    )
    ((spent, reserved),) = sums(fleet.spend_book().standing()).values()
    assert reserved == 0
    assert Decimal("0.9") < spent <= 1


async def test_eight_who_spend_more_than_estimated_exceed_it_by_the_difference_at_most(
    fleet: Fleet,
) -> None:
    workers = [await fleet.join() for _ in range(8)]
    await asyncio.gather(
        *(
            spend_all(each, number, real=Decimal(2), budget=cap("1.00"))
            for number, each in enumerate(workers)
        )
    )
    ((spent, _),) = sums(fleet.spend_book().standing()).values()
    assert spent <= 1 + 8 * Decimal("0.013")


async def test_what_is_long_past_leaves_nothing_behind(fleet: Fleet, worker: Worker) -> None:
    await reserve(worker, "0.5", cap("1"))
    fleet.clock.pass_by(KEPT + timedelta(days=2))
    await reserve(worker, "0.5", cap("1"))
    await worker.sweep()
    assert [each.pot.starts for each in fleet.spend_book().standing()] == [
        datetime(2027, 2, 13, tzinfo=UTC)
    ]


async def test_a_reservation_without_a_cap_settles(worker: Worker, fleet: Fleet) -> None:
    await spend(worker, "1")
    assert fleet.spend_book().standing() == []


async def test_who_settles_at_once_what_another_settles_counts_it_once(
    fleet: Fleet, worker: Worker
) -> None:
    reserved = await reserve(worker, "0.6", cap("1"))
    assert isinstance(reserved, Reserved)
    await asyncio.gather(*(worker.spend.settle(reserved, Decimal("0.25")) for _ in range(2)))
    assert sums(fleet.spend_book().standing()) == {
        "day:2026-11-03::acme": (Decimal("0.25"), NOTHING)
    }
