"""Budgets: periods, pots, and what has no room."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.money import whole
from worker.core.spend import (
    KEPT,
    Account,
    Cap,
    Counted,
    Over,
    Per,
    Pot,
    kept_from,
    left,
    over,
    period,
)

NOON = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
ACME = Account(tenant="acme")
INSTANTS = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001  # hypothesis wants naive bounds
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001  # hypothesis wants naive bounds
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-11)), timezone(timedelta(hours=14))]),
)
NAMES = st.text(min_size=1, max_size=20)


def cap(usd: str, per: Per = Per.DAY, account: Account = ACME) -> Cap:
    return Cap(account=account, per=per, usd=Decimal(usd))


@given(INSTANTS, st.sampled_from(Per))
def test_an_instant_lies_in_its_period_and_the_next_one_begins_at_its_end(
    now: datetime, per: Per
) -> None:
    starts, ends = period(per, now)
    assert starts <= now < ends
    assert period(per, ends)[0] == ends
    assert period(per, ends - timedelta(microseconds=1)) == (starts, ends)


@given(INSTANTS, st.sampled_from(Per), st.timedeltas(timedelta(), 2 * KEPT), NAMES)
def test_a_pot_has_outlived_its_time_exactly_where_its_name_is_before_the_kept_ones(
    then: datetime, per: Per, later: timedelta, tenant: str
) -> None:
    pot, now = Pot.of(Account(tenant=tenant), per, then), then + later
    assert (pot.key < kept_from(per, now)) == (pot.ends + KEPT <= now)


@pytest.mark.parametrize(
    ("per", "now", "starts", "ends"),
    [
        (Per.DAY, "2026-11-03T23:30:00-02:00", "2026-11-04", "2026-11-05"),
        (Per.MONTH, "2026-12-31T23:59:59+00:00", "2026-12-01", "2027-01-01"),
        (Per.MONTH, "2028-02-29T10:00:00+00:00", "2028-02-01", "2028-03-01"),
    ],
)
def test_days_and_months_are_those_of_utc(per: Per, now: str, starts: str, ends: str) -> None:
    found = period(per, datetime.fromisoformat(now))
    assert [f"{each:%Y-%m-%d}" for each in found] == [starts, ends]
    assert found[0].utcoffset() == timedelta()


@given(
    INSTANTS,
    st.sampled_from(Per),
    st.none() | NAMES,
    st.none() | st.from_regex(r"[a-z0-9_-]+", fullmatch=True),
)
def test_a_pot_is_read_from_its_name(
    now: datetime, per: Per, tenant: str | None, tier: str | None
) -> None:
    pot = Pot.of(Account(tenant=tenant, tier=tier), per, now)
    assert Pot.read(pot.key) == pot


def test_accounts_have_pots_of_their_own() -> None:
    accounts = [Account(), ACME, Account(tier="acme"), Account(tenant="acme", tier="acme")]
    keys = {Pot.of(each, per, NOON).key for each in accounts for per in Per}
    assert len(keys) == 8
    assert [str(each) for each in accounts] == [
        *("all", "tenant acme", "tier acme", "tenant acme, tier acme")
    ]


def full(
    caps: list[Cap], taken: list[tuple[str, str]], amount: str
) -> list[tuple[Per, datetime | None, bool]]:
    """Give the caps that leave no room: per what, until when, and whether by what is spent alone."""
    units = [(whole(Decimal(spent)), whole(Decimal(reserved))) for spent, reserved in taken]
    found = over(caps, units, Decimal(amount), NOON)
    return [(each.per, each.until, each.spent) for each in (found.over if found else ())]


TONIGHT, NEXT_MONTH = datetime(2026, 11, 4, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def test_a_pot_may_be_emptied_to_the_last_digit_and_not_beyond() -> None:
    assert full([cap("1")], [("0.9", "0.099999")], "0.000001") == []
    assert full([cap("1")], [("0.999999", "0")], "0.000001000000000000000001") == [
        (Per.DAY, TONIGHT, True)
    ]


def test_the_account_is_told() -> None:
    found = over([cap("1")], [(whole(Decimal(1)), 0)], Decimal(1), NOON)
    assert found is not None
    assert found.over == (Over(account=ACME, per=Per.DAY, until=TONIGHT, spent=True),)


def test_what_is_only_reserved_may_come_back_sooner() -> None:
    assert full([cap("1")], [("0.5", "0.4")], "0.2") == [(Per.DAY, TONIGHT, False)]


def test_what_costs_nothing_goes_on_when_the_money_is_spent() -> None:
    assert full([cap("1")], [("2", "0")], "0") == []


def test_an_amount_above_the_whole_cap_waits_for_no_period() -> None:
    assert full([cap("1"), cap("5", Per.MONTH)], [("0", "0"), ("5", "0")], "2") == [
        (Per.DAY, None, True),
        (Per.MONTH, NEXT_MONTH, True),
    ]


@pytest.mark.parametrize(
    ("spent", "reserved", "rest"), [("0.3", "0.2", "0.5"), ("0.9", "0.2", "0"), ("1", "0", "0")]
)
def test_what_is_left_is_never_less_than_nothing(spent: str, reserved: str, rest: str) -> None:
    standing = Counted(
        pot=Pot.of(ACME, Per.DAY, NOON), spent=Decimal(spent), reserved=Decimal(reserved)
    )
    assert left(cap("1"), standing) == Decimal(rest)
    assert left(cap("1"), None) == Decimal(1)
