"""A siege: wire poison among innocent messages, at a real worker, and an account of what became of each."""

import asyncio
import json
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import aiormq
from aiormq.abc import DeliveredMessage

from producer_sdk import CompletionClient, JobUnknown, Reply, WarrenError
from producer_sdk.wire import job_id
from tests.faults.poison import ASK, KINDS, REQUEST, Kind, ask, request
from tests.faults.rawamqp import RawClient
from tests.faults.stage import Stage, chat
from tests.faults.vhost import Vhost
from worker.core.model import State

_DUST_S: Final = 600
# Kinds between two groups of innocents, and how many are in such a group.
_CHUNK, _INNOCENTS = 12, 3
# Bytes of a message's properties that quarantine keeps.
_KEPT: Final = 64 * 1024
# A queue that gets what the worker's queues get.
_SPY: Final = "warren.spy"


@dataclass(slots=True, kw_only=True)
class Account:
    """What was sent and what came of it.

    `missing` is poison that is not in quarantine as it was sent, `intruders` is what lies there and is none;
    `lost` are harmless oddities that did not become jobs; `unheard` innocents that had no answer.
    """

    sent: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    innocents: int = 0
    set_aside: int = 0
    missing: list[str] = field(default_factory=list)
    intruders: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unheard: int = 0
    reconnects: int = 0
    unreasoned: int = 0
    secrets: int = 0


@dataclass(slots=True, kw_only=True)
class _Sent:
    """Poison by its body, which is its own, and harmless oddities by their job's id."""

    poison: dict[bytes, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)


async def besiege(stage: Stage, *, rounds: int, kinds: Sequence[Kind] = KINDS) -> Account:
    """Queue the poison as requests and as asks, innocents between, start a worker, and see what it makes of it."""
    account, sent = Account(), _Sent()
    await asyncio.to_thread(_spy, stage)
    async with stage.client("siege") as client:
        jobs, asks = [], []
        with RawClient(stage.vhost.url("producer")) as producer:
            for number, chunk in enumerate(_chunks(kinds, rounds)):
                await asyncio.to_thread(_publish, producer, chunk, sent, account)
                innocents = [chat(f"innocent {number} {n}") for n in range(_INNOCENTS)]
                jobs += await stage.submit(client, innocents)
                asks.append(asyncio.create_task(_is_unknown(client, f"{number:032x}")))
        worker = await stage.started()
        before = await asyncio.to_thread(connections, stage.vhost, "worker")
        heard = await stage.hear(jobs, _DUST_S)
        answers = await asyncio.gather(*asks)
        await _dust(stage)
    account.innocents = len(heard) + len(answers)
    account.unheard = sum(not isinstance(each, Reply) for each in heard)
    account.unheard += answers.count(False)
    account.reconnects = len(await asyncio.to_thread(connections, stage.vhost, "worker") ^ before)
    account.reconnects += worker.log.read_text(encoding="utf-8").count("connection lost")
    ended = {each.job_id for each in stage.ledger() if each.state is not State.OPEN}
    account.lost = [name for job, name in sent.jobs.items() if job not in ended]
    await _look(stage, sent, account)
    worker.process.terminate()
    assert await worker.ended() == 0
    return account


async def _is_unknown(client: CompletionClient, job: str) -> bool:
    """Ask for a job that there is not; give whether the answer is that."""
    try:
        await client.result(job, timeout=_DUST_S)
    except JobUnknown:
        return True
    except WarrenError:
        pass
    return False


def _spy(stage: Stage) -> None:
    vhost = stage.vhost
    vhost.api("PUT", f"queues/{vhost.name}/{_SPY}", {"durable": True, "arguments": {}})
    for key in ("standard.interactive", "ask"):
        path = f"bindings/{vhost.name}/e/warren.requests/q/{_SPY}"
        vhost.api("POST", path, {"routing_key": key})


def _chunks(kinds: Sequence[Kind], rounds: int) -> Iterator[list[tuple[str, Kind]]]:
    named = [
        (f"k{number}-r{turn}", kind) for turn in range(rounds) for number, kind in enumerate(kinds)
    ]
    for at in range(0, len(named), _CHUNK):
        yield named[at : at + _CHUNK]


def _publish(
    producer: RawClient, chunk: Iterable[tuple[str, Kind]], sent: _Sent, account: Account
) -> None:
    for name, kind in chunk:
        for sort, base in ((REQUEST, request), (ASK, ask)):
            called = f"{sort}: {kind.name}"
            if called in account.refused:  # as it would be again
                continue
            draft = kind.change(base(name))
            account.sent += 1
            said = producer.publish(draft)
            if said is not None:
                account.refused[called] = said
            elif sort in kind.to:
                sent.poison[draft.body] = called
            elif sort == REQUEST:
                sent.jobs[job_id("producer", name)] = kind.name


def connections(vhost: Vhost, user: str) -> set[str]:
    """Give the user's connections to the virtual host, by the broker's own names."""
    listed = vhost.broker.ctl("list_connections", "pid", "user", "vhost", "--formatter", "json")
    return {
        row["pid"]
        for row in json.loads(listed)
        if (row["user"], row["vhost"]) == (user, vhost.name)
    }


async def _dust(stage: Stage) -> None:
    """Wait until no job and no ask is in a queue or out."""

    def moving() -> bool:
        listed = stage.vhost.broker.ctl(
            "list_queues", "-p", stage.vhost.name, "name", "messages", "--formatter", "json"
        )
        return any(
            row["messages"]
            for row in json.loads(listed)
            if row["name"].startswith(("warren.jobs.", "warren.park.", "warren.asks"))
        )

    async with asyncio.timeout(_DUST_S):
        while await asyncio.to_thread(moving):  # noqa: ASYNC110  # only the broker knows
            await asyncio.sleep(0.2)


async def _look(stage: Stage, sent: _Sent, account: Account) -> None:
    """Take everything out of quarantine, and compare it with what the broker delivered.

    A broker may write a message's properties anew, in another order; the spy's queue had what the worker's had.
    """
    delivered: Counter[tuple[bytes, bytes]] = Counter()
    with RawClient(stage.vhost.url("admin")) as spy:
        while (message := await asyncio.to_thread(spy.fetch, _SPY)) is not None:
            payload, body = message
            delivered[payload[:_KEPT], body] += body in sent.poison
    found: Counter[tuple[bytes, bytes]] = Counter()
    reasons = {}
    for aside in await drained(stage, "warren.quarantine"):
        headers = aside.header.properties.headers or {}
        wire, reason = (
            b64decode(str(headers.get("x-warren-wire", ""))),
            headers.get("x-warren-reason"),
        )
        found[wire, aside.body] += 1
        reasons[aside.body] = str(reason)
        account.set_aside += 1
        account.unreasoned += not reason or "innocent" in str(reason)
    account.missing = [sent.poison[body] for _, body in delivered - found]
    account.missing += [name for body, name in sent.poison.items() if body not in reasons]
    account.intruders = [
        f"{sent.poison.get(body)}: {reasons[body]}: {wire[:400]!r}"
        for wire, body in found - delivered
    ]


async def drained(stage: Stage, queue: str) -> list[DeliveredMessage]:
    """Take all messages out of a queue, as the administrator."""
    connection = await aiormq.connect(stage.vhost.url("admin"))
    messages = []
    try:
        channel = await connection.channel()
        while (message := await channel.basic_get(queue, no_ack=True)).delivery_tag is not None:
            messages.append(message)
    finally:
        await connection.close()
    return messages
