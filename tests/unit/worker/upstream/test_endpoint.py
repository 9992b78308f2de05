import gzip
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.worker.upstream.fakes import KEY, HandClock, PlannedUpstream, chat, job
from worker.core.classify import Break, Shape
from worker.core.kinds import Kind
from worker.core.model import Completed, Failed, Job, Outcome
from worker.errors import SettingsError
from worker.upstream.apis import KeyHeader
from worker.upstream.breaks import how_it_broke
from worker.upstream.endpoint import Endpoint
from worker.upstream.spec import EndpointSpec

GOOD = httpx.Response(200, json={"choices": [{}]})


def endpoint(transport: httpx.AsyncBaseTransport | None = None, **values: Any) -> Endpoint:  # noqa: ANN401  # any field of the spec
    spec = EndpointSpec(
        **{"name": "one", "base_url": "http://127.0.0.1:1/v1", "key": lambda: KEY, **values}
    )
    return Endpoint(spec, clock=HandClock(), transport=transport or PlannedUpstream())


async def call(end: Endpoint, of: Job) -> Outcome:
    request = end.prepare(of, number=1)
    return request if isinstance(request, Failed) else await end.call(request, of.path)


async def seen_by(end: Callable[[httpx.AsyncBaseTransport], Endpoint], of: Job) -> httpx.Request:
    seen: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return GOOD

    assert isinstance(await call(end(httpx.MockTransport(take)), of), Completed)
    return seen[0]


async def test_the_body_goes_upstream_byte_for_byte_and_nothing_else_of_the_message() -> None:
    body = b'{ "model":"m",\n "messages": [] , "unknown": 1e400 }'
    sent = await seen_by(endpoint, replace(job(body), tenant="acme", key="secret-key"))
    assert sent.content == body
    assert dict(sent.headers) == {
        "host": "127.0.0.1:1",
        "accept": "application/json",
        "accept-encoding": "gzip",
        "content-type": "application/json",
        "user-agent": "warren",
        "x-client-request-id": "0123456789abcdef0123456789abcdef.1.0.1",
        "authorization": f"Bearer {KEY}",
        "content-length": str(len(body)),
    }


@pytest.mark.parametrize("header", ["api-key", "x-api-key"])
async def test_a_key_header_of_another_style_replaces_the_bearer(header: KeyHeader) -> None:
    sent = await seen_by(lambda through: endpoint(through, key_header=header), job())
    assert sent.headers[header] == KEY
    assert "authorization" not in sent.headers


async def test_an_endpoint_without_a_key_sends_none() -> None:
    sent = await seen_by(lambda through: endpoint(through, key=None), job())
    assert "authorization" not in sent.headers


async def test_configured_extra_headers_are_sent() -> None:
    extra = {"x-organization": "org-1"}
    sent = await seen_by(lambda through: endpoint(through, extra_headers=extra), job())
    assert sent.headers["x-organization"] == "org-1"


@pytest.mark.parametrize("job_id", ["x" * 5000, "naïve\r\nx-evil: 1", "\0", ""])
async def test_no_job_id_can_break_or_overfill_the_request_id(job_id: str) -> None:
    sent = await seen_by(endpoint, job(job_id=job_id))
    value = sent.headers["x-client-request-id"]
    assert len(value) <= 512
    assert value.isascii()
    assert value.isprintable()
    assert value.endswith(".1.0.1")
    assert "x-evil" not in sent.headers


def lost() -> str:
    raise FileNotFoundError("/run/secrets/key")


def unknown() -> str:
    raise KeyError("UPSTREAM_KEY")


@pytest.mark.parametrize(
    "provider", [lost, unknown, lambda: "", lambda: "sk-line\n", lambda: "sk-ü", lambda: " sk "]
)
async def test_without_a_usable_key_nothing_is_sent(provider: Callable[[], str]) -> None:
    upstream = PlannedUpstream()
    failed = await call(endpoint(upstream, key=provider), job())
    assert failed == Failed(kind=Kind.UNAUTHORIZED, endpoint="one", detail=Break.NO_KEY.value)
    assert not upstream.requests


