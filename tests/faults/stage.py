"""A stage for acceptance tests: a virtual host, the simulator, real worker processes, and the auditor."""

import asyncio
import hashlib
import itertools
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from producer_sdk import CompletionClient, Job, JobError, Reply, Request
from producer_sdk.request import DedupeName, LaneName, PriorityName
from simulator import Simulator
from stack.auditor import Findings, audit
from stack.records import json_lines
from stack.services import free_port
from tests.faults import canaries
from tests.faults.room import RedisRoom
from tests.faults.vhost import ROOT, Vhost
from worker.core.letters import Explanation
from worker.settings import load
from worker.stores import archive

READY_S = 30
# Completions that are looked for afterwards where they must not be.
_COMPLETIONS = 50


@dataclass(slots=True, kw_only=True)
class WorkerProcess:
    name: str
    process: asyncio.subprocess.Process
    port: int
    log: Path

    async def ready(self, within_s: float = READY_S) -> None:
        """Wait until it consumes from every tier."""

        def ask() -> bool:
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{self.port}/readyz", timeout=5
                ) as it:
                    return bool(it.status == 200)
            except OSError:
                return False

        async with asyncio.timeout(within_s):
            while not await asyncio.to_thread(ask):
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)

    async def ended(self, within_s: float = 60) -> int:
        async with asyncio.timeout(within_s):
            return await self.process.wait()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


@dataclass(slots=True, kw_only=True)
class Stage:
    vhost: Vhost
    folder: Path
    simulator: Simulator
    journal: list[dict[str, Any]] = field(default_factory=list)
    processes: list[WorkerProcess] = field(default_factory=list)
    heard: dict[str, int] = field(default_factory=dict)
    room: RedisRoom | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)
    errors: set[str] = field(default_factory=set)
    completions: set[str] = field(default_factory=set)

    @property
    def config(self) -> Path:
        return self.folder / "warren.toml"

    def now(self) -> datetime:
        return datetime.now(UTC)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def configure(
        self,
        *,
        concurrency: int = 4,
        tiers: Iterable[str] = ("standard",),
        broker: str | None = None,
        attempt_timeout: str = "30s",
        each: str = "",
        more: str = "",
    ) -> None:
        """Write the workers' configuration; `each` goes into every tier, `more` to the end.

        `broker` is another URL to reach the broker by, such as a proxy's.
        """
        tables = "".join(
            f'[tiers.{tier}]\nconcurrency = {concurrency}\nendpoints = ["main"]\nattempt_timeout = "{attempt_timeout}"\n{each}'
            for tier in tiers
        )
        self.config.write_text(
            f'[broker]\nurl = "{broker or self.vhost.url("worker")}"\nqueue_type = "{self.vhost.queue_type}"\n'
            f"{self._store_table()}"
            f'[endpoints.main]\nbase_url = "{self.simulator.url}/v1"\nkey = "{canaries.KEY}"\n'
            f"{tables}{more}",
            encoding="utf-8",
        )

    def _store_table(self) -> str:
        return f'[store]\npath = "{self.store}"\n' if self.room is None else self.room.table()

    async def start(self, *crash: str) -> WorkerProcess:
        """Start a worker process; `crash`: the step, the copy and the count at which it kills itself."""
        if crash:
            return await self.start_module("tests.acceptance.crashing_worker", *crash)
        return await self.start_module("worker.cli.main", "worker")

    async def start_named(self, **environment: str) -> WorkerProcess:
        """Start a worker process whose calls carry its name, for a configuration with the endpoint "main"."""
        number = next(self.numbers)
        headers = f'{{ "x-client-name" = "worker-{number}" }}'
        environment |= {"WARREN_ENDPOINTS__MAIN__HEADERS": headers}
        return await self._spawn(number, "worker.cli.main", "worker", environment=environment)

    async def start_module(self, *module: str) -> WorkerProcess:
        return await self._spawn(next(self.numbers), *module, environment={})

    async def _spawn(
        self, number: int, *module: str, environment: Mapping[str, str]
    ) -> WorkerProcess:
        if not self.config.exists():
            self.configure()
        port = free_port()
        log = self.folder / f"worker-{number}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *module,
                cwd=ROOT,
                env={
                    **os.environ,
                    "WARREN_CONFIG": str(self.config),
                    "WARREN_HTTP__LISTEN": f"127.0.0.1:{port}",
                    **environment,
                },
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        worker = WorkerProcess(name=f"worker-{number}", process=process, port=port, log=log)
        self.processes.append(worker)
        return worker

    async def started(self, *crash: str) -> WorkerProcess:
        worker = await self.start(*crash)
        await worker.ready()
        return worker

    def client(self, name: str = "stage") -> CompletionClient:
        return CompletionClient(self.vhost.url("producer"), name=name)

    async def submit(self, client: CompletionClient, requests: Iterable[Request]) -> list[Job]:
        """Submit all; each is in the journal once the broker has confirmed it."""
        jobs = []
        async for job in client.submit_many(requests):
            assert isinstance(job, Job), job
            self.journal.append(
                {
                    "event": "confirmed",
                    "submission": job.submission_id,
                    "job": job.id,
                    "wants_reply": True,
                }
            )
            jobs.append(job)
        return jobs

    async def hear(self, jobs: Iterable[Job], within_s: float = 60) -> list[Reply | JobError]:
        """Wait until every job has heard once more."""
        return list(await asyncio.gather(*(self._hear(job, within_s) for job in jobs)))

    async def _hear(self, job: Job, within_s: float) -> Reply | JobError:
        known = self.heard.get(job.submission_id, 0)
        try:
            heard: Reply | JobError = await job.next_reply(after_run=known, timeout=within_s)
        except JobError as error:
            heard = error
        self.heard[job.submission_id] = heard.run
        if isinstance(heard, JobError):
            self.errors.add(str(heard))
        elif len(self.completions) < _COMPLETIONS and heard.text:
            self.completions.add(heard.text)
        told = heard.body if isinstance(heard, Reply) else str(heard.kind).encode()
        self.journal.append(
            {
                "event": "reply",
                "submission": job.submission_id,
                "job": job.id,
                "run": heard.run,
                "sha256": hashlib.sha256(told).hexdigest(),
            }
        )
        return heard

    def ledger(self) -> list[Explanation]:
        return list(archive(load(self.config, {}).store).jobs())

    def audit(self, *, queues: Mapping[str, int] | None = None) -> Findings:
        calls = json_lines(self.folder / "calls.jsonl")
        return audit(self.journal, calls, self.ledger(), queues=queues)

    async def settled(self, within_s: float = 30) -> Findings:
        """Wait for the dust to settle (no delivery out, no copy parked), look for secrets, then audit."""
        async with asyncio.timeout(within_s):
            while await asyncio.to_thread(self._moving):  # noqa: ASYNC110  # only the broker knows
                await asyncio.sleep(0.1)
        assert await self.canaries() == []
        return self.audit()

    async def canaries(self) -> list[str]:
        """Give each place outside the requests' own bodies in which a secret, a prompt or a completion stands."""
        texts = {f"completion {number}": text for number, text in enumerate(self.completions)}
        return await canaries.hits(
            self.vhost,
            canaries.planted(self.vhost, **texts),
            logs=[worker.log for worker in self.processes],
            ports=[worker.port for worker in self.processes if worker.process.returncode is None],
            texts=self.errors,
        )

    def _moving(self) -> bool:
        return any(
            count and name.startswith(("warren.jobs.", "warren.park."))
            for name, count in self.vhost.depths().items()
        )


