"""Strategies and samples that the broker's unit tests share."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from producer_sdk.wire import PATHS, Dedupe, Envelope, Lane, job_id
from worker.broker.codec import TierRules
from worker.broker.incoming import Incoming
from worker.core.content import inspect
from worker.core.model import Job, Submission

NOW = datetime(2026, 11, 23, 12, 0, 0, 123_000, tzinfo=UTC)
RULES = TierRules(
    tier="standard",
    lane=Lane.INTERACTIVE,
    dedupe=Dedupe.INFLIGHT,
    default_deadline=timedelta(minutes=5),
    max_deadline=timedelta(days=1),
)
HEADERS: Mapping[str, object] = {
    "x-warren-version": 1,
    "x-warren-path": "/v1/chat/completions",
    "x-warren-submitted": 1_795_435_200_000,
}
BODY = b'{"model":"m"}'


def incoming(headers: Mapping[str, object] | None = None, **parts: Any) -> Incoming:  # noqa: ANN401
    given: dict[str, Any] = {
        "exchange": "warren.requests",
        "body": BODY,
        "headers": {**HEADERS, **(headers or {})},
        "user_id": "acme",
        "correlation_id": "s1",
        "reply_to": "acme.client",
        "priority": 4,
    }
    return Incoming(**{**given, **parts})


def arrived(envelope: Envelope, body: bytes, exchange: str) -> Incoming:
    """Give a message of ours as it comes back from the broker."""
    return Incoming(
        exchange=exchange,
        body=body,
        headers=envelope.headers,
        correlation_id=envelope.correlation_id,
        reply_to=envelope.reply_to,
        priority=envelope.priority,
    )


_NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
_MILLISECONDS = st.integers(min_value=0, max_value=4_000_000_000_000)


def _instant(value: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    """Any job that a parked copy can carry, under `RULES`."""
    tenant, submission = draw(_NAMES), draw(_NAMES)
    key = draw(st.text(min_size=1, max_size=256))
    path = draw(st.sampled_from(PATHS))
    body = draw(st.sampled_from([BODY, b"\xff", b'{"model":"m","store":true}']) | st.binary())
    content = inspect(path, body)
    received = _instant(draw(_MILLISECONDS))
    lasting = timedelta(milliseconds=draw(st.integers(min_value=-(10**9), max_value=86_400_000)))
    return Job(
        id=job_id(tenant, key),
        tenant=tenant,
        key=key,
        tier=RULES.tier,
        lane=RULES.lane,
        path=path,
        model=content.model,
        body=body,
        content_hash=content.content_hash,
        dedupe=draw(st.sampled_from(Dedupe)) if content.shareable else Dedupe.OFF,
        priority=draw(st.integers(min_value=0, max_value=9)),
        submission=Submission(
            id=submission,
            reply_to=draw(st.none() | _NAMES.map(lambda client: f"{tenant}.{client}")),
        ),
        submitted_at=_instant(draw(_MILLISECONDS)),
        received_at=received,
        deadline=max(received + lasting, _instant(0)),
        run=draw(st.integers(min_value=1, max_value=1000)),
        generation=draw(st.integers(min_value=0, max_value=1000)),
        first=False,
        not_before=draw(st.none() | _MILLISECONDS.map(_instant)),
        flaw=content.flaw,
    )
