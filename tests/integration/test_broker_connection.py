import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from yarl import URL

from tests.faults.vhost import Vhost
from tests.integration.house import Ears, House, open_house
from worker.broker.address import Address
from worker.broker.connection import Connections, Link
from worker.broker.trouble import Troubles
from worker.core.events import Trouble
from worker.errors import BrokerUnavailable

pytestmark = pytest.mark.broker


@pytest_asyncio.fixture
async def house(vhost: Vhost) -> AsyncIterator[House]:
    async with open_house(vhost) as opened:
        yield opened


def link(url: URL | str, ears: Ears | None = None) -> Link:
    address = Address.parse(str(url))
    return Link(address, purpose="test", troubles=Troubles(ears or Ears()))


async def refusal(url: URL | str) -> str:
    refused = link(url)
    with pytest.raises(BrokerUnavailable) as caught:
        await refused.connect()
    await refused.close()
    return str(caught.value)


async def test_a_refusal_says_what_to_do(house: House) -> None:
    url = URL(house.vhost.url("worker"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = await refusal(url.with_port(unused.getsockname()[1]))
    assert "nobody listens" in nobody
    assert "password; check" in await refusal(url.with_password("canary"))
    assert "virtual host does not exist" in await refusal(url.with_path("/nowhere"))
    assert "port is the one for TLS" in await refusal(url.with_scheme("amqps"))


async def test_no_password_stands_in_any_text(house: House) -> None:
    url = URL(house.vhost.url("worker")).with_password("canary")
    for wrong in (url, url.with_path("/nowhere"), url.with_port(1), url.with_scheme("amqps")):
        assert "canary" not in await refusal(wrong)


async def test_a_connection_that_cannot_be_made_is_told_and_tried_until_it_can(
    house: House,
) -> None:
    ears = Ears()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    waiting = link(URL(house.vhost.url("worker")).with_port(port), ears)
    ready = asyncio.create_task(waiting.ready())
    await ears.until(lambda: bool(ears.of(Trouble)))
    assert "nobody listens" in ears.of(Trouble)[0].error
    assert not ready.done()
    listener.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", house.vhost.broker.amqp_port)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, back), copy(there, writer))

    async with await asyncio.start_server(pass_on, "127.0.0.1", port):
        await asyncio.wait_for(ready, 20)
        assert waiting.connected
        await waiting.close()
    assert not waiting.connected


async def test_a_closed_link_is_not_made_again(house: House) -> None:
    closed = link(house.vhost.url("worker"))
    await closed.connect()
    await closed.close()
    with pytest.raises(BrokerUnavailable, match="for good"):
        await closed.ready()


async def test_many_who_want_a_connection_share_one(house: House) -> None:
    shared = link(house.vhost.url("worker"))
    made = await asyncio.gather(*(shared.ready() for _ in range(20)))
    assert len(set(map(id, made))) == 1
    await shared.close()


async def test_the_three_connections_have_names_for_operators(house: House) -> None:
    connections = Connections.to(house.address(), troubles=Troubles(Ears()))
    await connections.open()
    listed = await asyncio.to_thread(
        house.vhost.broker.ctl, "list_connections", "vhost", "client_properties"
    )
    mine = [line for line in listed.splitlines() if line.startswith(house.vhost.name)]
    for purpose in ("consume", "publish", "control"):
        assert sum(f"warren worker, {purpose}" in line for line in mine) == 1
    await connections.close()


async def test_connections_that_nobody_uses_are_made_again_when_they_are_lost(
    house: House,
) -> None:
    ears = Ears()
    connections = Connections.to(house.address(), troubles=Troubles(ears))
    staying = asyncio.create_task(connections.stay())
    async with asyncio.timeout(30):
        await connections.open()
        await asyncio.to_thread(house.admin.close_connections, "worker")
        await ears.until(lambda: len(ears.of(Trouble)) == 3)
        while not (connections.connected and connections.control.connected):  # noqa: ASYNC110  # no event tells
            await asyncio.sleep(0.05)
    staying.cancel()
    await asyncio.wait({staying})
    await connections.close()


async def test_who_waits_to_write_on_a_connection_that_dies_is_released(house: House) -> None:
    lost = link(house.vhost.url("worker"))
    channel = await lost.channel(confirms=False)
    writers = [asyncio.create_task(channel.basic_ack(99_999)) for _ in range(500)]
    await asyncio.to_thread(house.admin.close_connections, "worker")
    done, pending = await asyncio.wait(writers, timeout=20)
    assert not pending
    await asyncio.gather(*done, return_exceptions=True)
    await lost.close()
