"""What passes the AMQP library by, and what of the library it counts on."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import pamqp.frame
import pytest
import pytest_asyncio
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel as LibraryChannel
from aiormq.exceptions import (
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    DeliveryError,
)
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Confirm, Connection
from pamqp.frame import FrameTypes
from pamqp.header import ContentHeader
from yarl import URL

from producer_sdk.tolerance import WIRE
from producer_sdk.wire import Envelope
from worker.broker.address import is_loss
from worker.broker.channels import DirectChannel, DirectConnection, Message

NUMBER = 3
SAID = Envelope(headers={"x-warren-version": 1}, correlation_id="c")


class Socket:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.writes = 0
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.writes += 1
        self.written += b"".join(pieces)


class Wire:
    """A channel, with the test as its broker."""

    def __init__(self) -> None:
        self.connection = DirectConnection(
            URL("amqp://u:p@localhost:1/v"), context=None, client_properties={}
        )
        self.connection.server_properties = {"capabilities": {"publisher_confirms": True}}
        self.connection.connection_tune = Connection.Tune(10, 4096, 0)
        self.socket = Socket()
        self.connection._transport.socket = cast("asyncio.WriteTransport", self.socket)
        self.channel = DirectChannel(self.connection, NUMBER, confirms=True)
        self.connection.channels[NUMBER] = self.channel

    def comes(self, *frames: FrameTypes, number: int = NUMBER) -> list[bool]:
        """Let frames come; tell of each whether it was taken."""
        taken = []
        for frame in frames:
            raw = pamqp.frame.marshal(frame, number)
            taken.append(self.connection.takers[number](raw[0], raw[7:-1]))
        return taken

    def written(self) -> list[Any]:
        """Give what was written to the socket, with what this turn still has to write."""
        self.connection.flush()
        raw, frames = self.socket.written, []
        while raw:
            used, number, frame = pamqp.frame.unmarshal(raw)
            assert number == NUMBER
            frames.append(frame)
            raw = raw[used:]
        return frames

    def publish(self, key: str = "k") -> "asyncio.Future[bool]":
        return self.channel.publish("e", key, SAID, b"body")

    def queued(self) -> list[ChannelFrame]:
        """Give what the library has to write."""
        queue, found = self.connection.write_queue, []
        while not queue.empty():
            found.append(queue.get_nowait())
        return found


async def turns() -> None:
    """Let the library's tasks do what they can."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest_asyncio.fixture
async def wire(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wire]:
    monkeypatch.setattr(DirectConnection, "is_opened", True)
    wire = Wire()
    yield wire
    wire.channel._close_locally()
    await asyncio.sleep(0)


async def test_a_publish_is_written_and_stored_when_the_broker_says_so(wire: Wire) -> None:
    one, two = wire.publish("one"), wire.publish("two")
    method, header, body, again, *_ = wire.written()
    assert (method.exchange, method.routing_key, method.mandatory) == ("e", "one", True)
    assert (header.body_size, header.properties.correlation_id) == (4, "c")
    assert (body.value, again.routing_key) == (b"body", "two")
    assert wire.comes(Basic.Ack(1)) == [True]
    assert await one
    assert not two.done()


async def test_a_confirm_may_be_for_many(wire: Wire) -> None:
    one, two, three, four = (wire.publish() for _ in range(4))
    wire.comes(Basic.Ack(2), Basic.Ack(3, multiple=True))
    assert [one.done(), two.done(), three.done(), four.done()] == [True, True, True, False]
    wire.comes(Basic.Nack(4, multiple=True))
    with pytest.raises(DeliveryError):
        await four
    wire.comes(Basic.Ack(9), Basic.Ack(4, multiple=True))  # of nothing that is waited for


async def test_what_no_queue_takes_is_returned_before_its_ack(wire: Wire) -> None:
    one, two = wire.publish(), wire.publish()
    header = wire.written()[4]
    returned = Basic.Return(312, "NO_ROUTE", "e", "k")
    assert wire.comes(returned, header, ContentBody(b"bo"), ContentBody(b"dy")) == [True] * 4
    assert not one.done()
    assert not await two
    wire.comes(Basic.Ack(2, multiple=True))
    assert await one


async def test_a_return_is_known_whatever_the_broker_added_to_it(wire: Wire) -> None:
    one = wire.publish()
    header = wire.written()[1]
    header.properties.headers["x-added"] = [{"by": "the broker"}]
    wire.comes(Basic.Return(312, "NO_ROUTE", "e", "k"), header, ContentBody(b"body"), Basic.Ack(1))
    assert await one is False


