"""Experiment: `warren dead replay --all`, killed again and again while the workers live."""

import asyncio
import signal
from collections import Counter
from pathlib import Path
from random import Random
from typing import Final

from simulator.script import rule
from tests.acceptance.cli import started
from tests.chaos.experiment import Bound, Ground, Measured
from tests.faults.broken import broken
from tests.faults.rest import at_rest
from tests.faults.stage import Stage, chat, open_stage
from tests.faults.tap import tapped
from worker.core.model import State
from worker.store.embedded.archive import EmbeddedArchive
from worker.store.files import ledger_file

_LETTERS: Final = 20_000
_KILLS: Final = 50
_WORKERS: Final = 2
# A replay is killed at some moment of its work, and one of ten at some moment before.
_AT_WORK_S: Final = 0.8
_EARLY: Final = 0.1
_EARLIEST_S: Final = 1.5
_LOOK_S: Final = 0.02


async def run(ground: Ground) -> Measured:
    """Fill the dead-letter queue, replay it under kills, and see every letter replayed, once."""
    count, kills = ground.scaled(_LETTERS, least=200), ground.scaled(_KILLS, least=3)
    with ground.vhost() as vhost:
        async with open_stage(vhost, Path(ground.folder)) as stage, tapped(vhost) as tap:
            stage.configure(concurrency=64)
            stage.simulator.script(rule("400!"))
            for _ in range(_WORKERS):
                await stage.started()
            async with stage.client() as client:
                await stage.submit(client, (chat(f"letter {number}") for number in range(count)))
                ground.tell(f"{count} jobs submitted, waiting for their letters")
                await at_rest(stage, within_s=1200)
            stage.simulator.heal()
            at_work = 0
            for number in range(kills):
                ground.tell(
                    f"{number} of {kills} kills, {at_work} of them at work; {_left(stage)} letters left"
                )
                at_work += await _killed(stage, ground.chance)
            rounds = await _replay_the_rest(stage)
            await at_rest(stage, within_s=1200)
            stage.journal.extend(await tap.drain())
            return await _measured(stage, count, kills=kills, at_work=at_work, rounds=rounds)


async def _killed(stage: Stage, chance: Random) -> bool:
    """Start a replay and kill it, mostly when letters have begun to move; tell whether they had."""
    before = _left(stage)
    replay = await started(stage, "dead", "replay", "--all", "--yes")
    reading = asyncio.ensure_future(replay.communicate())
    if chance.random() < _EARLY:
        await asyncio.wait({reading}, timeout=chance.uniform(0, _EARLIEST_S))
    else:
        while not reading.done() and _left(stage) == before:
            await asyncio.wait({reading}, timeout=_LOOK_S)
        await asyncio.wait({reading}, timeout=chance.uniform(0, _AT_WORK_S))
    if replay.returncode is None:
        replay.kill()
    await reading
    return replay.returncode == -signal.SIGKILL and _left(stage) < before


async def _replay_the_rest(stage: Stage) -> int:
    """Replay until there is nothing left to replay; give how often that took."""
    for rounds in range(10):
        replay = await started(stage, "dead", "replay", "--all", "--yes")
        _, errors = await replay.communicate()
        if b"no dead letter" in errors:
            return rounds
    return 10


def _left(stage: Stage) -> int:
    return sum(EmbeddedArchive(ledger_file(stage.store)).counts().letters.values())


async def _measured(stage: Stage, count: int, *, kills: int, at_work: int, rounds: int) -> Measured:
    findings, ledger = stage.audit(), stage.ledger()
    in_queues = await asyncio.to_thread(_letters_in_queues, stage)
    calls = Counter(tuple(str(call.id).split(".")[:2]) for call in stage.simulator.calls)
    second = {line["job"] for line in stage.journal if line["event"] == "reply" and line["run"] > 1}
    completed = sum(job.state is State.COMPLETED for job in ledger)
    return Measured(
        work=f"{count} letters, {kills} kills, {at_work} of them at work, {_WORKERS} workers live",
        bounds=(
            Bound(name="lost", measured=len(findings.lost), at_most=0),
            Bound(name="letters not replayed", measured=count - completed, at_most=0),
            Bound(name="calls for completed jobs", measured=len(findings.late_calls), at_most=0),
            Bound(
                name="second calls of a run",
                measured=sum(made - 1 for made in calls.values()),
                at_most=0,
            ),
            Bound(name="callers that did not hear again", measured=count - len(second), at_most=0),
            Bound(name="letters left in the queues", measured=in_queues, at_most=0),
            Bound(name="promises broken", measured=len(broken(stage)), at_most=0),
        ),
        figures={"replays after the kills": rounds, "replies": findings.replies},
    )


def _letters_in_queues(stage: Stage) -> int:
    return sum(
        depth for name, depth in stage.vhost.depths().items() if name.startswith("warren.dead.")
    )
