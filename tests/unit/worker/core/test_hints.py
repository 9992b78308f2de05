from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core import hints
from worker.core.hints import LONGEST, LONGEST_RESET, LimitsTold, Told, limits_told, retry_after

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "1000000000"}, 3600),
        ({"retry-after": "9" * 64}, 3600),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:09 GMT"}, 9),
        ({"retry-after": "Monday, 23-Nov-26 12:00:09 GMT"}, 9),
        ({"retry-after": "Mon Nov 23 12:00:09 2026"}, 9),
        ({"retry-after": "Mon, 23 Nov 2026 13:00:09 +0100"}, 9),
        ({"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 3600),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after-ms": "-1"}, 0),
    ],
)
def test_every_documented_form_is_understood(
    headers: dict[str, str], seconds: float | None
) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert retry_after(headers, now=NOW) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "nan",
        "inf",
        "1e3",
        "1_000",
        "0x10",
        "٣",
        "5 s",
        "9" * 65,
        "Mon, 99 Nov 2026",
        "1,5",
    ],
)
def test_garbage_counts_as_not_said(text: str) -> None:
    assert retry_after({"retry-after": text}, now=NOW) is None


@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms"]),
        st.text()
        | st.floats().map(str)
        | st.integers().map(str)
        | st.datetimes().map(lambda at: format_datetime(at.replace(tzinfo=UTC))),
    )
)
def test_a_hint_never_raises_and_stays_between_zero_and_the_bound(headers: dict[str, str]) -> None:
    hint = retry_after(headers, now=NOW)
    assert hint is None or timedelta() <= hint <= LONGEST


@given(st.integers(0, 3600))
def test_a_date_says_the_same_as_its_distance_in_seconds(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after({"retry-after": date}, now=NOW) == timedelta(seconds=seconds)


def told(limit: int | None, remaining: int | None, seconds: float | None = None) -> Told:
    after = None if seconds is None else timedelta(seconds=seconds)
    return Told(limit=limit, remaining=remaining, resets_after=after)


OPENAI = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-limit-tokens": "150000",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-reset-tokens": "6m0s",
}
AZURE = {
    "x-ratelimit-limit-tokens": "240000",
    "x-ratelimit-remaining-requests": "239",
    "x-ratelimit-remaining-tokens": "239000",
    "x-ratelimit-reset-tokens": "37",
}
AZURE_UNKNOWN = {
    "x-ratelimit-limit-tokens": "-1",
    "x-ratelimit-remaining-tokens": "-1",
    "x-ratelimit-reset-tokens": "0",
}
GROQ = {
    "x-ratelimit-limit-requests": "14400",
    "x-ratelimit-limit-tokens": "18000",
    "x-ratelimit-remaining-requests": "14370",
    "x-ratelimit-remaining-tokens": "17997",
    "x-ratelimit-reset-requests": "2m59.56s",
    "x-ratelimit-reset-tokens": "7.66s",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "1000",
    "anthropic-ratelimit-requests-remaining": "999",
    "anthropic-ratelimit-requests-reset": "2026-11-23T12:00:01Z",
    "anthropic-ratelimit-tokens-limit": "100000",
    "anthropic-ratelimit-tokens-remaining": "90000",
    "anthropic-ratelimit-tokens-reset": "2026-11-23T13:00:30+01:00",
    "anthropic-ratelimit-input-tokens-limit": "80000",
    "anthropic-ratelimit-input-tokens-remaining": "72000",
}
ANTHROPIC_INPUT = {
    "anthropic-ratelimit-input-tokens-limit": "80000",
    "anthropic-ratelimit-input-tokens-remaining": "72000",
    "anthropic-ratelimit-output-tokens-limit": "20000",
}
MISTRAL = {
    "x-ratelimit-limit-req-minute": "300",
    "x-ratelimit-remaining-req-minute": "299",
    "x-ratelimit-limit-tokens-minute": "500000",
    "x-ratelimit-remaining-tokens-minute": "499000",
}
MISTRAL_OLDER = {
    "x-ratelimitbysize-limit-minute": "500000",
    "x-ratelimitbysize-remaining-minute": "467993",
}
CEREBRAS = {
    "x-ratelimit-limit-requests-day": "1000",
    "x-ratelimit-limit-tokens-minute": "60000",
    "x-ratelimit-remaining-tokens-minute": "50",
    "x-ratelimit-reset-tokens-minute": "26.5",
}


