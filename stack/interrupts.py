"""Ctrl-C while processes are started or stopped: put off, so that none of them is forgotten."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def put_off() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C wait until the block has ended, and then raise it once; gives what tells whether one waits.

    Only the main thread ever gets one, so elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True

    # A function, not SIG_IGN: what is started meanwhile must not inherit deafness.
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
