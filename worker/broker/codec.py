"""Message to job, and job to parked copy.

Who may say what: the tenant is the user that the broker checked; what Warren itself wrote on a copy is
believed only when the broker says that the copy came through an exchange that no producer may write. Tier and
lane are those of the queue. Nothing that a message claims is copied to another one: what goes out is built
from the job. Instants are kept to the millisecond, as they travel.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from producer_sdk.tolerance import UNDECODABLE
from producer_sdk.wire import (
    REQUESTS_EXCHANGE,
    CompletionRequest,
    Dedupe,
    Envelope,
    HeaderValue,
    Lane,
    WireError,
    from_ms,
    job_id,
    to_ms,
)
from worker.broker import names
from worker.broker.incoming import Incoming, number, text
from worker.core.content import inspect
from worker.core.model import Job, Submission
from worker.errors import Unreadable

_TENANT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OURS: Final = frozenset({names.RETURN_EXCHANGE, names.REPLAY_EXCHANGE})


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRules:
    """What a queue decides about its jobs, where they do not, or may not, decide for themselves.

    A deadline lies at most `max_deadline` after the job was received.
    """

    tier: str
    lane: Lane
    dedupe: Dedupe
    default_deadline: timedelta
    max_deadline: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whose a job is and how far it has come."""

    tenant: str
    received_at: datetime
    run: int = 1
    generation: int = 0
    first: bool = True
    not_before: datetime | None = None


def read(incoming: Incoming, *, rules: TierRules, now: datetime) -> Job:
    """Give the job that a message of the rules' queue carries.

    Raises:
        Unreadable: it does not follow the wire contract, or comes from where no job comes from.
    """
    if UNDECODABLE in incoming.headers:
        raise Unreadable("its properties cannot be decoded")
    now = from_ms(to_ms(now))
    if incoming.exchange == REQUESTS_EXCHANGE:
        standing = Standing(tenant=sender(incoming), received_at=now)
    elif incoming.exchange in _OURS:
        standing = read_standing(incoming, now)
    else:
        raise Unreadable("it came through an exchange that no job comes through")
    return build(incoming, standing, rules=rules)


def build(incoming: Incoming, standing: Standing, *, rules: TierRules) -> Job:
    """Give the job of a message whose standing is known.

    Raises:
        Unreadable: it does not follow the wire contract.
    """
    request = _request(incoming)
    if request.reply_to is not None and not request.reply_to.startswith(f"{standing.tenant}."):
        raise Unreadable("reply_to of another tenant")
    content = inspect(request.path, request.body)
    dedupe = rules.dedupe if request.dedupe is None else request.dedupe
    received_at = standing.received_at
    latest = received_at + rules.max_deadline
    key = request.idempotency_key or request.submission_id
    return Job(
        id=job_id(standing.tenant, key),
        tenant=standing.tenant,
        key=key,
        tier=rules.tier,
        lane=rules.lane,
        path=request.path,
        model=content.model,
        body=request.body,
        content_hash=content.content_hash,
        dedupe=dedupe if content.shareable else Dedupe.OFF,
        priority=request.priority,
        submission=Submission(id=request.submission_id, reply_to=request.reply_to),
        submitted_at=request.submitted_at,
        received_at=received_at,
        deadline=min(request.deadline or received_at + rules.default_deadline, latest),
        run=standing.run,
        generation=standing.generation,
        first=standing.first,
        not_before=standing.not_before,
        flaw=content.flaw,
    )


def read_standing(incoming: Incoming, now: datetime) -> Standing:
    """Give what Warren itself wrote on a message. Whether to believe it is for the caller to know.

    Raises:
        Unreadable: something is missing or breaks its rule.
    """
    tenant = incoming.text(names.TENANT)
    if tenant is None or _TENANT.fullmatch(tenant) is None:
        raise Unreadable(f"{names.TENANT}: must be the name of a tenant")
    return Standing(
        tenant=tenant,
        received_at=instant(incoming, names.RECEIVED) or now,
        run=incoming.count(names.RUN, least=1),
        generation=incoming.count(names.GENERATION, least=0),
        first=False,
        not_before=instant(incoming, names.NOT_BEFORE),
    )


def parked_copy(job: Job, ttl: timedelta) -> Envelope:
    """Give the envelope under which a job waits in a parking queue and comes back; its body is the job's."""
    headers = job_headers(job)
    if job.not_before is not None:
        headers[names.NOT_BEFORE] = to_ms(job.not_before)
    return envelope(job, headers, kind="warren.parked", expiration=ttl)


def job_headers(job: Job) -> dict[str, HeaderValue]:
    """Give the headers that carry a job: a request's own and its standing."""
    return {
        "x-warren-version": 1,
        "x-warren-path": job.path,
        "x-warren-key": job.key,
        "x-warren-submitted": to_ms(job.submitted_at),
        "x-warren-deadline": to_ms(job.deadline),
        "x-warren-dedupe": job.dedupe.value,
        names.TENANT: job.tenant,
        names.RUN: job.run,
        names.GENERATION: job.generation,
        names.RECEIVED: to_ms(job.received_at),
    }


def envelope(
    job: Job, headers: dict[str, HeaderValue], *, kind: str, expiration: timedelta | None = None
) -> Envelope:
    """Give the envelope of a message that carries a job. It has no `user_id`: that was the producer's."""
    return Envelope(
        headers=headers,
        correlation_id=job.submission.id,
        reply_to=job.submission.reply_to,
        priority=job.priority,
        expiration=expiration,
        at=job.submitted_at,
        kind=kind,
    )


def instant(incoming: Incoming, name: str) -> datetime | None:
    """Give a header that must be an instant, if it is there.

    Raises:
        Unreadable: it is something else.
    """
    value = incoming.number(name)
    try:
        return None if value is None else from_ms(value)
    except WireError as error:
        raise Unreadable(f"{name}: {error}") from None


def sender(incoming: Incoming) -> str:
    """Give the user who published the message, as the broker checked it."""
    user = text("user_id", incoming.user_id)
    if user is None:
        raise Unreadable("no user_id: the tenant is not known")
    if _TENANT.fullmatch(user) is None:
        raise Unreadable("user_id: must be the name of a tenant, 1 to 64 out of A-Z a-z 0-9 _ -")
    return user


def _request(incoming: Incoming) -> CompletionRequest:
    headers: dict[str, HeaderValue] = {}
    for name in ("x-warren-path", "x-warren-key", "x-warren-dedupe"):
        if (said := incoming.text(name)) is not None:
            headers[name] = said
    for name in ("x-warren-version", "x-warren-submitted", "x-warren-deadline"):
        if (value := incoming.number(name)) is not None:
            headers[name] = value
    claimed = Envelope(
        headers=headers,
        correlation_id=text("correlation_id", incoming.correlation_id),
        reply_to=text("reply_to", incoming.reply_to),
        priority=number("priority", incoming.priority),
    )
    try:
        return CompletionRequest.parse(claimed, incoming.body)
    except WireError as error:
        raise Unreadable(str(error)) from None
