"""One endpoint: a configured value, its connections, and what is known of it now."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final, TypeAlias

import httpx

from worker.core.charges import cost_of_break, cost_of_refusal
from worker.core.circuit import ALONE, CircuitPolicy
from worker.core.classify import Break, Shape, kind_of_answer, kind_of_break, was_sent
from worker.core.hints import retry_after
from worker.core.kinds import Kind
from worker.core.model import Completed, Failed, Job, Outcome
from worker.core.renaming import renamed
from worker.core.serving import unserved
from worker.errors import SettingsError
from worker.ports import Clock
from worker.upstream import body, reading
from worker.upstream.bearing import Bearing
from worker.upstream.breaks import how_it_broke
from worker.upstream.site import key_header
from worker.upstream.spec import EndpointSpec, KeyProvider, is_header_value
from worker.upstream.standing import Standing
from worker.upstream.transport import PyqwestTransport
from worker.upstream.wire import Answer, HttpxWire, Request, Wire

ERROR_BODY_BYTES: Final = 64 * 1024
ERROR_BODY_S: Final = 5.0
"""An error's status is known before its body; so many bytes and seconds its code is worth."""

_SUCCESS: Final = 2
_CLIENT_ERROR: Final = 4
_LONGEST_ID: Final = 512

Heard: TypeAlias = Callable[[Mapping[str, str]], None]


def nobody(headers: Mapping[str, str]) -> None:
    """Hear an answer's headers, and do nothing."""
    del headers


