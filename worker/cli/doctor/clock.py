"""Whether two clocks agree: deadlines are instants, so a clock that is off lets jobs expire, or live too long."""

from datetime import datetime, timedelta
from typing import Final

from worker.cli.doctor.finding import Finding, failed, ok, warn

# A Date header has whole seconds.
_HEADER: Final = timedelta(seconds=1)
_TOLERATED: Final = timedelta(seconds=2)
_USABLE: Final = timedelta(seconds=30)
_MEND: Final = "synchronise both clocks (NTP): timedatectl set-ntp true"


def clock(whose: str, theirs: datetime, *, asked: datetime, answered: datetime) -> Finding:
    """Judge another's clock by the Date of an answer that came between two instants of ours."""
    what = f"clock of {whose}"
    if theirs < asked:
        apart = max(asked - theirs - _HEADER, timedelta())
        side = "behind"
    else:
        apart = max(theirs - answered, timedelta())
        side = "ahead"
    if apart <= _TOLERATED:
        return ok(what, "agrees with this machine's")
    detail = f"is {apart.total_seconds():.0f} s {side} of this machine's"
    return failed(what, detail, _MEND) if apart > _USABLE else warn(what, detail, _MEND)
