"""The only reader of time."""

import time
from datetime import UTC, datetime
from functools import partial


class SystemClock:
    """The machine's clocks. They are read dozens of times for each job, so the calls are the system's own, without one of ours around them.

    `now` gives the wall clock's instant, aware, in UTC; `monotonic` seconds of a clock that never goes back, the same for all
    processes of one boot.
    """

    now = staticmethod(partial(datetime.now, UTC))
    monotonic = staticmethod(time.monotonic)