@asynccontextmanager
async def open_stage(
    vhost: Vhost,
    folder: Path,
    *,
    disk: Callable[[Path], AbstractContextManager[object]] = nullcontext,
    room: RedisRoom | None = None,
    require_key: Path | None = None,
) -> AsyncIterator[Stage]:
    """Open a stage whose workers share the embedded store, or what is kept in a room of a Redis.

    The simulator refuses every key but that in the file `require_key`, if given. `disk` makes what the embedded store's folder lies on, and is there until the last worker has ended.
    """
    log = folder / "calls.jsonl"
    async with Simulator(port=0, log=log, require_key=require_key) as simulator:
        stage = Stage(vhost=vhost, folder=folder, simulator=simulator, room=room)
        with disk(stage.store):
            try:
                yield stage
            finally:
                for worker in stage.processes:
                    await worker.kill()


def chat(
    text: str,
    *,
    tier: str = "standard",
    plan: str | None = None,
    priority: PriorityName = "normal",
    idempotency_key: str | None = None,
    dedupe: DedupeName | None = None,
    deadline: timedelta | None = None,
    lane: LaneName = "interactive",
) -> Request:
    """Give a request; `plan` is what the simulator does with its calls, in order."""
    messages = [{"role": "user", "content": text}, {"role": "user", "content": canaries.PROMPT}]
    body: dict[str, Any] = {"model": "gpt-5-mini", "messages": messages}
    if plan is not None:
        body["user"] = f"sim:{plan}"
    return Request(
        tier=tier,
        body=body,
        priority=priority,
        idempotency_key=idempotency_key,
        dedupe=dedupe,
        deadline=deadline,
        lane=lane,
    )
