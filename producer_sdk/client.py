"""The real client: a publishing connection, a reply connection, and what ties them together."""

import asyncio
import logging
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from ssl import SSLContext
from typing import Final, get_args

from aio_pika import RobustConnection

from producer_sdk import clock
from producer_sdk.completions import Completions
from producer_sdk.connection import LOST, Address, connect
from producer_sdk.errors import (
    ClientClosed,
    DeadlineExceeded,
    InvalidSetting,
    PublishUnconfirmed,
    PublishUnsent,
)
from producer_sdk.given import check_count, check_duration
from producer_sdk.publisher import Publisher
from producer_sdk.replies import OnUnclaimed, ReplyConsumer
from producer_sdk.request import Request
from producer_sdk.wire import (
    Ask,
    CompletionRequest,
    Lane,
    QueueType,
    WireError,
    job_id,
    reply_route,
)

_DELETE_TIMEOUT_S: Final = 5.0
_CANCEL_AGAIN_S: Final = 0.5
_MOST_PREFETCH: Final = 65_535  # AMQP has two bytes for it

_log = logging.getLogger("warren")


class CompletionClient(Completions):
    """Submits completion requests to Warren and receives their replies.

        async with CompletionClient("amqps://billing:secret@broker/warren", name="billing-1") as client:
            reply = await client.complete(tier="standard", model="gpt-5-mini", messages=[...])

    Args:
        url: the broker; its user name is the tenant. Of a cluster name all nodes,
            `amqps://billing:secret@node1,node2,node3/warren`: the client goes to another when its own is lost.
        name: names the reply queue, 1 to 64 characters out of `A-Z a-z 0-9 _ -`. Give a stable one, unique per
            running process, to receive after a restart what was answered meanwhile. Without one the client gets
            a fresh name and its queue is deleted at `close()`.
        publish_timeout: for how long a publish is repeated before it fails.
        connect_timeout: for how long the first connection may take; later ones are tried until closed.
        reply_queue_ttl: how long the reply queue outlives its client. It cannot be changed for an existing queue.
        reply_queue_type: "quorum" keeps the replies through the loss of a node, "classic" does not. None: quorum where
            `url` names several hosts. It cannot be changed for an existing queue either.
        reply_prefetch: how many replies may be on their way into this process at once.
        on_unclaimed: is given every reply that no `Job` here waits for, at least once each, before it is acked.
            A plain function runs in a thread. Slow ones delay other replies. Without it the newest 10,000 are
            kept for `client.job()`.
        heartbeat: how often the connections prove to be alive.
        tls: an SSL context for `amqps://` URLs, when the default one does not do.

    A client belongs to one event loop. It is opened once and closed once.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str | None = None,
        publish_timeout: timedelta = timedelta(seconds=30),
        connect_timeout: timedelta = timedelta(seconds=10),
        reply_queue_ttl: timedelta = timedelta(days=7),
        reply_queue_type: QueueType | None = None,
        reply_prefetch: int = 200,
        on_unclaimed: OnUnclaimed | None = None,
        heartbeat: timedelta = timedelta(seconds=20),
        tls: SSLContext | None = None,
    ) -> None:
        for setting, value in {
            "publish_timeout": publish_timeout,
            "connect_timeout": connect_timeout,
            "reply_queue_ttl": reply_queue_ttl,
            "heartbeat": heartbeat,
        }.items():
            check_duration(setting, value)
        check_count("reply_prefetch", reply_prefetch, most=_MOST_PREFETCH)
        if reply_queue_type not in {None, *get_args(QueueType)}:
            raise InvalidSetting('reply_queue_type: must be "classic", "quorum" or None')
        self._address = Address.parse(url)
        self._named = name is not None
        super().__init__(tenant=self._address.tenant, name=_fresh_name() if name is None else name)
        try:
            self._route = reply_route(self.tenant, self.name)
        except WireError as error:
            raise InvalidSetting(str(error)) from None
        except TypeError:
            raise InvalidSetting("the client name must be a string") from None
        self._publish_timeout = publish_timeout
        self._connect_timeout = connect_timeout
        self._reply_queue_ttl = reply_queue_ttl
        self._reply_queue_type = reply_queue_type or _usual_type(self._address)
        self._reply_prefetch = reply_prefetch
        self._on_unclaimed = on_unclaimed
        self._heartbeat = heartbeat
        self._tls = tls
        self._resources = AsyncExitStack()
        self._publisher: Publisher | None = None
        self._opened = self._closed = False
        self._in_flight = 0
        self._idle = asyncio.Event()

    async def open(self) -> None:
        """Connect, and receive replies from now on.

        Raises:
            BrokerUnavailable: there is no connection, or the broker refuses what a producer needs.
            InvalidSetting: the reply queue is there with other settings.
        """
        if self._opened:
            raise ClientClosed("a client is opened once; make a new one, of the same name")
        self._opened = True
        async with AsyncExitStack() as resources:
            consumer = ReplyConsumer(
                await self._connect("replies", resources),
                self._address,
                name=self.name,
                mailboxes=self._mailboxes,
                on_unclaimed=self._on_unclaimed,
                queue_type=self._reply_queue_type,
            )
            await consumer.open(ttl=self._reply_queue_ttl, prefetch=self._reply_prefetch)
            if not self._named:
                resources.push_async_callback(_delete, consumer)
            watching = asyncio.create_task(consumer.watch(), name="warren reply queue")
            resources.push_async_callback(_end, watching)
            connection = await self._connect("requests", resources)
            self._publisher = await Publisher.open(connection, self._address)
            resources.push_async_callback(self._publisher.close)
            self._resources = resources.pop_all()

    async def close(self) -> None:
        """Take no more, wait for the publishes in flight, then disconnect; closing twice does nothing.

        Whoever waits for a reply hears `ClientClosed`. The jobs go on.
        """
        if self._closed:
            return
        self._closed = True
        self._publisher = None
        try:
            if self._in_flight:
                await self._idle.wait()
        finally:
            self._mailboxes.close()
            await self._resources.aclose()

    def _reply_route(self) -> str:
        return self._route

    async def _send_ask(self, ask: Ask) -> None:
        with self._publishing() as publisher:
            await publisher.ask(ask, timeout_s=self._publish_timeout.total_seconds())

    async def _send(self, request: Request, submission: CompletionRequest) -> None:
        timeout_s = self._publish_timeout.total_seconds()
        deadline = submission.deadline
        if deadline is not None:
            timeout_s = min(timeout_s, (deadline - clock.now()).total_seconds())
        try:
            with self._publishing() as publisher:
                await publisher.publish(
                    submission, tier=request.tier, lane=Lane(request.lane), timeout_s=timeout_s
                )
        except (PublishUnconfirmed, PublishUnsent) as error:
            if deadline is None or clock.now() < deadline:
                raise
            raise DeadlineExceeded.at(
                deadline,
                submission_id=submission.submission_id,
                job_id=job_id(self.tenant, submission.idempotency_key or submission.submission_id),
            ) from error

    @contextmanager
    def _publishing(self) -> Iterator[Publisher]:
        """Give the publisher for one publish, for which `close` waits."""
        publisher = self._publisher
        if publisher is None:
            raise ClientClosed(
                "the client is closed; make a new one, of the same name"
                if self._closed
                else "the client is not open yet: use `async with`, or await open()"
            )
        self._in_flight += 1
        try:
            yield publisher
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def _connect(self, purpose: str, resources: AsyncExitStack) -> RobustConnection:
        connection = await connect(
            self._address,
            purpose=f"{purpose} of {self.name}",
            within=self._connect_timeout,
            heartbeat=self._heartbeat,
            tls=self._tls,
        )
        resources.push_async_callback(connection.close)
        return connection


def _usual_type(address: Address) -> QueueType:
    """Whoever names several nodes expects to lose one."""
    return "classic" if len(address.urls) == 1 else "quorum"


def _fresh_name() -> str:
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())
    return f"{host[:40]}-{secrets.token_hex(6)}"


async def _end(task: asyncio.Task[None]) -> None:
    """End a task that talks to the broker: again and again, since the library swallows a cancellation at times."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_S)


async def _delete(consumer: ReplyConsumer) -> None:
    """Delete the queue of a fresh name, that nobody can ask for again; its lifetime ends it if this fails."""
    try:
        async with asyncio.timeout(_DELETE_TIMEOUT_S):
            await consumer.delete()
    except LOST as error:
        _log.info("the reply queue was not deleted and will expire: %s", type(error).__name__)