@pytest.mark.parametrize(
    ("headers", "requests", "tokens"),
    [
        ({}, None, None),
        (OPENAI, told(60, 59, 1), told(150_000, 149_984, 360)),
        (AZURE, told(None, 239), told(240_000, 239_000, 37)),
        (AZURE_UNKNOWN, None, None),
        (GROQ, told(14_400, 14_370, 179.56), told(18_000, 17_997, 7.66)),
        (ANTHROPIC, told(1000, 999, 1), told(100_000, 90_000, 30)),
        (ANTHROPIC_INPUT, None, told(80_000, 72_000)),
        (MISTRAL, told(300, 299), told(500_000, 499_000)),
        (MISTRAL_OLDER, None, told(500_000, 467_993)),
        (CEREBRAS, None, told(60_000, 50, 26.5)),
    ],
)
def test_limits_are_understood_as_each_provider_tells_them(
    headers: dict[str, str], requests: Told | None, tokens: Told | None
) -> None:
    assert limits_told(headers, now=NOW) == LimitsTold(requests=requests, tokens=tokens)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("120ms", 0.12),
        ("6m0s", 360),
        ("1h2m3.5s", 3723.5),
        ("0s", 0),
        ("500us", 0.0005),
        ("20ns", 0),
        ("12", 12),
        ("-3", 0),
        ("2026-11-23T12:00:09.5Z", 9.5),
        ("2026-11-23T11:00:00Z", 0),
        ("24h0m0s", 86400),
        ("24h0m1s", None),
        ("1795435209", None),
        ("2026-11-23T12:00:09", None),
        ("1.2.3s", None),
        ("s", None),
        ("5 s", None),
        ("soon", None),
        ("", None),
        ("9" * 60 + "h", None),
    ],
)
def test_a_reset_is_a_go_duration_or_seconds_or_an_instant(
    text: str, seconds: float | None
) -> None:
    headers = {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": text}
    assert limits_told(headers, now=NOW).requests == told(None, 1, seconds)


@pytest.mark.parametrize(
    ("limit", "seconds", "per_minute"),
    [(None, 1, None), (60, None, 60), (60, 0, 60), (60, 60, 60), (14_400, 179.56, None)],
)
def test_what_comes_back_slowly_is_no_limit_by_the_minute(
    limit: int | None, seconds: float | None, per_minute: int | None
) -> None:
    assert told(limit, 0, seconds).per_minute == per_minute


texts = (
    st.text(max_size=80)
    | st.floats().map(str)
    | st.integers().map(str)
    | st.datetimes().map(lambda at: at.isoformat() + "Z")
    | st.lists(st.sampled_from(["1h", "2m", "3.5s", "4ms", "5", "d", "."])).map("".join)
)
names = st.sampled_from([*OPENAI, *ANTHROPIC, *ANTHROPIC_INPUT, *MISTRAL, *MISTRAL_OLDER])


def test_every_name_that_is_looked_for_has_one_of_the_beginnings() -> None:
    for family in (*hints._REQUESTS, *hints._TOKENS):
        assert all(name.startswith(hints._BEGINNINGS) for name in family)


def test_one_telling_header_among_others_is_enough() -> None:
    headers = {"date": "now", "x-ratelimitbysize-remaining-minute": "5", "server": "x-ratelimit"}
    assert limits_told(headers, now=NOW) == LimitsTold(tokens=told(None, 5))
    assert limits_told({"server": "x-ratelimit"}, now=NOW) == LimitsTold()


@given(st.dictionaries(names, texts))
def test_what_is_told_never_raises_and_stays_within_its_bounds(headers: dict[str, str]) -> None:
    limits = limits_told(headers, now=NOW)
    for each in (limits.requests, limits.tokens):
        if each is None:
            continue
        assert each.limit is None or each.limit > 0
        assert each.remaining is None or 0 <= each.remaining <= (each.limit or 10**15)
        assert each.resets_after is None or timedelta() <= each.resets_after <= LONGEST_RESET
        assert each.per_minute is None or 1 <= each.per_minute <= (each.limit or 0)
