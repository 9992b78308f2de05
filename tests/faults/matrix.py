"""The permission matrix: who may do what on the broker, written out by hand, and tried.

It is not computed from `worker/broker/rights.py`: it says what that file is for. A row is one operation and the
roles that may do it; every row is tried as every role.
"""

import json
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import aiormq
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed
from pamqp.commands import Basic

from tests.faults.vhost import Vhost

PRODUCER, STRANGER, WORKER, OPERATOR = "producer", "stranger", "worker", "operator"
ROLES: Final = (PRODUCER, STRANGER, WORKER, OPERATOR)
NOBODY: Final = ""
TENANTS: Final = f"{PRODUCER} {STRANGER}"

Try: TypeAlias = Callable[[AbstractChannel], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One operation, and who may do it."""

    what: str
    may: frozenset[str]
    attempt: Try


def _publish(may: str, exchange: str, key: str, *, user_id: str | None = None) -> Row:
    async def attempt(channel: AbstractChannel) -> None:
        properties = Basic.Properties(user_id=user_id)
        await channel.basic_publish(
            b"", exchange=exchange, routing_key=key, properties=properties, mandatory=False
        )

    claimed = f" as {user_id}" if user_id else ""
    return _row(may, f"publish to {exchange or 'the default exchange'}, {key}{claimed}", attempt)


def _get(may: str, queue: str) -> Row:
    return _row(may, f"read {queue}", lambda channel: channel.basic_get(queue))


def _consume(may: str, queue: str) -> Row:
    async def attempt(channel: AbstractChannel) -> None:
        async def ignore(_: object) -> None:
            pass

        await channel.basic_consume(queue, ignore)

    return _row(may, f"consume {queue}", attempt)


def _purge(may: str, queue: str) -> Row:
    return _row(may, f"purge {queue}", lambda channel: channel.queue_purge(queue))


def _declare(may: str, queue: str, **arguments: str | int) -> Row:
    what = f"declare queue {queue or 'of a name from the broker'} {arguments or ''}".rstrip()
    return _row(
        may,
        what,
        lambda channel: channel.queue_declare(queue, durable=True, arguments={**arguments}),
    )


def _delete(may: str, queue: str) -> Row:
    return _row(may, f"delete queue {queue}", lambda channel: channel.queue_delete(queue))


def _exchange(may: str, exchange: str, **arguments: str) -> Row:
    return _row(
        may,
        f"declare exchange {exchange} {arguments or ''}".rstrip(),
        lambda channel: channel.exchange_declare(
            exchange, exchange_type="topic", durable=True, arguments={**arguments}
        ),
    )


def _delete_exchange(may: str, exchange: str) -> Row:
    return _row(
        may, f"delete exchange {exchange}", lambda channel: channel.exchange_delete(exchange)
    )


def _bind(may: str, queue: str, exchange: str, key: str) -> Row:
    return _row(
        may,
        f"bind {queue} to {exchange} by {key}",
        lambda channel: channel.queue_bind(queue, exchange, key),
    )


def _unbind(may: str, queue: str, exchange: str, key: str) -> Row:
    return _row(
        may,
        f"unbind {queue} from {exchange} by {key}",
        lambda channel: channel.queue_unbind(queue, exchange, key),
    )


def _lead(may: str, source: str, to: str, key: str) -> Row:
    return _row(
        may,
        f"lead {source} into {to} by {key}",
        lambda channel: channel.exchange_bind(to, source, routing_key=key),
    )


def _row(may: str, what: str, attempt: Try) -> Row:
    return Row(what=what, may=frozenset(may.split()), attempt=attempt)


_JOBS, _BULK = "warren.jobs.standard.interactive", "warren.jobs.standard.bulk"
_MINE, _THEIRS = "warren.reply.producer.c", "warren.reply.stranger.c"

MATRIX: Final = (
    # Who says what to whom.
    _publish(TENANTS, "warren.requests", "standard.interactive"),
    _publish(TENANTS, "warren.requests", "ask"),
    _publish(PRODUCER, "warren.requests", "nowhere", user_id="producer"),
    _publish(STRANGER, "warren.requests", "nowhere", user_id="stranger"),
    _publish(NOBODY, "warren.requests", "nowhere", user_id="admin"),
    _publish(WORKER, "warren.replies", "producer.c"),
    _publish(WORKER, "warren.park", "2s.standard.interactive"),
    _publish(WORKER, "warren.dead", "standard"),
    _publish(WORKER, "warren.dead", "quarantine"),
    _publish(OPERATOR, "warren.replay", "standard.interactive"),
    _publish(OPERATOR, "warren.control", "ask"),
    _publish(NOBODY, "warren.return", "2s.standard.interactive"),
    _publish(NOBODY, "", _JOBS),
    _publish(NOBODY, "", "warren.asks"),
    _publish(NOBODY, "", "warren.quarantine"),
    _publish(NOBODY, "", _MINE),
    _publish(NOBODY, "amq.direct", "x"),
    _publish(NOBODY, "amq.topic", "x"),
    # Who takes what.
    _consume(WORKER, _JOBS),
    _consume(WORKER, _BULK),
    _consume(WORKER, "warren.asks"),
    _get(OPERATOR, "warren.dead.standard"),
    _get(OPERATOR, "warren.quarantine"),
    _get(NOBODY, "warren.park.2s"),
    _get(PRODUCER, _MINE),
    _consume(STRANGER, _THEIRS),
    # To read is to purge: AMQP knows no difference.
    _purge(WORKER, _JOBS),
    _purge(WORKER, "warren.asks"),
    _purge(OPERATOR, "warren.dead.standard"),
    _purge(OPERATOR, "warren.quarantine"),
    _purge(NOBODY, "warren.park.2s"),
    _purge(PRODUCER, _MINE),
    # Who makes what: tenants their callback queues, and nobody else anything.
    _declare(PRODUCER, "warren.reply.producer.new"),
    _declare(STRANGER, "warren.reply.stranger.new"),
    _declare(NOBODY, "warren.reply.producers.new"),
    _declare(NOBODY, "warren.reply.worker.new"),
    _declare(NOBODY, "warren.control.worker.new"),
    _declare(NOBODY, "warren.jobs.standard.new"),
    _declare(NOBODY, _BULK),
    _declare(NOBODY, ""),
    _declare(NOBODY, "warren.reply.producer.d", **{"x-dead-letter-exchange": "warren.return"}),
    _declare(NOBODY, "warren.reply.producer.d", **{"x-dead-letter-exchange": "warren.replay"}),
    _declare(NOBODY, "warren.reply.producer.d", **{"x-dead-letter-exchange": "warren.dead"}),
    _declare(NOBODY, "warren.reply.producer.d", **{"x-dead-letter-exchange": "warren.replies"}),
    # It may write there anyway, and no dead-lettering makes a sender of it that it is not.
    _declare(PRODUCER, "warren.reply.producer.r", **{"x-dead-letter-exchange": "warren.requests"}),
    # The pattern of its queues gives a tenant exchanges as well; what comes through them, no worker believes.
    _exchange(PRODUCER, "warren.reply.producer.x"),
    _exchange(NOBODY, "warren.reply.producer.y", **{"alternate-exchange": "warren.return"}),
    _exchange(NOBODY, "warren.replies"),
    _exchange(NOBODY, "warren.return"),
    _exchange(NOBODY, "warren.new"),
    # Who hears whom.
    _bind(PRODUCER, _MINE, "warren.replies", "producer.c"),
    _bind(PRODUCER, _MINE, "warren.replies", "producer.#"),
    _bind(NOBODY, _MINE, "warren.replies", "stranger.c"),
    _bind(NOBODY, _MINE, "warren.replies", "producerx.c"),
    _bind(NOBODY, _MINE, "warren.replies", "*.c"),
    _bind(NOBODY, _MINE, "warren.replies", "#"),
    _bind(STRANGER, _THEIRS, "warren.replies", "stranger.c"),
    _bind(NOBODY, _THEIRS, "warren.replies", "producer.c"),
    _bind(NOBODY, _MINE, "warren.requests", "standard.interactive"),
    _bind(NOBODY, _MINE, "warren.return", "#"),
    _bind(NOBODY, _MINE, "warren.replay", "standard.interactive"),
    _bind(NOBODY, _MINE, "warren.dead", "standard"),
    _bind(NOBODY, _MINE, "warren.control", "#"),
    _bind(NOBODY, _JOBS, "warren.replies", "producer.c"),
    _bind(NOBODY, _JOBS, "warren.return", "#"),
    _unbind(NOBODY, _JOBS, "warren.requests", "standard.interactive"),
    _unbind(NOBODY, "warren.asks", "warren.requests", "ask"),
    _unbind(NOBODY, _THEIRS, "warren.replies", "producer.c"),
    _lead(PRODUCER, "warren.reply.producer.x", "warren.requests", "#"),
    _lead(PRODUCER, "warren.replies", "warren.requests", "producer.c"),
    _lead(NOBODY, "warren.replies", "warren.requests", "#"),
    _lead(NOBODY, "warren.reply.producer.x", "warren.return", "#"),
    _lead(NOBODY, "warren.reply.producer.x", "warren.replay", "#"),
    _lead(NOBODY, "warren.reply.producer.x", "warren.replies", "#"),
    _lead(NOBODY, "warren.reply.producer.x", "warren.control", "#"),
    _lead(NOBODY, "warren.requests", "warren.reply.producer.x", "standard.interactive"),
    # Who unmakes what; the last rows, since what is allowed is done.
    _delete(NOBODY, _JOBS),
    _delete(NOBODY, "warren.asks"),
    _delete(NOBODY, "warren.dead.standard"),
    _delete(NOBODY, "warren.quarantine"),
    _delete(NOBODY, "warren.park.2s"),
    _delete_exchange(NOBODY, "warren.requests"),
    _delete_exchange(NOBODY, "warren.return"),
    _delete_exchange(NOBODY, "warren.replies"),
    _delete(STRANGER, _THEIRS),
    _delete(PRODUCER, _MINE),
)


async def violations(vhost: Vhost) -> tuple[int, list[str]]:
    """Try every row as every role; give how many checks that were, and in which the broker differs.

    Refusals are 403, or 406 where a message names another user than its sender.
    """
    vhost.add_tenant(STRANGER)
    for name in (_MINE, _THEIRS):
        vhost.api("PUT", f"queues/{vhost.name}/{name}", {"durable": True})
    found = []
    connections = {role: await aiormq.connect(vhost.url(role)) for role in ROLES}
    try:
        for row in MATRIX:
            # Who may not goes first: what is allowed may take away what is tried.
            for role in sorted(ROLES, key=row.may.__contains__):
                channel = await connections[role].channel()
                try:
                    await row.attempt(channel)
                except (ChannelAccessRefused, ChannelPreconditionFailed):
                    may = False
                else:
                    may = True
                    await channel.close()
                if may != (role in row.may):
                    found.append(f"{role} {'may' if may else 'may not'} {row.what}")
    finally:
        for connection in connections.values():
            await connection.close()
    found += [f"{role} may ask the API for {path}" for role, path in _asked(vhost)]
    return (len(MATRIX) + len(_PATHS)) * len(ROLES), found


_PATHS: Final = ("users", "permissions", "definitions", "queues")
_MONITORS: Final = {(OPERATOR, "queues")}


def _asked(vhost: Vhost) -> list[tuple[str, str]]:
    """Ask the management API as every role; give what it told to whom it should not have."""
    told = []
    for role in ROLES:
        token = b64encode(f"{role}:{vhost.passwords[role]}".encode()).decode()
        for path in _PATHS:
            request = urllib.request.Request(
                f"http://127.0.0.1:{vhost.broker.http_port}/api/{path}",
                headers={"authorization": f"Basic {token}"},
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    json.loads(answer.read())
            except urllib.error.HTTPError:
                continue
            if (role, path) not in _MONITORS:
                told.append((role, path))
    return told
