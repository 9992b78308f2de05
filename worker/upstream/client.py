"""The port `Upstream` over configured endpoints: attempts made of quick tries, each at a place that a pool has given."""

import asyncio
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from itertools import count
from types import MappingProxyType
from typing import Any, Final

from tenacity import AsyncRetrying, RetryCallState, stop_never

from worker.core.costs import unpriced
from worker.core.events import RetryDenied
from worker.core.kinds import Kind
from worker.core.limits import Full
from worker.core.model import Attempted, Completed, Failed, Job, Outcome
from worker.core.quick import TryPolicy, pause_before_next_try, verdict
from worker.core.retrybudget import BudgetPolicy, RetryBudget
from worker.core.routing import DEFAULT, Policy
from worker.core.seats import NoSeat, Seat, Unready
from worker.errors import StoreUnavailable
from worker.ownlimits import OwnLimits
from worker.ports import Clock, Limits, Listener, MayCall, Pricing
from worker.upstream.caller import Caller, Spent
from worker.upstream.endpoint import Endpoint
from worker.upstream.hedging import Hedges
from worker.upstream.pool import Pool
from worker.upstream.post import Place, Post
from worker.upstream.quota import Quota
from worker.upstream.tariff import Tariff
from worker.upstream.tier import TierSpec

_PLAIN: Final = TierSpec()


class _MayNotError(Exception):
    """The job is not ours to call for any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tier:
    """What an attempt needs of its job's tier."""

    pool: Pool
    caller: Caller
    budget: RetryBudget
    hedges: Hedges


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
        numbers = count(1)

        def tier(name: str, endpoints: Sequence[Endpoint]) -> _Tier:
            spec = specs.get(name, _PLAIN)
            pool = Pool(
                name,
                [
                    Post(name, each, quotas[each.spec.account], clock=clock, listener=listener)
                    for each in endpoints
                ],
                fallback_models=spec.fallback_models,
                routing=routing.get(name, DEFAULT),
                tariff=Tariff(price, clock=clock),
                clock=clock,
                chance=chance,
                listener=listener,
            )
            return _Tier(
                pool=pool,
                caller=Caller(pool, numbers=numbers, clock=clock, listener=listener, price=price),
                budget=RetryBudget(at=clock.monotonic(), policy=budget or BudgetPolicy()),
                hedges=Hedges(spec),
            )

        self._tiers = {name: tier(name, endpoints) for name, endpoints in tiers.items()}
        self.pools = {name: each.pool for name, each in self._tiers.items()}
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self._listener = listener
        self._sleep = sleep

    def flaw(self, job: Job) -> Failed | None:
        """Tell why no endpoint will ever take the job; None: one may."""
        return self.pools[job.tier].flaw(job)

    def unready(self, job: Job) -> Unready | None:
        """Tell that no endpoint takes calls for the job now; None: one does."""
        return self.pools[job.tier].unready(job)

    def propose(self, job: Job) -> Seat | NoSeat | None:
        """Choose an endpoint, and leave the permits of its limits due; None: they are scarce, ask for a seat."""
        return self.pools[job.tier].propose(job)

    def refused(self, seat: Seat, full: Full) -> None:
        """Give up a seat for whose due permits the limits have no room."""
        if isinstance(seat, Place):
            seat.post.refused(seat, full)

    def seat(self, job: Job) -> Coroutine[Any, Any, Seat | NoSeat]:
        """Choose an endpoint and take the permits of its limits for one call, or tell how long to wait."""
        return self.pools[job.tier].take(job)

    def stands(self, seat: Seat) -> bool:
        """Tell whether a seat's endpoint still takes its call."""
        return not isinstance(seat, Place) or seat.post.stands(seat)

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
        if calls_left < 1:
            raise ValueError("an attempt needs at least one call")
        spent = Spent(most=min(self._policy.tries, calls_left))
        self._tiers[job.tier].budget.first_try(self._clock.monotonic())
        place = seat if isinstance(seat, Place) else await self._place(job)
        if isinstance(place, Place):
            outcome = await self._try(job, place, spent, may_call)
        else:
            outcome = _unseated(place)
        if isinstance(outcome, Failed):
            if spent.tries:
                outcome = await self._try_again(job, outcome, spent, may_call)
            if isinstance(outcome, Failed):
                outcome = self._no_later_than_others(job, outcome)
        return Attempted(outcome=outcome, work=spent.work(), used=tuple(spent.used))

    async def aclose(self) -> None:
        """Close the endpoints' connections. Calls still in flight break: cancel them before."""
        for endpoint in self._endpoints.values():
            await endpoint.aclose()
        for quota in self._quotas.values():
            await quota.aclose()

    async def _place(self, job: Job, avoid: Collection[str] = ()) -> Place | NoSeat:
        return await self.pools[job.tier].take(job, avoid=avoid)

    def _try(
        self, job: Job, place: Place, spent: Spent, may_call: MayCall
    ) -> Coroutine[Any, Any, Outcome]:
        """Make one try, and beside it a hedge where the tier has them and the first call keeps silent for long."""
        spent.tries += 1
        tier = self._tiers[job.tier]
        if tier.hedges.after_s is None:
            return tier.caller.call(job, place, spent)
        return tier.hedges.race(
            lambda: tier.caller.call(job, place, spent),
            lambda: self._hedge(job, place, spent, may_call),
        )

    async def _hedge(
        self, job: Job, beside: Place, spent: Spent, may_call: MayCall
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
        return await self._tiers[job.tier].caller.call(job, place, spent, hedge=True)

    async def _try_again(self, job: Job, first: Failed, spent: Spent, may_call: MayCall) -> Outcome:
        """Let tenacity run the tries that follow a failed one; `pause_before_next_try` decides.

        One tenacity object per attempt: it keeps state, and a shared one mixes up the jobs.
        """
        policy = replace(self._policy, tries=spent.most)
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
            if isinstance(place, NoSeat):
                return _unseated(place)
            if not await _permitted(place, may_call):
                raise _MayNotError
            return await self._try(job, place, spent, may_call)

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
        allowed = self._tiers[job.tier].budget.retry(self._clock.monotonic())
        if not allowed:
            self._listener.tell(RetryDenied(tier=job.tier, endpoint=failed.endpoint or ""))
        return allowed


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
