"""Forging: what two tenants would gain by headers that are not theirs to write; it should be nothing.

`producer` has a completed job, a dead one and a running one. It forges its own jobs' standing; `stranger`, beside
it, tries to be it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import aiormq

from producer_sdk import CompletionClient, Job, JobError, JobUnknown, Reply
from producer_sdk.wire import job_id
from tests.faults.poison import FORGED, ask, request, text
from tests.faults.rawamqp import Draft, RawClient, short
from tests.faults.siege import drained
from tests.faults.stage import Stage, chat
from worker.core.letters import Explanation
from worker.core.model import State

_VICTIM, _STRANGER = "producer", "stranger"
_DONE, _DEAD, _OPEN = "done", "dead", "open"
_OWN_EXCHANGE: Final = b"warren.reply.stranger.x"
_WAIT_S: Final = 60

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(slots=True, kw_only=True)
class Forgery:
    """How many forgeries were tried, and each that anybody believed."""

    tried: int = 0
    believed: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Scene:
    stage: Stage
    heard: dict[str, dict[str, Reply | JobError]] = field(
        default_factory=lambda: {_VICTIM: {}, _STRANGER: {}}
    )
    sent: dict[str, dict[str, str]] = field(default_factory=lambda: {_VICTIM: {}, _STRANGER: {}})
    asked: set[str] = field(default_factory=set)
    aside: int = 0
    jobs: dict[str, Job] = field(default_factory=dict)
    answers: dict[str, Reply | JobError] = field(default_factory=dict)

    def client(self, tenant: str) -> CompletionClient:
        async def hear(said: Reply | JobError) -> None:
            self.heard[tenant][said.submission_id or ""] = said

        return CompletionClient(self.stage.vhost.url(tenant), name="forger", on_unclaimed=hear)


async def forge(stage: Stage, *, rounds: int = 1) -> Forgery:
    """Try every forged header, alone and all together, at a running worker."""
    await asyncio.to_thread(stage.vhost.add_tenant, _STRANGER)
    scene = _Scene(stage=stage)
    async with (
        stage.client("victim") as victim,
        scene.client(_VICTIM),
        scene.client(_STRANGER),
        aiormq.connect(stage.vhost.url(_STRANGER)) as connection,
    ):
        channel = await connection.channel()
        own = _OWN_EXCHANGE.decode()
        await channel.exchange_declare(own, exchange_type="topic", durable=True)
        await channel.exchange_bind("warren.requests", own, routing_key="#")
        for key, plan in ((_DONE, None), (_DEAD, "400!"), (_OPEN, "slow(8)")):
            wanted = chat(key, plan=plan, idempotency_key=key, dedupe="cache")
            (scene.jobs[key],) = await stage.submit(victim, [wanted])
        for key in (_DONE, _DEAD):
            (scene.answers[key],) = await stage.hear([scene.jobs[key]], _WAIT_S)
        await asyncio.to_thread(_send, scene, rounds)
        (scene.answers[_OPEN],) = await stage.hear([scene.jobs[_OPEN]], _WAIT_S)
        await _heard(scene)
        await stage.settled(_WAIT_S)
    forgery = Forgery(tried=sum(len(each) for each in scene.sent.values()) + scene.aside)
    forgery.tried += len(scene.asked)
    forgery.believed += [*_replies(scene), *_answers(scene), *_records(scene)]
    aside = len(await drained(stage, "warren.quarantine"))
    if aside != scene.aside:
        forgery.believed.append(f"{scene.aside} to be set aside, {aside} were")
    return forgery


def _send(scene: _Scene, rounds: int) -> None:
    every: list[Headers] = [[one] for one in FORGED]
    every.append(list({name: (name, value) for name, value in FORGED}.values()))
    clients = {tenant: RawClient(scene.stage.vhost.url(tenant)) for tenant in scene.sent}
    with clients[_VICTIM], clients[_STRANGER]:
        for turn in range(rounds):
            for number, headers in enumerate(every):
                name = f"{turn}-{number}"
                for tenant, key in (
                    (_VICTIM, f"fresh-{name}"),
                    (_VICTIM, _DONE),
                    (_VICTIM, _DEAD),
                    (_STRANGER, _DONE),
                    (_STRANGER, _OPEN),
                ):
                    draft = _submission(f"{name}-{key}", tenant, key, headers)
                    assert clients[tenant].publish(draft) is None
                    scene.sent[tenant][f"{name}-{key}"] = job_id(tenant, key)
                for draft in _asks(name, scene, headers):
                    assert clients[_STRANGER].publish(draft) is None
                for draft in _misled(name, headers):
                    assert clients[_STRANGER].publish(draft) is None
                    scene.aside += 1


def _submission(name: str, tenant: str, key: str, headers: Headers) -> Draft:
    plan = {_DEAD: "400!", _OPEN: "slow(8)"}.get(key)
    made = chat(key, plan=plan).submission(name, reply_to=None, now=datetime.now(UTC))
    draft = request(name, user=tenant).header(b"x-warren-key", text(key.encode()))
    draft = draft.header(b"x-warren-dedupe", text(b"cache"))
    return _forged(draft, headers, body=made.body, reply_to=f"{tenant}.forger")


def _asks(name: str, scene: _Scene, headers: Headers) -> Iterator[Draft]:
    """Ask for the victim's jobs by their ids."""
    for verb in ("result", "cancel"):
        for key, job in scene.jobs.items():
            draft = ask(f"{name}-{verb}-{key}", user=_STRANGER)
            draft = draft.header(b"x-warren-ask", text(verb.encode()))
            others = [each for each in headers if each[0] != b"x-warren-job"]
            draft = draft.header(b"x-warren-job", text(job.id.encode()))
            scene.asked.add(f"{name}-{verb}-{key}")
            yield _forged(draft, others, body=b"", reply_to=f"{_STRANGER}.forger")


