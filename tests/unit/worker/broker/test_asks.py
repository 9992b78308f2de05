import pytest

from producer_sdk.tolerance import UNDECODABLE
from producer_sdk.wire import REQUESTS_EXCHANGE, Ask, Verb, job_id
from worker.broker import names
from worker.broker.asks import read_ask
from worker.broker.incoming import Incoming
from worker.errors import Unreadable

JOB = job_id("acme", "k")


def incoming(
    ask: Ask | None = None,
    *,
    exchange: str = REQUESTS_EXCHANGE,
    user: object = "acme",
    headers: dict[str, object] | None = None,
    reply_to: object = "acme.c1",
) -> Incoming:
    ask = ask or Ask(ask_id="a1", verb=Verb.RESULT, job_id=JOB)
    return Incoming(
        exchange=exchange,
        body=b"",
        headers={**ask.envelope().headers, **(headers or {})},
        user_id=user,
        correlation_id="a1",
        reply_to=reply_to,
    )


def test_a_tenant_asks_in_the_name_of_its_connection() -> None:
    verb, asked = read_ask(incoming())
    assert verb is Verb.RESULT
    assert (asked.job_id, asked.tenant, asked.by_key) == (JOB, "acme", False)
    assert (asked.submission.id, asked.submission.reply_to) == ("a1", "acme.c1")


def test_a_key_names_the_tenants_own_job_whatever_others_have_under_it() -> None:
    ask = Ask(ask_id="a1", verb=Verb.CANCEL, idempotency_key="k")
    _, mine = read_ask(incoming(ask))
    _, theirs = read_ask(incoming(ask, user="other", reply_to="other.c1"))
    assert (mine.job_id, mine.by_key) == (JOB, True)
    assert theirs.job_id != JOB


def test_an_operator_is_told_by_the_exchange_and_gets_no_route() -> None:
    _, asked = read_ask(incoming(exchange=names.CONTROL_EXCHANGE))
    assert asked.tenant is None
    assert asked.submission.reply_to is None


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (incoming(user=None), "no user_id"),
        (incoming(user="no such name!"), "name of a tenant"),
        (incoming(reply_to="other.c1"), "another tenant"),
        (incoming(reply_to=7), "must be text"),
        (incoming(exchange=names.RETURN_EXCHANGE), "no ask comes through"),
        (incoming(exchange=""), "no ask comes through"),
        (incoming(headers={"x-warren-ask": "delete"}), "verb"),
        (incoming(headers={"x-warren-job": b"\xff"}), "UTF-8"),
        (incoming(headers={"x-warren-key": "k"}), "name the job"),
        (incoming(headers={"x-warren-version": 2}), "version"),
        (incoming(headers={UNDECODABLE: b""}), "decoded"),
        (
            incoming(
                Ask(ask_id="a1", verb=Verb.CANCEL, idempotency_key="k"),
                exchange=names.CONTROL_EXCHANGE,
            ),
            "by its id",
        ),
    ],
)
def test_what_is_no_ask_is_unreadable_and_told_why(message: Incoming, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read_ask(message)
