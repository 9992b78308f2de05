"""The broker's inside, in memory: exchanges, queues and bindings as the project's own topology names them.

Queues keep their order within a priority and give what comes back its old place. A parking queue lets go at its
head alone, through its dead-letter exchange, with the key that the message came with. Every confirmed message
is stored for good: a restart loses connections, not messages.
"""

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pamqp.commands import Basic

from producer_sdk.wire import REPLIES_EXCHANGE, REPLY_QUEUE_PREFIX
from tests.simulation.journal import Heard, Journal
from tests.simulation.loop import SimulatedLoop
from worker.broker import names
from worker.broker.topology import topology

_TOPOLOGY: Final = topology(["small"], tenants=("acme", "bolt"))
_KINDS: Final = {exchange.name: exchange.kind for exchange in _TOPOLOGY.exchanges}


@dataclass(slots=True, eq=False, kw_only=True)
class Message:
    """A stored message. `expires`: when it leaves a queue that it waits in; the loop's seconds."""

    exchange: str
    key: str
    properties: Basic.Properties
    body: bytes
    place: tuple[int, int] = (0, 0)
    expires: float | None = None
    redelivered: bool = False

    def __lt__(self, other: "Message") -> bool:
        return self.place < other.place


class Consumer(Protocol):
    """Whoever takes messages off a queue."""

    def has_room(self) -> bool: ...
    def deliver(self, queue: "Queue", message: Message) -> None: ...


class Queue:
    """One queue; `unsettled` counts what is out with consumers."""

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        self.name = name
        self.ttl_s = arguments.get("x-message-ttl", 0) / 1000
        self.dead_to: str | None = arguments.get("x-dead-letter-exchange")
        self.ranked = "x-max-priority" in arguments
        self.ready: list[Message] = []
        self.unsettled = 0
        self.consumers: list[Consumer] = []
        self.turn = 0


class Broker:
    """All queues of one virtual host."""

    def __init__(self, loop: SimulatedLoop, journal: Journal) -> None:
        self.up = True
        self.loop = loop
        self.journal = journal
        self.queues = {
            queue.name: Queue(queue.name, dict(queue.arguments)) for queue in _TOPOLOGY.queues
        }
        self._bindings: dict[str, list[tuple[str, Queue]]] = {name: [] for name in _KINDS}
        for binding in _TOPOLOGY.bindings:
            self._bindings[binding.source].append((binding.key, self.queues[binding.queue]))
        self._routes: dict[tuple[str, str], list[Queue]] = {}
        self._number = 0
        self._working = [
            queue
            for name, queue in self.queues.items()
            if name != names.QUARANTINE_QUEUE and not name.startswith("warren.dead.")
        ]

    def start(self) -> None:
        """Be up."""
        self.up = True

    def bind_replies(self, route: str) -> None:
        """Make a client's callback queue."""
        queue = Queue(REPLY_QUEUE_PREFIX + route, {})
        self._bindings[REPLIES_EXCHANGE].append((route, queue))

    @property
    def busy(self) -> int:
        """How many messages wait, or are worked on, in queues that end empty."""
        return sum(len(queue.ready) + queue.unsettled for queue in self._working)

    def publish(self, exchange: str, key: str, properties: Basic.Properties, body: bytes) -> bool:
        """Store a message in every queue that it is routed to; tell whether there is one."""
        route = (exchange, key)
        queues = self._routes.get(route)
        if queues is None:
            matches = _MATCHES[_KINDS[exchange]]
            queues = [each for bound, each in self._bindings[exchange] if matches(bound, key)]
            self._routes[route] = queues
        for queue in queues:
            self._store(
                queue, Message(exchange=exchange, key=key, properties=properties, body=body)
            )
        return bool(queues)

    def put_back(self, queue: Queue, message: Message) -> None:
        """Let a message that was out be delivered again, at its old place."""
        queue.unsettled -= 1
        message.redelivered = True
        bisect.insort(queue.ready, message)
        self.dispatch(queue)

    def dispatch(self, queue: Queue) -> None:
        """Hand out what is ready to who has room, in turn."""
        while queue.ready and queue.consumers and self.up:
            count = len(queue.consumers)
            for offset in range(count):
                consumer = queue.consumers[(queue.turn + offset) % count]
                if consumer.has_room():
                    queue.turn += offset + 1
                    message = queue.ready.pop(0)
                    queue.unsettled += 1
                    consumer.deliver(queue, message)
                    break
            else:
                return

    def _store(self, queue: Queue, message: Message) -> None:
        if queue.name.startswith(REPLY_QUEUE_PREFIX):
            self._hear(message)
            return
        self._number += 1
        priority = min(message.properties.priority or 0, 10) if queue.ranked else 0
        message.place = (-priority, self._number)
        if queue.ttl_s:
            own = message.properties.expiration
            ttl = queue.ttl_s if own is None else min(queue.ttl_s, int(own) / 1000)
            message.expires = self.loop.time() + ttl
        bisect.insort(queue.ready, message)
        if message.expires is not None:
            self.loop.call_at(message.expires, self._expire, queue, context=self.loop.world)
        self.dispatch(queue)

    def _expire(self, queue: Queue) -> None:
        """Let go what has expired at the head; what expired behind another message waits for that."""
        while queue.ready and (queue.ready[0].expires or 0) <= self.loop.time():
            message = queue.ready.pop(0)
            self.journal.tell("broker", f"{queue.name} returns {message.properties.correlation_id}")
            if queue.dead_to is not None:
                self.publish(queue.dead_to, message.key, message.properties, message.body)

    def _hear(self, message: Message) -> None:
        headers: dict[str, Any] = message.properties.headers or {}
        heard = Heard(
            route=message.key,
            submission=message.properties.correlation_id or "",
            job_id=str(headers["x-warren-job"]),
            run=int(headers["x-warren-run"]),
            status=str(headers["x-warren-status"]),
            source=str(headers["x-warren-source"]),
            body=message.body,
        )
        self.journal.heard.append(heard)
        self.journal.tell("client", f"{heard.submission} hears {heard.status}, run {heard.run}")


def _equal(bound: str, key: str) -> bool:
    return bound == key


def _topic(bound: str, key: str) -> bool:
    """Match the patterns that the topology has: words, `*` for one, and `#` at the end for the rest."""
    pattern, words = bound.split("."), key.split(".")
    if pattern[-1] == "#":
        pattern = pattern[:-1]
        words = words[: len(pattern)]
    return len(pattern) == len(words) and all(
        ours in {"*", theirs} for ours, theirs in zip(pattern, words, strict=True)
    )


_MATCHES: Final[dict[str, Callable[[str, str], bool]]] = {"direct": _equal, "topic": _topic}
