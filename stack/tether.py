"""Starts a command that lives by itself, or for as long as its parent does.

Runs as a process of its own, `python -I -S tether.py FOLDER LOCK_FD PARENT_FD COMMAND …`, detached from whoever
started it, who makes a session for it. The command inherits LOCK_FD, and gets its process id into `process.pid`;
`keeper.pid` is the process group. PARENT_FD is the read end of a pipe whose other end the parent holds: the kernel
closes it when the parent ends, whatever way, and the command is killed; -1: the command lives by itself.

It imports nothing of the project, so that it costs little and starts at once.
"""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

_LOOK_EVERY_S = 0.25


def main() -> None:
    """Detach, start, and stay only if there is a parent to watch."""
    folder, lock, parent, command = Path(sys.argv[1]), *map(int, sys.argv[2:4]), sys.argv[4:]
    # Before the fork: whoever started this finds the whole group by it, at whatever moment he gives up.
    (folder / "keeper.pid").write_text(str(os.getpgid(0)), encoding="utf-8")
    if os.fork():
        os._exit(0)
    if parent < 0:
        (folder / "process.pid").write_text(str(os.getpid()), encoding="utf-8")
        os.set_inheritable(lock, True)  # noqa: FBT003 - its only form
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted
    process = subprocess.Popen(command, pass_fds=[lock])
    os.close(lock)  # it is free as soon as the command is gone
    (folder / "process.pid").write_text(str(process.pid), encoding="utf-8")
    while process.poll() is None:
        if select.select([parent], [], [], _LOOK_EVERY_S)[0]:
            os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
