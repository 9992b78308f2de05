"""The straight line that every delivery takes: read top to bottom, this is what Warren does with a job.

    find -> join -> expired? -> cached? -> admitted? -> begin -> call -> settle -> record -> carry -> ack

Order is the whole content of this module; the steps are decided in `core` and done behind `ports`. The laws
that the order keeps:

* Counting comes after everything that can answer or postpone without a call, so a cut connection, a
  follower or a held endpoint burns no attempt.
* Outcome and settlement are recorded before anything is published; a settlement is marked as carried only
  after the broker has confirmed it, and acknowledged only after that. A crash in between repeats a publish;
  it loses no job and repeats no call whose outcome is recorded.
* The task that handles a delivery belongs to the worker's crew, not to the channel that brought it: a lost
  connection cancels no call. The redelivery joins the task that is still running.
* Cancelled means unsettled: the broker gets the delivery back.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from producer_sdk.wire import Dedupe
from worker.calling import attempt
from worker.core.admission import HOLD, Expired, Go, Hold, Postpone, admit
from worker.core.events import JobEnded, JobParked, Step, StepReached, TierPaused
from worker.core.kinds import Kind
from worker.core.model import (
    Answered,
    Completed,
    Conflict,
    Decided,
    Early,
    Ended,
    Exhausted,
    Failed,
    Follow,
    Job,
    Joined,
    Outcome,
    Park,
    Parked,
    Retry,
    Snooze,
    Stale,
    Started,
    Tally,
    Terminal,
    Work,
    next_generation,
)
from worker.core.replies import refusal, reply
from worker.core.retry import FOLLOWER_SNOOZE, JITTER, RetryPolicy, settle, settle_uncalled, spread
from worker.ports import Clock, Delivery, Ledger, Listener, ResponseCache, Upstream

_NO_WORK: Final = Work()


class _Look(Enum):
    """What a step says when it decided nothing and the next step is not due either."""

    AGAIN = "facts have changed: look from the top"
    GONE = "the delivery cannot be settled any more"


@dataclass(frozen=True, slots=True)
class _Calling:
    """A call of this process: the task that holds it, and the submission whose message it carries."""

    task: asyncio.Task[Any]
    submission: str


@dataclass(frozen=True, slots=True)
class TierSlots:
    """What a tier's deliveries share.

    `calls` is the worker's own bound on calls in flight: after a cut, old calls and new deliveries together
    stay under it. `followers` is how many may wait in place for another's call: at most half of the slots,
    so that a tier full of one fingerprint still takes other work. `calling` are the jobs in a call now.
    """

    calls: asyncio.Semaphore
    followers: asyncio.Semaphore
    attempt_timeout: timedelta
    calling: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, concurrency: int, attempt_timeout: timedelta) -> "TierSlots":
        """Give the slots of a tier with so many calls in flight at most."""
        followers = asyncio.Semaphore(concurrency // 2)
        return cls(asyncio.Semaphore(concurrency), followers, attempt_timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Carries deliveries down to their settlements; one per worker process.

    `pause` asks for a tier's consumer to stop taking for a while; `chance` gives numbers in [0, 1).
    """

    ledger: Ledger
    cache: ResponseCache
    upstream: Upstream
    clock: Clock
    listener: Listener
    policy: RetryPolicy
    tries: int
    slots: Mapping[str, TierSlots]
    pause: Callable[[TierPaused], None]
    chance: Callable[[], float]
    # The task that holds a job's call and the submission whose message it carries, by job id.
    _calling: dict[str, "_Calling"] = field(default_factory=dict)

    async def handle(self, delivery: Delivery) -> None:
        """Carry one delivery down to its one settlement; one that is gone stays unsettled."""
        self._step(Step.TAKEN, delivery.job)
        try:
            decided = await self._decide(delivery)
            if decided is not None:
                await self._carry(delivery, decided)
        finally:
            calling = self._calling.get(delivery.job.id)
            if calling is not None and calling.task is asyncio.current_task():
                del self._calling[delivery.job.id]

    async def set_aside(self, delivery: Delivery) -> None:
        """End a job on which the line itself failed: dead letter, and the caller hears."""
        decided = await self._finish(delivery.job, Failed(kind=Kind.INTERNAL_ERROR))
        if isinstance(decided, Follow):
            # Another process calls for it, and will end it: this copy looks again later.
            decided = await self._park(delivery.job, Snooze(after=FOLLOWER_SNOOZE))
        await self._carry(delivery, decided)

    async def _decide(self, delivery: Delivery) -> Decided | None:
        """Find out what becomes of the delivery. None: it is gone, and its redelivery will ask again."""
        job, followed = delivery.job, False
        while True:
            found = (
                await self.ledger.find(job)
                or await self._join(delivery)
                or await self._answer_or_postpone(job)
                or await self._begin(job)
            )
            if isinstance(found, Follow):
                found = await self._follow(delivery, found, again=followed)
                followed = True
            if found is _Look.GONE:
                return None
            if found is not _Look.AGAIN:
                return found

    async def _join(self, delivery: Delivery) -> "_Look | None":
        """Wait for the task of this process that holds the job's call already, if there is one."""
        if (running := self._own_call(delivery.job)) is None:
            return None
        await _first_of(running, delivery)
        return _Look.AGAIN if running.done() else _Look.GONE

    def _own_call(self, job: Job) -> "asyncio.Task[Any] | None":
        """Give the task that a delivery has to join.

        Not for another submission's message: that one only has its route noted, by `begin`, and must not hold
        its place for as long as the call takes.
        """
        calling = self._calling.get(job.id)
        if calling is None or (job.first and job.submission.id != calling.submission):
            return None
        return calling.task

    async def _answer_or_postpone(self, job: Job) -> "Decided | Follow | _Look | None":
        """Do what needs no call and so counts no attempt: refuse, expire, answer from the cache, wait."""
        if job.flaw is not None:
            return await self._finish(job, Failed(kind=Kind.INVALID_REQUEST, detail=job.flaw))
        now = self.clock.now()
        if job.dedupe is Dedupe.CACHE and now < job.deadline:
            cached = await self.cache.get(job.fingerprint)
            if cached is not None:
                return await self._finish(job, cached)
        ready_at = self.upstream.ready_at(job.tier)
        match admit(now=now, deadline=job.deadline, not_before=job.not_before, ready_at=ready_at):
            case Go():
                return None
            case Expired():
                return await self._finish(job, Failed(kind=Kind.EXPIRED))
            case Hold(wait=wait):
                await asyncio.sleep(wait.total_seconds())
                return _Look.AGAIN
            case Postpone(wait=wait, shared=shared):
                if shared:
                    # The whole queue waits for the same, so nothing more is taken meanwhile; and those who
                    # were parked come back one after the other.
                    self.pause(_no_endpoint(job, wait))
                    wait = min(wait * (1 + JITTER * self.chance()), job.deadline - now)
                return await self._park(job, Snooze(after=wait))

    async def _begin(self, job: Job) -> "Decided | Follow | _Look":
        """Claim, count, call and record, all under one of the tier's call slots."""
        async with self.slots[job.tier].calls:
            if self._own_call(job) is not None or self.clock.now() >= job.deadline:
                # Things have changed while this delivery waited for a slot.
                return _Look.AGAIN
            beginning = await self.ledger.begin(job, max_attempts=self.policy.max_attempts)
            match beginning:
                case Started(tally=tally):
                    return await self._call(job, tally)
                case Answered(outcome=outcome):
                    return await self._finish(job, outcome)
                case Early(until=until):
                    wait = min(until, job.deadline) - self.clock.now()
                    return await self._park(job, Snooze(after=max(wait, timedelta())))
                case Exhausted():
                    return await self._finish(job, Failed(kind=Kind.ATTEMPTS_EXHAUSTED))
                case decided:
                    return decided

    async def _call(self, job: Job, tally: Tally) -> Decided | Follow:
        """Make the attempt that was counted, settle it, and record both together."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine always runs in a task
        self._calling[job.id] = _Calling(task, job.submission.id)
        try:
            return await self._called(job, tally)
        except Exception:
            # A bug of ours ends the job; its claim must not outlive it, or a replay would follow a ghost.
            bug = Failed(kind=Kind.INTERNAL_ERROR)
            await self._end(job, bug, settle_uncalled(bug), claimed=True)
            raise

    async def _called(self, job: Job, tally: Tally) -> Decided | Follow:
        self._step(Step.BEGUN, job)
        self._step(Step.CALLING, job)
        slots = self.slots[job.tier]
        slots.calling.add(job.id)
        try:
            attempted = await attempt(
                job,
                upstream=self.upstream,
                ledger=self.ledger,
                clock=self.clock,
                tries=self.tries,
                limit=slots.attempt_timeout,
            )
        finally:
            slots.calling.discard(job.id)
        self._step(Step.ANSWERED, job)
        outcome, work = attempted.outcome, attempted.work
        settlement = settle(
            outcome,
            tally.plus(work),
            policy=self.policy,
            now=self.clock.now(),
            deadline=job.deadline,
            chance=self.chance(),
        )
        if isinstance(settlement, Retry | Snooze):
            why = outcome if isinstance(outcome, Failed) else None
            return await self._park(job, settlement, work=work, why=why, claimed=True)
        if isinstance(outcome, Completed) and job.dedupe is Dedupe.CACHE:
            await self.cache.put(job.fingerprint, outcome)
        return await self._end(job, outcome, settlement, work=work, claimed=True)

    async def _follow(
        self, delivery: Delivery, follow: Follow, *, again: bool
    ) -> "Decided | _Look":
        """Wait in place for another's call, once and if a place is free; else wait in a parking queue."""
        job, places = delivery.job, self.slots[delivery.job.tier].followers
        if follow.leader == job.id and self._own_call(job) is not None:
            return _Look.AGAIN  # our own task holds it: the next look joins it
        if again or places.locked():
            return await self._park(job, Snooze(after=spread(FOLLOWER_SNOOZE, self.chance())))
        async with places:
            at_most = min(HOLD, max(job.deadline - self.clock.now(), timedelta()))
            waiting = asyncio.ensure_future(self.ledger.released(job.claim_key, at_most=at_most))
            try:
                await _first_of(waiting, delivery)
                return _Look.AGAIN if waiting.done() else _Look.GONE
            finally:
                waiting.cancel()

    async def _finish(self, job: Job, outcome: Outcome) -> Decided | Follow:
        """End the job with an outcome that needed no call of its own."""
        return await self._end(job, outcome, settle_uncalled(outcome))

    async def _end(
        self,
        job: Job,
        outcome: Outcome,
        settlement: Terminal,
        *,
        work: Work = _NO_WORK,
        claimed: bool = False,
    ) -> Decided | Follow:
        decided = await self.ledger.end(job, outcome, settlement, work=work, claimed=claimed)
        self._step(Step.RECORDED, job)
        if isinstance(decided, Ended) and decided.written:
            self.listener.tell(JobEnded(job=job, record=decided.record))
        return decided

    async def _park(
        self,
        job: Job,
        settlement: Park,
        *,
        work: Work = _NO_WORK,
        why: Failed | None = None,
        claimed: bool = False,
    ) -> Decided:
        until = self.clock.now() + settlement.after
        decided = await self.ledger.park(
            job, settlement, until, work=work, why=why, claimed=claimed
        )
        self._step(Step.RECORDED, job)
        if isinstance(decided, Parked) and not decided.carried:
            kind = why.kind if why is not None else None
            self.listener.tell(JobParked(job=job, parked=decided, kind=kind))
        return decided

    async def _carry(self, delivery: Delivery, decided: Decided) -> None:
        """Carry a settlement out: publish and be confirmed, mark it carried, and only then ack."""
        job = delivery.job
        match decided:
            case Ended(hear=hear, letter_due=letter):
                if letter:
                    # Before the replies: whoever hears of a dead letter must find it there to replay.
                    await delivery.publish_dead(job, decided.record, decided.history)
                await asyncio.gather(
                    *(
                        delivery.publish_reply(reply(decided.record, each), each.reply_to)
                        for each in hear
                        if each.reply_to is not None
                    )
                )
                if letter or hear:
                    # Of the record's run, which for a late submission is not its delivery's.
                    of_run = replace(job, run=decided.record.run)
                    await self.ledger.carried(of_run, hear, letter=letter)
                    self._step(Step.CARRIED, job)
            case Parked(carried=False, until=until):
                copy = next_generation(job, not_before=until)
                await delivery.publish_parked(copy, max(until - self.clock.now(), timedelta()))
                await self.ledger.carried(job, (), letter=False)
                self._step(Step.CARRIED, job)
            case Conflict() if job.submission.reply_to is not None:
                await delivery.publish_reply(refusal(job), job.submission.reply_to)
            case Conflict() | Parked() | Joined() | Stale():
                pass
        await delivery.ack()
        self._step(Step.ACKED, job)

    def _step(self, step: Step, job: Job) -> None:
        self.listener.tell(StepReached(step=step, job_id=job.id))


def _no_endpoint(job: Job, wait: timedelta) -> TierPaused:
    return TierPaused(
        tier=job.tier,
        lane=job.lane.value,
        reason="no endpoint takes calls",
        seconds=wait.total_seconds(),
    )


async def _first_of(future: asyncio.Future[Any], delivery: Delivery) -> None:
    """Wait for the future, which is not cancelled, or until the delivery is gone."""
    gone = asyncio.ensure_future(delivery.gone())
    try:
        await asyncio.wait({future, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
