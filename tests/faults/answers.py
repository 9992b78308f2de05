"""Fuzzed answers: what an upstream may send, through the endpoint that judges it; and lines of a batch file."""

import gzip
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

import httpx

from producer_sdk.wire import PATHS
from tests.faults.noise import MARK, Noise
from worker.cli.batches.format import Flaw, Line, read_line
from worker.cli.batches.reading import Splitter
from worker.core.kinds import Kind
from worker.core.model import Completed, Failed
from worker.upstream.endpoint import Endpoint
from worker.upstream.spec import EndpointSpec
from worker.upstream.wire import Request

_LIMIT: Final = 4096
_REQUEST: Final = Request(url="http://127.0.0.1/v1/chat/completions", headers=(), body=b"")
_CODES: Final = (
    "insufficient_quota",
    "context_length_exceeded",
    "model_not_found",
    "rate_limit_exceeded",
    1301,
)
_HINTS: Final = ("0", "-1", "1e9", "nan", "inf", "1_0", "9" * 70, "1.5", "Wed, 21 Oct 2099 07:28:00 GMT",
                 "Wed, 99 Foo 0000 99:99:99 +9999", "Mon, 01 Jan 10000 00:00:00 GMT", "\xa0", "٣", "")  # fmt: skip
_ENCODINGS: Final = ("gzip", "x-gzip", "identity", "GZIP ", "br", "deflate", "gzip, gzip", "")


class _Stream(httpx.AsyncByteStream):
    def __init__(self, chunks: list[bytes], broken: httpx.RequestError | None) -> None:
        self._chunks, self._broken = chunks, broken

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
        if self._broken is not None:
            raise self._broken


class _Noisy(httpx.AsyncBaseTransport):
    def __init__(self, noise: Noise) -> None:
        self._noise = noise

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        noise = self._noise
        if noise.often(0.02):
            raise _broken(noise, request)
        body, encoding = _packed(noise, _body(noise))
        headers = [("content-encoding", encoding)] if encoding is not None else []
        headers += [
            (name, noise.chance.choice(_HINTS) if noise.often(0.8) else _header(noise))
            for name in ("retry-after", "retry-after-ms")
            if noise.often(0.3)
        ]
        if noise.often(0.1):
            headers.append(("x-should-retry", noise.chance.choice(("true", "false", "maybe"))))
        at = noise.chance.randrange(len(body) + 1)
        chunks = [body[:at], body[at:]]
        broken = _broken(noise, request) if noise.often(0.05) else None
        raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
        return httpx.Response(_status(noise), headers=raw, stream=_Stream(chunks, broken))


class _Clock:
    def now(self) -> datetime:
        return datetime(2026, 11, 26, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


class Answers:
    """An endpoint whose upstream sends noise."""

    def __init__(self, noise: Noise) -> None:
        spec = EndpointSpec(
            name="main", base_url="http://127.0.0.1/v1", key=None, max_response_bytes=_LIMIT
        )
        self._noise = noise
        self._endpoint = Endpoint(spec, clock=_Clock(), transport=_Noisy(noise))

    async def judge(self) -> str:
        """Make one call; give the kind of its outcome.

        Raises:
            AssertionError: the outcome is out of bounds, or holds what it must not.
            Exception: any that nobody declared: the endpoint promises to raise none.
        """
        outcome = await self._endpoint.call(_REQUEST, self._noise.chance.choice(PATHS))
        match outcome:
            case Completed(body=body):
                assert len(body) <= _LIMIT
                return "completed"
            case Failed(kind=kind, code=code, detail=detail, retry_after=wait):
                assert isinstance(kind, Kind)
                assert code is None or len(code) <= 64
                assert detail is None or MARK not in detail
                assert wait is None or 0 <= wait.total_seconds() <= 3600
                return kind.value
        raise AssertionError(outcome)


def judge_lines(noise: Noise) -> str:
    """Cut a few lines of a batch out of noise and read them; give what the last was.

    Raises:
        AssertionError: a flaw quotes a value.
        Exception: any that nobody declared: what is wrong with a line is a `Flaw`.
    """
    raw = b"\n".join(_line(noise) for _ in range(noise.chance.randrange(1, 4)))
    splitter, what = Splitter(longest=2048), "nothing"
    at = noise.chance.randrange(len(raw) + 1)
    lines = [*splitter.feed(raw[:at]), *splitter.feed(raw[at:]), *splitter.end()]
    assert [number for number, _ in lines] == list(range(1, len(lines) + 1))
    for number, data in lines:
        read = read_line(number, data, model="m" if noise.often(0.3) else None)
        if isinstance(read, Flaw):
            assert MARK not in read.message, read.message
            what = read.code
        elif isinstance(read, Line):
            what = "line"
    return what


def _status(noise: Noise) -> int:
    if noise.often(0.4):
        return 200
    if noise.often(0.7):
        return noise.chance.choice(
            (
                201,
                204,
                301,
                400,
                401,
                402,
                403,
                404,
                408,
                409,
                413,
                422,
                425,
                429,
                500,
                502,
                503,
                529,
            )
        )
    return noise.chance.randrange(100, 1000)


def _body(noise: Noise) -> bytes:
    drawn = noise.chance.random()
    if drawn < 0.1:
        return noise.chance.choice(
            (b"", b" ", b"null", b"[]", b"{}", b"<html>", b"\x00", b"[" * 3000, b'{"choices":[]}')
        )
    if drawn < 0.5:
        usage = {
            name: noise.json()
            for name in (
                "prompt_tokens",
                "completion_tokens",
                "total_tokens",
                "prompt_tokens_details",
            )
        }
        return noise.written(
            {
                "choices": [noise.json()],
                "data": [noise.json()],
                "model": noise.json(),
                "usage": usage,
            }
        )
    code = noise.chance.choice(_CODES) if noise.often(0.5) else noise.json()
    error = {"code": code, "type": noise.json(), "message": noise.json()}
    if noise.often(0.1):
        return noise.written([{"error": error}])
    return noise.written({"error": error if noise.often(0.9) else noise.json(), "object": "error"})


def _packed(noise: Noise, body: bytes) -> tuple[bytes, str | None]:
    drawn = noise.chance.random()
    if drawn < 0.75:
        return body, None
    if drawn < 0.9:
        return noise.damaged(gzip.compress(body, 1), share=0.4), "gzip"
    if drawn < 0.92:
        return gzip.compress(b"x" * 1_000_000, 1), "gzip"
    return zlib.compress(body), noise.chance.choice(_ENCODINGS)


def _broken(noise: Noise, request: httpx.Request) -> httpx.RequestError:
    kind = noise.chance.choice(
        (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.ConnectError)
    )
    return kind(MARK, request=request)


def _header(noise: Noise) -> str:
    return noise.word().decode("latin-1").replace("\x00", "")


def _line(noise: Noise) -> bytes:
    if noise.often(0.05):
        return noise.word() * noise.chance.choice((1, 500))
    line = {
        "custom_id": f"c{noise.chance.getrandbits(16)}",
        "method": "POST",
        "url": noise.chance.choice(PATHS),
    }
    document: dict[str, object] = {**line, "body": {"model": "m", "messages": noise.json()}}
    for name in (*line, "body"):
        if noise.often(0.08):
            document[name] = noise.json()
        if noise.often(0.04):
            del document[name]
    return noise.written(document).replace(b"\n", b" ")
