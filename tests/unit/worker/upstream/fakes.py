"""Stand-ins for the upstream tests: a clock by hand, a listener with a memory, an upstream without sockets."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TypeVar

import httpx

from producer_sdk.wire import Dedupe, Lane
from simulator.ask import read
from simulator.reactions import Manner, Reaction, react
from simulator.script import Script
from simulator.wire import Request
from worker.core.events import Event
from worker.core.model import Job, Submission

START = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
PROMPT = "CANARY-prompt-7d1f"
KEY = "sk-CANARY-key-93ab"

T = TypeVar("T")


def dice(seed: int) -> Callable[[], float]:
    """Chance that is the same each time."""
    return random.Random(seed).random  # noqa: S311  # repeatable, not secret


async def always() -> bool:
    """Every try may be made."""
    return True


class HandClock:
    """A clock that moves when it is told to, or when somebody sleeps by it."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed_s)

    def monotonic(self) -> float:
        return 1000.0 + self.passed_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed_s += seconds
        await asyncio.sleep(0)


class Memory:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def tell(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]


def chat(plan: str | None = None, **fields: object) -> bytes:
    body: dict[str, object] = {
        "model": "gpt-small",
        "messages": [{"role": "user", "content": PROMPT}],
        **fields,
    }
    if plan is not None:
        body["user"] = f"sim:{plan}"
    return json.dumps(body).encode()


def job(
    body: bytes | None = None,
    *,
    path: str = "/v1/chat/completions",
    tier: str = "small",
    job_id: str = "0123456789abcdef0123456789abcdef",
) -> Job:
    return Job(
        id=job_id,
        tenant="acme",
        key="k",
        tier=tier,
        lane=Lane.INTERACTIVE,
        path=path,
        model="gpt-small",
        body=chat() if body is None else body,
        content_hash="0" * 64,
        dedupe=Dedupe.OFF,
        priority=4,
        submission=Submission(id="s", reply_to=None),
        submitted_at=START,
        received_at=START,
        deadline=START + timedelta(hours=1),
    )


class PlannedUpstream(httpx.AsyncBaseTransport):
    """The simulator's reactions without sockets: the same plans, the same bytes."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.arrived = asyncio.Event()
        self.left_early = asyncio.Event()
        self._script = Script()
        self._numbers = count(1)

    async def reached(self, count: int) -> None:
        """Return when so many requests have arrived."""
        while len(self.requests) < count:
            self.arrived.clear()
            await self.arrived.wait()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.arrived.set()
        asked = read(
            Request(
                method=request.method,
                path=request.url.path,
                headers=dict(request.headers),
                body=request.content,
                http="memory",
            )
        )
        fault = self._script.take(asked)
        reaction = react(fault, asked, call=next(self._numbers), now_s=time.time(), latency_s=0)
        if reaction.manner is Manner.HANG:
            try:
                await asyncio.Event().wait()
            finally:
                self.left_early.set()
        if reaction.manner is Manner.RESET:
            raise httpx.ReadError("reset", request=request)
        return httpx.Response(
            reaction.status, headers=list(reaction.headers), stream=_Stream(self, reaction)
        )


class _Stream(httpx.AsyncByteStream):
    def __init__(self, upstream: PlannedUpstream, reaction: Reaction) -> None:
        self._upstream = upstream
        self._reaction = reaction
        self._complete = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body, half = self._reaction.body, len(self._reaction.body) // 2
        match self._reaction.manner:
            case Manner.HALF_THEN_HANG:
                yield body[:half]
                await asyncio.Event().wait()
            case Manner.HALF_THEN_RESET:
                yield body[:half]
                raise httpx.ReadError("reset")
            case Manner.DRIP:
                for at in range(len(body)):
                    yield body[at : at + 1]
                    await asyncio.sleep(self._reaction.drip_s)
            case _:
                yield body
        self._complete = True

    async def aclose(self) -> None:
        if not self._complete:
            self._upstream.left_early.set()
