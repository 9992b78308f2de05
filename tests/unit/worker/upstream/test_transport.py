"""What the transport makes of pyqwest, both ways: by `send`, and as an httpx transport."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

import httpx
import pyqwest
import pytest

from worker.upstream.body import read
from worker.upstream.transport import ERRORS, NotTaken, PyqwestTransport
from worker.upstream.wire import Answer, HttpxWire, Request, Wire

REQUEST = Request(url="http://127.0.0.1:1/v1", headers=(("x", "y"),), body=b"{}")
REFUSED = pyqwest.StreamError("said", pyqwest.StreamErrorCode.REFUSED_STREAM)


class Pool:
    """Stands where pyqwest's connections are: gives one answer, or raises."""

    def __init__(self, answer: pyqwest.Response | Exception) -> None:
        self._answer = answer

    async def execute(self, _: pyqwest.Request) -> pyqwest.Response:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Pieces:
    """A body that counts how often it was asked for a piece, and closed; it may break at its end."""

    def __init__(self, pieces: Sequence[bytes], error: Exception | None = None) -> None:
        self._left = [*pieces]
        self._error = error
        self.asked = 0
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self.asked += 1
        if self._left:
            return self._left.pop(0)
        raise self._error or StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


def response(pieces: Pieces, *, http2: bool = False, **headers: str) -> pyqwest.Response:
    return pyqwest.Response(
        status=200,
        http_version=pyqwest.HTTPVersion.HTTP2 if http2 else pyqwest.HTTPVersion.HTTP1,
        headers=pyqwest.Headers((name.replace("_", "-"), text) for name, text in headers.items()),
        content=pieces,
    )


@pytest.fixture(params=["send", "httpx"])
def over(request: pytest.FixtureRequest) -> Callable[[pyqwest.Response | Exception], Wire]:
    """Give a wire whose connections do as they are told."""

    def made(answer: pyqwest.Response | Exception) -> Wire:
        transport = PyqwestTransport(http="1.1")
        cast("dict[bool, Any]", transport._pools)[False] = Pool(answer)
        return transport if request.param == "send" else HttpxWire(transport)

    return made


Over = Callable[[pyqwest.Response | Exception], Wire]


def theirs() -> set[type[Exception]]:
    exported = (getattr(pyqwest, name) for name in pyqwest.__all__)
    return {each for each in exported if inspect.isclass(each) and issubclass(each, Exception)}


async def raised(doing: Awaitable[object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # which one it is, is the question
        await doing
    return caught.value


async def broken_head(over: Over, error: Exception) -> Exception:
    return await raised(over(error).send(REQUEST))


async def broken_body(over: Over, error: Exception) -> Exception:
    answer = await over(response(Pieces([b"1"], error))).send(REQUEST)
    return await raised(read(answer, limit=9))


def made(kind: type[Exception]) -> Exception:
    if issubclass(kind, pyqwest.StreamError):
        return kind("said", pyqwest.StreamErrorCode.CANCEL)
    return kind("said")


def test_every_exception_that_pyqwest_exports_has_its_own_row() -> None:
    assert theirs() <= {error for error, _ in ERRORS}


def test_no_row_hides_behind_a_wider_one_before_it() -> None:
    for index, (error, _) in enumerate(ERRORS):
        assert not any(issubclass(error, before) for before, _ in ERRORS[:index])


@pytest.mark.parametrize("broken", [broken_head, broken_body])
@pytest.mark.parametrize(("error", "ours"), ERRORS)
async def test_every_exception_becomes_its_counterpart_with_its_cause(
    over: Over,
    broken: Callable[[Over, Exception], Awaitable[Exception]],
    error: type[Exception],
    ours: type[httpx.RequestError],
) -> None:
    original = made(error)
    translated = await broken(over, original)
    assert type(translated) is ours
    assert str(translated) == "said"
    assert translated.__cause__ is original


@pytest.mark.parametrize("broken", [broken_head, broken_body])
async def test_other_exceptions_pass_as_they_are(
    over: Over, broken: Callable[[Over, Exception], Awaitable[Exception]]
) -> None:
    assert type(await broken(over, KeyError("x"))) is KeyError


async def test_only_a_stream_that_is_refused_before_its_head_was_not_taken(over: Over) -> None:
    assert type(await broken_head(over, REFUSED)) is NotTaken
    assert type(await broken_body(over, REFUSED)) is httpx.RemoteProtocolError


async def test_headers_are_by_lower_case_names_and_repeated_ones_joined(over: Over) -> None:
    answered = response(Pieces([]))
    for name, value in (("X-Odd", "1"), ("set-cookie", "a"), ("Set-Cookie", "b")):
        answered.headers.add(name, value)
    answer = await over(answered).send(REQUEST)
    assert answer.status == 200
    assert answer.headers == {"x-odd": "1", "set-cookie": "a, b"}


async def all_of(answer: Answer) -> bytes:
    body = await read(answer, limit=100)
    await answer.aclose()
    return body


async def test_a_body_of_known_length_is_not_asked_for_an_end_over_http1(over: Over) -> None:
    pieces = Pieces([b"123", b"45"])
    assert await all_of(await over(response(pieces, content_length="5")).send(REQUEST)) == b"12345"
    assert (pieces.asked, pieces.closed) == (2, 0)


async def test_an_empty_body_of_known_length_is_not_asked_for(over: Over) -> None:
    pieces = Pieces([])
    assert await all_of(await over(response(pieces, content_length="0")).send(REQUEST)) == b""
    assert (pieces.asked, pieces.closed) == (0, 0)


@pytest.mark.parametrize(
    ("http2", "headers"),
    [
        (True, {"content_length": "5"}),
        (False, {"content_length": "5", "transfer_encoding": "chunked"}),
        (False, {"content_length": "+5"}),
        (False, {"content_length": "5, 5"}),
        (False, {"content_length": "6"}),
        (False, {}),
    ],
)
async def test_any_other_body_is_read_to_its_end(
    over: Over,
    http2: bool,  # noqa: FBT001  # a parameter of the test
    headers: dict[str, str],
) -> None:
    pieces = Pieces([b"123", b"45"])
    answer = await over(response(pieces, http2=http2, **headers)).send(REQUEST)
    assert await all_of(answer) == b"12345"
    assert (pieces.asked, pieces.closed) == (3, 0)


async def test_a_body_that_is_left_early_is_closed(over: Over) -> None:
    pieces = Pieces([b"123", b"45"])
    answer = await over(response(pieces, content_length="5")).send(REQUEST)
    assert await answer.piece() == b"123"
    await answer.aclose()
    assert pieces.closed == 1


@pytest.mark.parametrize("name", ["authorization", "x-client-request-id"])
async def test_a_header_that_cannot_be_sent_is_not_shown(over: Over, name: str) -> None:
    request = Request(url="http://127.0.0.1:1/v1", headers=((name, "sk-secret\n"),), body=b"")
    error = await raised(over(response(Pieces([]))).send(request))
    assert type(error) is httpx.LocalProtocolError
    assert "sk-secret" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_no_request_shows_what_it_carries() -> None:
    shown = repr(Request(url="http://h", headers=(("authorization", "sk-1"),), body=b"prompt"))
    assert "sk-1" not in shown
    assert "prompt" not in shown


@pytest.mark.parametrize("pem", [b"", b"no certificate here", "prüfung".encode()])
def test_authorities_without_a_certificate_are_refused_instead_of_trusting_the_systems(
    pem: bytes,
) -> None:
    with pytest.raises(ValueError, match=r"certificate|ascii"):
        PyqwestTransport(ca_pem=pem)
