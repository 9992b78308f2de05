"""One call at a place that a pool has given: made, priced, told of, and counted in what its attempt has spent."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from typing import Final

from worker.core.events import CallEnded
from worker.core.kinds import Kind
from worker.core.limits import Used
from worker.core.model import Failed, Job, Outcome, Work
from worker.core.money import plus
from worker.ports import OUT_OF_TIME, Clock, Listener, Pricing
from worker.upstream.charging import charged
from worker.upstream.pool import Pool
from worker.upstream.post import Place

_REFUSED: Final = frozenset({Kind.RATE_LIMITED, Kind.UNAVAILABLE})


@dataclass(slots=True)
class Spent:
    """What an attempt has cost so far; it makes `most` tries. `usd` is the sum of all known costs, `unpriced` counts the others.

    `used` is what it leaves to be settled of limits.
    """

    most: int
    tries: int = 0
    calls: int = 0
    refusals: int = 0
    seconds: float = 0.0
    usd: Decimal = Decimal(0)
    unpriced: int = 0
    used: list[Used] = field(default_factory=list)

    def add(self, outcome: Outcome, seconds: float) -> None:
        """Count a call that came to an end."""
        self.seconds += seconds
        if outcome.cost is None:
            self.unpriced += 1
        else:
            self.usd = plus(self.usd, outcome.cost)
        if isinstance(outcome, Failed) and (
            outcome.status == HTTPStatus.TOO_MANY_REQUESTS or outcome.kind in _REFUSED
        ):
            self.refusals += 1
        else:
            self.calls += 1

    def cut_off(self, seconds: float) -> None:
        """Count a call that we have closed: it may be charged for all the same."""
        self.seconds += seconds
        self.calls += 1
        self.unpriced += 1

    def work(self) -> Work:
        """Give all of it together."""
        return Work(
            calls=self.calls,
            refusals=self.refusals,
            upstream=timedelta(seconds=self.seconds),
            spent=self.usd,
            unpriced=self.unpriced,
        )


class Caller:
    """Makes one tier's calls."""

    def __init__(
        self,
        pool: Pool,
        *,
        numbers: Iterator[int],
        clock: Clock,
        listener: Listener,
        price: Pricing,
    ) -> None:
        self._pool = pool
        self._numbers = numbers
        self._clock = clock
        self._listener = listener
        self._price = price

    async def call(self, job: Job, place: Place, spent: Spent, *, hedge: bool = False) -> Outcome:
        """Make one call at a place, and give the place up."""
        post, at = place.post, self._clock.now()
        try:
            place.began = self._clock.monotonic()
            request = post.endpoint.prepare(job, number=next(self._numbers), model=place.model)
            if isinstance(request, Failed):  # no key: nothing was sent, so nothing is counted
                return post.unsent(place, request)
            post.began(place)
            first = spent.tries == 1  # a hedge counts as a try, but begins after this
            retry = not (first or hedge)
            try:
                answered = await post.endpoint.call(
                    request, job.path, heard=partial(post.heard, place)
                )
                outcome = charged(
                    answered, asked=place.model, at=at, price=self._price, fallback=place.fallback
                )
            except BaseException as error:
                # An endpoint that hangs is found out by nothing else. A later try had only what was left of the time.
                late = isinstance(error, asyncio.CancelledError) and OUT_OF_TIME in error.args
                seconds = self._clock.monotonic() - place.began
                self._tell(job, place, seconds, hung=late and first, retry=retry, hedge=hedge)
                post.cut_off(place, seconds=seconds, hung=late and first)
                spent.cut_off(seconds)
                raise
            now = self._clock.monotonic()
            seconds = now - place.began
            saved = self._pool.saved(job, place, outcome, at)
            self._tell(job, place, seconds, outcome, saved=saved, retry=retry, hedge=hedge)
            outcome = post.ended(place, outcome, seconds=seconds, now=now)
            spent.add(outcome, seconds)
            if place.used is not None:
                spent.used.append(place.used)
            return outcome
        finally:
            if not place.given_up:  # something of ours has failed before its call
                post.leave(place)

    def _tell(
        self,
        job: Job,
        place: Place,
        seconds: float,
        outcome: Outcome | None = None,
        *,
        retry: bool,
        hedge: bool,
        hung: bool = False,
        saved: Decimal | None = None,
    ) -> None:
        kind: Kind | None = None
        if outcome is None:
            kind = Kind.TIMEOUT if hung else Kind.CANCELLED
        elif isinstance(outcome, Failed):
            kind = outcome.kind
        self._listener.tell(
            CallEnded(
                job_id=job.id,
                tier=job.tier,
                endpoint=place.endpoint,
                kind=kind,
                seconds=seconds,
                model=job.model,
                first_byte_s=place.first_byte_s,
                retry=retry,
                hedge=hedge,
                cost=None if outcome is None else outcome.cost,
                saved=saved,
            )
        )
