import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import aiormq
import pamqp.header
import pytest
import pytest_asyncio

from tests.faults.vhost import Vhost
from tests.integration.house import BODY, KEY, QUEUE, TIERS, House, open_house, open_worker, until
from worker.broker.delivery import BrokerDelivery
from worker.broker.topology import topology
from worker.core.events import Quarantined, TierPaused, TierResumed, Trouble
from worker.core.lanes import Cause

pytestmark = pytest.mark.broker


@pytest_asyncio.fixture
async def house(vhost: Vhost) -> AsyncIterator[House]:
    async with open_house(vhost) as opened:
        yield opened


async def submit(house: House, count: int, *, prefix: str = "s") -> set[str]:
    names = {f"{prefix}{number}" for number in range(count)}
    await asyncio.gather(*(house.submit(name) for name in names))
    return names


async def test_when_the_connection_is_cut_every_held_delivery_is_gone_and_comes_again(
    house: House,
) -> None:
    async with open_worker(house, concurrency=100) as worker:
        names = await submit(house, 100)
        held = [*await worker.desk.wait_for(100)]
        gone = [asyncio.create_task(delivery.gone()) for delivery in held]
        assert await asyncio.to_thread(house.admin.close_connections, "worker")
        await asyncio.wait_for(asyncio.gather(*gone), 10)
        again = (await worker.desk.wait_for(200))[100:]
        assert {delivery.job.submission.id for delivery in again} == names
        for delivery in (*held, *again):
            await delivery.ack()
        await house.submit("late")
        (late,) = (await worker.desk.wait_for(201))[200:]
        await late.ack()
        assert worker.intake.consuming
    assert await house.count(QUEUE) == 0


async def test_a_broker_restart_is_survived(
    vhost: Vhost, restart_broker: Callable[[], object]
) -> None:
    async with open_house(vhost) as house, open_worker(house) as worker:
        await submit(house, 3)
        held = [*await worker.desk.wait_for(3)]
        await asyncio.to_thread(restart_broker)
        await asyncio.gather(*(asyncio.wait_for(delivery.gone(), 20) for delivery in held))
        again = (await worker.desk.wait_for(6))[3:]
        for delivery in again:
            await delivery.ack()
        assert await house.count(QUEUE) == 0


async def test_a_deleted_queue_is_told_and_consumed_again_once_it_is_back(house: House) -> None:
    async with open_worker(house) as worker:
        await house.submit("before")
        await worker.desk.wait_for(1)
        await house.api("DELETE", f"queues/{{v}}/{QUEUE}")
        await worker.ears.until(
            lambda: any(trouble.about == QUEUE for trouble in worker.ears.of(Trouble))
        )
        assert not worker.intake.consuming
        await asyncio.to_thread(house.admin.apply, topology(TIERS))
        await house.submit("after")
        (_, after) = await worker.desk.wait_for(2)
        await after.ack()


async def test_after_quiet_nothing_more_is_handed_over_and_what_is_held_can_be_settled(
    house: House,
) -> None:
    async with open_worker(house, concurrency=2) as worker:
        await submit(house, 5)
        held = [*await worker.desk.wait_for(2)]
        await worker.intake.quiet()
        assert not worker.intake.consuming
        for delivery in held:
            await delivery.ack()
        worker.intake.resume()
        assert await house.count(QUEUE) == 3
        assert len(worker.desk.taken) == 2


async def test_quiet_ends_while_the_queue_is_missing(house: House) -> None:
    await house.api("DELETE", f"queues/{{v}}/{QUEUE}")
    async with open_worker(house) as worker:
        await worker.ears.until(lambda: bool(worker.ears.of(Trouble)))
        await asyncio.wait_for(worker.intake.quiet(), 10)


