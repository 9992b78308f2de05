import asyncio
import errno
import ssl

import pytest
from aiormq.exceptions import (
    AMQPConnectionError,
    ChannelNotFoundEntity,
    ConnectionClosed,
    InvalidFrameError,
    ProbableAuthenticationError,
    ProtocolSyntaxError,
)

from worker.broker.address import Address, describe, explain, is_loss
from worker.errors import SettingsError

ADDRESS = Address.parse("amqp://worker:canary@127.0.0.1:5/warren")


@pytest.mark.parametrize(
    ("url", "user", "where"),
    [
        ("amqp://w:p@localhost/warren", "w", "localhost:5672, virtual host 'warren'"),
        ("amqp://w:p@[::1]:7/warren", "w", "::1:7, virtual host 'warren'"),
        ("amqps://w:p@broker.example/%2F", "w", "broker.example:5671, virtual host '/'"),
        ("amqps://a%40b:p@broker.example", "a@b", "broker.example:5671, virtual host '/'"),
        ("amqps://w:p@one,two:7/v", "w", "one:5671, two:7, virtual host 'v'"),
    ],
)
def test_a_url_tells_user_and_place(url: str, user: str, where: str) -> None:
    address = Address.parse(url)
    assert (address.user, address.where) == (user, where)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "must look like"),
        ("http://w:p@host/v", "must look like"),
        ("amqps://host/v", "must look like"),
        ("amqps://w:p@host:x/v", "must look like"),
        ("amqps://w:canary@host/v?no_verify_ssl=1", "nothing is set in it"),
        ("amqp://w:canary@broker.example/v", "in the clear"),
        ("amqp://w:canary@127.0.0.1.example/v", "in the clear"),
        ("amqp://w:canary@127.0.0.1,broker.example/v", "broker at broker.example .* in the clear"),
        ("amqps://w:canary@one,/v", "must look like"),
        ("amqps://w:canary@one:5671,two:x/v", "must look like"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        Address.parse(url)
    assert "canary" not in str(caught.value)


def test_plaintext_to_another_machine_must_be_allowed() -> None:
    assert (
        Address.parse("amqp://w:p@broker.example/v", allow_plaintext=True).urls[0].scheme == "amqp"
    )


def test_each_node_of_several_has_an_address_of_its_own() -> None:
    one, two = Address.parse("amqps://w:p@one,two:7/v, w").nodes
    assert (one.where, two.where) == (
        "one:5671, virtual host 'v, w'",
        "two:7, virtual host 'v, w'",
    )
    assert [str(node.urls[0].host) for node in (one, two)] == ["one", "two"]
    assert one.user == "w"


def test_the_password_is_not_shown() -> None:
    assert "canary" not in repr(ADDRESS)


def caused(cause: OSError) -> AMQPConnectionError:
    error = AMQPConnectionError(*cause.args)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ProbableAuthenticationError("ACCESS_REFUSED"), "check the user and the password"),
        (InvalidFrameError("Expected one of"), "virtual host does not exist"),
        (ProtocolSyntaxError("x"), "wants TLS"),
        (TimeoutError(), "did not answer in time"),
        (caused(ConnectionRefusedError(errno.ECONNREFUSED, "refused")), "nobody listens"),
        (caused(ssl.SSLCertVerificationError(1, "bad")), "certificate"),
        (caused(ssl.SSLError(1, "wrong version")), "the one for TLS"),
        (caused(OSError("Name or service not known")), "Name or service not known"),
    ],
)
def test_each_refusal_says_where_and_what_to_do(error: Exception, said: str) -> None:
    text = explain(error, ADDRESS)
    assert said in text
    assert "127.0.0.1:5" in text
    assert "canary" not in text


def test_a_missing_exchange_points_to_the_check() -> None:
    text = describe(ChannelNotFoundEntity("NOT_FOUND - no exchange 'x'"))
    assert "no exchange 'x'" in text
    assert "warren topology check" in text


@pytest.mark.parametrize(
    ("error", "loss"),
    [
        (ConnectionClosed(320, "bye"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (Exception(), True),
        (ValueError(), False),
        (RuntimeError("bug"), False),
        (KeyError("bug"), False),
    ],
)
async def test_a_loss_is_told_from_a_bug(error: Exception, loss: bool) -> None:  # noqa: FBT001
    assert is_loss(error) is loss


async def test_a_cancellation_is_a_loss_only_when_nobody_asked_for_it() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    seen: list[bool] = []

    async def wait(waiting: "asyncio.Future[None]") -> None:
        try:
            await waiting
        except asyncio.CancelledError as error:
            seen.append(is_loss(error))

    await wait(future)
    task = asyncio.create_task(wait(asyncio.get_running_loop().create_future()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert seen == [True, False]