@pytest.mark.parametrize("message_id", [None, "", "a-1", "zz"])
async def test_a_return_of_a_message_that_is_not_known_changes_nothing(
    wire: Wire, message_id: str | None
) -> None:
    one = wire.publish()
    strange = ContentHeader(properties=Basic.Properties(message_id=message_id))
    wire.comes(Basic.Return(312, "NO_ROUTE", "e", "k"), strange, Basic.Ack(1))
    assert await one


async def test_who_gives_up_a_publish_harms_no_other(wire: Wire) -> None:
    one, two = wire.publish(), wire.publish()
    one.cancel()
    wire.comes(Basic.Ack(2, multiple=True))
    assert await two


async def test_a_body_is_cut_as_the_connection_wants_it(wire: Wire) -> None:
    wire.channel.publish("e", "k", SAID, b"x" * 10_000)
    sizes = [len(frame.value) for frame in wire.written() if isinstance(frame, ContentBody)]
    assert sizes == [4088, 4088, 1824]


async def test_a_channel_that_ends_fails_what_waits_with_its_reason(wire: Wire) -> None:
    one = wire.publish()
    library = cast("Any", wire.channel)
    close = Channel.Close(404, "NOT_FOUND - no exchange 'e'", 60, 40)
    assert wire.comes(close) == [False]
    await library.frames.put((0, close))
    with pytest.raises(ChannelNotFoundEntity, match="no exchange 'e'"):
        await one


async def test_a_channel_that_is_given_up_fails_what_waits_as_lost(wire: Wire) -> None:
    one = wire.publish()
    wire.channel._close_locally()
    with pytest.raises(ConnectionResetError) as caught:
        await one
    assert is_loss(caught.value)


async def test_nothing_is_written_from_the_moment_that_the_broker_closes_the_channel(
    wire: Wire,
) -> None:
    wire.comes(Channel.Close(406, "PRECONDITION_FAILED", 0, 0))
    assert wire.channel.ended
    assert not wire.channel.is_closed  # the library has not heard of it yet
    for act in (wire.publish, lambda: wire.channel.ack(1)):
        with pytest.raises(ChannelInvalidStateError):
            act()
    assert wire.socket.written == b""


async def test_nothing_is_written_from_the_moment_that_the_library_closes_the_channel(
    wire: Wire,
) -> None:
    closing = asyncio.ensure_future(wire.channel.close())
    await turns()
    queued = wire.queued()
    assert b"".join(frame.payload for frame in queued) == pamqp.frame.marshal(
        Channel.Close(200, "", 0, 0), NUMBER
    )
    assert wire.channel.ended
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)


async def test_nothing_is_written_from_the_moment_that_a_call_is_given_up(wire: Wire) -> None:
    """The library closes the channel then."""
    opening = asyncio.ensure_future(wire.channel.open())
    for answer in (Channel.OpenOk(), Confirm.SelectOk()):
        await cast("Any", wire.channel).frames.put((0, answer))
    await opening
    calling = asyncio.ensure_future(wire.channel.basic_qos(prefetch_count=1))
    await turns()
    assert len(wire.queued()) == 3
    before = wire.channel.ended
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    (closed,) = wire.queued()
    assert isinstance(pamqp.frame.unmarshal(closed.payload)[2], Channel.Close)
    assert [before, wire.channel.ended] == [False, True]


async def test_on_a_socket_that_is_closed_nothing_is_written_nor_counted(wire: Wire) -> None:
    wire.socket.closing = True
    for act in (wire.publish, lambda: wire.channel.ack(1)):
        with pytest.raises(ConnectionResetError):
            act()
    wire.socket.closing = False
    stored = wire.publish()
    wire.comes(Basic.Ack(1))
    assert await stored


async def test_an_ack_is_of_one_delivery(wire: Wire) -> None:
    wire.channel.ack(7)
    (ack,) = wire.written()
    assert (ack.delivery_tag, ack.multiple) == (7, False)


async def test_what_one_turn_writes_goes_out_together_when_it_ends(wire: Wire) -> None:
    for _ in range(2):
        before = wire.socket.writes
        wire.publish()
        wire.channel.ack(1)
        wire.publish()
        assert wire.socket.writes == before
        await asyncio.sleep(0)
        assert wire.socket.writes == before + 1
    await asyncio.sleep(0)
    assert wire.socket.writes == 2
    assert len(wire.written()) == 2 * (3 + 1 + 3)


async def test_what_was_written_before_a_close_is_read_goes_out_before_the_library_answers(
    wire: Wire,
) -> None:
    wire.channel.ack(1)
    wire.comes(Channel.Close(406, "PRECONDITION_FAILED", 0, 0))
    assert wire.socket.writes == 1