class Endpoint:
    """Makes calls to one endpoint, owns its connections, and keeps what is known of it: its standing, what it bears.

    Tiers may share it. `transport` is for tests, any of httpx's, and then not checked: an endpoint makes its own wire.

    Raises:
        SettingsError: `ca_file` cannot be read or holds no certificate.
    """

    def __init__(
        self,
        spec: EndpointSpec,
        *,
        clock: Clock,
        key_recheck: timedelta = timedelta(seconds=15),
        circuit: CircuitPolicy = ALONE,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.spec = spec
        self.standing = Standing(recheck=key_recheck, chance=random.random, policy=circuit)
        self.bearing = Bearing(configured=spec.concurrency, most=spec.max_concurrency)
        self._clock = clock
        self._wire: Wire = _wire(spec) if transport is None else HttpxWire(transport)
        self.serving = spec.serving
        self._site = spec.site
        self._key_header = self._site.sends_key_in
        self._by_deployment = self._site.by_deployment
        self._urls: dict[tuple[str, str], str] = {}
        self._plain_headers = (
            ("accept", "application/json"),
            ("accept-encoding", body.ENCODINGS),
            ("content-type", "application/json"),
            ("user-agent", "warren"),
            *spec.extra_headers.items(),
        )
        self._key: str | None = None
        self._headers = self._plain_headers
        """Those of every call, with the last good key."""

    def prepare(self, job: Job, *, number: int, model: str | None = None) -> Request | Failed:
        """Give the request that carries the job's body, or why there is none.

        That is: no usable key, or nothing here that serves the job. `model` is the one to answer with, where it is
        not the one that the job asks for. The body goes byte for byte, but for the model's name where that is
        another here. The header `x-client-request-id` is `<job id>.<run>.<generation>.<number>`, so that the endpoint's log
        can be joined to the job. Nothing else of the message but its body is sent.
        """
        name = self.serving.name_of(job.path, job.model if model is None else model)
        if name is None:
            return replace(unserved(job.path, [self.serving]), endpoint=self.spec.name)
        if self.spec.key is not None and not self._has_key(self.spec.key):
            return self._broken(Break.NO_KEY)
        return Request(
            url=self._url(job.path, name),
            headers=(*self._headers, ("x-client-request-id", _call_id(job, number))),
            body=job.body if name == job.model else renamed(job.body, name),
        )

    async def call(self, request: Request, path: str, *, heard: Heard = nobody) -> Outcome:
        """Send a prepared request and give what came of it. Raises nothing for what the endpoint does.

        `path` says which kind of answer is expected; `heard` is told the headers as soon as they are there.
        Cancelling closes the call at once. Whether the endpoint is held is the caller's business. A refused key is read
        anew at once: if it is another by now, the kind is `KEY_REPLACED`, and the next try carries the other.
        """
        outcome: Outcome
        try:
            answer = await self._wire.send(request)
            try:
                heard(answer.headers)
                outcome = await self._judge(path, answer)
            finally:
                await answer.aclose()
        except httpx.RequestError as error:
            outcome = self._broken(how_it_broke(error))
        if isinstance(outcome, Failed) and outcome.kind is Kind.UNAUTHORIZED:
            replaced, refused = self.spec.key_replaced, self._key_in(request)
            if replaced is not None and refused and await replaced(refused):
                return replace(outcome, kind=Kind.KEY_REPLACED, retry_after=timedelta())
        return outcome

    async def aclose(self) -> None:
        """Close the connections; calls still in flight break."""
        await self._wire.aclose()

    def _url(self, path: str, name: str) -> str:
        """Give the normal address: there are only as many as paths and configured deployments."""
        place = (path, name if self._by_deployment else "")
        if (url := self._urls.get(place)) is None:
            url = self._urls[place] = str(httpx.URL(self._site.url(path, name)))
        return url

    def _has_key(self, key: KeyProvider) -> bool:
        """Put the key into the headers, where it is a new one; tell whether there is a usable one."""
        try:
            found = key()
        except (OSError, LookupError):
            return False
        if found != self._key:
            if not is_header_value(found):
                return False
            self._key = found
            self._headers = (*self._plain_headers, key_header(self._key_header, found))
        return True

    def _key_in(self, request: Request) -> str:
        """Give the key that a prepared request carries; "" without one."""
        name, before = key_header(self._key_header, "")
        return dict(request.headers).get(name, "").removeprefix(before)

    async def _judge(self, path: str, answer: Answer) -> Outcome:
        if answer.status // 100 != _SUCCESS:
            return await self._refused(answer)
        try:
            received = await body.read(answer, limit=self.spec.max_response_bytes)
        except body.TooLarge:
            return self._unread(answer, Shape.TOO_LARGE)
        except body.Undecodable:
            return self._unread(answer, Shape.ENCODED)
        read = reading.completion(path, received)
        kind = kind_of_answer(answer.status, shape=read.shape)
        if kind is None:
            return Completed(
                body=received, endpoint=self.spec.name, model=read.model, usage=read.usage
            )
        failed = self._failed(kind, answer, code=read.code or read.error_type, why=read.shape)
        return replace(failed, usage=read.usage, model=read.model)

    async def _refused(self, answer: Answer) -> Failed:
        said = reading.Refusal()
        if answer.status // 100 >= _CLIENT_ERROR:
            said = reading.refusal(await _error_body(answer))
        kind = kind_of_answer(
            answer.status,
            code=said.code,
            error_type=said.error_type,
            reason=said.reason,
            should_retry=answer.headers.get("x-should-retry"),
        )
        failed = self._failed(kind or Kind.BAD_RESPONSE, answer, code=said.code or said.error_type)
        if failed.retry_after is None and said.retry_after is not None:
            return replace(failed, retry_after=said.retry_after)
        return failed

    def _unread(self, answer: Answer, shape: Shape) -> Failed:
        kind = kind_of_answer(answer.status, shape=shape) or Kind.BAD_RESPONSE
        return self._failed(kind, answer, why=shape)

    def _failed(
        self,
        kind: Kind,
        answer: Answer,
        *,
        code: str | None = None,
        why: Shape | None = None,
    ) -> Failed:
        return Failed(
            kind=kind,
            status=answer.status,
            code=code,
            endpoint=self.spec.name,
            retry_after=retry_after(answer.headers, now=self._clock.now()),
            detail=why and why.value,
            cost=cost_of_refusal(answer.status),
        )

    def _broken(self, broken: Break) -> Failed:
        return Failed(
            kind=kind_of_break(broken),
            endpoint=self.spec.name,
            detail=broken.value,
            unsent=not was_sent(broken),
            cost=cost_of_break(broken),
        )


def _wire(spec: EndpointSpec) -> PyqwestTransport:
    try:
        return PyqwestTransport(
            http=spec.http,
            ca_pem=None if spec.ca_file is None else spec.ca_file.read_bytes(),
            connect_timeout_s=spec.connect_timeout_s,
            read_timeout_s=spec.read_timeout_s,
            most_idle=spec.concurrency or spec.max_concurrency,
        )
    except (OSError, ValueError):
        raise SettingsError(
            (f"endpoint {spec.name}: ca_file: {spec.ca_file} is not a readable PEM file",)
        ) from None


async def _error_body(answer: Answer) -> bytes:
    """Give the body of an error, or nothing if it is too large, too slow or broken."""
    try:
        async with asyncio.timeout(ERROR_BODY_S):
            return await body.read(answer, limit=ERROR_BODY_BYTES)
    except (TimeoutError, httpx.RequestError, body.TooLarge, body.Undecodable):
        return b""


def _call_id(job: Job, number: int) -> str:
    """Give at most 512 ASCII characters, as OpenAI asks for; of an overlong or odd job id what fits."""
    tail = f".{job.run}.{job.generation}.{number}"
    plain = job.id
    if not (plain.isascii() and plain.isprintable()):
        plain = "".join(char if char.isascii() and char.isprintable() else "?" for char in plain)
    return plain.strip()[: _LONGEST_ID - len(tail)] + tail
