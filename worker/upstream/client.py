"""The port `Upstream` over configured endpoints: attempts made of quick tries."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from worker.ports import OUT_OF_TIME, Clock, Listener, MayCall, Pricing
from worker.upstream.endpoint import Endpoint
from worker.upstream.standing import Start


class _MayNotError(Exception):
    """The job is not ours to call for any more."""


class UpstreamClient:
    """The tiers' endpoints as the port `Upstream`. Owns the endpoints and closes them.

    What counts in `Work`: an answer with status 429, or a stream that the server did not take, is a refusal, every other call is a call, also one
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

        When no endpoint of the tier takes calls it makes none and gives why the one that will first does not,
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
        start = endpoint.standing.started(began, job_id=job.id)
        request = endpoint.prepare(job, number=next(self._numbers))
        if isinstance(request, Failed):  # no key: nothing was sent, so nothing is counted
            return self._noted(endpoint, request, start)
        ended: Kind | None = Kind.CANCELLED
        outcome: Outcome | None = None
        try:
            outcome = await endpoint.call(request, job.path)
            ended = outcome.kind if isinstance(outcome, Failed) else None
        except asyncio.CancelledError as cancelled:
            # An endpoint that hangs is found out by nothing else. A later try had only what was left of the time.
            if OUT_OF_TIME in cancelled.args and spent.tries == 1:
                ended = Kind.TIMEOUT
            raise
        finally:
            now = self._clock.monotonic()
            seconds = now - began
            if ended is Kind.CANCELLED:
                endpoint.standing.abandoned(start, now=now)
            elif outcome is None and ended is not None:
                endpoint.standing.failed(Failed(kind=ended), start, now=now)
            self._listener.tell(
                CallEnded(
                    job_id=job.id,
                    tier=job.tier,
                    endpoint=endpoint.spec.name,
                    kind=ended,
                    seconds=seconds,
                )
            )
        spent.add(outcome, seconds)
        if isinstance(outcome, Completed):
            outcome = self._priced(outcome, job, at)
        return self._noted(endpoint, outcome, start)

    def _priced(self, completed: Completed, job: Job, at: datetime) -> Completed:
        cost = self._price(
            endpoint=completed.endpoint,
            asked=job.model,
            answered=completed.model,
            usage=completed.usage,
            at=at,
        )
        return completed if cost is None else replace(completed, cost=cost)

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
        endpoints, now = self._tiers[tier], self._clock.monotonic()
        candidates = [endpoint.candidate() for endpoint in endpoints]
        better = [
            replace(each, held=each.held or end.standing.is_shunned(now))
            for each, end in zip(candidates, endpoints, strict=True)
        ]
        if not all(each.held for each in better):
            candidates = better
        index = choose(candidates, turn=next(self._turns), avoid=avoid)
        return None if index is None else endpoints[index]

    def _is_free_elsewhere(self, tier: str, name: str | None) -> bool:
        return any(
            endpoint.spec.name != name and not endpoint.candidate().held
            for endpoint in self._tiers[tier]
        )

    def _noted(self, endpoint: Endpoint, outcome: Outcome, start: Start) -> Outcome:
        """Let the endpoint's standing know; a failure after which it is held tells for how long."""
        now = self._clock.monotonic()
        if isinstance(outcome, Completed):
            endpoint.standing.succeeded(start, now=now)
            return outcome
        held_s = endpoint.standing.failed(outcome, start, now=now)
        if held_s is not None:
            self._listener.tell(
                EndpointHeld(endpoint=endpoint.spec.name, kind=outcome.kind, seconds=held_s)
            )
        if outcome.retry_after is None and endpoint.standing.kind(now) is outcome.kind:
            left = timedelta(seconds=endpoint.standing.left_s(now))
            return replace(outcome, retry_after=left)
        return outcome

    def _no_later_than_others(self, tier: str, failed: Failed) -> Failed:
        """Let a wait that an endpoint asked for end when another endpoint of the tier takes calls."""
        others = [end for end in self._tiers[tier] if end.spec.name != failed.endpoint]
        if failed.retry_after is None or not others:
            return failed
        left = timedelta(seconds=min(map(self._left_s, others)))
        return replace(failed, retry_after=min(failed.retry_after, left) or None)

    def _held(self, tier: str) -> Failed:
        endpoint, now = self._soonest(tier), self._clock.monotonic()
        return Failed(
            kind=endpoint.standing.kind(now) or Kind.UNAVAILABLE,
            endpoint=endpoint.spec.name,
            retry_after=timedelta(seconds=endpoint.standing.left_s(now)),
            detail="no endpoint of the tier takes calls: each is held, or has failed lately",
        )

    def _soonest(self, tier: str) -> Endpoint:
        return min(self._tiers[tier], key=self._left_s)

    def _left_s(self, endpoint: Endpoint) -> float:
        return endpoint.standing.left_s(self._clock.monotonic())


@dataclass(slots=True)
class _Spent:
    """What an attempt has cost so far."""

    tries: int = 0
    calls: int = 0
    refusals: int = 0
    seconds: float = 0.0

    def add(self, outcome: Outcome, seconds: float) -> None:
        self.seconds += seconds
        refused = isinstance(outcome, Failed) and (
            outcome.status == HTTPStatus.TOO_MANY_REQUESTS or outcome.kind is Kind.RATE_LIMITED
        )
        if refused:
            self.refusals += 1
        else:
            self.calls += 1

    def work(self) -> Work:
        return Work(
            calls=self.calls, refusals=self.refusals, upstream=timedelta(seconds=self.seconds)
        )
