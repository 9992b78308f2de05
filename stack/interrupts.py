"""Ctrl-C and SIGTERM: both end a command alike, and neither while processes are started or stopped, so that none is forgotten."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


def heed() -> None:
    """From now on let SIGTERM do in this process what Ctrl-C does, also where whoever started it in the background made it deaf to that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def done() -> None:
    """From now on ignore both: nothing is left to end, and while Python ends one would only take the exit status away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


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


def run(command: Sequence[str], folder: Path) -> int:
    """Run a command in a folder until it has ended and give its status; a Ctrl-C, or a SIGTERM, is raised only then.

    A Ctrl-C reaches the command too, and it has its own to end: killed, it would leave them running. A SIGTERM is passed on as one.
    """
    terminated = False
    process: subprocess.Popen[bytes] | None = None

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        nonlocal terminated
        terminated = True
        if process is not None:
            process.send_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with put_off():
        before = signal.signal(signal.SIGTERM, pass_on)
        try:
            process = subprocess.Popen(command, cwd=folder)
            if terminated:
                process.send_signal(signal.SIGINT)
            return process.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
