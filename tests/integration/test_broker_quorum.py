"""The topology of quorum queues on one node, and a broker that several hosts are named for."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiormq
import pytest
import pytest_asyncio
from aiormq.abc import DeliveredMessage
from click.testing import CliRunner
from yarl import URL

from producer_sdk import AccessRefused, CompletionClient, InvalidSetting, Request
from producer_sdk.wire import reply_queue
from stack.broker import Broker
from tests.faults.vhost import Vhost, open_vhost
from tests.integration.house import (
    BODY,
    QUEUE,
    TIERS,
    Ears,
    House,
    open_house,
    open_worker,
)
from worker.broker.address import Address
from worker.broker.connection import Link
from worker.broker.queues import Priorities, priorities
from worker.broker.topology import topology
from worker.broker.trouble import Troubles
from worker.cli.commands import warren
from worker.core.model import next_generation
from worker.errors import BrokerUnavailable

pytestmark = pytest.mark.broker

REQUEST = Request.chat(tier="standard", model="m", messages=[{"role": "user", "content": "hi"}])
# More than the limit that RabbitMQ has by default from 4.0 on.
MANY_CUTS = 22


@pytest.fixture
def quorum(broker: Broker, passwords: dict[str, str]) -> Iterator[Vhost]:
    with open_vhost(broker, passwords, queue_type="quorum") as made:
        yield made


@pytest_asyncio.fixture
async def house(quorum: Vhost) -> AsyncIterator[House]:
    async with open_house(quorum) as opened:
        yield opened


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port where nobody listens, and nobody else can."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


def also_at(url: str, port: int) -> str:
    """Name one more host, before the one that is named."""
    user, _, host = urlsplit(url).netloc.rpartition("@")
    return urlsplit(url)._replace(netloc=f"{user}@127.0.0.1:{port},{host}").geturl()


async def test_the_committed_definitions_make_what_is_wanted(house: House) -> None:
    wanted = topology(TIERS, queue_type="quorum")
    assert await asyncio.to_thread(house.admin.check, wanted) == []


async def test_a_classic_topology_differs_from_it_in_the_types_of_the_queues(house: House) -> None:
    found = await asyncio.to_thread(house.admin.check, topology(TIERS))
    assert {each.kind for each in found} == {"queues"}
    assert all("x-queue-type is 'quorum' instead of 'classic'" in each.problem for each in found)


async def test_a_parked_copy_comes_back_to_its_queue(house: House) -> None:
    async with open_worker(house) as worker:
        await house.submit("parked")
        (delivery,) = await worker.desk.wait_for(1)
        parked = next_generation(delivery.job, not_before=datetime.now(UTC))
        await delivery.publish_parked(parked, timedelta(milliseconds=300))
        await delivery.ack()
        _, back = await worker.desk.wait_for(2)
        assert (back.job.id, back.job.generation) == (parked.id, parked.generation)
        await back.ack()


async def test_no_number_of_cut_connections_sets_a_job_aside(house: House) -> None:
    await house.submit("often-cut")
    for _ in range(MANY_CUTS):
        connection = await aiormq.connect(house.vhost.url("worker"))
        channel = await connection.channel()
        come: asyncio.Future[DeliveredMessage] = asyncio.get_running_loop().create_future()

        async def take(
            message: DeliveredMessage, come: "asyncio.Future[DeliveredMessage]" = come
        ) -> None:
            come.set_result(message)

        await channel.basic_consume(QUEUE, take)
        async with asyncio.timeout(20):
            await come
        await connection.close()
    message = await house.get(QUEUE)
    assert message.header.properties.correlation_id == "often-cut"


async def test_the_priorities_are_what_the_version_promises(house: House) -> None:
    for number in (1, 4, 7, 1, 4, 7):
        await house.submit(str(number), properties={"priority": number})
    order = [(await house.get(QUEUE)).header.properties.priority for _ in range(6)]
    match priorities("quorum", house.vhost.broker.version):
        case Priorities.STRICT:
            assert order == [7, 7, 4, 4, 1, 1]
        case Priorities.HIGH_FIRST:
            assert order == [7, 7, 1, 4, 1, 4]
        case Priorities.NONE:
            assert order == [1, 4, 7, 1, 4, 7]


async def test_apply_makes_what_is_missing_unless_quorum_queues_have_no_priorities(
    house: House, tmp_path: Path
) -> None:
    config = tmp_path / "warren.toml"
    config.write_text(
        f'[broker]\nurl = "{house.vhost.url("worker")}"\nqueue_type = "quorum"\n[endpoints.main]\n'
        'base_url = "https://api.example/v1"\n'
        + "".join(f'[tiers.{tier}]\nendpoints = ["main"]\n' for tier in TIERS)
    )
    await house.api("DELETE", "queues/{v}/warren.dead.budget")
    arguments = ["topology", "apply", "--config", str(config)]
    arguments += ["--management-url", house.vhost.management]
    result = await asyncio.to_thread(CliRunner().invoke, warren, arguments)
    match priorities("quorum", house.vhost.broker.version):
        case Priorities.NONE:
            assert result.exit_code == 1
            assert "gives quorum queues no priorities" in result.stderr
        case Priorities.HIGH_FIRST:
            assert result.exit_code == 0
            assert "only priority high stands out" in result.stderr
        case Priorities.STRICT:
            assert result.exit_code == 0
            assert not result.stderr


async def test_a_rationed_lane_takes_the_next_message_only_when_the_one_before_needs_no_permit(
    house: House,
) -> None:
    async with open_worker(house) as worker:
        worker.intake.shape(concurrency=3, rationed=True)
        for number in range(3):
            await house.submit(f"rationed-{number}")
        for number in range(3):
            taken = await worker.desk.wait_for(number + 1)
            assert len(taken) == number + 1
            taken[number].let_next()
        for delivery in taken:
            await delivery.ack()


async def reply_queues(vhost: Vhost) -> dict[str, Any]:
    listed = await asyncio.to_thread(vhost.api, "GET", f"queues/{vhost.name}")
    assert isinstance(listed, list)
    return {row["name"]: row for row in listed if row["name"].startswith("warren.reply.")}


async def test_a_client_finds_the_node_that_lives_and_keeps_its_replies_on_several(
    house: House, dead_port: int
) -> None:
    url = also_at(house.vhost.url("producer"), dead_port)
    for _ in range(3):  # it begins with any
        async with CompletionClient(url, name="roaming") as client:
            await client.submit_request(REQUEST)
    found = (await reply_queues(house.vhost))[reply_queue("producer", "roaming")]
    assert found["type"] == "quorum"
    assert found["arguments"]["x-expires"] == timedelta(days=7) // timedelta(milliseconds=1)
    assert await house.count(QUEUE) == 3
    with pytest.raises(InvalidSetting, match="reply_queue_type"):
        await CompletionClient(url, name="roaming", reply_queue_type="classic").open()


async def test_what_a_living_node_refuses_is_told_rather_than_that_another_is_dead(
    house: House, dead_port: int
) -> None:
    url = URL(house.vhost.url("producer")).with_password("canary")
    for _ in range(3):
        with pytest.raises(AccessRefused, match="its password") as caught:
            await CompletionClient(also_at(str(url), dead_port)).open()
        assert "canary" not in str(caught.value)


async def test_a_client_whose_connections_are_cut_goes_on_where_a_node_lives(
    house: House, dead_port: int
) -> None:
    async with CompletionClient(also_at(house.vhost.url("producer"), dead_port)) as client:
        for _ in range(2):
            assert await asyncio.to_thread(house.admin.close_connections, "producer")
            await client.submit_request(REQUEST)
    assert await house.count(QUEUE) == 2


async def test_a_worker_finds_the_node_that_lives(house: House, dead_port: int) -> None:
    address = Address.parse(also_at(house.vhost.url("worker"), dead_port))
    for _ in range(3):
        link = Link(address, purpose="test", troubles=Troubles(Ears()))
        await link.connect()
        assert link.connected
        await link.close()


async def test_when_no_node_lives_each_is_named(house: House, dead_port: int) -> None:
    url = house.vhost.url("worker").replace(str(house.vhost.broker.amqp_port), str(dead_port))
    link = Link(Address.parse(also_at(url, 1)), purpose="test", troubles=Troubles(Ears()))
    with pytest.raises(BrokerUnavailable, match="nobody listens") as caught:
        await link.connect()
    assert all(f"127.0.0.1:{port}" in str(caught.value) for port in (1, dead_port))
    await link.close()


async def test_a_worker_may_hold_a_delivery_as_long_as_it_says(house: House) -> None:
    async with open_worker(house, hold=timedelta(hours=2)) as worker:
        await house.submit("held")
        (delivery,) = await worker.desk.wait_for(1)
        await delivery.ack()
        assert delivery.job.body == BODY
