"""A connection that is made again when it is lost; its channels are not.

A channel dies with its connection. Whoever uses one opens another when it is lost: so nothing that belongs to an old
channel can ever be done on a new one.
"""

import asyncio
import functools
import logging
import secrets
from collections import deque
from dataclasses import dataclass
from ssl import SSLContext
from typing import Final, Self

from aiormq.abc import ChannelFrame

from worker.broker.address import Address, describe, explain, is_loss
from worker.broker.channels import DirectChannel, DirectConnection
from worker.broker.trouble import Troubles
from worker.errors import BrokerUnavailable

# Seconds. A peer that is gone without a word is noticed after about three heartbeats.
HEARTBEAT_S: Final = 20
RECONNECT_S: Final = 1.0
CONNECT_TIMEOUT_S: Final = 10.0
# What a broker that reads no more has not taken by then is lost: it hands the deliveries out again anyway.
_CLOSE_TIMEOUT_S: Final = 10.0
_SINK_PAUSE_S: Final = 0.02
_SINK_TURNS: Final = 50


class Link:
    """One connection to the broker, made on first use and again whenever it is lost and wanted.

    Of several nodes it begins with any, and after a loss with the next: the one that it had may be dead. Its user closes it. `purpose` names it to operators, here and in RabbitMQ's own tools.
    """

    def __init__(
        self,
        address: Address,
        *,
        purpose: str,
        troubles: Troubles,
        tls: SSLContext | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        reconnect_s: float = RECONNECT_S,
    ) -> None:
        self.address = address
        nodes = address.nodes
        self._nodes = deque(secrets.SystemRandom().sample(nodes, len(nodes)))
        self.reconnect_s = reconnect_s
        self._heartbeat_s = max(1, round(heartbeat_s))
        self._purpose = purpose
        self._troubles = troubles
        self._tls = tls
        self._connection: DirectConnection | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    @property
    def connected(self) -> bool:
        """Tell whether the connection stands, as far as is known."""
        return self._connection is not None and not self._connection.is_closed

    async def channel(self, *, confirms: bool) -> DirectChannel:
        """Give a new channel, on a connection that is made if need be, however long that takes.

        With `confirms`, a publish on it returns once the broker has confirmed it.

        Raises:
            An error of which `is_loss` is true: the connection was lost in between.
            BrokerUnavailable: the link was closed for good.
        """
        connection = await self.ready()
        try:
            return await connection.open_channel(confirms=confirms)
        except RuntimeError as error:
            # That is how the library says that the connection closed while the channel was asked for.
            if connection.is_closed:
                raise ConnectionResetError(str(error)) from error
            raise

    async def ready(self) -> DirectConnection:
        """Give the connection; make it, and try every second until it is there. Failures are told.

        Raises:
            BrokerUnavailable: the link was closed for good.
        """
        while (connection := self._standing()) is None:
            try:
                await self.connect()
            except BrokerUnavailable as error:
                if self._closed:
                    raise
                self._troubles.tell("connect", self._purpose, f"{error}; it is tried again")
                await asyncio.sleep(self.reconnect_s)
        return connection

    async def stay(self) -> None:
        """Keep the connection up, also while nobody uses it; runs until cancelled.

        Raises:
            BrokerUnavailable: the link was closed for good.
        """
        while True:
            connection = await self.ready()
            await asyncio.wait({connection.closing})
            await asyncio.sleep(self.reconnect_s)

    async def connect(self) -> None:
        """Make the connection if there is none, in one attempt at each node.

        Raises:
            BrokerUnavailable: it could not be made; the text says what to do.
        """
        async with self._connecting:
            if self._closed:
                raise BrokerUnavailable("the connection to the broker is closed for good")
            if self._standing() is None:
                self._connection = await self._made()

    async def close(self) -> None:
        """Close the connection for good. Deliveries that are not settled go back to their queues."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            given_up = asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT_S, connection.abort)
            try:
                await connection.close()
            except (Exception, asyncio.CancelledError) as error:
                if not is_loss(error):
                    raise
            finally:
                given_up.cancel()

    def _standing(self) -> DirectConnection | None:
        return self._connection if self.connected else None

    async def _made(self) -> DirectConnection:
        """Connect to the first node that lets us."""
        failures: list[BrokerUnavailable] = []
        for _ in range(len(self._nodes)):
            node = self._nodes[0]
            self._nodes.rotate(-1)
            try:
                return await self._made_to(node)
            except BrokerUnavailable as failure:
                failures.append(failure)
        if len(failures) == 1:
            raise failures[0]
        raise BrokerUnavailable("; ".join(map(str, failures))) from failures[-1]

    async def _made_to(self, node: Address) -> DirectConnection:
        connection = DirectConnection(
            node.urls[0].update_query(heartbeat=self._heartbeat_s),
            context=self._tls,
            client_properties={
                "product": "warren",
                "connection_name": f"warren worker, {self._purpose}",
            },
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connection.connect()
        except (Exception, asyncio.CancelledError) as error:
            if not is_loss(error):  # a TimeoutError is an OSError
                raise
            raise BrokerUnavailable(explain(error, node)) from error
        connection.closing.add_done_callback(lambda _: self._on_lost(connection))
        return connection

    def _on_lost(self, connection: DirectConnection) -> None:
        _sink(connection.write_queue)
        if not self._closed:
            self._troubles.tell(
                "connection lost", self._purpose, f"{_reason(connection)}; it is made again"
            )


def _sink(writes: asyncio.Queue[ChannelFrame], *, idle: int = 0) -> None:
    """Take what is still written to a dead connection, until nothing has come for a while.

    Nobody else does, and its queue is short: who waits for room in it would wait for ever.
    """
    if writes.empty():
        idle += 1
    else:
        idle = 0
        while not writes.empty():
            writes.get_nowait()
    if idle < _SINK_TURNS:
        asyncio.get_running_loop().call_later(
            _SINK_PAUSE_S, functools.partial(_sink, writes, idle=idle)
        )


def _reason(connection: DirectConnection) -> str:
    closing = connection.closing
    if closing.cancelled() or (error := closing.exception()) is None:
        return "it was closed"
    return describe(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """The three connections of a worker.

    They are separate because an alarm on the broker blocks a connection that publishes, both ways: what is
    only consumed, acknowledged or administered must go on.
    """

    consume: Link
    publish: Link
    control: Link

    @classmethod
    def to(
        cls,
        address: Address,
        *,
        troubles: Troubles,
        tls: SSLContext | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        reconnect_s: float = RECONNECT_S,
    ) -> Self:
        """Prepare them; nothing is connected yet."""
        hush()
        consume, publish, control = (
            Link(
                address,
                purpose=purpose,
                troubles=troubles,
                tls=tls,
                heartbeat_s=heartbeat_s,
                reconnect_s=reconnect_s,
            )
            for purpose in ("consume", "publish", "control")
        )
        return cls(consume=consume, publish=publish, control=control)

    @property
    def connected(self) -> bool:
        """Tell whether deliveries can come and settlements can go."""
        return self.consume.connected and self.publish.connected

    async def open(self) -> None:
        """Return once all three stand, however long that takes."""
        for link in (self.consume, self.publish, self.control):
            await link.ready()

    async def stay(self) -> None:
        """Keep all three up, also while nobody uses them; runs until cancelled."""
        async with asyncio.TaskGroup() as staying:
            for link in (self.consume, self.publish, self.control):
                staying.create_task(link.stay())

    async def close(self) -> None:
        """Close all three for good."""
        for link in (self.consume, self.publish, self.control):
            await link.close()


def hush() -> None:
    """Silence the AMQP library's own logs.

    Some of their lines show a whole message, prompt and all. What an operator needs of them is told as
    `Trouble`.
    """
    for name in ("aiormq", "aio_pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
