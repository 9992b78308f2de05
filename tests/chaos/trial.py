"""What most experiments build on their ground: two tenants that submit, workers that answer, and the audit.

async with open_trial(ground, workers=3, concurrency=16, latency="lognormal(0.4,0.5)") as trial:
    async with trial.traffic(jobs=ground.scaled(30_000, least=300)):
        ...                       # harm it
    findings = await trial.settled()
    return Measured(work=..., bounds=bounds(findings), figures=figures(findings))
"""

import asyncio
import itertools
import random
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from producer_sdk import Request
from stack.auditor import Findings, audit
from stack.records import json_lines
from tests.chaos.experiment import Bound, Ground
from tests.faults.killing import Herd
from tests.faults.load import Load, body_of
from tests.faults.proxy import Proxy
from tests.faults.room import RedisRoom
from tests.faults.stage import Stage, open_stage
from tests.faults.vhost import Vhost

TERM, KILL = signal.SIGTERM, signal.SIGKILL
# Another tenant beside the one of the definitions.
STRANGER = "stranger"
# Shorter waits than in production, so that a run spends its time on work. Ten calls at most: five attempts, two tries.
GRACE_S = 20
_MORE = f"""
[retry]
attempt_backoffs = ["2s", "2s", "4s", "8s"]
[worker]
grace_period = "{GRACE_S}s"
"""
MOST_CALLS = 10
PROMPT_CANARY = "canary-prompt-2718"
# Noticed soon when a connection is dead without a word; the default is 20 s.
HEARTBEAT = {"WARREN_BROKER__HEARTBEAT": "5s"}
# What the upstream does with a job's calls, in percent of the jobs; the others are answered at once.
_PLANS = (("503", 4), ("503,503,503", 1), ("429(retry-after=1)", 2), ("400!", 1))
_DOUBLED = 0.05
# Unheard submissions for each call that the workers may make at once.
_AHEAD = 3
_DEADLINE = timedelta(hours=2)


@dataclass(slots=True, kw_only=True)
class Trial:
    """A running stage with its load and its workers, both connected to the broker through a proxy of their own."""

    ground: Ground
    stage: Stage
    load: Load
    herd: Herd
    workers_way: Proxy
    producers_way: Proxy
    places: int
    submitted: int = 0
    canaries: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def traffic(self, *, jobs: int) -> AsyncIterator[None]:
        """Let requests come for as long as the block runs, and at least `jobs` of them.

        Only so many are ahead of the workers that these always have enough. Returns when all are submitted. An
        error of the producers ends the block.
        """
        ahead = _AHEAD * self.places
        async with asyncio.TaskGroup() as group:
            group.create_task(self.load.flow(self._requests(jobs), ahead=ahead))
            yield
            self.enough.set()

    async def in_flight(self, count: int, *, within_s: float = 60) -> None:
        """Wait until at least so many calls are in flight."""
        async with asyncio.timeout(within_s):
            while self.stage.simulator.stats.in_flight < count:  # noqa: ASYNC110  # a count, not an event
                await asyncio.sleep(0.02)

    async def going_on(self, *, within_s: float = 120) -> float:
        """Wait until somebody hears again; gives the seconds that it took.

        Raises:
            TimeoutError: nobody heard.
        """
        began, heard = time.monotonic(), self.load.heard
        async with asyncio.timeout(within_s):
            while self.load.heard == heard:  # noqa: ASYNC110  # a count, not an event
                await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def settled(self, *, within_s: float = 300) -> Findings:
        """Wait until everybody has heard and the queues are empty, end the workers, and audit."""
        self.ground.tell(f"{self.load.unheard} still wait for their reply")
        await self.load.all_heard(within_s)
        await self.herd.all_ready()
        await self._empty(within_s)
        statuses = await self.herd.stop()
        if any(statuses) or self.herd.unasked:
            ended = [f"{worker.name}: {worker.process.returncode}" for worker in self.herd.unasked]
            raise AssertionError(f"workers ended with {statuses}, or by themselves: {ended}")
        self.canaries = await asyncio.to_thread(self._told)
        return await asyncio.to_thread(self.audit)

    def audit(self) -> Findings:
        """Hold the logs against each other as they are now."""
        return audit(
            json_lines(self.stage.folder / "producer.jsonl"),
            json_lines(self.stage.folder / "calls.jsonl"),
            self.stage.ledger(),
            queues=self.stage.vhost.depths(),
            most_calls=MOST_CALLS,
        )

    async def _empty(self, within_s: float) -> None:
        """Wait until no message is left; what is left after that is the audit's business."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while await asyncio.to_thread(self._moving):  # noqa: ASYNC110  # only the broker knows
                    await asyncio.sleep(0.5)

    def _told(self) -> int:
        """Count the lines of the workers' logs that have a secret or a prompt in them."""
        secrets = [*self.stage.vhost.passwords.values(), "canary-key-3141", PROMPT_CANARY]
        needles = [each.encode() for each in secrets]
        return sum(
            any(needle in line for needle in needles)
            for worker in self.stage.processes
            for line in worker.log.read_bytes().splitlines()
        )

    def _moving(self) -> bool:
        depths = self.stage.vhost.depths()
        return any(count for name, count in depths.items() if not name.startswith("warren.dead."))

    def _requests(self, least: int) -> Iterator[tuple[str, Request]]:
        """Give requests of both tenants, some of them twice, some with an upstream that fails for a while."""
        chance = random.Random(self.ground.chance.random())  # noqa: S311  # repeatable, not secret
        doubled: list[tuple[str, Request]] = []
        for number in itertools.count():
            if number >= least and self.enough.is_set():
                break
            self.submitted = number + 1
            if doubled and chance.random() < 0.5:
                yield doubled.pop(chance.randrange(len(doubled)))
            # Both tenants use the same keys and texts: neither may hear of the other.
            tenant = chance.choice(self.load.tenants)
            drawn, plan = chance.random() * 100, None
            for each, percent in _PLANS:
                plan, drawn = (each if 0 <= drawn < percent else plan), drawn - percent
            request = Request(
                tier="standard",
                body=body_of(f"{PROMPT_CANARY}: {tenant} asks {number}", plan=plan),
                idempotency_key=f"key-{number}",
                deadline=_DEADLINE,
            )
            yield tenant, request
            if chance.random() < _DOUBLED:
                doubled.append((tenant, request))
        yield from doubled


