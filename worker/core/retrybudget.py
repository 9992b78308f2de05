"""How many retries the traffic may carry: a token bucket that first tries fill and retries empty.

After Finagle's `RetryBudget` (https://finagle.github.io/blog/2016/02/08/retry-budgets): a share of the first tries,
and a small reserve that comes with time, so that little traffic may retry at all. Where Finagle lets deposits
expire, this one has a bound on its balance.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPolicy:
    """Retries per first try, retries per second besides, and the most that can be saved up.

    In any span of time there are at most `most` + `share` x first tries + `reserve_per_s` x seconds retries. `most`
    is small, because every process brings its own to the first second of a storm: of 16 processes with 10 each a third of
    all calls to a failing upstream were retries, with 3 each a sixth.

    Raises:
        ValueError: a number is below 0, or `most` below 1 (no retry could ever be had).
    """

    share: float = 0.2
    reserve_per_s: float = 0.1
    most: float = 3.0

    def __post_init__(self) -> None:
        if self.share < 0 or self.reserve_per_s < 0 or self.most < 1:
            raise ValueError("share and reserve_per_s are at least 0, most is at least 1")


@dataclass(slots=True, kw_only=True)
class RetryBudget:
    """What may still be retried; `at` is the instant of the balance, seconds of a monotonic clock.

    It changes in place: every job's first try fills it.
    """

    at: float
    policy: BudgetPolicy = field(default_factory=BudgetPolicy)
    balance: float = 1.0

    def first_try(self, now: float) -> None:
        """Let a first try fill it."""
        self.balance += self.policy.share
        self._fill(now)

    def retry(self, now: float) -> bool:
        """Take a retry out of it; False: it allows none now."""
        self._fill(now)
        if self.balance < 1:
            return False
        self.balance -= 1
        return True

    def _fill(self, now: float) -> None:
        if now > self.at:
            self.balance += (now - self.at) * self.policy.reserve_per_s
            self.at = now
        self.balance = min(self.balance, self.policy.most)
