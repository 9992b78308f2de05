"""A second call beside a first one that keeps silent for long; the answer that comes first is taken.

See J. Dean and L. A. Barroso, "The Tail at Scale", 2013: hedged requests. A share bounds them, so that an upstream which is slow
for everybody is not asked twice by everybody.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from worker.core.kinds import RULES, Cure
from worker.core.model import Completed, Failed, Outcome
from worker.upstream.tier import TierSpec

_MOST_SAVED: Final = 10.0
_WAITS: Final = frozenset({Cure.WAIT, Cure.OPERATOR})


class Hedges:
    """One tier's hedges. `after_s` None: it has none."""

    def __init__(self, spec: TierSpec) -> None:
        self.after_s = spec.hedge_after_s
        self._share = spec.hedge_share
        self._balance = 1.0

    async def race(
        self,
        first: Callable[[], Awaitable[Outcome]],
        second: Callable[[], Awaitable[Outcome | None]],
    ) -> Outcome:
        """Give what the first call came to, or the second, which begins when the first has not ended in `after_s`.

        A completion ends the race, and the other call is closed; a failure waits for the other one. Of two failures the
        first call's stands, unless that is a wait, which would take back what the other one counts. `second` gives None where
        it made no call.
        """
        # So many may be saved up that a quiet hour does not fill one minute with hedges.
        self._balance = min(self._balance + self._share, _MOST_SAVED)
        call = asyncio.ensure_future(first())
        try:
            await asyncio.wait({call}, timeout=self.after_s)
            if call.done() or self._balance < 1:
                return await call
            self._balance -= 1
            return await _first_to_complete(call, asyncio.ensure_future(second()))
        except asyncio.CancelledError as cancelled:
            call.cancel(*cancelled.args)  # the call hears why
            raise
        finally:
            await _close(call)


async def _first_to_complete(
    call: "asyncio.Future[Outcome]", hedge: "asyncio.Future[Outcome | None]"
) -> Outcome:
    try:
        running: set[asyncio.Future[Any]] = {call, hedge}
        while running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                if isinstance(answer := one.result(), Completed):
                    return answer
        return _of_two(call.result(), hedge.result())
    finally:
        await _close(hedge)


def _of_two(first: Outcome, second: Outcome | None) -> Outcome:
    """Give what stands of two calls that have both failed; see `quick.verdict`."""
    if not (isinstance(first, Failed) and isinstance(second, Failed)):
        return first
    waits = RULES[first.kind].cure in _WAITS and RULES[second.kind].cure not in _WAITS
    return second if waits else first


async def _close(call: "asyncio.Future[Any]") -> None:
    """End a call that may still be in flight, and wait for its end."""
    if not call.done():
        call.cancel()
        await asyncio.wait({call})
