"""How a link ends when its broker does not do its part."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pamqp.frame
import pytest
import pytest_asyncio
from pamqp.commands import Basic, Channel, Confirm, Connection
from pamqp.common import FieldTable
from pamqp.frame import FrameTypes

from producer_sdk.tolerance import HEAD
from producer_sdk.wire import Envelope
from worker.broker import connection as module
from worker.broker.address import LOST, Address
from worker.broker.connection import Link
from worker.broker.publisher import CONFIRMED, Publisher
from worker.broker.trouble import Troubles
from worker.core.events import Event

# More than what the sockets on both ends hold.
MUCH = bytes(32 * 1024 * 1024)
SAID = Envelope(headers={"x-warren-version": 1}, correlation_id="c")
_CAPABILITIES: FieldTable = {"capabilities": {"publisher_confirms": True}}


class Broker:
    """Opens connections and channels, and confirms whatever is published, until it is `deaf`."""

    def __init__(self) -> None:
        self.deaf = False
        self.writers: list[asyncio.StreamWriter] = []
        self.confirmed = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        await reader.readexactly(8)
        self.say(Connection.Start(server_properties=_CAPABILITIES))
        tag = 0
        while True:
            try:
                head = await reader.readexactly(HEAD.size)
                rest = await reader.readexactly(HEAD.unpack(head)[2] + 1)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            if self.deaf:
                return
            _, number, frame = pamqp.frame.unmarshal(head + rest)
            match frame:
                case Connection.StartOk():
                    self.say(Connection.Tune(10, 131_072, 60))
                case Connection.Open():
                    self.say(Connection.OpenOk())
                case Connection.Close():
                    self.say(Connection.CloseOk())
                case Channel.Open():
                    self.say(Channel.OpenOk(), number)
                case Confirm.Select():
                    self.say(Confirm.SelectOk(), number)
                case Basic.Publish():
                    tag += 1
                    self.confirmed += 1
                    self.say(Basic.Ack(tag), number)
                case _:
                    pass

    def say(self, frame: FrameTypes, number: int = 0) -> None:
        """Send a frame to whoever connected last."""
        self.writers[-1].write(pamqp.frame.marshal(frame, number))


class Ears:
    def tell(self, event: Event) -> None:
        """Hear nothing."""


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest_asyncio.fixture
async def link(broker: Broker) -> AsyncIterator[Link]:
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    address = Address.parse(f"amqp://u:p@127.0.0.1:{port}/v")
    link = Link(address, purpose="test", troubles=Troubles(Ears()), reconnect_s=0.01)
    yield link
    await link.close()
    server.close()
    for writer in broker.writers:
        writer.transport.abort()
    await asyncio.sleep(0.01)


async def test_who_waits_for_an_alarms_end_is_released_by_the_connections(
    broker: Broker, link: Link
) -> None:
    publisher = Publisher(link, Troubles(Ears()), timeout=timedelta(seconds=60))
    assert await publisher.publish("e", "k", SAID, b"") == CONFIRMED
    connection = await link.ready()
    broker.say(Connection.Blocked("memory"))
    await asyncio.sleep(0.05)
    assert connection.blocked
    waiting = asyncio.create_task(publisher.publish("e", "k", SAID, b""))
    await asyncio.sleep(0.05)
    assert broker.confirmed == 1
    broker.writers[-1].transport.abort()
    async with asyncio.timeout(10):
        assert await waiting == CONFIRMED


async def test_a_broker_that_reads_no_more_does_not_hold_up_the_end(
    broker: Broker, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CLOSE_TIMEOUT_S", 0.1)
    channel = await link.channel(confirms=True)
    broker.deaf = True
    waiting = channel.publish("e", "k", SAID, MUCH)
    async with asyncio.timeout(10):
        await link.close()
        with pytest.raises(LOST):
            await waiting
