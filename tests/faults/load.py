"""Producers under observation: tenants that submit a stream of requests, with everything that they hear in a journal.

They are real clients. Only their mailboxes are replaced: every reply that reaches a client goes into the journal,
also a second one of the same run, which a producer would never see.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from producer_sdk import CompletionClient, PublishUnconfirmed, Request, WarrenError
from producer_sdk.errors import DeadlineExceeded
from producer_sdk.waiting import Mailboxes
from producer_sdk.wire import CompletionReply, CompletionRequest, Status, job_id
from stack.records import Journal

# The simulator puts the beginning of the request's hash into each answer's id.
_ANSWERS = re.compile(r"(?:chatcmpl|cmpl)-([0-9a-f]{24})-")


class Load:
    """The submissions of some tenants and what became of them, told to a journal line by line."""

    def __init__(
        self,
        urls: Mapping[str, str],
        journal: Path,
        *,
        publish_timeout: timedelta = timedelta(minutes=2),
    ) -> None:
        self._urls = urls
        self._publish_timeout = publish_timeout
        self.journal = Journal(journal)
        self.tenants: Sequence[str] = tuple(urls)
        self.confirmed = self.failed = 0
        self._clients: dict[str, Producer] = {}
        self._waiting: set[str] = set()
        self._heard: set[str] = set()
        self._changed = asyncio.Event()
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as resources:
            resources.enter_context(self.journal)
            for tenant, url in self._urls.items():
                client = Producer(url, load=self, publish_timeout=self._publish_timeout)
                self._clients[tenant] = await resources.enter_async_context(client)
            self._resources = resources.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._resources.aclose()

    @property
    def heard(self) -> int:
        """How many submissions have heard."""
        return len(self._heard)

    @property
    def unheard(self) -> int:
        """How many accepted submissions have not heard yet."""
        return len(self._waiting)

    async def flow(self, requests: Iterable[tuple[str, Request]], *, ahead: int) -> None:
        """Submit the requests (tenant, request) in order, at most `ahead` of them not heard of yet."""
        going: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            for tenant, request in requests:
                while len(self._waiting) + len(going) >= ahead:
                    self._changed.clear()
                    await self._changed.wait()
                task = group.create_task(self.submit(tenant, request))
                going.add(task)
                task.add_done_callback(going.discard)
                task.add_done_callback(lambda _: self._changed.set())

    async def submit(self, tenant: str, request: Request) -> None:
        """Submit one request; that it failed stands in the journal, and is no error here."""
        try:
            await self._clients[tenant].submit_request(request)
        except WarrenError:
            self.failed += 1

    async def all_heard(self, within_s: float) -> bool:
        """Wait until every accepted submission has heard; False: some have not in time."""
        try:
            async with asyncio.timeout(within_s):
                while self._waiting:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def stored(self, submission: str) -> None:
        """The broker has confirmed this submission."""
        self.confirmed += 1
        if submission not in self._heard:
            self._waiting.add(submission)

    def hear(self, tenant: str, reply: CompletionReply) -> None:
        """A reply came to a tenant."""
        found = _ANSWERS.search(reply.body[:200].decode(errors="replace"))
        answers = found[1] if found and reply.status is Status.COMPLETED else None
        self.journal.note(
            event="reply",
            tenant=tenant,
            submission=reply.submission_id,
            job=reply.job_id,
            run=reply.run,
            status=reply.status.value,
            sha256=hashlib.sha256(reply.body).hexdigest(),
            answers=answers,
        )
        self._heard.add(reply.submission_id)
        self._waiting.discard(reply.submission_id)
        self._changed.set()


class Producer(CompletionClient):
    """A client that tells a load what it intends, what was confirmed, and all that it hears."""

    def __init__(self, url: str, *, load: Load, publish_timeout: timedelta) -> None:
        super().__init__(
            url,
            name="load",
            publish_timeout=publish_timeout,
            heartbeat=timedelta(seconds=5),
        )
        self._load = load
        self._mailboxes = Ear(self.tenant, load)

    async def _send(self, request: Request, submission: CompletionRequest) -> None:
        journal = self._load.journal
        line: dict[str, str | bool] = {
            "submission": submission.submission_id,
            "job": job_id(self.tenant, submission.idempotency_key or submission.submission_id),
            "tenant": self.tenant,
            "request": hashlib.sha256(submission.body).hexdigest(),
            "wants_reply": submission.reply_to is not None,
        }
        journal.note(event="intent", **line)
        try:
            await super()._send(request, submission)
        except (PublishUnconfirmed, DeadlineExceeded):
            journal.note(event="unknown", **line)
            raise
        except WarrenError as error:
            journal.note(event="refused", why=type(error).__name__, **line)
            raise
        journal.note(event="confirmed", **line)
        self._load.stored(submission.submission_id)


class Ear(Mailboxes):
    """Takes every reply, also the second of a run and one for a submission that nobody made."""

    def __init__(self, tenant: str, load: Load) -> None:
        super().__init__()
        self._tenant, self._load = tenant, load

    def put(self, reply: CompletionReply) -> bool:
        self._load.hear(self._tenant, reply)
        return True


def body_of(text: str, *, plan: str | None = None) -> bytes:
    """Give a request's body, in bytes that are the same each time; `plan` is for the simulator."""
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": text}]}
    return json.dumps(body if plan is None else body | {"user": f"sim:{plan}"}).encode()
