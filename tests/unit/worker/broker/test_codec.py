import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_sdk.wire import Dedupe, job_id
from tests.unit.worker.broker.jobs import BODY, NOW, RULES, arrived, incoming, jobs
from worker.broker import codec
from worker.broker.codec import parked_copy, read
from worker.broker.incoming import Incoming
from worker.core.model import Job
from worker.errors import Unreadable

FORGED: dict[str, object] = {
    "x-warren-tenant": "victim",
    "x-warren-run": 3,
    "x-warren-generation": 2,
    "x-warren-not-before": 1,
    "x-warren-received": 1,
    "x-warren-job": "0" * 32,
    "x-warren-tier": "premium",
    "x-warren-lane": "bulk",
}


def job(message: Incoming) -> Job:
    return read(message, rules=RULES, now=NOW)


def reason(message: Incoming) -> str:
    with pytest.raises(Unreadable) as caught:
        job(message)
    return str(caught.value)


@given(jobs())
def test_a_job_survives_its_parked_copy(parked: Job) -> None:
    envelope = parked_copy(parked, timedelta(seconds=2))
    assert job(arrived(envelope, parked.body, "warren.return")) == parked


@given(jobs())
def test_a_parked_copy_has_only_what_is_built_from_the_job(parked: Job) -> None:
    envelope = parked_copy(parked, timedelta(seconds=2))
    assert all(name.startswith("x-warren-") for name in envelope.headers)
    assert envelope.expiration == timedelta(seconds=2)


def test_a_first_delivery_has_run_one_and_its_senders_name_whatever_it_claims() -> None:
    plain, forged = job(incoming()), job(incoming(FORGED))
    assert plain == forged
    assert (plain.tenant, plain.run, plain.generation, plain.first) == ("acme", 1, 0, True)
    assert (plain.tier, plain.lane, plain.received_at, plain.not_before) == (
        RULES.tier, RULES.lane, NOW, None,
    )  # fmt: skip
    assert plain.id == job_id("acme", "s1")


@pytest.mark.parametrize(
    "exchange",
    ["", None, "warren.park", "warren.dead", "warren.replies", "warren.control", "amq.direct", "warren.return2"],
)  # fmt: skip
def test_what_comes_through_any_other_exchange_is_refused(exchange: str | None) -> None:
    assert "exchange" in reason(incoming(FORGED, exchange=exchange))


@pytest.mark.parametrize("exchange", ["warren.return", "warren.replay"])
def test_warrens_own_headers_are_believed_from_warrens_own_exchanges(exchange: str) -> None:
    read_back = job(incoming(FORGED, exchange=exchange, user_id=None, reply_to="victim.client"))
    assert (read_back.tenant, read_back.run, read_back.generation, read_back.first) == (
        "victim", 3, 2, False,
    )  # fmt: skip
    assert read_back.tier == RULES.tier


@pytest.mark.parametrize("exchange", ["warren.return", "warren.replay"])
@pytest.mark.parametrize("name", ["x-warren-tenant", "x-warren-run", "x-warren-generation"])
@pytest.mark.parametrize("value", [None, "", "a b", -1, 0.5, True, b"\xff", {}, [], 2**63])
def test_a_copy_without_its_standing_is_refused(exchange: str, name: str, value: object) -> None:
    assert name in reason(incoming({**FORGED, name: value}, exchange=exchange))


@pytest.mark.parametrize("user", [None, "", "a b", "a.b", "a" * 65, b"\xff", 7])
def test_a_first_delivery_needs_a_user_that_can_be_a_tenant(user: object) -> None:
    assert "user_id" in reason(incoming(user_id=user))


@pytest.mark.parametrize(
    "route", ["victim.client", "acmes.client", "acme", "acme.", ".client", "acme.a.b", ""]
)
def test_a_reply_route_must_be_the_tenants_own(route: str) -> None:
    assert "reply_to" in reason(incoming(reply_to=route))


def test_no_reply_route_is_fine() -> None:
    assert job(incoming(reply_to=None)).submission.reply_to is None


def test_a_key_makes_the_identity_and_the_submission_serves_without_one() -> None:
    assert job(incoming()).key == "s1"
    assert job(incoming({"x-warren-key": "k"})).id == job_id("acme", "k")
    assert job(incoming({"x-warren-key": bytearray(b"k")})).key == "k"


