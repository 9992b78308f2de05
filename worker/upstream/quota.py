"""The requests and tokens a minute of one account, as configured or as its answers tell, and what is left of them."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from worker.core.circuit import SLACK_S
from worker.core.estimate import Extent, Learned, extent, spent
from worker.core.events import Counted
from worker.core.hints import LimitsTold, Told
from worker.core.kinds import Kind
from worker.core.limits import SPAN_US, Charge, Full, Meter, Taken, Used, charges, used
from worker.core.model import Completed, Failed, Outcome
from worker.core.routing import LONGEST_HOLD
from worker.errors import StoreUnavailable
from worker.ports import Limits

_CLIENT_ERROR: Final = 4
# What an answer said of the rest is the rest for about so long: others may call too.
_FRESH_S: Final = 10.0
# For so long what was counted counts.
_COUNTED_S: Final = SPAN_US / 1_000_000
# For so long after permits were refused they are scarce.
_SCARCE_S: Final = 2.0
# Model names come from requests: whoever makes them up gets no room.
_MOST_MODELS: Final = 1024
_NOTHING: Final = Learned()


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was told of one limit last, and when."""

    limit: int | None
    share_left: float
    at: float


class Quota:
    """One account's limits, for all of its endpoints in this process; what is used of them is counted behind `limits`.

    A limit that is configured stands. One that is not is taken from the answers' headers, as soon as one tells it. All
    instants are of the monotonic clock, in seconds. `known`: a limit is, so that calls are counted.
    """

    def __init__(
        self, account: str, *, requests_per_minute: int, tokens_per_minute: int, limits: Limits
    ) -> None:
        self._account = account
        self._limits = limits
        self._configured = {
            Counted.REQUESTS: requests_per_minute,
            Counted.TOKENS: tokens_per_minute,
        }
        self._seen: dict[Counted, _Seen] = {}
        self._by_model: dict[Counted, dict[str, tuple[int, float]]] = {}
        self._settling: set[asyncio.Future[None]] = set()
        self._learned: dict[str, Learned] = {}
        self._full_until = float("-inf")
        self._full_of: Counted = Counted.REQUESTS
        self._failed_at = float("-inf")
        self._turn = asyncio.Lock()
        self._noted = (0, 0)
        self._charged: tuple[Charge, ...] = ()
        self._tokens: Meter | None = None
        self.known = False
        self._note_limits()

    def left_s(self, now: float) -> float:
        """Give the seconds until it is worth asking for a permit; 0: now."""
        left = self._full_until - now
        return left if left > SLACK_S else 0.0

    @property
    def full_of(self) -> Counted:
        """What was used up when a permit was refused last."""
        return self._full_of

    def limit(self, what: Counted) -> int:
        """Give the limit a minute; 0: none is known."""
        seen = self._seen.get(what)
        return self._configured[what] or (seen.limit or 0 if seen else 0)

    def room(self, now: float) -> float:
        """Give the share of the limits that is left, as the latest answers said; 1: nothing is known."""
        if not self._seen:
            return 1.0
        fresh = (seen.share_left for seen in self._seen.values() if now - seen.at < _FRESH_S)
        return min(fresh, default=1.0)

    def extent(self, body: bytes) -> Extent | None:
        """Look at a request's body, where its tokens are counted; None: they are not, and the body is not read."""
        return None if self._tokens is None else extent(body)

    def take(
        self, model: str, asked: Extent | None, *, now: Callable[[], float]
    ) -> Coroutine[Any, Any, Taken | Full]:
        """Take the permits for one call; see `Limits.take`. `asked` is its `extent`. Errors: `StoreUnavailable`.

        Where permits are scarce those who want one ask one after the other, and not while it is known that there is
        none: all that wait would else ask at the same instant, and one of them get it. Nor is a store asked that has failed
        whoever went before.
        """
        return (self._in_turn if self.is_scarce(now()) else self._ask)(model, asked, now)

    def is_scarce(self, now: float) -> bool:
        """Tell whether permits were refused lately."""
        return now - self._full_until <= _SCARCE_S

    async def _in_turn(
        self, model: str, asked: Extent | None, now: Callable[[], float]
    ) -> Taken | Full:
        began = now()
        async with self._turn:
            if self._failed_at >= began:
                raise StoreUnavailable("the store did not answer who asked before")
            if (left_s := self.left_s(now())) > 0:
                return Full(wait=timedelta(seconds=left_s), meter=self._full_of.value)
            return await self._ask(model, asked, now)

    async def _ask(
        self, model: str, asked: Extent | None, now: Callable[[], float]
    ) -> Taken | Full:
        try:
            taken = await self._limits.take(self.charges(model, asked))
        except StoreUnavailable:
            self._failed_at = now()
            raise
        if isinstance(taken, Full):
            self.refused(taken, now=now())
        return taken

    def refused(self, full: Full, *, now: float) -> None:
        """Take note of permits that were refused now."""
        self._full_of = Counted(full.meter.rpartition(":")[2])
        # From now, not from the question: a slow store would be asked again before the wait is over.
        self._full_until = max(self._full_until, now + full.wait.total_seconds())

    def learn(self, model: str, asked: Extent | None, outcome: Outcome, *, now: float) -> None:
        """Take note of what a call has used, for the next one's reckoning, or of the time for which it was refused.

        For so long the account's other endpoints would refuse it too.
        """
        if isinstance(outcome, Failed) and outcome.kind is Kind.RATE_LIMITED:
            wait = min(outcome.retry_after or timedelta(), LONGEST_HOLD)
            self._full_until = max(self._full_until, now + wait.total_seconds())
        if not isinstance(outcome, Completed) or outcome.usage is None or asked is None:
            return
        known = self._learned.pop(model, _NOTHING)
        if len(self._learned) >= _MOST_MODELS:
            del self._learned[next(iter(self._learned))]
        self._learned[model] = known.after(asked, outcome.usage)

    def used(self, taken: Taken, outcome: Outcome | None) -> Used | None:
        """Give what the call has used, to be counted in place of what was reckoned; None: it is the same.

        Without an outcome there was no call.
        """
        if not taken.charges:
            return None
        amounts = _amounts(taken, outcome)
        if amounts == [each.amount for each in taken.charges]:
            return None
        return Used(taken, amounts)

    def settle(self, taken: Taken, outcome: Outcome | None) -> None:
        """Count what the call has used in place of what was reckoned, where no record does so; None: there was no call.

        Returns at once: an answer must not wait for it, nor be lost with it. What the store does not take note of
        stays counted as it was reckoned, until it is past.
        """
        if (found := self.used(taken, outcome)) is None:
            return
        task = asyncio.get_running_loop().create_task(self._settled(found))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def aclose(self) -> None:
        """Wait until all is settled."""
        await asyncio.gather(*self._settling, return_exceptions=True)

    async def _settled(self, found: Used) -> None:
        with suppress(StoreUnavailable):  # it stays counted as it was reckoned
            await self._limits.settle(found.taken, found.amounts)

    def told(
        self, model: str, told: LimitsTold, *, now: float
    ) -> list[tuple[Counted, int | None, int | None]]:
        """Take note of what an answer said; give each limit, with what is left of what the answer told."""
        seen: list[tuple[Counted, int | None, int | None]] = []
        for what, each in ((Counted.REQUESTS, told.requests), (Counted.TOKENS, told.tokens)):
            if each is None:
                continue
            limit = self._highest(what, model, each.per_minute, now) or self.limit(what) or None
            self._seen[what] = _Seen(limit, _share(each.remaining, each.limit or limit), now)
            if each.remaining == 0:
                self._full_of = what
                self._full_until = max(self._full_until, now + _refilled_s(each))
            seen.append((what, limit, each.remaining))
        if seen:
            self._note_limits()
        return seen

    def _highest(self, what: Counted, model: str, told: int | None, now: float) -> int | None:
        """Give the highest limit of those that were told to any model lately; None: none was told now.

        Most providers limit each model by itself, and here all are counted together: by the lowest of them those of the
        others would be slowed, by the highest one's own limit is kept by nobody but its upstream.
        """
        if told is None:
            return None
        by_model = self._by_model.setdefault(what, {})
        if len(by_model) < _MOST_MODELS or model in by_model:
            by_model[model] = told, now
        for each in [each for each, (_, at) in by_model.items() if now - at > _COUNTED_S]:
            del by_model[each]
        return max((told, *(limit for limit, _ in by_model.values())))

    def _note_limits(self) -> None:
        """Keep what a call charges, as far as it is the same for all calls of these limits."""
        noted = requests, tokens = self.limit(Counted.REQUESTS), self.limit(Counted.TOKENS)
        if noted == self._noted:
            return
        self._noted = noted
        every = charges(
            self._account, requests_per_minute=requests, tokens_per_minute=tokens, tokens=0
        )
        self._tokens = every[-1].meter if tokens else None
        self._charged = every[:-1] if tokens else every
        self.known = bool(every)

    def charges(self, model: str, asked: Extent | None) -> tuple[Charge, ...]:
        """Give the permits that one call needs; `asked` is its `extent`."""
        if self._tokens is None:
            return self._charged
        # Where the limit was told while the call waited for its turn, its body was not looked at.
        tokens = 0 if asked is None else self._learned.get(model, _NOTHING).tokens(asked)
        return (*self._charged, Charge(meter=self._tokens, amount=tokens))


