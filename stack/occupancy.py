"""Who lives in a node's folder: a file lock that the node and its keeper hold until both are gone.

The kernel releases it whatever way they end, so no process id is ever mistaken for another's.
"""

import fcntl
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stack.errors import BrokerFailed

_POLL_S = 0.05


def take(folder: Path) -> int:
    """Give the descriptor of the folder's lock, held; it is released when its last copy closes."""
    number = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)

    def taken() -> bool:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    # Someone who only looks, with `running`, holds it for an instant.
    if not wait_until(taken, 0.5):
        os.close(number)
        raise BrokerFailed(f"a node already runs in {folder}; stop it first")
    return number


def held(folder: Path) -> bool:
    """Tell whether a node, or its keeper, lives in `folder`."""
    try:
        number = os.open(folder / "lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(number)
    return False


def send(pid_file: Path, number: signal.Signals, folder: Path) -> None:
    """Signal the process in `pid_file`; the held lock vouches that the file is not stale."""
    with suppress(OSError, ValueError):
        pid = int(pid_file.read_text(encoding="utf-8"))
        if held(folder):
            os.kill(pid, number)


def kill_group(folder: Path) -> None:
    """Kill all that lives in `folder`, the keeper and its whole group, and wait until it is gone."""
    with suppress(OSError, ValueError):
        group = int((folder / "keeper.pid").read_text(encoding="utf-8"))
        if held(folder):
            os.killpg(group, signal.SIGKILL)
    wait_until(lambda: not held(folder), 10)


def wait_until(true: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until it is true; False if that took longer than `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)
    return True
