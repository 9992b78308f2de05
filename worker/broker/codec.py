"""Message to job, and job to parked copy.

Who may say what: the tenant is the user that the broker checked; what Warren itself wrote on a copy is
believed only when the broker says that the copy came through an exchange that no producer may write. Tier and
lane are those of the queue. Nothing that a message claims is copied to another one: what goes out is built
from the job. Instants are kept to the millisecond, as they travel.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from producer_sdk.tolerance import UNDECODABLE
from producer_sdk.wire import (
    PATHS,
    REQUESTS_EXCHANGE,
    VERSION,
    CompletionRequest,
    Dedupe,
    Envelope,
    HeaderValue,
    Lane,
    Priority,
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
# As in the wire contract, which says what is wrong with what does not fit.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROUTE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{1,64}")
_LONGEST_KEY: Final = 256
_LAST_MS: Final = 253_370_764_800_000
_HIGHEST: Final = 9
_NORMAL: Final = int(Priority.NORMAL)
_DEDUPES: Final = {dedupe.value: dedupe for dedupe in Dedupe}
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


class _Claims(NamedTuple):
    """What a request says, as far as its job needs it."""

    submission_id: str
    path: str
    key: str | None
    reply_to: str | None
    submitted_at: datetime
    deadline: datetime | None
    dedupe: Dedupe | None
    priority: int


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
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
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
    claims = _claims(incoming)
    reply_to, path, dedupe = claims.reply_to, claims.path, claims.dedupe
    tenant, received_at = standing.tenant, standing.received_at
    if reply_to is not None and not reply_to.startswith(f"{tenant}."):
        raise Unreadable("reply_to of another tenant")
    content = inspect(path, incoming.body)
    key = claims.key or claims.submission_id
    deadline = claims.deadline or received_at + rules.default_deadline
    latest = received_at + rules.max_deadline
    if not content.shareable:
        dedupe = Dedupe.OFF
    return Job(
        id=job_id(tenant, key),
        tenant=tenant,
        key=key,
        tier=rules.tier,
        lane=rules.lane,
        path=path,
        model=content.model,
        body=incoming.body,
        content_hash=content.content_hash,
        dedupe=rules.dedupe if dedupe is None else dedupe,
        priority=claims.priority,
        submission=Submission(id=claims.submission_id, reply_to=reply_to),
        submitted_at=claims.submitted_at,
        received_at=received_at,
        deadline=min(deadline, latest),
        run=standing.run,
        generation=standing.generation,
        first=standing.first,
        not_before=standing.not_before,
        flaw=content.flaw,
        ceiling=content.ceiling,
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


def _claims(incoming: Incoming) -> _Claims:
    """Give what a message claims as a request; what is not plainly right is judged by the wire contract itself.

    Raises:
        Unreadable: it does not follow the wire contract.
    """
    return _plain_claims(incoming) or _judged_claims(incoming)


def _plain_claims(incoming: Incoming) -> _Claims | None:
    """Give the claims of a message that is right at first sight, as nearly all are."""
    get = incoming.headers.get
    submission_id, reply_to = incoming.correlation_id, incoming.reply_to
    version, path, key = get("x-warren-version"), get("x-warren-path"), get("x-warren-key")
    submitted, deadline = get("x-warren-submitted"), get("x-warren-deadline")
    dedupe, priority = get("x-warren-dedupe"), incoming.priority
    if (
        type(version) is int
        and version == VERSION
        and type(submission_id) is str
        and _NAME.fullmatch(submission_id)
        and type(path) is str
        and path in PATHS
        and (key is None or (type(key) is str and 0 < len(key) <= _LONGEST_KEY and key.isascii()))
        and (reply_to is None or (type(reply_to) is str and _ROUTE.fullmatch(reply_to)))
        and type(submitted) is int
        and 0 <= submitted <= _LAST_MS
        and (deadline is None or (type(deadline) is int and 0 <= deadline <= _LAST_MS))
        and (dedupe is None or (type(dedupe) is str and dedupe in _DEDUPES))
        and (priority is None or (type(priority) is int and 0 <= priority <= _HIGHEST))
    ):
        return _Claims(
            submission_id=submission_id,
            path=path,
            key=key,
            reply_to=reply_to,
            submitted_at=from_ms(submitted),
            deadline=None if deadline is None else from_ms(deadline),
            dedupe=None if dedupe is None else _DEDUPES[dedupe],
            priority=_NORMAL if priority is None else priority,
        )
    return None


def _judged_claims(incoming: Incoming) -> _Claims:
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
        request = CompletionRequest.parse(claimed, incoming.body)
    except WireError as error:
        raise Unreadable(str(error)) from None
    return _Claims(
        submission_id=request.submission_id,
        path=request.path,
        key=request.idempotency_key,
        reply_to=request.reply_to,
        submitted_at=request.submitted_at,
        deadline=request.deadline,
        dedupe=request.dedupe,
        priority=request.priority,
    )