async def test_what_was_written_before_the_library_closes_goes_out_before_that(wire: Wire) -> None:
    wire.channel.ack(1)
    close = ChannelFrame.marshall(channel_number=NUMBER, frames=[Channel.Close(200, "", 0, 0)])
    wire.channel.write_queue.put_nowait(close)
    assert wire.socket.writes == 1


async def test_what_waits_for_the_end_of_a_turn_is_lost_with_the_socket(wire: Wire) -> None:
    stored = wire.publish()
    wire.socket.closing = True
    await asyncio.sleep(0)
    assert wire.socket.writes == 0
    wire.channel._close_locally()
    with pytest.raises(ConnectionResetError):
        await stored


def content(tag: int, *bodies: bytes, **properties: object) -> list[FrameTypes]:
    size = sum(map(len, bodies))
    return [
        Basic.Deliver("c", tag, exchange="e", routing_key="k"),
        ContentHeader(body_size=size, properties=Basic.Properties(**cast("Any", properties))),
        *map(ContentBody, bodies),
    ]


async def consumed(wire: Wire, taken: list[Message], *before: FrameTypes) -> None:
    """Consume; let some frames come before the library has said that the consumer stands."""
    consuming = asyncio.ensure_future(wire.channel.consume("q", taken.append))
    await turns()
    wire.comes(*before)
    assert taken == []
    await cast("Any", wire.channel).frames.put((0, Basic.ConsumeOk("c")))
    assert await consuming == "c"


async def test_deliveries_are_handed_over_in_their_order_with_all_of_their_body(wire: Wire) -> None:
    taken: list[Message] = []
    await consumed(wire, taken, *content(1, b"one"), *content(2))
    assert [message.tag for message in taken] == [1, 2]
    wire.comes(*content(3, b"th", b"re", b"e", user_id="u", priority=4, headers={"a": "b"}))
    assert [message.body for message in taken] == [b"one", b"", b"three"]
    incoming = taken[-1].incoming()
    assert (incoming.exchange, incoming.user_id, incoming.priority) == ("e", "u", 4)
    assert dict(incoming.headers) == {"a": "b"}


async def test_a_delivery_that_is_unusual_is_decoded_by_the_library(wire: Wire) -> None:
    taken: list[Message] = []
    await consumed(wire, taken)
    wire.comes(*content(1, headers={"x-death": [{"queue": "q"}]}, correlation_id="c"))
    incoming = taken[0].incoming()
    assert incoming.headers["x-death"] == [{"queue": "q"}]
    assert (incoming.correlation_id, incoming.exchange) == ("c", "e")
    assert WIRE in incoming.headers


async def test_all_of_a_delivery_can_be_had(wire: Wire) -> None:
    taken: list[Message] = []
    await consumed(wire, taken)
    wire.comes(*content(1, b"body", headers={"a": 1}))
    message = taken[0].decoded()
    assert (message.delivery_tag, message.exchange, message.routing_key) == (1, "e", "k")
    assert set(message.header.properties.headers or {}) == {"a", WIRE}


async def test_what_was_fetched_is_the_librarys(wire: Wire) -> None:
    found = Basic.GetOk(1, exchange="e", routing_key="k", message_count=0)
    _, header, body = content(1, b"body")
    assert wire.comes(found, header, body) == [False, False, False]


async def test_a_channel_that_has_ended_hands_nothing_over(wire: Wire) -> None:
    taken: list[Message] = []
    await consumed(wire, taken)
    wire.channel._end()
    assert wire.comes(*content(1, b"body")) == [True, True, True]
    assert taken == []


async def test_an_alarm_is_noted_and_shown_to_the_library(wire: Wire) -> None:
    assert not wire.connection.blocked
    assert wire.comes(Connection.Blocked("memory"), number=0) == [False]
    blocked = [wire.connection.blocked]
    assert wire.comes(Connection.Unblocked(), number=0) == [False]
    assert [*blocked, wire.connection.blocked] == [True, False]


async def test_no_name_of_ours_is_one_of_the_librarys(wire: Wire) -> None:
    theirs = LibraryChannel(wire.connection, 9)
    others = {*dir(LibraryChannel), *vars(theirs)}
    ours = {*vars(DirectChannel), *vars(wire.channel)} - {*vars(theirs), "_abc_impl"}
    assert not {name for name in ours & others if not name.startswith("__")}
    assert {"_take", "_tag", "_unconfirmed", "_method", "ended"} <= ours
    theirs._close_locally()
    await turns()