async def test_a_paused_intake_takes_nothing_until_it_is_resumed(house: House) -> None:
    async with open_worker(house) as worker:
        await house.submit("one")
        (one,) = await worker.desk.wait_for(1)
        worker.intake.pause(None, "window")
        await until(lambda: not worker.intake.consuming)
        await house.submit("two")
        await one.ack()
        assert await house.count(QUEUE) == 1
        worker.intake.resume()
        _, two = await worker.desk.wait_for(2)
        await two.ack()
        (paused,), (_,) = worker.ears.of(TierPaused), worker.ears.of(TierResumed)
        assert (paused.reason, paused.seconds) == ("window", None)


async def test_a_pause_of_some_length_ends_by_itself(house: House) -> None:
    async with open_worker(house) as worker:
        worker.intake.pause(timedelta(seconds=0.2), "limit")
        await house.submit("one")
        await worker.desk.wait_for(1)
        assert worker.ears.of(TierResumed)


async def test_two_causes_of_a_pause_do_not_cancel_each_other(house: House) -> None:
    async with open_worker(house) as worker:
        intake = worker.intake
        intake.pause(None, "an operator's", Cause.LANE)
        intake.pause(None, "the store's", Cause.STORE)
        intake.pause(timedelta(seconds=0.05), "the endpoints'", Cause.ENDPOINTS)
        await until(lambda: not intake.consuming)
        await house.submit("one")
        await worker.ears.until(lambda: bool(worker.ears.of(TierResumed)))
        assert not intake.paused_by(Cause.ENDPOINTS)
        intake.resume(Cause.STORE)
        intake.resume(Cause.STORE)  # once more changes nothing
        assert intake.paused
        await asyncio.sleep(0.2)
        assert not worker.desk.taken
        intake.resume(Cause.LANE)
        await worker.desk.wait_for(1)
        told = [(event.cause, event.paused) for event in worker.ears.of(TierResumed)]
        assert told == [(Cause.ENDPOINTS, True), (Cause.STORE, True), (Cause.LANE, False)]


async def test_a_paused_intake_stays_paused_over_a_lost_connection(house: House) -> None:
    async with open_worker(house) as worker:
        await house.submit("one")
        await worker.desk.wait_for(1)
        worker.intake.pause(None, "window")
        await until(lambda: not worker.intake.consuming)
        await asyncio.to_thread(house.admin.close_connections, "worker")
        await worker.ears.until(lambda: bool(worker.ears.of(Trouble)))
        await worker.connections.consume.ready()
        await house.submit("two")
        assert await house.count(QUEUE) == 2
        worker.intake.resume()
        await worker.desk.wait_for(3)


def by_name(deliveries: list[BrokerDelivery]) -> list[str]:
    return [delivery.job.submission.id for delivery in deliveries]


async def test_a_rationed_lane_takes_the_next_message_only_when_the_one_before_needs_no_permit(
    house: House,
) -> None:
    async with open_worker(house, concurrency=3) as worker:
        worker.intake.shape(concurrency=3, rationed=True)
        await submit(house, 5)
        (one,) = await worker.desk.wait_for(1)
        assert worker.intake.consuming
        await asyncio.sleep(0.2)
        assert len(worker.desk.taken) == 1
        assert await house.count(QUEUE) == 4
        one.let_next()
        (_, two) = await worker.desk.wait_for(2)
        await two.ack()
        (*_, three) = await worker.desk.wait_for(3)
        three.let_next()
        (*_, four) = await worker.desk.wait_for(4)
        four.let_next()
        await asyncio.sleep(0.2)
        assert await house.count(QUEUE) == 1  # one, three and four are out: no room for more
        await one.ack()
        await worker.desk.wait_for(5)


async def test_a_rationed_lane_finds_what_comes_into_its_empty_queue(house: House) -> None:
    async with open_worker(house) as worker:
        worker.intake.shape(concurrency=3, rationed=True)
        await until(lambda: worker.intake.consuming)
        await house.submit("late")
        assert by_name(await worker.desk.wait_for(1)) == ["late"]


async def test_a_rationed_lane_leaves_the_priorities_to_the_broker(house: House) -> None:
    async with open_worker(house) as worker:
        worker.intake.pause(None, "not yet")
        worker.intake.shape(concurrency=3, rationed=True)
        await submit(house, 3, prefix="low")
        await house.submit("high", properties={"priority": 7})
        worker.intake.resume()
        assert by_name(await worker.desk.wait_for(1)) == ["high"]


