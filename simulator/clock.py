"""The simulator's only reader of wall time."""

import time


def wall_s() -> float:
    """Give seconds since the epoch, as the call log and `created` use them."""
    return time.time()
