"""The right to call one endpoint now, and what there is instead of one: before a job is begun, so that waiting costs it nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A place at an endpoint: it is chosen, and its limits have room for one call.

    `model` is the name that the endpoint knows the model by. `fallback`: another model than the job asks for, because
    no endpoint takes calls for that one. `counted`: permits were taken for it, which grow old.
    """

    endpoint: str
    model: str
    fallback: bool = False
    counted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSeat:
    """No endpoint takes a call for this job before so much time has passed; `reason` says why, in Warren's own words.

    `shared`: every job of the tier waits for the same.
    """

    wait: timedelta
    reason: str
    shared: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Unready:
    """It is known without asking anybody that no endpoint takes calls for the job before this instant.

    `shared`: every job of the tier waits for the same.
    """

    until: datetime
    shared: bool = True
