"""The smallest scenarios in which a worker that breaks one rule is found out, and a sound one is not.

Each plays on a stage of its own with workers of one kind (a planted bug, or none), harms them, lets the dust
settle and gives what the auditor finds. What is heard is what a tap took down, so that two replies to one
submission count as two.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from producer_sdk import CompletionClient, Job, Request
from tests.acceptance.cli import warren
from tests.faults.broken import Broken, broken
from tests.faults.logged import logged
from tests.faults.mutants.table import SOUND
from tests.faults.stage import Stage, WorkerProcess, chat
from tests.faults.tap import Tap, tapped

# Longer than anybody is suspended in a scenario, on however slow a machine.
_LONG_LEASE = "120"
_SHORT_LEASE = "8"
# A worker's start takes that long on a machine that is busy with others.
_SLOW_S = 120
_ONE_TRY = '[retry]\nattempt_backoffs = ["500ms"]\ntries = 1\n'


@dataclass(slots=True, kw_only=True)
class Play:
    """A stage, a client, and workers with a bug."""

    stage: Stage
    bug: str
    client: CompletionClient
    taps: list[Tap] = field(default_factory=list)

    async def worker(self, *arguments: str, bug: str | None = None) -> WorkerProcess:
        return await self.stage.start_module(
            "tests.faults.mutant_worker", bug or self.bug, *arguments
        )

    async def submit(self, *requests: Request) -> list[Job]:
        return await self.stage.submit(self.client, requests)

    async def settled(self, *, spared: int = 0) -> Broken:
        """Wait for the dust to settle, and give the promises that the audit finds broken.

        `spared` calls may have been cut off by deaths and lost leases.
        """
        await self.stage.settled(_SLOW_S)
        for tap in self.taps:
            self.stage.journal.extend(await tap.drain())
        return await asyncio.to_thread(broken, self.stage, spared=spared)


@asynccontextmanager
async def playing(stage: Stage, bug: str) -> AsyncIterator[Play]:
    async with stage.client() as client, tapped(stage.vhost) as tap:
        yield Play(stage=stage, bug=bug, client=client, taps=[tap])


async def killed_in_a_call(stage: Stage, bug: str) -> Broken:
    """A worker is killed while its call hangs; another takes over."""
    async with playing(stage, bug) as play:
        await play.submit(chat("killed in a call", plan="hang,ok"))
        first = await play.worker()
        await stage.simulator.wait_for(lambda calls: len(calls) == 1, timeout_s=_SLOW_S)
        await first.kill()
        await play.worker()
        return await play.settled(spared=1)


async def _killed_at(stage: Stage, bug: str, step: str, copy: str, *requests: Request) -> Broken:
    async with playing(stage, bug) as play:
        await play.submit(*requests)
        first = await play.worker("--kill", step, copy, "1")
        assert await first.ended() == -signal.SIGKILL
        await play.worker()
        return await play.settled()


async def killed_after_its_reply(stage: Stage, bug: str) -> Broken:
    """A worker is killed when the broker has confirmed a job's reply."""
    return await _killed_at(stage, bug, "confirmed", "reply", chat("killed after its reply"))


async def killed_when_all_is_marked(stage: Stage, bug: str) -> Broken:
    """A worker is killed when a job's replies are marked as carried out."""
    return await _killed_at(stage, bug, "carried", "-", chat("killed when all is marked"))


async def killed_when_its_copy_is_marked(stage: Stage, bug: str) -> Broken:
    """A worker is killed when a job's parked copy is marked as carried out."""
    stage.configure(more=_ONE_TRY)
    failing = chat("killed when its copy is marked", plan="503")
    return await _killed_at(stage, bug, "carried", "-", failing)


async def fails_twice(stage: Stage, bug: str) -> Broken:
    """An upstream fails two calls of a job, and no process dies."""
    stage.configure(more=_ONE_TRY)
    async with playing(stage, bug) as play:
        await play.submit(chat("fails twice", plan="503,503"))
        await play.worker()
        return await play.settled()


async def hangs_once(stage: Stage, bug: str) -> Broken:
    """An upstream hangs once, where two attempts are allowed, and no process dies."""
    stage.configure(more=_ONE_TRY + "max_attempts = 2\n", attempt_timeout="1s")
    async with playing(stage, bug) as play:
        await play.submit(chat("hangs once", plan="hang,ok"))
        await play.worker()
        return await play.settled()