@pytest.mark.parametrize(
    ("asked", "body", "given_"),
    [
        (None, BODY, Dedupe.INFLIGHT),
        ("cache", BODY, Dedupe.CACHE),
        ("off", BODY, Dedupe.OFF),
        ("cache", b'{"model":"m","store":true}', Dedupe.OFF),
        (None, b"no json", Dedupe.OFF),
    ],
)
def test_sharing_is_as_asked_unless_the_content_forbids_it(
    asked: str | None, body: bytes, given_: Dedupe
) -> None:
    headers = {} if asked is None else {"x-warren-dedupe": asked}
    assert job(incoming(headers, body=body)).dedupe is given_


def test_a_deadline_is_as_asked_within_the_tiers_bound() -> None:
    def deadline(milliseconds: int | None) -> datetime:
        headers = {} if milliseconds is None else {"x-warren-deadline": milliseconds}
        return job(incoming(headers)).deadline

    assert deadline(None) == NOW + timedelta(minutes=5)
    assert deadline(1000) == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert deadline(253_370_764_800_000) == NOW + timedelta(days=1)


def test_a_body_that_cannot_be_sent_is_a_job_with_a_flaw() -> None:
    flawed = job(incoming(body=b"\xff"))
    assert flawed.flaw == "the body is not UTF-8"
    assert flawed.body == b"\xff"


def test_properties_that_could_not_be_decoded_are_unreadable() -> None:
    assert reason(incoming({"x-warren-undecodable": bytearray(b"x")})) == (
        "its properties cannot be decoded"
    )


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64)
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.binary().map(bytearray)
    | st.datetimes(timezones=st.just(UTC))
    | st.just(Decimal("1e300")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
OUR_HEADERS = st.sampled_from(
    [
        "x-warren-version", "x-warren-path", "x-warren-key", "x-warren-dedupe", "x-warren-submitted",
        "x-warren-deadline", "x-warren-tenant", "x-warren-run", "x-warren-generation",
        "x-warren-not-before", "x-warren-received",
    ]
)  # fmt: skip


@given(
    st.sampled_from(["warren.requests", "warren.return", "warren.replay"]),
    st.dictionaries(OUR_HEADERS | st.text(), VALUES, max_size=4),
    st.dictionaries(
        st.sampled_from(["user_id", "correlation_id", "reply_to", "priority"]), VALUES, max_size=2
    ),
)
def test_no_value_of_any_type_makes_reading_raise_anything_but_unreadable(
    exchange: str, headers: dict[str, object], parts: dict[str, Any]
) -> None:
    base = {} if exchange == "warren.requests" else FORGED
    message = incoming({**base, **headers}, exchange=exchange, **parts)
    try:
        made = job(message)
    except Unreadable:
        return
    assert made.run >= 1
    assert replace(made) == made


@given(st.text(min_size=1))
def test_a_reason_never_shows_a_value(text: str) -> None:
    secret = f"canary-{text}"
    for headers in (
        {"x-warren-path": secret},
        {"x-warren-dedupe": secret},
        {"x-warren-version": secret},
        {"x-warren-submitted": secret},
        {"x-warren-key": secret * 100},
    ):
        assert secret not in reason(incoming(headers))
    assert secret not in reason(incoming(correlation_id=f"{secret} "))
    assert secret not in reason(incoming(reply_to=secret))


def test_numbers_of_the_amqp_kind_are_numbers() -> None:
    (largest,) = struct.unpack(">q", b"\x7f" + b"\xff" * 7)
    assert "x-warren-submitted" in reason(incoming({"x-warren-submitted": largest}))


claimed: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.sampled_from(
        [b"/v1/embeddings", "off", "cache", "never", "s1", "acme.c1", "a.b.c", "", "é"]
    ),
    st.sampled_from([0, 1, 9, 10, -1, 253_370_764_800_000, 253_370_764_800_001, True, 1.0, "1"]),
    st.text(max_size=5),
    st.sampled_from(["k" * 256, "k" * 257, "s" * 64, "s" * 65, "s1\n", "/v1/completions"]),
)


@given(
    st.dictionaries(
        st.sampled_from(["version", "path", "key", "submitted", "deadline", "dedupe"]),
        claimed,
        max_size=2,
    ),
    st.dictionaries(st.sampled_from(["correlation_id", "reply_to", "priority"]), claimed),
)
def test_what_is_right_at_first_sight_is_what_the_contract_says(
    headers: dict[str, object], properties: dict[str, Any]
) -> None:
    message = incoming({f"x-warren-{name}": value for name, value in headers.items()}, **properties)
    plain = codec._plain_claims(message)
    if plain is None:
        return
    judged = codec._judged_claims(message)
    assert plain == judged
    assert [type(each) for each in plain] == [type(each) for each in judged]


def test_an_ordinary_request_is_right_at_first_sight() -> None:
    assert codec._plain_claims(incoming()) is not None