async def test_a_lane_changes_its_shape_while_it_runs(house: House) -> None:
    async with open_worker(house, concurrency=1) as worker:
        await submit(house, 6)
        (one,) = await worker.desk.wait_for(1)
        worker.intake.shape(concurrency=2, rationed=False)
        await worker.desk.wait_for(3)  # one for the consumer that was, two for the one that is
        worker.intake.shape(concurrency=4, rationed=True)
        for delivery in worker.desk.taken:
            await delivery.ack()
        for number in range(4, 7):  # some may still come to the consumer before it is cancelled
            for delivery in await worker.desk.wait_for(number):
                delivery.let_next()
        assert len(set(by_name(worker.desk.taken))) == 6
        assert one.job.id


async def test_what_cannot_be_read_does_not_stop_a_rationed_lane(house: House) -> None:
    async with open_worker(house) as worker:
        worker.intake.shape(concurrency=1, rationed=True)
        await house.submit("bad", headers={"x-warren-version": 2})
        await house.submit("good")
        assert by_name(await worker.desk.wait_for(1)) == ["good"]


async def test_a_rationed_lane_goes_on_after_a_lost_connection_and_is_quiet_when_told(
    house: House,
) -> None:
    async with open_worker(house) as worker:
        worker.intake.shape(concurrency=3, rationed=True)
        await submit(house, 3)
        (one,) = await worker.desk.wait_for(1)
        await asyncio.to_thread(house.admin.close_connections, "worker")
        await asyncio.wait_for(one.gone(), 10)
        again = (await worker.desk.wait_for(2))[1]
        again.let_next()
        await worker.desk.wait_for(3)
        await worker.intake.quiet()
        await asyncio.sleep(0.7)
        assert len(worker.desk.taken) == 3


UNREADABLE: list[tuple[str, dict[str, Any]]] = [
    ("no user_id", {"properties": {"user_id": None}}),
    ("no version", {"headers": {"x-warren-version": None}}),
    ("another version", {"headers": {"x-warren-version": 2}}),
    ("a version of another type", {"headers": {"x-warren-version": "1"}}),
    ("a boolean version", {"headers": {"x-warren-version": True}}),
    ("an unknown path", {"headers": {"x-warren-path": "/v1/files"}}),
    ("a path of another type", {"headers": {"x-warren-path": {"a": 1}}}),
    ("a deadline in words", {"headers": {"x-warren-deadline": "soon"}}),
    ("a deadline beyond all years", {"headers": {"x-warren-deadline": 2**62}}),
    ("a negative deadline", {"headers": {"x-warren-deadline": -1}}),
    ("an empty key", {"headers": {"x-warren-key": ""}}),
    ("a key of bytes that are no text", {"headers": {"x-warren-key": bytearray(b"\xff")}}),
    ("another tenant's reply route", {"properties": {"reply_to": "victim.client"}}),
    ("no correlation id", {"properties": {"correlation_id": None}}),
    ("a strange correlation id", {"properties": {"correlation_id": "a b"}}),
    ("a priority out of range", {"properties": {"priority": 200}}),
]


@pytest.mark.parametrize("prefetch", [1, 64])
async def test_unreadable_messages_are_set_aside_alone(house: House, prefetch: int) -> None:
    async with open_worker(house, concurrency=prefetch) as worker:
        for number, (_, parts) in enumerate(UNREADABLE):
            await house.submit(f"bad{number}", **parts)
            await house.submit(f"good{number}")
        good = []
        for number in range(len(UNREADABLE)):
            good.append((await worker.desk.wait_for(number + 1))[number])
            await good[-1].ack()
        await worker.ears.until(lambda: len(worker.ears.of(Quarantined)) == len(UNREADABLE))
        assert {delivery.job.submission.id for delivery in good} == {
            f"good{number}" for number in range(len(UNREADABLE))
        }
    assert await house.count(QUEUE) == 0
    assert await house.count("warren.quarantine") == len(UNREADABLE)
    message = await house.get("warren.quarantine")
    headers = message.header.properties.headers or {}
    assert message.body == BODY
    assert headers["x-warren-reason"] == "no user_id: the tenant is not known"
    assert json.loads(str(headers["x-warren-original"]))["correlation_id"] == "bad0"


