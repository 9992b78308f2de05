"""The simulated broker keeps the order and the places that RabbitMQ keeps."""

import asyncio
from random import Random

import pytest
from pamqp.commands import Basic

from tests.simulation.journal import Journal
from tests.simulation.loop import SimulatedLoop
from tests.simulation.queues import Broker, Message, Queue

JOBS = "warren.jobs.small.interactive"


class Taker:
    def __init__(self, room: int = 1) -> None:
        self.room = room
        self.taken: list[Message] = []

    def has_room(self) -> bool:
        return len(self.taken) < self.room

    def deliver(self, queue: Queue, message: Message) -> None:
        assert queue.name == JOBS
        self.taken.append(message)


def broker() -> Broker:
    loop = SimulatedLoop(Random(1), latest=10_000)  # noqa: S311  # chance that can be repeated
    return Broker(loop, Journal(loop))


def publish(broker: Broker, name: str, priority: int) -> None:
    properties = Basic.Properties(correlation_id=name, priority=priority)
    assert broker.publish("warren.requests", "small.interactive", properties, b"")


def names(messages: list[Message]) -> list[str | None]:
    return [message.properties.correlation_id for message in messages]


def test_a_higher_priority_goes_first_and_equals_keep_their_order() -> None:
    one = broker()
    for name, priority in (("a", 4), ("b", 1), ("c", 7), ("d", 4), ("e", 7)):
        publish(one, name, priority)
    assert names(one.queues[JOBS].ready) == ["c", "e", "a", "d", "b"]


def test_what_comes_back_has_its_old_place_and_says_so() -> None:
    one, taker = broker(), Taker()
    publish(one, "a", 4)
    publish(one, "b", 4)
    queue = one.queues[JOBS]
    queue.consumers.append(taker)
    one.dispatch(queue)
    assert names(taker.taken) == ["a"]
    queue.consumers.clear()
    one.put_back(queue, taker.taken[0])
    assert names(queue.ready) == ["a", "b"]
    assert queue.ready[0].redelivered


def test_two_consumers_take_turns() -> None:
    one, takers = broker(), [Taker(2), Taker(2)]
    queue = one.queues[JOBS]
    queue.consumers += takers
    for name in "abcd":
        publish(one, name, 4)
    assert [names(taker.taken) for taker in takers] == [["a", "c"], ["b", "d"]]


def test_a_parked_copy_comes_back_after_its_time_through_the_return_exchange() -> None:
    one = broker()

    async def park() -> tuple[int, float, Message]:
        properties = Basic.Properties(correlation_id="a", priority=7, expiration="1700")
        assert one.publish("warren.park", "2s.small.interactive", properties, b"")
        began, waiting = one.loop.time(), len(one.queues[JOBS].ready)
        await asyncio.sleep(1.69)
        early = len(one.queues[JOBS].ready)
        await asyncio.sleep(0.02)
        return waiting + early, one.loop.time() - began, one.queues[JOBS].ready[0]

    waiting, took, message = one.loop.run(park())
    assert waiting == 0
    assert took == pytest.approx(1.71)
    assert message.exchange == "warren.return"


def test_a_shorter_wait_behind_a_longer_one_waits_for_it() -> None:
    one = broker()

    async def park() -> tuple[list[str | None], list[str | None]]:
        for name, milliseconds in (("long", "2000"), ("short", "1600")):
            properties = Basic.Properties(correlation_id=name, expiration=milliseconds)
            one.publish("warren.park", "2s.small.interactive", properties, b"")
        await asyncio.sleep(1.9)
        before = names(one.queues[JOBS].ready)
        await asyncio.sleep(0.2)
        return before, names(one.queues[JOBS].ready)

    assert one.loop.run(park()) == ([], ["long", "short"])


def test_a_key_that_no_queue_is_bound_to_is_returned() -> None:
    assert not broker().publish("warren.replies", "acme.gone", Basic.Properties(), b"")
