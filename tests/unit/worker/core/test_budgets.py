"""Which budgets pay for a job, and what becomes of one that they leave no room for."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.budgets import (
    Budget,
    NoMoney,
    OnExceeded,
    Refuse,
    Unpriced,
    Wait,
    budgets_of,
    no_money,
    unpriced,
)
from worker.core.kinds import Kind
from worker.core.spend import Over, OverBudget, Per

NOON = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
DEADLINE = NOON + timedelta(days=3)
TENANTS, TIERS = ("acme", "globex"), ("small", "large")


def budget(
    name: str = "b",
    *,
    tenant: str | None = None,
    tier: str | None = None,
    per: Per = Per.DAY,
    on_exceeded: OnExceeded = OnExceeded.WAIT,
    without_price: Unpriced = Unpriced.ALLOW,
) -> Budget:
    return Budget(
        name=name,
        tenant=tenant,
        tier=tier,
        per=per,
        usd=Decimal("25.00"),
        on_exceeded=on_exceeded,
        unpriced=without_price,
    )


def over(each: Budget, until: datetime | None = None, *, spent: bool = True) -> Over:
    return Over(account=each.account("acme"), per=each.per, until=until, spent=spent)


def decide(
    *full: tuple[Budget, Over], chance: float = 0.0, deadline: datetime = DEADLINE
) -> NoMoney:
    return no_money(
        [each for each, _ in full],
        OverBudget(over=tuple(each for _, each in full)),
        tenant="acme",
        now=NOON,
        deadline=deadline,
        chance=chance,
    )


def waiting(
    full: tuple[Budget, Over], *, chance: float = 0.0, deadline: datetime = DEADLINE
) -> timedelta:
    decided = decide(full, chance=chance, deadline=deadline)
    assert isinstance(decided, Wait)
    return decided.wait


def names(budgets: list[Budget], tenant: str, tier: str) -> list[str]:
    return [each.name for each in budgets_of(budgets, tenant, tier)]


def test_a_job_has_to_fit_into_all_budgets_of_its_tenant_and_tier() -> None:
    budgets = [
        budget("all"),
        budget("acme", tenant="acme"),
        budget("globex", tenant="globex"),
        budget("small", tier="small"),
        budget("both", tenant="acme", tier="small"),
    ]
    assert names(budgets, "acme", "small") == ["all", "acme", "small", "both"]
    assert names(budgets, "acme", "large") == ["all", "acme"]
    assert names(budgets, "initech", "large") == ["all"]


def test_a_tenants_own_budget_takes_the_place_of_everybodys_of_the_same_tier_and_period() -> None:
    budgets = [
        budget("each", tenant="*"),
        budget("each month", tenant="*", per=Per.MONTH),
        budget("each small", tenant="*", tier="small"),
        budget("acme", tenant="acme"),
    ]
    assert names(budgets, "acme", "small") == ["each month", "each small", "acme"]
    assert names(budgets, "globex", "small") == ["each", "each month", "each small"]


BUDGETS = st.builds(
    budget,
    tenant=st.sampled_from([None, "*", *TENANTS]),
    tier=st.sampled_from([None, *TIERS]),
    per=st.sampled_from(Per),
)


@given(
    st.lists(BUDGETS, unique_by=lambda each: (each.tenant, each.tier, each.per)),
    st.sampled_from(TENANTS),
    st.sampled_from(TIERS),
)
def test_no_two_budgets_of_a_job_share_a_pot(budgets: list[Budget], tenant: str, tier: str) -> None:
    pots = [(each.account(tenant), each.per) for each in budgets_of(budgets, tenant, tier)]
    assert len(pots) == len(set(pots))


def test_a_job_waits_until_the_last_of_the_periods_ends() -> None:
    day, month = budget("day"), budget("month", per=Per.MONTH)
    tonight, later = NOON + timedelta(minutes=30), NOON + timedelta(minutes=45)
    decided = decide((day, over(day, tonight)), (month, over(month, later)))
    assert isinstance(decided, Wait)
    assert decided.wait == timedelta(minutes=45)
    assert decided.why is not None
    assert decided.why.kind is Kind.BUDGET_EXCEEDED


def test_jobs_that_wait_for_one_period_come_back_one_after_the_other() -> None:
    day = budget("day")
    full = (day, over(day, NOON + timedelta(minutes=12)))
    assert waiting(full, chance=0.5) == timedelta(minutes=12, seconds=30)


def test_a_job_that_waits_for_a_period_looks_every_hour_whether_the_budget_was_raised() -> None:
    month = budget("month", per=Per.MONTH)
    full = (month, over(month, NOON + timedelta(days=28)))
    assert waiting(full) == timedelta(hours=1)
    assert waiting(full, chance=0.5) == timedelta(hours=1, seconds=30)


def test_a_job_looks_again_soon_where_money_is_only_reserved() -> None:
    day = budget("day")
    full = (day, over(day, NOON + timedelta(hours=12), spent=False))
    assert decide(full) == Wait(wait=timedelta(seconds=10))


def test_nobody_is_refused_for_money_that_is_only_reserved() -> None:
    day = budget("day", on_exceeded=OnExceeded.REFUSE)
    full = (day, over(day, NOON + timedelta(hours=12), spent=False))
    assert decide(full) == Wait(wait=timedelta(seconds=10))


def test_nobody_waits_beyond_the_deadline() -> None:
    day = budget("day")
    full = (day, over(day, NOON + timedelta(hours=12)))
    soon = NOON + timedelta(minutes=5)
    assert waiting(full, deadline=soon) == timedelta(minutes=5)
    assert waiting(full, deadline=NOON - timedelta(minutes=5)) == timedelta()


def test_a_budget_that_refuses_goes_before_one_that_lets_wait() -> None:
    day, month = budget("day", on_exceeded=OnExceeded.REFUSE), budget("month", per=Per.MONTH)
    tonight, later = NOON + timedelta(hours=12), NOON + timedelta(days=28)
    decided = decide((month, over(month, later)), (day, over(day, tonight)))
    assert isinstance(decided, Refuse)
    assert decided.failed.kind is Kind.BUDGET_EXCEEDED
    assert decided.failed.detail == (
        "budgets.day (all, 25.00 US dollars a day) is used up until 2026-11-04 00:00 UTC"
    )


def test_a_call_above_a_whole_budget_is_refused_also_where_jobs_wait() -> None:
    acme = budget("acme", tenant="*")
    decided = decide((acme, over(acme)))
    assert isinstance(decided, Refuse)
    assert decided.failed.detail == (
        "one call may cost more than the whole of budgets.acme (tenant acme, 25.00 US dollars a day)"
    )


@pytest.mark.parametrize("strict", [True, False])
def test_a_call_without_a_known_price_is_refused_where_one_budget_refuses_it(
    strict: bool,  # noqa: FBT001  # pytest passes parameters so
) -> None:
    other = budget("strict", without_price=Unpriced.REFUSE if strict else Unpriced.ALLOW)
    decided = unpriced([budget("lax"), other])
    assert (decided is not None) is strict
    if decided is not None:
        assert decided.failed.detail == "budgets.strict takes no calls whose price is not known"