def shortstr(raw: bytes) -> bytes:
    return bytes([len(raw)]) + raw


def table(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


def nested(depth: int) -> bytes:
    value = table(b"")
    for _ in range(depth):
        value = table(shortstr(b"a") + b"F" + value)
    return value


# Flags and properties that the broker accepts and passes on, and that the library cannot decode.
POISON = {
    "a timestamp of 2^63": struct.pack(">H", 1 << 6) + struct.pack(">Q", 2**63),
    "a timestamp of 2^64-1": struct.pack(">H", 1 << 6) + b"\xff" * 8,
    "a header timestamp of 2^63": struct.pack(">H", 1 << 13)
    + table(shortstr(b"t") + b"T" + struct.pack(">Q", 2**63)),
    "a correlation id that is not UTF-8": struct.pack(">H", 1 << 10) + shortstr(b"\xff\xfe"),
    "a reply_to that is not UTF-8": struct.pack(">H", 1 << 9) + shortstr(b"\xc3"),
    "a header key that is not UTF-8": struct.pack(">H", 1 << 13)
    + table(shortstr(b"\xff") + b"S" + table(b"x")),
    "a table nested 20 deep": struct.pack(">H", 1 << 13) + nested(20),
    "a table nested 600 deep": struct.pack(">H", 1 << 13) + nested(600),
}


async def publish_raw(house: House, properties: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish properties as they are, past the library's encoder."""
    connection = await aiormq.connect(house.vhost.url("producer"))

    def marshal(self: pamqp.header.ContentHeader) -> bytes:
        return struct.pack(">HxxQ", 60, self.body_size) + properties

    try:
        channel = await connection.channel(on_return_raises=False)
        with monkeypatch.context() as patch:
            patch.setattr(pamqp.header.ContentHeader, "marshal", marshal)
            await channel.basic_publish(BODY, exchange="warren.requests", routing_key=KEY)
    finally:
        await connection.close()


@pytest.mark.parametrize("prefetch", [1, 64])
async def test_messages_that_the_library_cannot_decode_cost_neither_connection_nor_neighbours(
    house: House, prefetch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, raw in enumerate(POISON.values()):
        await publish_raw(house, raw, monkeypatch)
        await house.submit(f"good{number}")
    async with open_worker(house, concurrency=prefetch) as worker:
        for number in range(len(POISON)):
            await (await worker.desk.wait_for(number + 1))[number].ack()
        await worker.ears.until(lambda: len(worker.ears.of(Quarantined)) == len(POISON))
        assert worker.ears.of(Trouble) == []
    assert await house.count(QUEUE) == 0
    assert await house.count("warren.quarantine") == len(POISON)


async def test_a_memory_alarm_stops_publishing_and_nothing_else(house: House) -> None:
    ctl = house.vhost.broker.ctl
    async with open_worker(house, publish_timeout=timedelta(seconds=0.3)) as worker:
        await submit(house, 2)
        one, two = await worker.desk.wait_for(2)
        await one.publish_parked(one.job, timedelta(seconds=1))
        await asyncio.to_thread(ctl, "set_vm_memory_high_watermark", "0.00001")
        try:
            publishing = asyncio.create_task(two.publish_parked(two.job, timedelta(seconds=1)))
            await one.ack()
            await two.ack()
            await worker.ears.until(
                lambda: any("no answer in time" in event.error for event in worker.ears.of(Trouble))
            )
            assert not publishing.done()
        finally:
            await asyncio.to_thread(ctl, "set_vm_memory_high_watermark", "absolute", "1GB")
        await asyncio.wait_for(publishing, 20)
        await worker.desk.wait_for(4)
