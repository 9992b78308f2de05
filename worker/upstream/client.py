"""The port `Upstream` over configured endpoints: attempts made of quick tries, each at a place that a pool has given."""

import asyncio
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http import HTTPStatus
from itertools import count
from types import MappingProxyType
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, stop_never

from worker.core.costs import unpriced
from worker.core.events import CallEnded, RetryDenied
from worker.core.kinds import Kind
from worker.core.model import Attempted, Completed, Failed, Job, Outcome, Work
from worker.core.quick import TryPolicy, pause_before_next_try, verdict
from worker.core.retrybudget import BudgetPolicy, RetryBudget
from worker.core.routing import DEFAULT, Policy
from worker.core.seats import NoSeat, Seat, Unready
from worker.errors import StoreUnavailable
from worker.ownlimits import OwnLimits
from worker.ports import OUT_OF_TIME, Clock, Limits, Listener, MayCall, Pricing
from worker.upstream.charging import Bill, charged
from worker.upstream.endpoint import Endpoint
from worker.upstream.hedging import Hedges
from worker.upstream.pool import Pool
from worker.upstream.post import Place, Post
from worker.upstream.quota import Quota
from worker.upstream.tariff import Tariff
from worker.upstream.tier import TierSpec

_PLAIN: Final = TierSpec()
_REFUSED: Final = frozenset({Kind.RATE_LIMITED, Kind.UNAVAILABLE})


class _MayNotError(Exception):
    """The job is not ours to call for any more."""


