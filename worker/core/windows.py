"""When a lane is open: windows of a wall clock somewhere, such as "22:00-06:00 Europe/Berlin, Mon-Fri".

A window is open while a clock on the wall in its zone shows a time within it. So when the clocks are put back,
an hour that is shown twice counts both times, and one that is skipped never comes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Self
from zoneinfo import ZoneInfo

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FORM: Final = re.compile(
    r"(?P<opens>\d\d:\d\d)-(?P<closes>\d\d:\d\d)(?: (?P<zone>[A-Za-z0-9_+/-]+))?(?:, *(?P<days>.+))?"
)
_MIDNIGHT: Final = time()
_DAY: Final = timedelta(days=1)
# Clocks are put forward and back at some quarter of an hour, everywhere.
_QUARTER: Final = timedelta(minutes=15)
# A week, and another one for a window that a change of the clocks has swallowed.
_FARTHEST: Final = timedelta(days=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Opening hours on some days of the week, in one time zone.

    From `opens`, included, to `closes`, excluded. With `closes` no later than `opens` the window ends on the day
    after; `days` (0: Monday) are those on which it opens.
    """

    opens: time
    closes: time
    zone: str
    days: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "HH:MM-HH:MM [Zone][, Days]": by default UTC, every day; "24:00" ends a day.

        Raises:
            ValueError: the text is none; it says what is expected, and not what was given.
        """
        found = _FORM.fullmatch(" ".join(text.split()))
        if found is None:
            raise ValueError(
                'must be hours, a time zone and days, such as "22:00-06:00 Europe/Berlin, Mon-Fri"'
            )
        zone = found["zone"] or "UTC"
        try:
            ZoneInfo(zone)
        except (LookupError, ValueError, OSError):
            raise ValueError(
                'must name a time zone as the tz database does, such as "Europe/Berlin"'
            ) from None
        closes = found["closes"]
        return cls(
            opens=_time(found["opens"]),
            closes=_MIDNIGHT if closes == "24:00" else _time(closes),
            zone=zone,
            days=_days(found["days"] or "Mon-Sun"),
        )

    def __str__(self) -> str:
        closes = "24:00" if self.closes == _MIDNIGHT else f"{self.closes:%H:%M}"
        days = "" if len(self.days) == len(_DAYS) else f", {_written(self.days)}"
        return f"{self.opens:%H:%M}-{closes} {self.zone}{days}"

    def is_open(self, now: datetime) -> bool:
        """Tell whether the wall clock shows a time within the window at an instant."""
        wall = now.astimezone(ZoneInfo(self.zone))
        shown, today = wall.time(), wall.weekday()
        if self.opens < self.closes:
            return today in self.days and self.opens <= shown < self.closes
        yesterday = (today - 1) % len(_DAYS)
        return (today in self.days and shown >= self.opens) or (
            yesterday in self.days and shown < self.closes
        )

    def _edges(self, day: date) -> list[datetime]:
        """Give the instants at which the wall clock shows the window's ends on a day; twice, if it does."""
        zone = ZoneInfo(self.zone)
        return [
            datetime.combine(day, edge, zone).replace(fold=fold).astimezone(UTC)
            for edge in (self.opens, self.closes)
            for fold in (0, 1)
        ]


def is_open(windows: Sequence[Window], now: datetime) -> bool:
    """Tell whether any window is open; no windows at all: always."""
    return not windows or any(window.is_open(now) for window in windows)


def next_change(windows: Sequence[Window], now: datetime) -> datetime | None:
    """Give the first instant after `now` at which the windows together open or close; None: never."""
    if not windows:
        return None
    opened, first = is_open(windows, now), now.astimezone(UTC)
    start = first.replace(minute=0, second=0, microsecond=0)
    instants = {start + _QUARTER * n for n in range(_FARTHEST // _QUARTER)}
    for window in windows:
        for n in range(-1, _FARTHEST // _DAY + 1):
            instants.update(window._edges((first + _DAY * n).date()))  # noqa: SLF001  # the same module
    for instant in sorted(instants):
        if instant > first and is_open(windows, instant) != opened:
            return instant
    return None


def _time(text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise ValueError("must have hours from 00:00 to 24:00") from None


def _days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in re.split(r"[ ,]+", text.strip()):
        first, _, last = part.partition("-")
        try:
            begin, end = _DAYS.index(first.capitalize()), _DAYS.index((last or first).capitalize())
        except ValueError:
            raise ValueError(
                f'must have days out of {", ".join(_DAYS)}, such as "Mon-Fri"'
            ) from None
        days.update((begin + n) % 7 for n in range((end - begin) % 7 + 1))
    return frozenset(days)


def _written(days: frozenset[int]) -> str:
    """Give days as they are read: a run of at least three as "Mon-Fri", else one by one."""
    ordered = sorted(days)
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:  # noqa: PLR2004  # see above
        return f"{_DAYS[ordered[0]]}-{_DAYS[ordered[-1]]}"
    return ",".join(_DAYS[day] for day in ordered)