@asynccontextmanager
async def open_trial(
    ground: Ground,
    *,
    workers: int,
    concurrency: int,
    latency: str,
    release: str | None = None,
    disk: Callable[[Path], AbstractContextManager[object]] = nullcontext,
    room: RedisRoom | None = None,
) -> AsyncIterator[Trial]:
    """Open a virtual host, a simulator, two tenants and ready workers; all end with the block.

    `disk` makes what the embedded store's folder lies on; with `room` the store is that Redis.
    """
    folder = ground.folder / uuid.uuid4().hex[:6]
    folder.mkdir()
    with ground.vhost(release) as vhost:
        vhost.add_tenant(STRANGER)
        port = vhost.broker.amqp_port
        async with (
            Proxy(port) as workers_way,
            Proxy(port) as producers_way,
            open_stage(vhost, folder, disk=disk, room=room) as stage,
        ):
            urls = {
                tenant: _through(producers_way, vhost, tenant) for tenant in ("producer", STRANGER)
            }
            stage.simulator.latency({"default": latency, "seed": ground.seed})
            broker = _through(workers_way, vhost, "worker")
            stage.configure(concurrency=concurrency, more=_MORE, broker=broker)
            async with Load(urls, folder / "producer.jsonl") as load:
                herd = Herd(
                    stage,
                    size=workers,
                    chance=ground.chance,
                    journal=load.journal,
                    environment=HEARTBEAT,
                )
                ground.tell("workers start")
                await herd.start()
                yield Trial(
                    ground=ground,
                    stage=stage,
                    load=load,
                    herd=herd,
                    places=workers * concurrency,
                    workers_way=workers_way,
                    producers_way=producers_way,
                )


def _through(proxy: Proxy, vhost: Vhost, user: str) -> str:
    """Give the user's URL with the proxy's port in it."""
    return vhost.url(user).replace(f":{vhost.broker.amqp_port}/", f":{proxy.port}/")


def bounds(findings: Findings, trial: Trial) -> tuple[Bound, ...]:
    """Give what every experiment of this kind promises: the auditor finds nothing, and no log tells a secret."""
    found = {name: len(each) for name, each in findings.faults.items()}
    counts = {
        "lost": found.pop("lost"),
        "calls after the record": found.pop("late_calls"),
        "extra calls": found.pop("extra_calls") + found.pop("calls_over_policy"),
        "unheard": found.pop("unheard"),
        "wrong replies": found.pop("strays") + found.pop("strangers") + found.pop("differing"),
        "left behind": sum(found.values()),
        "secrets in logs": trial.canaries,
    }
    return tuple(Bound(name=name, measured=count, at_most=0) for name, count in counts.items())


def figures(findings: Findings) -> dict[str, int | float | str]:
    """Give the counts that have no bound, and the first names of what was found."""
    counted: dict[str, int | float | str] = {
        "accepted": findings.accepted,
        "jobs": findings.jobs,
        "calls": findings.calls,
        "replies": findings.replies,
        "calls cut off by deaths": findings.in_flight,
        "calls repeated": len(findings.unrecorded_calls),
        "publishes of unknown fate": findings.unknown,
    }
    for name, found in findings.faults.items():
        if found:
            counted[name] = ", ".join(sorted(found)[:5])
    return counted