class UpstreamClient:
    """The tiers' endpoints as the port `Upstream`. Owns the endpoints and closes them.

    What counts in `Work`: a call that was refused (429, or a stream that the server did not take), or that found out
    for all others that an endpoint is still down, is a refusal; every other call is a call, also one that failed before anything was sent (refused,
    unresolved, TLS): a policy that bounds calls bounds these too. A try for which no key was to be had made no call.

    `specs` and `routing` are by tier; a tier that they do not name takes the defaults. `limits` counts what accounts
    use; this process alone, unless it is told otherwise. `budget` bounds the tries of each tier that follow a
    failed one. `price` tells what an answer cost: the time of a call is when it began. `chance` gives numbers in
    [0, 1), `sleep` is replaced by tests.
    """

    def __init__(
        self,
        tiers: Mapping[str, Sequence[Endpoint]],
        *,
        policy: TryPolicy,
        clock: Clock,
        chance: Callable[[], float],
        listener: Listener,
        specs: Mapping[str, TierSpec] = MappingProxyType({}),
        routing: Mapping[str, Policy] = MappingProxyType({}),
        budget: BudgetPolicy | None = None,
        limits: Limits | None = None,
        price: Pricing = unpriced,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._endpoints = {id(end): end for ends in tiers.values() for end in ends}
        self._quotas = quotas = _quotas(
            self._endpoints.values(), OwnLimits(clock) if limits is None else limits
        )
        self.pools = {
            name: Pool(
                name,
                [
                    Post(name, each, quotas[each.spec.account], clock=clock, listener=listener)
                    for each in endpoints
                ],
                fallback_models=specs.get(name, _PLAIN).fallback_models,
                routing=routing.get(name, DEFAULT),
                tariff=Tariff(price, clock=clock),
                clock=clock,
                chance=chance,
                listener=listener,
            )
            for name, endpoints in tiers.items()
        }
        now = clock.monotonic()
        self._budgets = {
            name: RetryBudget(at=now, policy=budget or BudgetPolicy()) for name in tiers
        }
        self._hedges = {name: Hedges(specs.get(name, _PLAIN)) for name in tiers}
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self._listener = listener
        self._price = price
        self._sleep = sleep
        self._numbers = count(1)

    def flaw(self, job: Job) -> Failed | None:
        """Tell why no endpoint will ever take the job; None: one may."""
        return self.pools[job.tier].flaw(job)

    def unready(self, job: Job) -> Unready | None:
        """Tell that no endpoint takes calls for the job now; None: one does."""
        return self.pools[job.tier].unready(job)

    async def seat(self, job: Job) -> Seat | NoSeat:
        """Choose an endpoint and take the permits of its limits for one call, or tell how long to wait."""
        return await self.pools[job.tier].take(job)

    def leave(self, seat: Seat) -> None:
        """Give up a seat at which no call was made; one whose call was made is given up already."""
        if isinstance(seat, Place):
            seat.post.leave(seat)

    async def attempt(
        self, job: Job, *, calls_left: int, may_call: MayCall, seat: Seat | None = None
    ) -> Attempted:
        """Make one attempt: at most `calls_left` quick tries, over one or more endpoints.

        When no endpoint takes calls for the job it makes none and gives why the one that will first does not,
        with the time left as `retry_after`. What one endpoint asked for is given on only until another takes
        calls. Raises nothing for what an upstream does.

        Raises:
            ValueError: `calls_left` is less than one.
        """
        policy = replace(self._policy, tries=min(self._policy.tries, calls_left))
        spent = _Spent(most=policy.tries)
        self._budgets[job.tier] = self._budgets[job.tier].first_try(self._clock.monotonic())
        place = seat if isinstance(seat, Place) else await self._place(job)
        outcome = await self._try(job, place, spent, may_call=may_call)
        if isinstance(outcome, Failed) and spent.tries:
            outcome = await self._try_again(job, outcome, spent, policy, may_call=may_call)
        if isinstance(outcome, Failed):
            outcome = self._no_later_than_others(job, outcome)
        return Attempted(outcome=outcome, work=spent.work())

    async def aclose(self) -> None:
        """Close the endpoints' connections. Calls still in flight break: cancel them before."""
        for endpoint in self._endpoints.values():
            await endpoint.aclose()
        for quota in self._quotas.values():
            await quota.aclose()

    async def _place(self, job: Job, avoid: Collection[str] = ()) -> Place | NoSeat:
        return await self.pools[job.tier].take(job, avoid=avoid)

    async def _try(
        self, job: Job, place: Place | NoSeat, spent: "_Spent", *, may_call: MayCall
    ) -> Outcome:
        """Make one try, and beside it a hedge where the tier has them and the first call keeps silent for long."""
        if isinstance(place, NoSeat):
            return _unseated(place)
        spent.tries += 1
        hedges = self._hedges[job.tier]
        if hedges.after_s is None:
            return await self._call(job, place, spent)
        return await hedges.race(
            lambda: self._call(job, place, spent),
            lambda: self._hedge(job, place, spent, may_call),
        )

    async def _hedge(
        self, job: Job, beside: Place, spent: "_Spent", may_call: MayCall
    ) -> Outcome | None:
        """Make the same call at another endpoint; None: there is none, or the job is not ours any more."""
        if spent.tries >= spent.most or not self.pools[job.tier].goes_elsewhere(
            job, beside.endpoint
        ):
            return None
        try:
            place = await self._place(job, avoid=(beside.endpoint,))
        except StoreUnavailable:  # nobody can say whether the limits have room
            return None
        if isinstance(place, NoSeat):
            return None
        if place.endpoint == beside.endpoint or place.model != beside.model:
            place.post.leave(place)
            return None
        if not await _permitted(place, may_call):
            return None
        spent.tries += 1
        return await self._call(job, place, spent, hedge=True)

    async def _call(
        self, job: Job, place: Place, spent: "_Spent", *, hedge: bool = False
    ) -> Outcome:
        """Make one call at a place, and give the place up."""
        try:
            return await self._call_at(place.post, job, place, spent, hedge=hedge)
        finally:
            place.post.leave(place)  # where something of ours has failed before its call

    async def _call_at(
        self, post: Post, job: Job, place: Place, spent: "_Spent", *, hedge: bool
    ) -> Outcome:
        at, began = self._clock.now(), self._clock.monotonic()
        request = post.endpoint.prepare(job, number=next(self._numbers), model=place.model)
        if isinstance(request, Failed):  # no key: nothing was sent, so nothing is counted
            return post.unsent(place, request)
        heard: list[float] = []
        post.began()

        def hear(headers: Mapping[str, str]) -> None:
            heard.append(self._clock.monotonic() - began)
            post.heard(place, headers)

        outcome: Outcome | None = None
        ended: Kind | None = Kind.CANCELLED
        first = spent.tries == 1  # a hedge counts as a try, but begins after this
        retry = not (first or hedge)
        try:
            answered = await post.endpoint.call(request, job.path, heard=hear)
            outcome = charged(answered, asked=place.model, at=at, price=self._price)
            ended = outcome.kind if isinstance(outcome, Failed) else None
        except asyncio.CancelledError as cancelled:
            # An endpoint that hangs is found out by nothing else. A later try had only what was left of the time.
            if OUT_OF_TIME in cancelled.args and first:
                ended = Kind.TIMEOUT
            raise
        finally:
            seconds = self._clock.monotonic() - began
            self._listener.tell(
                CallEnded(
                    job_id=job.id,
                    tier=job.tier,
                    endpoint=place.endpoint,
                    kind=ended,
                    seconds=seconds,
                    model=job.model,
                    first_byte_s=heard[0] if heard else None,
                    retry=retry,
                    hedge=hedge,
                    cost=None if outcome is None else outcome.cost,
                    saved=None
                    if outcome is None
                    else self.pools[job.tier].saved(job, place, outcome, at),
                )
            )
            if outcome is None:
                post.cut_off(place, seconds=seconds, hung=ended is Kind.TIMEOUT)
                spent.cut_off(seconds)
        outcome = post.ended(place, outcome, seconds=seconds)
        spent.add(outcome, seconds)
        if isinstance(outcome, Completed) and place.fallback:
            outcome = replace(outcome, fallback=True)
        return outcome

    async def _try_again(
        self,
        job: Job,
        first: Failed,
        spent: "_Spent",
        policy: TryPolicy,
        *,
        may_call: MayCall,
    ) -> Outcome:
        """Let tenacity run the tries that follow a failed one; `pause_before_next_try` decides.

        One tenacity object per attempt: it keeps state, and a shared one mixes up the jobs.
        """
        known = [first]
        failures: list[Failed] = []
        pause_s = 0.0

        async def one() -> Outcome:
            if known:
                return known.pop()
            tried = {each.endpoint for each in failures if each.endpoint is not None}
            try:
                place = await self._place(job, tried)
            except StoreUnavailable:  # nobody can say whether the limits have room
                raise _MayNotError from None
            if isinstance(place, Place) and not await _permitted(place, may_call):
                raise _MayNotError
            return await self._try(job, place, spent, may_call=may_call)

        def again(state: RetryCallState) -> bool:
            nonlocal pause_s
            if state.outcome is None or state.outcome.failed:
                return False  # cancelled, or a bug: not ours to repeat
            outcome = state.outcome.result()
            if isinstance(outcome, Completed):
                return False
            failures.append(outcome)
            pause = pause_before_next_try(
                outcome,
                max(state.attempt_number, spent.tries),
                policy,
                self._chance(),
                elsewhere=self.pools[job.tier].goes_elsewhere(job, outcome.endpoint),
            )
            pause_s = 0.0 if pause is None else pause.total_seconds()
            return pause is not None and self._may_retry(job, outcome)

        retrying = AsyncRetrying(
            retry=again, wait=lambda _: pause_s, stop=stop_never, sleep=self._sleep
        )
        try:
            outcome: Outcome = await retrying(one)
        except _MayNotError:
            return verdict(failures)
        return outcome if isinstance(outcome, Completed) else verdict(failures)

    def _no_later_than_others(self, job: Job, failed: Failed) -> Failed:
        """Let a wait that an endpoint asked for end when another one takes calls for the job."""
        left = self.pools[job.tier].elsewhere(job, failed.endpoint)
        if failed.retry_after is None or left is None:
            return failed
        return replace(failed, retry_after=min(failed.retry_after, left) or None)

    def _may_retry(self, job: Job, failed: Failed) -> bool:
        """Take a further try out of the tier's budget; False: it allows none now.

        One with a key that has been replaced costs nothing: a rotation is no storm, and has an end.
        """
        if failed.kind is Kind.KEY_REPLACED:
            return True
        budget = self._budgets[job.tier].retry(self._clock.monotonic())
        if budget is None:
            self._listener.tell(RetryDenied(tier=job.tier, endpoint=failed.endpoint or ""))
            return False
        self._budgets[job.tier] = budget
        return True


def _quotas(endpoints: Iterable[Endpoint], limits: Limits) -> Mapping[str, Quota]:
    """Give each account's quota; where its endpoints say different things, the most of them."""
    specs = [each.spec for each in endpoints]
    return {
        account: Quota(
            account,
            requests_per_minute=max(
                each.requests_per_minute for each in specs if each.account == account
            ),
            tokens_per_minute=max(
                each.tokens_per_minute for each in specs if each.account == account
            ),
            limits=limits,
        )
        for account in {each.account for each in specs}
    }


async def _permitted(place: Place, may_call: MayCall) -> bool:
    """Tell whether a call may be made at a place, which is given up if not.

    Asked for last, since it may take a permit of the lane's and reserve money, which without a place would be for nothing.
    """
    may = False
    try:
        may = await may_call()
    finally:
        if not may:
            place.post.leave(place)
    return may


def _unseated(no_seat: NoSeat) -> Failed:
    return Failed(
        kind=no_seat.kind,
        retry_after=no_seat.wait,
        detail="no endpoint takes a call for the job now: each is held, has failed lately, or its limits are used up",
    )


@dataclass(slots=True)
class _Spent:
    """What an attempt has cost so far; it makes `most` tries."""

    most: int
    tries: int = 0
    calls: int = 0
    refusals: int = 0
    seconds: float = 0.0
    bill: Bill = field(default_factory=Bill)

    def add(self, outcome: Outcome, seconds: float) -> None:
        self.seconds += seconds
        self.bill.add(outcome.cost)
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
        self.bill.add(None)

    def work(self) -> Work:
        return Work(
            calls=self.calls,
            refusals=self.refusals,
            upstream=timedelta(seconds=self.seconds),
            spent=self.bill.spent,
            unpriced=self.bill.unpriced,
        )
