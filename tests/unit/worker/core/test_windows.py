from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.windows import Window, is_open, next_change

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Window.parse("22:00-06:00 Europe/Berlin, Mon-Fri")
MINUTE = timedelta(minutes=1)

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata")
times = st.times().map(lambda it: it.replace(second=0, microsecond=0))
windows = st.builds(
    Window,
    opens=times,
    closes=times,
    zone=st.sampled_from(ZONES),
    days=st.frozensets(st.integers(0, 6), min_size=1),
)
# Around both changes of the clocks, north and south, and anywhere else.
instants = st.integers(0, 2 * 365 * 24 * 60).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
) | st.sampled_from(
    [
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2027, 3, 28, 0, 30, tzinfo=UTC),
        datetime(2027, 4, 3, 14, 45, tzinfo=UTC),
        datetime(2026, 10, 3, 15, 15, tzinfo=UTC),
    ]
)


def berlin(day: int, hour: int, minute: int = 0, *, month: int = 11, fold: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN, fold=fold)


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("22:00-06:00 Europe/Berlin, Mon-Fri", "22:00-06:00 Europe/Berlin, Mon-Fri"),
        ("  22:00-06:00   Europe/Berlin,Mon-Fri ", "22:00-06:00 Europe/Berlin, Mon-Fri"),
        ("00:00-24:00 UTC, sat,sun", "00:00-24:00 UTC, Sat,Sun"),
        ("22:00-06:00, Sat Sun", "22:00-06:00 UTC, Sat,Sun"),
        ("08:30-09:15", "08:30-09:15 UTC"),
        ("08:30-09:15 UTC, Fri-Mon", "08:30-09:15 UTC, Mon,Fri,Sat,Sun"),
    ],
)
def test_a_window_is_read_and_written_as_people_write_it(text: str, again: str) -> None:
    assert str(Window.parse(text)) == again


@given(windows)
def test_a_window_that_is_written_is_read_as_the_same(window: Window) -> None:
    assert Window.parse(str(window)) == window


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "hours, a time zone and days"),
        ("22-06", "hours, a time zone and days"),
        ("22:00 to 06:00", "hours, a time zone and days"),
        ("25:00-06:00", "from 00:00 to 24:00"),
        ("24:00-06:00", "from 00:00 to 24:00"),
        ("22:00-06:00 Berlin", "time zone"),
        ("22:00-06:00 ../../etc/passwd", "hours, a time zone and days"),
        ("22:00-06:00 UTC, Mo-Fr", "days out of Mon"),
        ("22:00-06:00 UTC, -Mon", "days out of Mon"),
    ],
)
def test_what_is_no_window_is_refused_and_told_why(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Window.parse(text)


@pytest.mark.parametrize(
    ("instant", "open_"),
    [
        (berlin(2, 21, 59), False),  # a Monday
        (berlin(2, 22), True),
        (berlin(3, 0), True),
        (berlin(3, 5, 59), True),
        (berlin(3, 6), False),
        (berlin(6, 22), True),  # Friday
        (berlin(7, 5, 59), True),  # its end lies on Saturday
        (berlin(7, 22), False),
        (berlin(2, 5), False),  # Monday morning belongs to Sunday
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(instant: datetime, *, open_: bool) -> None:
    assert NIGHT.is_open(instant) is open_


def test_an_hour_that_is_shown_twice_counts_twice() -> None:
    window = Window.parse("02:00-03:00 Europe/Berlin")
    twice = [berlin(25, 2, 30, month=10, fold=fold) for fold in (0, 1)]
    assert twice[1].astimezone(UTC) - twice[0].astimezone(UTC) == timedelta(hours=1)
    assert [window.is_open(each) for each in twice] == [True, True]


def test_an_hour_that_is_skipped_never_comes() -> None:
    window = Window.parse("02:00-03:00 Europe/Berlin")
    day = datetime(2027, 3, 28, tzinfo=UTC)
    opened = [
        minute for minute in range(24 * 60) if window.is_open(day + timedelta(minutes=minute))
    ]
    assert opened == []


def test_no_windows_are_always_open_and_never_change() -> None:
    assert is_open((), berlin(1, 3))
    assert next_change((), berlin(1, 3)) is None
    assert next_change((Window.parse("00:00-24:00"),), berlin(1, 3)) is None


@given(st.lists(windows, min_size=1, max_size=3), instants)
def test_the_next_change_is_the_first_minute_that_differs(
    several: list[Window], instant: datetime
) -> None:
    change = next_change(several, instant)
    now = is_open(several, instant)
    minute = instant.replace(second=0, microsecond=0) + MINUTE
    for _ in range(26 * 60):
        if is_open(several, minute) != now:
            assert change == minute
            return
        minute += MINUTE
    assert change is None or change >= minute
    assert change is None or is_open(several, change) != now


@given(windows, instants)
def test_a_window_is_open_exactly_while_the_wall_clock_shows_it(
    window: Window, instant: datetime
) -> None:
    wall = instant.astimezone(ZoneInfo(window.zone)).replace(tzinfo=None)
    begins = [
        wall.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=back)
        for back in (0, 1)
    ]
    shown = False
    for day in begins:
        start = datetime.combine(day, window.opens)
        end = datetime.combine(day, window.closes)
        if end <= start:
            end += timedelta(days=1)
        shown = shown or (day.weekday() in window.days and start <= wall < end)
    assert window.is_open(instant) is shown
