"""How those who publish share a channel; the rest of the publisher is tested with a broker."""

import asyncio
from typing import Any, cast

import pytest

from producer_sdk.wire import Envelope
from worker.broker.publisher import CONFIRMED, Publisher
from worker.broker.trouble import Troubles
from worker.core.events import Event

MANY = 500
# Of the event loop, from the channel's opening to the last publish.
FEW_TURNS = 20


class Ear:
    def tell(self, event: Event) -> None:
        del event


class Channel:
    ended = False

    def __init__(self) -> None:
        self.connection = self
        self.blocked = False
        self.published = 0

    async def ready(self) -> None:
        pass

    def publish(self, *_: object) -> "asyncio.Future[bool]":
        self.published += 1
        stored = asyncio.get_running_loop().create_future()
        stored.set_result(True)
        return stored


class Link:
    """Opens a channel as soon as it is let, or fails."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.opened: list[Channel] = []
        self.failures = 0

    async def channel(self, *, confirms: bool) -> Channel:
        assert confirms
        await self.let.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionResetError("lost")
        self.opened.append(Channel())
        return self.opened[-1]


@pytest.fixture
async def link() -> Link:
    return Link()


@pytest.fixture
async def publisher(link: Link) -> Publisher:
    return Publisher(cast("Any", link), Troubles(Ear()))


def begun(publisher: Publisher, exchange: str = "x") -> "asyncio.Task[object]":
    envelope = Envelope(content_type="application/json", headers={})
    return asyncio.ensure_future(publisher.publish(exchange, "k", envelope, b""))


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_all_who_wait_for_a_channel_go_on_together(publisher: Publisher, link: Link) -> None:
    """One after the other in a turn each, thousands would wait longer than a publish may take."""
    publishing = [begun(publisher) for _ in range(MANY)]
    await turns(FEW_TURNS)
    link.let.set()
    await turns(FEW_TURNS)
    assert all(each.done() and each.result() is CONFIRMED for each in publishing)
    assert [channel.published for channel in link.opened] == [MANY]


async def test_each_exchange_has_a_channel_of_its_own(publisher: Publisher, link: Link) -> None:
    link.let.set()
    await asyncio.gather(begun(publisher, "x"), begun(publisher, "y"), begun(publisher, "x"))
    assert [channel.published for channel in link.opened] == [2, 1]


async def test_who_gives_up_while_the_channel_is_opened_stops_nobody(
    publisher: Publisher, link: Link
) -> None:
    first, *others = [begun(publisher) for _ in range(3)]
    await turns(FEW_TURNS)
    first.cancel()
    others.pop().cancel()
    await turns(FEW_TURNS)
    link.let.set()
    assert await asyncio.gather(*others) == [CONFIRMED]


async def test_where_the_channel_cannot_be_opened_the_next_who_waits_opens_it(
    publisher: Publisher, link: Link
) -> None:
    link.failures = 1
    publishing = [begun(publisher) for _ in range(3)]
    link.let.set()
    assert await asyncio.gather(*publishing) == [CONFIRMED] * 3
    assert len(link.opened) == 1
