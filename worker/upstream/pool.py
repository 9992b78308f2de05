"""One tier's endpoints: which of them can answer a job, and which takes its next call."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import count, groupby
from typing import Final

from worker.core.candidate import Candidate
from worker.core.circuit import SLACK_S
from worker.core.events import SeatRefused
from worker.core.model import Completed, Failed, Job, Outcome
from worker.core.routing import Policy, choose
from worker.core.seats import NoSeat, Unready
from worker.core.serving import offers, unserved
from worker.ports import Clock, Listener
from worker.upstream.post import Place, Post
from worker.upstream.tariff import Tariff

# Model names come from requests: whoever makes them up gets no room.
_MOST_KEPT: Final = 1024


@dataclass(frozen=True, slots=True)
class _Group:
    """The posts that can answer with one model. `fallback`: it is not the one that the job asks for."""

    model: str
    fallback: bool
    posts: tuple[Post, ...]

    def takes(self, now: float) -> bool:
        """Tell whether one of them takes a call."""
        return any(post.takes(now) for post in self.posts)

    def is_near(self, now: float) -> bool:
        """Tell whether one of them takes a call in a moment, see `Post.is_near`."""
        return any(post.is_near(now) for post in self.posts)


class Pool:
    """The endpoints of one tier. `chance` gives numbers in [0, 1)."""

    def __init__(
        self,
        tier: str,
        posts: Sequence[Post],
        *,
        fallback_models: Sequence[str],
        routing: Policy,
        tariff: Tariff,
        clock: Clock,
        chance: Callable[[], float],
        listener: Listener,
    ) -> None:
        self.posts = tuple(posts)
        self._tier = tier
        self.routing = routing
        self._by_price = routing is Policy.CHEAPEST
        self._tariff = tariff
        self._clock = clock
        self._chance = chance
        self._listener = listener
        self._turns = count()
        self._serving = [post.endpoint.serving for post in posts]
        self._fallback_models = fallback_models
        self._offered = lru_cache(maxsize=_MOST_KEPT)(self._offers)

    def flaw(self, job: Job) -> Failed | None:
        """Tell why no endpoint will ever take the job; None: one may."""
        return None if self._groups(job) else unserved(job.path, self._serving)

    def unready(self, job: Job) -> Unready | None:
        """Tell that no endpoint takes calls for the job now; None: one does."""
        groups = self._groups(job)
        if groups and groups[0].posts[0].takes(self._clock.monotonic()):
            return None  # as nearly always, and then nothing else need be looked at
        soonest = self._soonest(groups)
        if soonest is None or soonest[0] <= 0:
            return None
        until = self._clock.now() + timedelta(seconds=soonest[0])
        return Unready(until=until, shared=self._is_shared(soonest[0]))

    def elsewhere(self, job: Job, name: str | None) -> timedelta | None:
        """Tell how long until an endpoint with another name takes calls for the job; None: there is none."""
        now = self._clock.monotonic()
        waits = [post.left_s(now) for post in self._serves(job) if post.name != name]
        return timedelta(seconds=min(waits)) if waits else None

    def saved(self, job: Job, place: Place, outcome: Outcome, at: datetime) -> Decimal | None:
        """Give what the choice by price has saved with a call made at the instant `at`; None: nothing, or not known."""
        if not self._by_price or not isinstance(outcome, Completed):
            return None
        endpoints = [
            post.name
            for group in self._groups(job)
            if group.model == place.model
            for post in group.posts
        ]
        return self._tariff.saved(outcome, model=place.model, endpoints=endpoints, at=at)

    def goes_elsewhere(self, job: Job, name: str | None) -> bool:
        """Tell whether a try that avoids this endpoint would be made at another one now.

        Not where only another model is to be had elsewhere, and this endpoint takes calls or will in a moment.
        """
        now = self._clock.monotonic()
        for group in self._groups(job):
            if group.takes(now):
                return any(post.name != name and post.takes(now) for post in group.posts)
            if group.is_near(now):
                return False
        return False

    def propose(self, job: Job) -> Place | NoSeat | None:
        """Choose an endpoint, whose permits are due; None: they are scarce, and are to be taken first."""
        groups, now = self._groups(job), self._clock.monotonic()
        found = self._choose(groups, (), now)
        if found is None:
            return self._no_seat(groups)
        group, post = found
        return post.propose(job, model=group.model, fallback=group.fallback, now=now)

    async def take(self, job: Job, *, avoid: Collection[str] = ()) -> Place | NoSeat:
        """Choose an endpoint and take the permits of its limits; `avoid`: only if nothing else is left.

        Another model is fallen back to only when the one before it has no endpoint that takes calls within the
        time that a delivery may be held, or none that has not failed: in this attempt, or too often. Errors:
        `StoreUnavailable`.
        """
        groups = self._groups(job)
        while True:
            now = self._clock.monotonic()
            found = self._choose(groups, avoid, now)
            if found is None:
                return self._no_seat(groups)
            group, post = found
            place = await post.sit(job, model=group.model, fallback=group.fallback, now=now)
            if place is not None:
                return place

    def _choose(
        self, groups: Iterable[_Group], avoid: Collection[str], now: float
    ) -> tuple[_Group, Post] | None:
        """Choose among those that can answer; None: nobody takes a call now.

        An endpoint that was tried in this attempt, or that fails too often, is taken only where no other one is left,
        not even one with another model.
        """
        last_resort: tuple[_Group, Post] | None = None
        for group in groups:
            post = self._choose_of(group, avoid, now)
            if post is not None and post.name not in avoid and not post.is_shunned(now):
                return group, post
            if post is not None:
                last_resort = last_resort or (group, post)
            elif group.is_near(now):
                break
        return last_resort

    def _choose_of(self, group: _Group, avoid: Collection[str], now: float) -> Post | None:
        """Choose among those that can answer with one model; None: none of them takes a call now."""
        posts = group.posts
        if len(posts) == 1:
            return posts[0] if posts[0].takes(now) else None
        index = choose(
            [self._candidate(post, group.model, now) for post in posts],
            policy=self.routing,
            chance=self._chance,
            turn=next(self._turns),
            avoid={*avoid, *(post.name for post in posts if post.is_shunned(now))},
        )
        return None if index is None else posts[index]

    def _candidate(self, post: Post, model: str, now: float) -> Candidate:
        price = self._tariff.of(post.name, model) if self._by_price else None
        return post.candidate(now, self.routing, price=price)

    def _no_seat(self, groups: Sequence[_Group]) -> NoSeat:
        soonest = self._soonest(groups)
        assert soonest is not None  # noqa: S101  # a job with a flaw takes no seat
        left_s, post = soonest
        obstacle, kind = post.obstacle(self._clock.monotonic())
        self._listener.tell(
            SeatRefused(tier=self._tier, endpoint=None, reason=obstacle, seconds=left_s)
        )
        wait = timedelta(seconds=left_s)
        return NoSeat(wait=wait, obstacle=obstacle, kind=kind, shared=self._is_shared(left_s))

    def _soonest(self, groups: Iterable[_Group]) -> tuple[float, Post] | None:
        """Give who takes calls first of all who can answer, and in how many seconds.

        Those of a later model count only where the ones before it are beyond what a delivery may be held for.
        """
        now = self._clock.monotonic()
        best: tuple[float, Post] | None = None
        for group in groups:
            for post in group.posts:
                left_s = post.left_s(now)
                if best is None or left_s < best[0]:
                    best = left_s, post
            if group.is_near(now):
                break
        return best

    def _is_shared(self, wait_s: float) -> bool:
        """Tell whether no endpoint of the tier takes any call for so long: one that serves other models may sooner."""
        now = self._clock.monotonic()
        return all(post.left_s(now) >= wait_s - SLACK_S for post in self.posts)

    def _serves(self, job: Job) -> Iterator[Post]:
        for group in self._groups(job):
            yield from group.posts

    def _groups(self, job: Job) -> Sequence[_Group]:
        return self._offered(job.path, job.model)

    def _offers(self, path: str, model: str) -> Sequence[_Group]:
        """Give who can answer, by model: first the one that is asked for, then each to fall back to."""
        found = offers(path, model, fallbacks=self._fallback_models, endpoints=self._serving)
        return tuple(
            _Group(each, each != model, tuple(self.posts[offer.endpoint] for offer in alike))
            for each, alike in groupby(found, key=lambda offer: offer.model)
        )