async def test_a_rotated_key_is_used_by_the_next_call() -> None:
    keys = iter(["sk-old", "sk-new"])
    seen: list[str] = []

    def take(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return GOOD

    end = endpoint(httpx.MockTransport(take), key=lambda: next(keys))
    for _ in range(2):
        await call(end, job())
    assert seen == ["Bearer sk-old", "Bearer sk-new"]


@pytest.mark.parametrize(
    ("error", "broken"),
    [
        (httpx.ConnectTimeout("CANARY"), Break.CONNECT_TIMEOUT),
        (httpx.PoolTimeout("CANARY"), Break.CONNECT_TIMEOUT),
        (httpx.ReadTimeout("CANARY"), Break.SILENT),
        (httpx.WriteTimeout("CANARY"), Break.SILENT),
        (httpx.ConnectError("CANARY"), Break.UNCONNECTED),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] CANARY"), Break.CERTIFICATE),
        (httpx.ConnectError("[Errno -2] Name or service not known"), Break.UNRESOLVED),
        (httpx.ConnectError("tcp connect error: Connection refused"), Break.REFUSED),
        (httpx.ReadError("CANARY"), Break.CUT),
        (httpx.WriteError("CANARY"), Break.CUT),
        (httpx.CloseError("CANARY"), Break.CUT),
        (httpx.ProxyError("CANARY"), Break.UNCONNECTED),
        (httpx.UnsupportedProtocol("CANARY"), Break.UNSENDABLE),
        (httpx.LocalProtocolError("CANARY"), Break.UNSENDABLE),
        (httpx.RemoteProtocolError("CANARY"), Break.PROTOCOL),
        (httpx.DecodingError("CANARY"), Break.PROTOCOL),
        (httpx.TooManyRedirects("CANARY"), Break.PROTOCOL),
    ],
)
async def test_every_exception_of_httpx_is_a_failure_in_warrens_own_words(
    error: httpx.RequestError, broken: Break
) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    failed = await call(endpoint(httpx.MockTransport(fail)), job())
    assert isinstance(failed, Failed)
    assert failed.detail == broken.value
    assert "CANARY" not in repr(failed)


def test_no_exception_of_httpx_is_missing() -> None:
    def below(kind: type[httpx.RequestError]) -> set[type[httpx.RequestError]]:
        return {kind}.union(*(below(each) for each in kind.__subclasses__()))

    for kind in below(httpx.RequestError):
        assert how_it_broke(kind("x")) in Break


@pytest.mark.parametrize("body", [b"x" * 100_000, b'{"error": {"code": "' + b"\xff" * 10])
async def test_an_errors_odd_body_does_not_hide_its_status(body: bytes) -> None:
    through = httpx.MockTransport(lambda _: httpx.Response(503, content=body))
    failed = await call(endpoint(through), job())
    assert failed == Failed(kind=Kind.OVERLOADED, status=503, endpoint="one")


async def test_an_errors_packed_body_is_read_too() -> None:
    packed = gzip.compress(b'{"error": {"type": "insufficient_quota", "message": "CANARY"}}')
    through = httpx.MockTransport(
        lambda _: httpx.Response(429, headers={"content-encoding": "gzip"}, content=packed)
    )
    failed = await call(endpoint(through), job())
    assert failed == Failed(
        kind=Kind.QUOTA_EXHAUSTED, status=429, code="insufficient_quota", endpoint="one"
    )


@pytest.mark.parametrize(
    ("status", "should_retry", "kind"),
    [(409, "false", Kind.INVALID_REQUEST), (422, "true", Kind.UPSTREAM_ERROR)],
)
async def test_the_upstreams_own_word_on_retrying_is_heard(
    status: int, should_retry: str, kind: Kind
) -> None:
    through = httpx.MockTransport(
        lambda _: httpx.Response(status, headers={"x-should-retry": should_retry})
    )
    failed = await call(endpoint(through), job())
    assert isinstance(failed, Failed)
    assert failed.kind is kind


async def test_an_error_under_a_success_status_keeps_its_code_and_not_its_words() -> None:
    through = httpx.MockTransport(
        lambda _: httpx.Response(200, json={"error": {"code": "busy", "message": "CANARY"}})
    )
    failed = await call(endpoint(through), job())
    assert failed == Failed(
        kind=Kind.BAD_RESPONSE,
        status=200,
        code="busy",
        endpoint="one",
        detail=Shape.ERROR.value,
    )


def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.touch()
    for file in (empty, tmp_path / "missing.pem"):
        spec = EndpointSpec(name="one", base_url="https://host/v1", ca_file=file)
        with pytest.raises(SettingsError, match=str(file)):
            Endpoint(spec, clock=HandClock())


@pytest.mark.parametrize("header", ["bearer", "api-key"])
async def test_a_refused_key_that_has_been_replaced_is_worth_another_try_at_once(
    header: KeyHeader,
) -> None:
    asked: list[str] = []

    async def replaced(refused: str) -> bool:
        asked.append(refused)
        return True

    end = endpoint(key_replaced=replaced, key_header=header)
    failed = await call(end, job(chat("401")))
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.status) == (Kind.KEY_REPLACED, 401)
    assert failed.retry_after == timedelta()
    assert asked == [KEY]


async def test_a_refused_key_that_is_still_the_same_stays_a_refused_key() -> None:
    async def replaced(_: str) -> bool:
        return False

    failed = await call(endpoint(key_replaced=replaced), job(chat("401")))
    assert isinstance(failed, Failed)
    assert failed.kind is Kind.UNAUTHORIZED


@pytest.mark.parametrize("plan", ["ok", "503", "429", "400"])
async def test_no_other_answer_has_the_key_read_anew(plan: str) -> None:
    async def replaced(_: str) -> bool:
        raise AssertionError("the key was not refused")

    outcome = await call(endpoint(key_replaced=replaced), job(chat(plan)))
    assert not isinstance(outcome, Failed) or outcome.kind is not Kind.KEY_REPLACED
