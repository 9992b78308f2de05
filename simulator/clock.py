"""The simulator's clocks: wall time, which nothing else here reads, and the time that limits count in."""

import time


def wall_s() -> float:
    """Give seconds since the epoch, as the call log and `created` use them."""
    return time.time()


def mono_ns() -> int:
    """Give nanoseconds of a clock that never goes back."""
    return time.monotonic_ns()
