"""The `Ledger` port over Redis: each method is one script, so one step and one round trip."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from worker.core.bill import NO_BILL, Bill
from worker.core.events import Trouble
from worker.core.model import (
    AskAnswer,
    Asked,
    Beginning,
    Completed,
    Decided,
    Failed,
    Follow,
    Found,
    Job,
    Outcome,
    Park,
    Retry,
    Submission,
    Terminal,
    Work,
)
from worker.core.terms import Terms
from worker.ports import Listener
from worker.store import outcomes
from worker.store.instants import span_us, to_us
from worker.store.redis import encoding
from worker.store.redis.cache import RedisCache
from worker.store.redis.calls import Calls
from worker.store.redis.connection import Part
from worker.store.redis.decoding import Answers, instant
from worker.store.redis.limits import RedisLimits
from worker.store.redis.procedures import Procedures
from worker.store.redis.scripts import Script
from worker.store.redis.spend import RedisSpend
from worker.store.watch import Watch

# A release is told by the process that releases; this finds what was not told: a death, a message that was lost.
_POLL_S: Final = 0.5
# The oldest ends whose answer was lost are forgotten: then one is told once too little.
_MOST_UNHEARD: Final = 10_000
# What may end a job, so that one that is repeated is known again and no other is taken for it: operation, job, outcome.
_Ending: TypeAlias = tuple[str, str, str]


class RedisLedger:
    """What is known of every job, in a Redis that all worker processes of a fleet share.

    It uses the connection and the owner's token that `RedisStore` opens, keeps alive and closes. A `begin` whose
    caller is cancelled while it runs, or whose answer is lost, is taken back unless it is repeated: the claim is
    released and the attempt not counted. A bill travels in front of the record that it is settled with, by the scripts of
    the other ports: it was answered before the record is.
    """

    begins_at_once: Final = False  # which would be one script over the keys of four ports

    def __init__(
        self,
        procedures: Procedures,
        *,
        listener: Listener,
        cache: RedisCache,
        limits: RedisLimits,
        spend: RedisSpend,
    ) -> None:
        self._procedures = procedures
        self._cache = cache
        self._limits = limits
        self._spend = spend
        self._scripts = procedures.scripts
        self._listener = listener
        self._answers = Answers(self._damaged)
        self._unheard_ends: dict[_Ending, str] = {}
        self.calls = Calls(procedures)
        self.watch = Watch(self._held, poll_s=_POLL_S)

    async def find(self, job: Job, *, cached: bool = False) -> Found | None:
        """Tell what was decided for this delivery already, or what the cache keeps; None: nothing, it may go on."""
        finding = self._procedures.submit(self._scripts.find, *encoding.job_parts(job))
        looking = self._cache.look(job.fingerprint) if cached else None
        found = self._answers.found(await finding, job.id)
        if found is not None or looking is None:
            return found
        return await self._cache.given(job.fingerprint, looking)

    async def begin(
        self,
        job: Job,
        *,
        max_attempts: int,
        terms: Terms | None = None,
        cached: bool | None = None,
    ) -> Beginning:
        """Claim the job's call and count the attempt, or say why not."""
        assert terms is None  # noqa: S101  # see `begins_at_once`
        assert cached is None  # noqa: S101  # as above
        distrusted = ""
        while True:
            answer = await self.calls.begin(job, max_attempts, distrusted)
            told = self._answers.begun(answer, job.id)
            if told is not None:
                return told
            # Its response is damaged; or, without a name, the `begin` was void: given up before it came to the server.
            distrusted = answer[-1].decode() if answer[0] == b"answered" else distrusted

    async def end(
        self,
        job: Job,
        outcome: Outcome,
        settlement: Terminal,
        *,
        work: Work,
        claimed: bool,
        bill: Bill = NO_BILL,
    ) -> Decided | Follow:
        """Record outcome and settlement of the run together, and say who has to hear."""
        if bill.fingerprint is not None and isinstance(outcome, Completed):
            self._cache.submit(bill.fingerprint, outcome)
        ending = ("end", job.id, outcomes.written(outcome))
        name = self._end_name(ending)
        answer = await self._end(
            bill,
            self._scripts.end,
            ending,
            name,
            *encoding.job_parts(job),
            encoding.flag(yes=claimed),
            self.calls.name(job.id),
            encoding.flag(yes=outcomes.shareable(outcome)),
            *encoding.finish_parts(name, outcome, settlement, work=work, request=job.body),
        )
        if claimed:
            self.calls.settled(job.id)
        return self._answers.settled(answer, job.id, outcome)

    async def park(
        self,
        job: Job,
        settlement: Park,
        until: datetime,
        *,
        work: Work,
        why: Failed | None,
        claimed: bool,
        bill: Bill = NO_BILL,
    ) -> Decided:
        """Record that this generation waits as a parked copy."""
        ending = ("park", job.id, "")
        name = self._end_name(ending)
        answer = await self._end(
            bill,
            self._scripts.park,
            ending,
            name,
            *encoding.job_parts(job),
            encoding.flag(yes=claimed),
            self.calls.name(job.id),
            "retry" if isinstance(settlement, Retry) else "snooze",
            span_us(settlement.after),
            to_us(until),
            encoding.flag(yes=why is not None),
            *encoding.cancelled_parts(name, work),
            *encoding.why_parts(why),
        )
        if claimed:
            self.calls.settled(job.id)
        return self._answers.decided(answer, job.id, encoding.CANCELLED)

    async def carried(self, job: Job, heard: Sequence[Submission], *, letter: bool) -> None:
        """Note that a settlement was carried out: the broker has confirmed what it publishes."""
        told = [part for one in heard for part in (one.id, encoding.route(one))]
        parts = (*encoding.job_parts(job), encoding.flag(yes=letter), len(heard), *told)
        await self._procedures.submit(self._scripts.carried, *parts)

    async def released(self, claim_key: str, *, at_most: timedelta) -> None:
        """Return as soon as nobody alive holds the claim, at the latest after `at_most`."""
        await self.watch.until_free(claim_key, at_most)

    async def wanted_until(self, claim_key: str) -> datetime | None:
        """Tell the latest deadline of all who followed the claim; None: nobody did."""
        found = await self._procedures.submit(self._scripts.wanted_until, claim_key)
        return None if found is None else instant(found)

    async def holds(self, job: Job) -> bool:
        """Tell whether this process still may call for the job: it holds the claim, and is not to close the call."""
        return bool(await self._procedures.submit(self._scripts.holds, job.id, job.run))

    async def result(self, asked: Asked) -> AskAnswer:
        """Tell how a job ended, to the asker alone."""
        parts = encoding.asked_parts(asked)
        answer = await self._procedures.submit(self._scripts.result, *parts)
        return self._answers.to_ask(answer, asked)

    async def cancel(self, asked: Asked) -> AskAnswer:
        """Cancel a job, or say why not."""
        ending = ("cancel", asked.job_id, "")
        name = self._end_name(ending)
        parts = (*encoding.asked_parts(asked), *encoding.cancelled_parts(name, Work()))
        answer = await self._end(NO_BILL, self._scripts.cancel, ending, name, *parts)
        return self._answers.to_ask(answer, asked)

    async def called_off(self) -> frozenset[str]:
        """Give the ids of jobs whose call this process makes, and should close."""
        found = await self._procedures.submit(self._scripts.called_off)
        return frozenset(job_id.decode() for job_id in found)

    async def close(self) -> None:
        """End all waits; the connection stays open."""
        await self.watch.close()

    async def _held(self, keys: Collection[str]) -> frozenset[str]:
        held = await self._procedures.submit(self._scripts.held, *keys)
        return frozenset(key.decode() for key in held)

    def _end_name(self, ending: _Ending) -> str:
        return self._unheard_ends.pop(ending, None) or self._procedures.name()

    async def _end(
        self, bill: Bill, script: Script, ending: _Ending, name: str, *parts: Part
    ) -> Any:  # noqa: ANN401  # a script's answer
        """Run a script that may end the job; where its answer is lost, or a bug of ours breaks its bill, the next one has the same name."""
        try:
            return await self._run(bill, script, *parts)
        except (Exception, asyncio.CancelledError):
            while len(self._unheard_ends) >= _MOST_UNHEARD:
                del self._unheard_ends[next(iter(self._unheard_ends))]
            self._unheard_ends[ending] = name
            raise

    async def _run(self, bill: Bill, script: Script, *parts: Part) -> Any:  # noqa: ANN401  # a script's answer
        """Run a script with a bill in front of it."""
        for used in bill.used:
            self._limits.submit(used.taken, used.amounts)
        settling = [self._spend.submit(reserved, usd) for reserved, usd in bill.spent]
        answer = await self._procedures.submit(script, *parts)
        for each in settling:  # answered before
            await each
        return answer

    def _damaged(self, job_id: str) -> None:
        self._listener.tell(
            Trouble(
                what="a stored response does not match its checksum; it is treated as expired",
                about=f"job {job_id}",
                error="checksum mismatch: check the server's memory and disk",
            )
        )
