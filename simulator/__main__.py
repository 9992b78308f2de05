"""Run the simulator as a process: `python -m simulator --help`."""

import argparse
import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import uvloop

from simulator.options import build, parser
from simulator.server import Simulator

_LOOK_EVERY_S: Final = 0.25


def main() -> None:
    """Read the command line and serve until a signal; a wrong option exits with 2 and says why."""
    commands = parser()
    options = commands.parse_args()
    try:
        simulator = build(options)
    except (ValueError, OSError) as wrong:
        commands.error(str(wrong))
    try:
        uvloop.run(_serve(simulator, options, parent=os.getppid()))
    except OSError as wrong:
        sys.exit(f"simulator: cannot start: {wrong}")


async def _serve(simulator: Simulator, options: argparse.Namespace, *, parent: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with simulator:
        if options.port_file is not None:
            _write_whole(options.port_file, f"{simulator.port}\n")
        sys.stdout.write(f"simulator listening on {simulator.url}\n")
        sys.stdout.flush()
        if options.die_with_parent:
            await _until_orphaned(stop, parent)
        else:
            await stop.wait()


async def _until_orphaned(stop: asyncio.Event, parent: int) -> None:
    """Return when stopped or when the parent is gone.

    Watches the parent's id instead of asking the kernel for a signal: that one is sent when the
    *thread* ends that started us, which in a test runner is not the process.
    """
    while not stop.is_set() and os.getppid() == parent:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_S):
                await stop.wait()


def _write_whole(file: Path, text: str) -> None:
    """Write so that a reader finds the whole text or no file."""
    draft = file.with_name(f"{file.name}.{os.getpid()}.draft")
    draft.write_text(text)
    draft.replace(file)


if __name__ == "__main__":
    main()
