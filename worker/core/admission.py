"""May a job run now? Facts in, one verdict out."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from worker.core.seats import Unready

# The longest that a delivery is held in place; whatever must wait longer is parked.
HOLD: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """It may run now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Its deadline has passed: nobody waits for the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """It may run in a moment: wait in place, then ask again. `alone`: other jobs of the tier may run meanwhile."""

    wait: timedelta
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Postpone:
    """It must wait longer: park it. `shared`: the whole tier waits for the same, so its consumer pauses."""

    wait: timedelta
    shared: bool


_GO: Final = Go()
_EXPIRED: Final = Expired()

Verdict: TypeAlias = Go | Expired | Hold | Postpone


def admit(
    *,
    now: datetime,
    deadline: datetime,
    not_before: datetime | None,
    opens_at: datetime | None,
    unready: Unready | None,
) -> Verdict:
    """Tell whether a job may run.

    `not_before` is the job's own (a parked copy may come back early, because a long wait is several hops).
    `opens_at` is its lane's: no call starts before it; whoever closed the lane has paused its consumer.
    `unready` is its endpoints': none takes calls for it before that. Nothing waits beyond its deadline: it comes
    back then, to expire and be answered.
    """
    if now >= deadline:
        return _EXPIRED
    if not_before is not None and now < not_before:
        return _wait(min(not_before, deadline) - now, shared=False)
    if opens_at is not None and now < opens_at:
        return _wait(min(opens_at, deadline) - now, shared=False)
    if unready is not None and now < unready.until:
        wait, shared = min(unready.until, deadline) - now, unready.shared
        return _wait(wait, shared=shared, alone=not shared)
    return _GO


def _wait(wait: timedelta, *, shared: bool, alone: bool = False) -> Verdict:
    return Hold(wait=wait, alone=alone) if wait <= HOLD else Postpone(wait=wait, shared=shared)