async def cut_in_its_calls(stage: Stage, bug: str) -> Broken:
    """A worker's connections are cut while it makes calls, and no process dies."""
    async with playing(stage, bug) as play:
        # Longer than cutting them takes on a slow machine.
        await play.submit(*(chat(f"cut {number}", plan="slow(8)") for number in range(4)))
        await play.worker()
        await stage.simulator.wait_for(lambda calls: len(calls) == 4, timeout_s=_SLOW_S)
        await asyncio.to_thread(_cut_workers, stage)
        assert not any(call.how == "done" for call in stage.simulator.calls[:4]), "cut too late"
        return await play.settled()


async def redelivered_to_another(stage: Stage, bug: str) -> Broken:
    """A worker's connections are cut in a call, and the redelivery lands on another; no process dies."""
    async with playing(stage, bug) as play:
        await play.submit(chat("lands on another", plan="slow(1)"))
        first = await play.worker("--lease", _LONG_LEASE)
        await stage.simulator.wait_for(lambda calls: len(calls) == 1, timeout_s=_SLOW_S)
        # Stopped, it cannot take its own redelivery.
        first.process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(_cut_workers, stage)
        second = await play.worker()
        await logged(second, "step acked")
        first.process.send_signal(signal.SIGCONT)
        return await play.settled()


async def suspended_past_its_lease(stage: Stage, bug: str) -> Broken:
    """A worker is suspended in a call for longer than its lease, and wakes when another has its claim."""
    async with playing(stage, bug) as play:
        await play.submit(chat("asleep", plan="slow(0.2)"))
        first = await play.worker("--lease", "1")
        await stage.simulator.wait_for(lambda calls: len(calls) == 1, timeout_s=_SLOW_S)
        first.process.send_signal(signal.SIGSTOP)
        second = await play.worker("--stop", "begun", "-", "1", "--lease", _SHORT_LEASE, bug=SOUND)
        # It takes nobody for dead before it has seen the store work for its own lease; until then it would park.
        await asyncio.sleep(float(_SHORT_LEASE) + 1)
        await asyncio.to_thread(_cut_workers, stage)
        await logged(second, "step begun")
        first.process.send_signal(signal.SIGCONT)
        await logged(first, "step acked")
        second.process.send_signal(signal.SIGCONT)
        return await play.settled(spared=1)


async def callers_queue_is_full(stage: Stage, bug: str) -> Broken:
    """A callback queue is full when its reply comes, and has room a little later."""
    policy = f"policies/{stage.vhost.name}/full"
    async with playing(stage, bug) as play:
        full = {
            "pattern": r"^warren\.reply\.",
            "apply-to": "queues",
            "priority": 9,
            "definition": {"max-length": 0, "overflow": "reject-publish"},
        }
        await asyncio.to_thread(stage.vhost.api, "PUT", policy, full)
        await play.submit(chat("no room"))
        worker = await play.worker()
        await logged(worker, "step acked", "a queue is full")
        await asyncio.to_thread(stage.vhost.api, "DELETE", policy)
        return await play.settled()


async def one_letter_comes_twice(stage: Stage, bug: str) -> Broken:
    """A dead letter lies in its queue twice, and both are replayed."""
    async with playing(stage, bug) as play:
        await play.submit(chat("dead twice", plan="400!"))
        first = await play.worker("--kill", "confirmed", "dead", "1")
        assert await first.ended() == -signal.SIGKILL
        await play.worker()
        await play.stage.settled(_SLOW_S)
        stage.simulator.heal()
        await warren(stage, "dead", "replay", "--all", "--yes")
        return await play.settled()


async def two_tenants_ask_the_same(stage: Stage, bug: str) -> Broken:
    """Two tenants ask for the same, and both let an earlier answer serve."""
    tenant = f"blue-{stage.vhost.name}"  # users are the node's, not the virtual host's
    stage.vhost.add_tenant(tenant)
    async with (
        playing(stage, bug) as play,
        tapped(stage.vhost, tenant) as tap,
        CompletionClient(stage.vhost.url(tenant), name="stage") as blue,
    ):
        play.taps.append(tap)
        await play.worker()
        await play.submit(chat("the same", dedupe="cache"))
        await stage.settled(_SLOW_S)
        await stage.submit(blue, [chat("the same", dedupe="cache")])
        return await play.settled()


def _cut_workers(stage: Stage) -> None:
    """Close the workers' connections with one command: a second one may take longer than a call."""
    stage.vhost.broker.ctl(
        "eval",
        '[rabbit_networking:close_connection(Pid, "test") || [{pid, Pid}, {user, <<"worker">>}, {vhost, V}]'
        " <- rabbit_networking:connection_info_all([pid, user, vhost]),"
        f' V =:= <<"{stage.vhost.name}">>].',
    )
