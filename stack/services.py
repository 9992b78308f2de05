"""The processes beside the broker: start one in a folder of its own, find it again, stop it.

As with the broker's node, a file lock that the process holds tells whether it lives; the kernel releases
it whatever way the process ends.
"""

import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stack import interrupts, occupancy
from stack.errors import StackError

_TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process of the stack, as it is recorded in its folder."""

    folder: Path

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Give the service of a folder, running or not."""
        return cls(folder=folder)

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.folder / "output.log"

    @property
    def alive(self) -> bool:
        """Tell whether it runs."""
        return occupancy.held(self.folder)

    @property
    def pid(self) -> int:
        """Its process id; meaningful while it is alive."""
        return int((self.folder / "service.pid").read_text(encoding="utf-8"))

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it lives."""
        occupancy.send(self.folder / "service.pid", number, self.folder)

    def stop(self, *, timeout_s: float = 60) -> None:
        """Ask it to end, wait, and kill it when it does not end in time."""
        self.send(signal.SIGTERM)
        if not occupancy.wait_until(lambda: not self.alive, timeout_s):
            self.send(signal.SIGKILL)
            occupancy.wait_until(lambda: not self.alive, 10)

    def tail(self) -> str:
        """Give the end of what it printed."""
        return self.log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")

    def wait_until(self, ready: Callable[[], bool], timeout_s: float = 60) -> None:
        """Wait until it is ready.

        Raises:
            StackError: it ended, or took longer than `timeout_s`; the text has the end of its log.
        """
        occupancy.wait_until(lambda: ready() or not self.alive, timeout_s)
        if not ready():
            how = "is not ready yet" if self.alive else "has ended"
            raise StackError(f"{self.folder.name} {how}; the end of {self.log}:\n{self.tail()}")


def spawn(folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> Service:
    """Start a command as a process of its own session, its output in the folder's log.

    Raises:
        StackError: one runs in the folder already.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    service = Service(folder=folder)
    lock = occupancy.take(folder)
    try:
        # A process that no file names could not be stopped.
        with interrupts.put_off(), service.log.open("ab") as log:
            process = subprocess.Popen(
                list(command),
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[lock],
            )
            (folder / "service.pid").write_text(str(process.pid), encoding="utf-8")
    finally:
        os.close(lock)
    return service


def free_port() -> int:
    """Give a port on 127.0.0.1 that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Tell whether a URL of this machine answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310  # our own services
            return True
    except OSError:
        return False
