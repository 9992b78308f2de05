"""Experiments that keep, break, fail, hang and leave something behind."""

import asyncio
import os
import sys
import time
from itertools import count

from tests.chaos.experiment import Bound, Experiment, Ground, Measured


async def kept(ground: Ground) -> Measured:
    ground.tell("halfway")
    return Measured(
        work=f"{ground.scaled(1000)} things, chance {ground.chance.randrange(10**9)}",
        bounds=(Bound(name="lost", measured=0, at_most=0),),
        figures={"in flight at a kill": 3.5},
        versions={"Redis": "7.0.15"},
    )


async def broken(ground: Ground) -> Measured:
    (ground.folder / "evidence").touch()
    return Measured(
        work="1 thing",
        bounds=(
            Bound(name="lost", measured=2, at_most=0),
            Bound(name="extra calls", measured=3, at_most=16),
        ),
    )


async def failing(_: Ground) -> Measured:
    raise ValueError("no such | luck")


async def hanging(_: Ground) -> Measured:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def stubborn(_: Ground) -> Measured:
    end = time.monotonic() + 60
    for _round in count():
        if time.monotonic() > end:
            break
    raise AssertionError("nobody threw it out")


async def littering(ground: Ground) -> Measured:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    pid = await asyncio.to_thread(os.posix_spawn, sys.executable, sleeper, os.environ)
    (ground.folder / "pid").write_text(str(pid))
    raise ValueError("and it forgets its process")


def experiment(name: str, *, minutes: float = 2, in_ci: bool = True) -> Experiment:
    return Experiment(
        name=name,
        title=f"{name} things",
        promise="0 lost",
        minutes=minutes,
        run=f"tests.unit.chaos.fakes:{name}",
        in_ci=in_ci,
    )
