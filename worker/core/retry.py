"""What becomes of a delivery: the one owner of all retrying, with one budget.

Calls per run are at most `max_attempts` x `tries`; refused calls (429) stand beside them under
`max_refusals`. A replay opens a new run with a fresh budget.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from producer_sdk.wire import Status
from worker.core.kinds import RULES, Cure, Kind
from worker.core.model import (
    Completed,
    DeadLetter,
    Failed,
    Outcome,
    Reply,
    Retry,
    Settlement,
    Snooze,
    Tally,
    Terminal,
)

# Jitter takes up to a fifth off a wait, so that jobs parked together do not come back together.
JITTER: Final = 0.2
# How long a follower waits in a parking queue before it looks again.
FOLLOWER_SNOOZE: Final = timedelta(seconds=2)
# What an endpoint that an operator must mend costs its jobs per look, when it named no time itself.
OPERATOR_SNOOZE: Final = timedelta(seconds=15)

# What becomes of a job that has its answer, whatever that cost.
ANSWERED: Final = Reply(status=Status.COMPLETED)
_STATUS: Final = {Kind.EXPIRED: Status.EXPIRED, Kind.CANCELLED: Status.CANCELLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The budget of a run and its pace.

    `backoffs` are the waits after attempt 1, 2, …; the last one repeats. `refusal_backoffs` are the same
    for refused calls that name no time; `max_wait` caps what an upstream may ask for.
    """

    max_attempts: int = 5
    backoffs: tuple[timedelta, ...] = (
        timedelta(seconds=2),
        timedelta(seconds=10),
        timedelta(minutes=1),
        timedelta(minutes=5),
    )
    max_refusals: int = 100
    refusal_backoffs: tuple[timedelta, ...] = (
        timedelta(seconds=2),
        timedelta(seconds=5),
        timedelta(seconds=15),
        timedelta(minutes=1),
    )
    max_wait: timedelta = timedelta(minutes=30)

    def __post_init__(self) -> None:
        for name, waits in (
            ("backoffs", self.backoffs),
            ("refusal_backoffs", self.refusal_backoffs),
        ):
            if not waits or any(later < sooner for sooner, later in pairwise(waits)):
                raise ValueError(
                    f"{name} must be at least one wait, none shorter than the one before"
                )


def settle(
    outcome: Outcome,
    tally: Tally,
    *,
    policy: RetryPolicy,
    now: datetime,
    deadline: datetime,
    chance: float,
) -> Settlement:
    """Tell what becomes of a delivery whose attempt yielded `outcome`.

    `tally` includes this attempt. `chance` is in [0, 1). A wait that would pass the deadline
    ends the job now: the caller need not wait for what cannot come.
    """
    if isinstance(outcome, Completed):
        return ANSWERED
    settlement = _settle_failure(outcome, tally, policy, chance)
    if isinstance(settlement, Retry | Snooze) and now + settlement.after >= deadline:
        return Reply(status=Status.EXPIRED)
    return settlement


def settle_uncalled(outcome: Outcome) -> Terminal:
    """Tell how a job ends that needed no call of its own: answered by another's, expired or impossible."""
    if isinstance(outcome, Completed):
        return ANSWERED
    if RULES[outcome.kind].cure is Cure.END:
        return Reply(status=_STATUS.get(outcome.kind, Status.REFUSED))
    return DeadLetter(reason=outcome.kind)


def _settle_failure(failed: Failed, tally: Tally, policy: RetryPolicy, chance: float) -> Settlement:
    match RULES[failed.kind].cure:
        case Cure.END:
            return Reply(status=_STATUS.get(failed.kind, Status.REFUSED))
        case Cure.RETRY if tally.attempts < policy.max_attempts:
            wait = _wait(failed, policy.backoffs, tally.attempts, policy)
            return Retry(after=_spread_after(wait, failed, chance))
        case Cure.WAIT if failed.kind is Kind.KEY_REPLACED or tally.refusals < policy.max_refusals:
            # A key that was rotated is no refusal of the job's: it costs none of them, not even the last.
            so_far = 1 if failed.kind is Kind.KEY_REPLACED else tally.refusals
            wait = _wait(failed, policy.refusal_backoffs, so_far, policy)
            return Snooze(after=_spread_after(wait, failed, chance))
        case Cure.WAIT:
            return DeadLetter(reason=Kind.REFUSALS_EXHAUSTED)
        case Cure.OPERATOR:
            return Snooze(after=min(failed.retry_after or OPERATOR_SNOOZE, policy.max_wait))
        case Cure.RETRY | Cure.NONE:
            return DeadLetter(reason=failed.kind)


def spread(wait: timedelta, chance: float) -> timedelta:
    """Give the wait, shortened by a random part of up to `JITTER`; `chance` is in [0, 1)."""
    return wait * (1 - JITTER * chance)


def _wait(
    failed: Failed, waits: tuple[timedelta, ...], so_far: int, policy: RetryPolicy
) -> timedelta:
    """Give the policy's wait or the upstream's own, whichever is longer, under the cap."""
    wait = waits[min(max(so_far, 1), len(waits)) - 1]
    return min(max(wait, failed.retry_after or wait), policy.max_wait)


def _spread_after(wait: timedelta, failed: Failed, chance: float) -> timedelta:
    """Spread a wait: downwards when it is ours, upwards when the upstream named a time not to come before."""
    return wait * (1 + JITTER * chance) if failed.retry_after else spread(wait, chance)
