"""One endpoint: a configured value, its connections, and what is known of it now."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Final

import httpx

from producer_sdk.wire import PATHS
from worker.core.charges import cost_of_break, cost_of_refusal
from worker.core.classify import Break, Shape, kind_of_answer, kind_of_break
from worker.core.hints import retry_after
from worker.core.kinds import Kind
from worker.core.model import Completed, Failed, Job, Outcome
from worker.core.routing import Candidate
from worker.errors import SettingsError
from worker.ports import Clock
from worker.upstream import body, reading
from worker.upstream.breaks import how_it_broke
from worker.upstream.hold import Hold
from worker.upstream.spec import EndpointSpec, is_header_value
from worker.upstream.transport import PyqwestTransport

ERROR_BODY_BYTES: Final = 64 * 1024
ERROR_BODY_S: Final = 5.0
"""An error's status is known before its body; so many bytes and seconds its code is worth."""

_SUCCESS: Final = 2
_CLIENT_ERROR: Final = 4
_LONGEST_ID: Final = 512


class Endpoint:
    """Makes calls to one endpoint, owns its connections, and counts its calls in flight.

    Tiers may share it. `transport` is for tests and then not checked: an endpoint makes its own.

    Raises:
        SettingsError: `ca_file` cannot be read or holds no certificate.
    """

    def __init__(
        self,
        spec: EndpointSpec,
        *,
        clock: Clock,
        key_recheck: timedelta = timedelta(seconds=15),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.spec = spec
        self.hold = Hold(recheck=key_recheck)
        self.in_flight = 0
        self._clock = clock
        self._transport = _transport(spec) if transport is None else transport
        self._urls = {path: httpx.URL(spec.url(path)) for path in PATHS}
        self._headers = (
            ("accept", "application/json"),
            ("accept-encoding", body.ENCODINGS),
            ("content-type", "application/json"),
            ("user-agent", "warren"),
            *spec.extra_headers.items(),
        )

    def candidate(self) -> Candidate:
        """Give what the choice between endpoints looks at."""
        return Candidate(
            name=self.spec.name,
            weight=self.spec.weight,
            in_flight=self.in_flight,
            held=self.hold.left_s(self._clock.monotonic()) > 0,
        )

    def prepare(self, job: Job, *, number: int) -> httpx.Request | Failed:
        """Give the request that carries the job's body as it is, or why there is none: no usable key.

        The header `x-client-request-id` is `<job id>.<run>.<generation>.<number>`, so that the endpoint's log
        can be joined to the job. Nothing else of the message but its body is sent.
        """
        key = self._key()
        if isinstance(key, Break):
            return self._broken(key)
        headers = [*self._headers, ("x-client-request-id", _call_id(job, number))]
        if key is not None and self.spec.key_header == "bearer":
            headers.append(("authorization", f"Bearer {key}"))
        elif key is not None:
            headers.append((self.spec.key_header, key))
        return httpx.Request("POST", self._urls[job.path], headers=headers, content=job.body)

    async def call(self, request: httpx.Request, path: str) -> Outcome:
        """Send a prepared request and give what came of it. Raises nothing for what the endpoint does.

        `path` says which kind of answer is expected. Cancelling closes the call at once. Whether the
        endpoint is held is the caller's business.
        """
        self.in_flight += 1
        try:
            response = await self._transport.handle_async_request(request)
            try:
                return await self._judge(path, response)
            finally:
                await response.aclose()
        except httpx.RequestError as error:
            return self._broken(how_it_broke(error))
        finally:
            self.in_flight -= 1

    async def aclose(self) -> None:
        """Close the connections; calls still in flight break."""
        await self._transport.aclose()

    def _key(self) -> str | Break | None:
        if self.spec.key is None:
            return None
        try:
            key = self.spec.key()
        except (OSError, LookupError):
            return Break.NO_KEY
        return key if is_header_value(key) else Break.NO_KEY

    async def _judge(self, path: str, response: httpx.Response) -> Outcome:
        if response.status_code // 100 != _SUCCESS:
            return await self._refused(response)
        try:
            received = await body.read(response, limit=self.spec.max_response_bytes)
        except body.TooLarge:
            return self._unread(response, Shape.TOO_LARGE)
        except body.Undecodable:
            return self._unread(response, Shape.ENCODED)
        read = reading.completion(path, received)
        kind = kind_of_answer(response.status_code, shape=read.shape)
        if kind is None:
            return Completed(
                body=received, endpoint=self.spec.name, model=read.model, usage=read.usage
            )
        failed = self._failed(kind, response, code=read.code or read.error_type, why=read.shape)
        return replace(failed, usage=read.usage, model=read.model)

    async def _refused(self, response: httpx.Response) -> Failed:
        code, error_type = None, None
        if response.status_code // 100 >= _CLIENT_ERROR:
            code, error_type = reading.refusal(await _error_body(response))
        kind = kind_of_answer(
            response.status_code,
            code=code,
            error_type=error_type,
            should_retry=response.headers.get("x-should-retry"),
        )
        return self._failed(kind or Kind.BAD_RESPONSE, response, code=code or error_type)

    def _unread(self, response: httpx.Response, shape: Shape) -> Failed:
        kind = kind_of_answer(response.status_code, shape=shape) or Kind.BAD_RESPONSE
        return self._failed(kind, response, why=shape)

    def _failed(
        self,
        kind: Kind,
        response: httpx.Response,
        *,
        code: str | None = None,
        why: Shape | None = None,
    ) -> Failed:
        return Failed(
            kind=kind,
            status=response.status_code,
            code=code,
            endpoint=self.spec.name,
            retry_after=retry_after(response.headers, now=self._clock.now()),
            detail=why and why.value,
            cost=cost_of_refusal(response.status_code),
        )

    def _broken(self, broken: Break) -> Failed:
        return Failed(
            kind=kind_of_break(broken),
            endpoint=self.spec.name,
            detail=broken.value,
            cost=cost_of_break(broken),
        )


def _transport(spec: EndpointSpec) -> PyqwestTransport:
    try:
        return PyqwestTransport(
            http=spec.http,
            ca_pem=None if spec.ca_file is None else spec.ca_file.read_bytes(),
            connect_timeout_s=spec.connect_timeout_s,
            read_timeout_s=spec.read_timeout_s,
        )
    except (OSError, ValueError):
        raise SettingsError(
            (f"endpoint {spec.name}: ca_file: {spec.ca_file} is not a readable PEM file",)
        ) from None


async def _error_body(response: httpx.Response) -> bytes:
    """Give the body of an error, or nothing if it is too large, too slow or broken."""
    try:
        async with asyncio.timeout(ERROR_BODY_S):
            return await body.read(response, limit=ERROR_BODY_BYTES)
    except (TimeoutError, httpx.RequestError, body.TooLarge, body.Undecodable):
        return b""


def _call_id(job: Job, number: int) -> str:
    """Give at most 512 ASCII characters, as OpenAI asks for; of an overlong or odd job id what fits."""
    tail = f".{job.run}.{job.generation}.{number}"
    plain = "".join(char if char.isascii() and char.isprintable() else "?" for char in job.id)
    return plain.strip()[: _LONGEST_ID - len(tail)] + tail
