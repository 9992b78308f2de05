"""The port `Upstream` over configured endpoints: attempts made of quick tries."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import count

from tenacity import AsyncRetrying, RetryCallState, stop_never

from worker.core.costs import unpriced
from worker.core.events import CallEnded, EndpointHeld
from worker.core.kinds import Kind
from worker.core.model import Attempted, Completed, Failed, Job, Outcome, Work
from worker.core.quick import TryPolicy, pause_before_next_try, verdict
from worker.core.routing import choose
from worker.ports import Clock, Listener, MayCall, Pricing
from worker.upstream.charging import Bill, charged
from worker.upstream.endpoint import Endpoint


class _MayNotError(Exception):
    """The job is not ours to call for any more."""


class UpstreamClient:
    """The tiers' endpoints as the port `Upstream`. Owns the endpoints and closes them.

    What counts in `Work`: an answer with status 429 is a refusal, every other call is a call, also one
    that failed before anything was sent (refused, unresolved, TLS): a policy that bounds calls bounds
    these too. A try for which no key was to be had made no call.

    `price` tells what an answer cost: the time of a call is when it began. `chance` gives numbers in
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
        price: Pricing = unpriced,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._tiers = {name: tuple(endpoints) for name, endpoints in tiers.items()}
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self._listener = listener
        self._price = price
        self._sleep = sleep
        self._numbers = count(1)
        self._turns = count()

    def ready_at(self, tier: str) -> datetime | None:
        """Tell when an endpoint of the tier takes calls: None: now; an instant: not before it."""
        left_s = self._left_s(self._soonest(tier))
        return self._clock.now() + timedelta(seconds=left_s) if left_s else None

    async def attempt(self, job: Job, *, calls_left: int, may_call: MayCall) -> Attempted:
        """Make one attempt: at most `calls_left` quick tries, over one or more endpoints.

        When every endpoint of the tier is held it makes no call and gives the kind of the hold that ends first,
        with the time left as `retry_after`. What one endpoint asked for is given on only until another takes
        calls. Raises nothing for what an upstream does.

        Raises:
            ValueError: `calls_left` is less than one.
        """
        policy = replace(self._policy, tries=min(self._policy.tries, calls_left))
        spent = _Spent()
        outcome = await self._try(job, spent, avoid=None)
        if isinstance(outcome, Failed) and spent.tries:
            outcome = await self._try_again(job, outcome, spent, policy, may_call=may_call)
        if isinstance(outcome, Failed):
            outcome = self._no_later_than_others(job.tier, outcome)
        return Attempted(outcome=outcome, work=spent.work())

    async def aclose(self) -> None:
        """Close the endpoints' connections. Calls still in flight break: cancel them before."""
        for endpoint in {id(end): end for ends in self._tiers.values() for end in ends}.values():
            await endpoint.aclose()

    async def _try(self, job: Job, spent: "_Spent", *, avoid: str | None) -> Outcome:
        endpoint = self._choose(job.tier, avoid)
        if endpoint is None:
            return self._held(job.tier)
        spent.tries += 1
        at, began = self._clock.now(), self._clock.monotonic()
        request = endpoint.prepare(job, number=next(self._numbers))
        if isinstance(request, Failed):  # no key: nothing was sent, so nothing is counted
            return self._noted(endpoint, request, began)
        ended: Kind | None = Kind.CANCELLED
        cost = None
        try:
            answered = await endpoint.call(request, job.path)
            outcome = charged(answered, job, at=at, price=self._price)
            cost = outcome.cost
            ended = outcome.kind if isinstance(outcome, Failed) else None
        finally:
            seconds = self._clock.monotonic() - began
            self._listener.tell(
                CallEnded(
                    job_id=job.id,
                    tier=job.tier,
                    endpoint=endpoint.spec.name,
                    kind=ended,
                    seconds=seconds,
                    cost=cost,
                )
            )
        spent.add(outcome, seconds)
        return self._noted(endpoint, outcome, began)

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
            if not await may_call():
                raise _MayNotError
            return await self._try(job, spent, avoid=failures[-1].endpoint)

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
                state.attempt_number,
                policy,
                self._chance(),
                elsewhere=self._is_free_elsewhere(job.tier, outcome.endpoint),
            )
            pause_s = 0.0 if pause is None else pause.total_seconds()
            return pause is not None

        retrying = AsyncRetrying(
            retry=again, wait=lambda _: pause_s, stop=stop_never, sleep=self._sleep
        )
        try:
            outcome: Outcome = await retrying(one)
        except _MayNotError:
            return verdict(failures)
        return outcome if isinstance(outcome, Completed) else verdict(failures)

    def _choose(self, tier: str, avoid: str | None) -> Endpoint | None:
        endpoints = self._tiers[tier]
        index = choose(
            [endpoint.candidate() for endpoint in endpoints], turn=next(self._turns), avoid=avoid
        )
        return None if index is None else endpoints[index]

    def _is_free_elsewhere(self, tier: str, name: str | None) -> bool:
        return any(
            endpoint.spec.name != name and not endpoint.candidate().held
            for endpoint in self._tiers[tier]
        )

    def _noted(self, endpoint: Endpoint, outcome: Outcome, began: float) -> Outcome:
        """Let the endpoint be held where the outcome says so; such a failure tells for how long."""
        if isinstance(outcome, Completed):
            endpoint.hold.succeeded(began=began)
            return outcome
        now = self._clock.monotonic()
        held_s = endpoint.hold.failed(outcome, began=began, now=now)
        if held_s is not None:
            self._listener.tell(
                EndpointHeld(endpoint=endpoint.spec.name, kind=outcome.kind, seconds=held_s)
            )
        left_s = endpoint.hold.left_s(now)
        if left_s and outcome.retry_after is None and endpoint.hold.kind is outcome.kind:
            return replace(outcome, retry_after=timedelta(seconds=left_s))
        return outcome

    def _no_later_than_others(self, tier: str, failed: Failed) -> Failed:
        """Let a wait that an endpoint asked for end when another endpoint of the tier takes calls."""
        others = [end for end in self._tiers[tier] if end.spec.name != failed.endpoint]
        if failed.retry_after is None or not others:
            return failed
        left = timedelta(seconds=min(map(self._left_s, others)))
        return replace(failed, retry_after=min(failed.retry_after, left) or None)

    def _held(self, tier: str) -> Failed:
        endpoint = self._soonest(tier)
        return Failed(
            kind=endpoint.hold.kind or Kind.RATE_LIMITED,
            endpoint=endpoint.spec.name,
            retry_after=timedelta(seconds=self._left_s(endpoint)),
            detail="every endpoint of the tier is held: it asked for that, or its key was refused",
        )

    def _soonest(self, tier: str) -> Endpoint:
        return min(self._tiers[tier], key=self._left_s)

    def _left_s(self, endpoint: Endpoint) -> float:
        return endpoint.hold.left_s(self._clock.monotonic())


@dataclass(slots=True)
class _Spent:
    """What an attempt has cost so far."""

    tries: int = 0
    calls: int = 0
    refusals: int = 0
    seconds: float = 0.0
    bill: Bill = field(default_factory=Bill)

    def add(self, outcome: Outcome, seconds: float) -> None:
        self.seconds += seconds
        self.bill.add(outcome.cost)
        status = outcome.status if isinstance(outcome, Failed) else HTTPStatus.OK
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self.refusals += 1
        else:
            self.calls += 1

    def work(self) -> Work:
        return Work(
            calls=self.calls,
            refusals=self.refusals,
            upstream=timedelta(seconds=self.seconds),
            spent=self.bill.spent,
            unpriced=self.bill.unpriced,
        )
