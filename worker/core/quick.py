"""Whether to try again at once, inside one attempt: pauses so short that the delivery is held meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from worker.core.kinds import RULES, Cure
from worker.core.model import Failed

LIMIT: Final = timedelta(seconds=2)
"""The longest pause inside an attempt; whatever takes longer waits in a parking queue."""

_MOST_DOUBLINGS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class TryPolicy:
    """How many tries one attempt has, and how long it pauses between them.

    Raises:
        ValueError: fewer than one try, or not 0 <= base_s <= cap_s <= 2.
    """

    tries: int = 3
    base_s: float = 0.25
    cap_s: float = 2.0

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise ValueError("an attempt needs at least one try")
        if not 0 <= self.base_s <= self.cap_s <= LIMIT.total_seconds():
            raise ValueError("the pauses between tries must keep 0 <= base_s <= cap_s <= 2")


def pause_before_next_try(
    failed: Failed, tried: int, policy: TryPolicy, chance: float, *, elsewhere: bool = False
) -> timedelta | None:
    """Give the pause before the next try of this attempt, at most `LIMIT`; None: the attempt is over.

    `tried` counts the tries made, from 1; `chance` is in [0, 1); `elsewhere`: another endpoint would
    take the try, so that what this one asked for, or lacks, does not bind it.

    * Transient failures: exponential backoff with full jitter (`chance` times the doubled base, capped;
      see "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    * A Retry-After up to `LIMIT` is waited out, with the jitter on top so that those who were refused
      together do not come back together; a longer one ends the attempt and goes to the caller.
    * A refusal without a hint ends the attempt: nobody can say that seconds will do.
    * A refused key or an empty account ends it too, and permanent failures always do.
    """
    cure = RULES[failed.kind].cure
    if tried >= policy.tries or cure in {Cure.NONE, Cure.END}:
        return None
    jitter = timedelta(seconds=chance * _ceiling_s(tried, policy))
    if elsewhere:
        return jitter if cure is Cure.RETRY else timedelta()
    hint = failed.retry_after
    if cure is Cure.OPERATOR or (cure is Cure.WAIT and hint is None):
        return None
    if hint is None:
        return jitter
    return min(hint + jitter, LIMIT) if hint <= LIMIT else None


def verdict(failures: Sequence[Failed]) -> Failed:
    """Give what an attempt yields whose tries all failed, from their failures in order (at least one).

    That is the last one. But a transient failure counts the attempt, and a refusal after it must not take
    that back: the calls it cost would then be bounded by nothing. So the last transient failure stands before
    refusals that followed, with the longer of the waits asked for.
    """
    last = failures[-1]
    if RULES[last.kind].cure not in {Cure.WAIT, Cure.OPERATOR}:
        return last
    transient = [failed for failed in failures if RULES[failed.kind].cure is Cure.RETRY]
    if not transient:
        return last
    asked = [each.retry_after for each in (transient[-1], last) if each.retry_after is not None]
    return replace(transient[-1], retry_after=max(asked, default=None))


def _ceiling_s(tried: int, policy: TryPolicy) -> float:
    return min(policy.cap_s, policy.base_s * 2.0 ** min(tried - 1, _MOST_DOUBLINGS))
