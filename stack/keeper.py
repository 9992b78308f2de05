"""Owns one running node: starts its port mapper and it, waits for its end, and cleans up after it.

Runs as a process of its own, `python -I -S keeper.py FOLDER LOCK_FD [PARENT_FD]`, with the node's
environment, detached from whoever started it, who makes a session for it: no terminal's Ctrl-C reaches it. It
imports nothing of the project, so that it costs little and starts at once. `keeper.pid` is its process group.

It holds the folder's lock and hands it on to the node: the lock is free when both are gone, whatever
way they went. With PARENT_FD, the read end of a pipe, it kills everything the moment that the
other end closes, which the kernel does for a parent that was killed.
"""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_LOOK_EVERY_S = 0.25


def main() -> None:
    """Detach, start, wait, clean up."""
    folder, lock, *parent = Path(sys.argv[1]), *(int(word) for word in sys.argv[2:])
    # Before the fork: whoever started this finds the whole group by it, at whatever moment he gives up.
    (folder / "keeper.pid").write_text(str(os.getpgid(0)), encoding="utf-8")
    if os.fork():
        os._exit(0)
    console = os.open(folder / "logs/console.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (console, 1), (console, 2)):
        os.dup2(source, target)
    mapper = _mapper() if os.environ["WARREN_MAPPER"] == "own" else None
    try:
        node = subprocess.Popen(
            [f"{os.environ['RABBITMQ_SCRIPTS_DIR']}/rabbitmq-server"],
            cwd=os.environ["HOME"],
            pass_fds=[lock],
        )
        _wait(node, parent)
    finally:
        if mapper is not None:
            mapper.terminate()
            with suppress(subprocess.TimeoutExpired):
                mapper.wait(5)


def _mapper() -> "subprocess.Popen[bytes]":
    address, port = os.environ["ERL_EPMD_ADDRESS"], os.environ["ERL_EPMD_PORT"]
    return subprocess.Popen(["epmd", "-address", address, "-port", port])


def _wait(node: "subprocess.Popen[bytes]", parent: list[int]) -> None:
    if not parent:
        node.wait()
    while node.poll() is None:
        if select.select(parent, [], [], _LOOK_EVERY_S)[0]:
            # The group is this process, the port mapper, the node and the node's own children.
            os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
