from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.hints import LONGEST, retry_after

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