def _amounts(taken: Taken, outcome: Outcome | None) -> list[int]:
    """Give what to settle with.

    A call that was refused took no tokens, but it is a request that the upstream has counted (OpenAI, "Rate limits":
    unsuccessful requests contribute). Of one that broke on its way nobody knows: what was reckoned stays; one that was never
    sent has used nothing.
    """
    if outcome is None or (isinstance(outcome, Failed) and outcome.unsent):
        return [0] * len(taken.charges)
    if isinstance(outcome, Completed):
        return used(taken, None if outcome.usage is None else spent(outcome.usage))
    refused = (outcome.status or 0) // 100 == _CLIENT_ERROR
    return used(taken, 0 if refused else None)


def _share(left: int | None, limit: int | None) -> float:
    return 1.0 if left is None or not limit else min(left / limit, 1.0)


def _refilled_s(told: Told) -> float:
    """Give the seconds until one of them is there again, where none is left.

    `resets_after` is when all are: what is refilled evenly is there sooner, what is refilled at once is not, so this is
    the least; whoever comes too early is refused and told when to come again. Where the limit was not told it may be a day:
    as after any other hint, somebody looks before that.
    """
    whole = told.resets_after or timedelta(seconds=1)
    return min(whole / max(told.limit or 1, 1), LONGEST_HOLD).total_seconds()
