"""The right to call one endpoint now, and what there is instead of one: before a job is begun, so that waiting costs it nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from worker.core.kinds import Kind
from worker.core.limits import NOTHING_TAKEN, Charge, Taken


class Obstacle(StrEnum):
    """What kept a job from a seat at an endpoint."""

    HOLD = "hold"  # the endpoint asked for a pause, or its key was refused
    CIRCUIT = "circuit"  # open, or half open with its probe under way
    REQUESTS = "requests"  # its requests of this minute are used
    TOKENS = "tokens"  # its tokens of this minute are used
    CONCURRENCY = "concurrency"  # as many calls are in flight as it may have
    SPEND = "spend"  # a budget of the tenant or the tier is used
    MODEL = "model"  # it does not serve the model


@dataclass(slots=True, kw_only=True)
class Seat:
    """A place at an endpoint: it is chosen, and its limits have room for one call. Whoever gives it notes more on it.

    `model` is the one to answer with. `fallback`: it is another one than the job asks for, because
    no endpoint takes calls for that one. `due` are the permits that are to be counted when the job begins, `taken` those that
    are counted.
    """

    endpoint: str
    model: str
    fallback: bool = False
    due: tuple[Charge, ...] = ()
    taken: Taken = NOTHING_TAKEN

    @property
    def counted(self) -> bool:
        """Tell whether permits were taken for it: they grow old."""
        return bool(self.taken.charges)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSeat:
    """No endpoint takes a call for this job before so much time has passed.

    `obstacle` is what is in the way of the one that will take it first, and `kind` what a try there fails with.
    `shared`: every job of the tier waits for the same.
    """

    wait: timedelta
    obstacle: Obstacle
    kind: Kind
    shared: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Unready:
    """It is known without asking anybody that no endpoint takes calls for the job before this instant.

    `shared`: every job of the tier waits for the same.
    """

    until: datetime
    shared: bool = True