def _misled(name: str, headers: Headers) -> Iterator[Draft]:
    """Send the victim a reply, and come through exchanges from which nobody is believed."""
    good = _submission(f"{name}-route", _STRANGER, f"route-{name}", headers)
    yield good.having(reply_to=short(f"{_VICTIM}.forger".encode()))
    standing = _submission(f"{name}-exchange", _STRANGER, _DEAD, headers)
    for mark, value in (
        (b"x-warren-tenant", text(_VICTIM.encode())),
        (b"x-warren-run", b"l" + (2).to_bytes(8, "big")),
        (b"x-warren-generation", b"l" + (0).to_bytes(8, "big")),
    ):
        standing = standing.header(mark, value)
    yield replace(standing, exchange=_OWN_EXCHANGE)


def _forged(draft: Draft, headers: Headers, *, body: bytes, reply_to: str) -> Draft:
    for name, value in headers:
        draft = draft.header(name, value)
    return replace(draft.having(reply_to=short(reply_to.encode())), body=body)


async def _heard(scene: _Scene) -> None:
    wanted = {
        _VICTIM: scene.sent[_VICTIM].keys(),
        _STRANGER: scene.sent[_STRANGER].keys() | scene.asked,
    }
    with suppress(TimeoutError):  # what is missing then is told
        async with asyncio.timeout(_WAIT_S):
            while any(wanted[tenant] - scene.heard[tenant].keys() for tenant in wanted):  # noqa: ASYNC110  # the other side is another process
                await asyncio.sleep(0.05)


def _replies(scene: _Scene) -> Iterator[str]:
    """Tell of everything that somebody heard and should not have."""
    if not isinstance(scene.answers[_OPEN], Reply):
        yield "the running job was called off"
    for tenant, heard in scene.heard.items():
        for name in heard.keys() - scene.sent[tenant].keys() - scene.asked:
            yield f"{tenant} heard of {name}"
    for name in scene.heard[_VICTIM].keys() & scene.asked:
        yield f"the victim heard the stranger's ask {name}"
    for name in scene.asked:
        if not isinstance(scene.heard[_STRANGER].get(name), JobUnknown):
            yield f"the stranger's ask {name} was told something"


def _answers(scene: _Scene) -> Iterator[str]:
    """Tell of every submission that was answered as another, or otherwise than its job was."""
    done, dead = scene.answers[_DONE], scene.jobs[_DEAD].id
    assert isinstance(done, Reply)
    for tenant, sent in scene.sent.items():
        for name, job in sent.items():
            said = scene.heard[tenant].get(name)
            if said is None:
                yield f"{tenant}'s {name} was not answered"
                continue
            if said.job_id != job or said.run != 1:
                yield f"{tenant}'s {name} became job {said.job_id}, run {said.run}"
            if isinstance(said, Reply) == (job == dead):
                yield f"{tenant}'s {name} ended as {type(said).__name__}"
            if job == done.job_id and isinstance(said, Reply) and said.body != done.body:
                yield f"{tenant}'s {name} got another answer"


def _records(scene: _Scene) -> Iterator[str]:
    """Tell of every job that is not its sender's first run, called once, and of calls too many or too few."""
    expected = {job: tenant for tenant, sent in scene.sent.items() for job in sent.values()} | {
        job.id: _VICTIM for job in scene.jobs.values()
    }
    records = {each.job_id: each for each in scene.stage.ledger()}
    for job in records.keys() ^ expected.keys():
        yield f"job {job} is {'not expected' if job in records else 'not there'}"
    for job, record in records.items():
        dead = job == scene.jobs[_DEAD].id
        if job in expected and not _plain(record, expected[job], dead=dead):
            yield f"job {job} of {record.tenant}: {record}"
    calls = len(scene.stage.simulator.calls)
    if calls != len(expected):
        yield f"{calls} calls for {len(expected)} jobs"


def _plain(record: Explanation, tenant: str, *, dead: bool) -> bool:
    state = State.DEAD_LETTERED if dead else State.COMPLETED
    return (
        (record.tenant, record.state, record.run, record.generation, record.tally.attempts)
        == (tenant, state, 1, 0, 1)
        and (record.tier, record.lane) == ("standard", "interactive")
        and record.received_at.year > 2000
    )
