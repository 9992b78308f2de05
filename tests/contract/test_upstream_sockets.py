"""What only real connections can show: HTTP versions, TLS, GOAWAY, proxies, silence."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from simulator import Simulator, tls_context
from tests.unit.worker.upstream.fakes import KEY, Memory, always, chat, job
from worker.clock import SystemClock
from worker.core.classify import Break
from worker.core.kinds import Kind
from worker.core.model import Completed, Failed, Outcome
from worker.core.quick import TryPolicy
from worker.upstream.client import UpstreamClient
from worker.upstream.endpoint import Endpoint
from worker.upstream.spec import EndpointSpec, Http

NOBODY = "http://127.0.0.1:1"
PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


class Clients:
    """Makes clients of one endpoint and closes them."""

    def __init__(self) -> None:
        self._made: list[UpstreamClient] = []

    def of(
        self,
        url: str,
        *,
        http: Http = "1.1",
        ca_file: Path | None = None,
        read_timeout_s: float = 30,
    ) -> UpstreamClient:
        spec = EndpointSpec(
            name="one",
            base_url=f"{url}/v1",
            key=lambda: KEY,
            http=http,
            ca_file=ca_file,
            connect_timeout_s=5,
            read_timeout_s=read_timeout_s,
        )
        made = UpstreamClient(
            {"small": [Endpoint(spec, clock=SystemClock())]},
            policy=TryPolicy(tries=1),
            clock=SystemClock(),
            chance=lambda: 0.5,
            listener=Memory(),
        )
        self._made.append(made)
        return made

    async def close(self) -> None:
        for client in self._made:
            await client.aclose()


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    made = Clients()
    yield made
    await made.close()


async def outcome(client: UpstreamClient, plan: str | None = None) -> Outcome:
    return (await client.attempt(job(chat(plan)), calls_left=1, may_call=always)).outcome


async def outcomes(client: UpstreamClient, *, calls: int, at_once: int) -> list[Outcome]:
    room = asyncio.Semaphore(at_once)

    async def one() -> Outcome:
        async with room:
            return await outcome(client)

    return await asyncio.gather(*(one() for _ in range(calls)))


@asynccontextmanager
async def listening(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Give the port of a server that talks like this; on leaving every talk has ended."""
    talks: list[asyncio.Task[None]] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(10):
            await talk(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.create_task(one(reader, writer)))

    async with await asyncio.start_server(taken, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*talks)


async def failure(client: UpstreamClient, plan: str | None = None) -> Failed:
    failed = await outcome(client, plan)
    assert isinstance(failed, Failed)
    return failed


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """An authority of our own, and what it signed."""

    ca: Path
    good: tuple[Path, Path]
    wrong_host: tuple[Path, Path]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)  # noqa: S607  # found on PATH, as everywhere

    def signed(name: str, subject: str) -> tuple[Path, Path]:
        (folder / "extensions").write_text(f"subjectAltName={subject}\nbasicConstraints=CA:FALSE\n")
        openssl(
            "req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"
        )
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "extensions"),
        )
        return folder / f"{name}.pem", folder / f"{name}.key"

    openssl(
        "req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca"
    )
    return Certificates(
        ca=folder / "ca.pem",
        good=signed("good", "IP:127.0.0.1"),
        wrong_host=signed("wrong", "DNS:other.test"),
    )


async def test_no_call_is_lost_to_a_goaway_every_hundred_streams(clients: Clients) -> None:
    async with Simulator(goaway_every=100) as sim:
        sim.latency({"default": "uniform(0.001,0.02)"})
        answers = await outcomes(clients.of(sim.url, http="2"), calls=1000, at_once=100)
        assert sum(isinstance(answer, Completed) for answer in answers) == 1000
        assert len(sim.calls) == 1000


@pytest.mark.parametrize(
    ("http", "streams", "calls"), [("1.1", 1000, 1000), ("2", 1000, 1000), ("2", 50, 200)]
)
async def test_as_many_calls_are_in_flight_as_are_made_whatever_a_connection_takes(
    clients: Clients, http: Http, streams: int, calls: int
) -> None:
    async with Simulator(max_streams=streams) as sim:
        client = clients.of(sim.url, http=http)
        flights = [asyncio.create_task(outcome(client, "hang!")) for _ in range(calls)]
        await sim.wait_for(lambda seen: len(seen) == calls, timeout_s=60)
        for flight in flights:
            flight.cancel()
        await sim.wait_for(lambda seen: all(call.over for call in seen), timeout_s=60)


@pytest.mark.parametrize("http", ["1.1", "2"])
async def test_calls_one_after_the_other_share_a_connection(clients: Clients, http: Http) -> None:
    async with Simulator() as sim:
        client = clients.of(sim.url, http=http)
        for plan in (None, "503!", "400!", "no_choices!", "204!", "empty!"):
            await outcome(client, plan)
        assert sim.stats.connections_total[http] == 1


@pytest.mark.parametrize("http", ["1.1", "2"])
@pytest.mark.parametrize("plan", ["hang", "hang_body"])
async def test_silence_ends_a_call_and_closes_it(clients: Clients, http: Http, plan: str) -> None:
    async with Simulator() as sim:
        client = clients.of(sim.url, http=http, read_timeout_s=0.2)
        failed = await failure(client, plan)
        assert (failed.kind, failed.detail) == (Kind.TIMEOUT, Break.SILENT.value)
        await sim.wait_for(lambda calls: calls[0].over)


async def test_a_refused_connection_is_told_and_counts_as_a_call(clients: Clients) -> None:
    attempted = await clients.of(NOBODY).attempt(job(), calls_left=1, may_call=always)
    assert isinstance(attempted.outcome, Failed)
    assert attempted.outcome.kind is Kind.CONNECTION
    assert attempted.outcome.detail == Break.REFUSED.value
    assert attempted.work.calls == 1


@pytest.mark.parametrize("http", ["auto", "1.1"])
async def test_an_unknown_host_is_told(clients: Clients, http: Http) -> None:
    failed = await failure(clients.of("https://no-such-host.invalid", http=http))
    assert (failed.kind, failed.detail) == (Kind.CONNECTION, Break.UNRESOLVED.value)


@pytest.mark.parametrize("http", ["auto", "1.1", "2"])
async def test_a_certificate_for_another_host_is_refused(
    clients: Clients, certificates: Certificates, http: Http
) -> None:
    async with Simulator(tls=tls_context(*certificates.wrong_host)) as sim:
        failed = await failure(clients.of(sim.url, http=http, ca_file=certificates.ca))
        assert (failed.kind, failed.detail) == (Kind.CONNECTION, Break.CERTIFICATE.value)
        assert not sim.calls


@pytest.mark.parametrize("http", ["auto", "1.1", "2"])
async def test_a_certificate_of_an_unknown_authority_is_refused(
    clients: Clients, certificates: Certificates, http: Http
) -> None:
    async with Simulator(tls=tls_context(*certificates.good)) as sim:
        failed = await failure(clients.of(sim.url, http=http))
        assert (failed.kind, failed.detail) == (Kind.CONNECTION, Break.CERTIFICATE.value)
        assert not sim.calls


@pytest.mark.parametrize(("http", "spoken"), [("auto", "2"), ("1.1", "1.1"), ("2", "2")])
async def test_tls_speaks_the_configured_version_and_auto_picks_http2(
    clients: Clients, certificates: Certificates, http: Http, spoken: str
) -> None:
    async with Simulator(tls=tls_context(*certificates.good)) as sim:
        client = clients.of(sim.url, http=http, ca_file=certificates.ca)
        assert isinstance(await outcome(client), Completed)
        assert [call.http for call in sim.calls] == [spoken]


async def test_auto_picks_http1_where_the_server_offers_no_other(
    clients: Clients, certificates: Certificates
) -> None:
    tls = tls_context(*certificates.good)
    tls.set_alpn_protocols(["http/1.1"])
    async with Simulator(tls=tls) as sim:
        client = clients.of(sim.url, http="auto", ca_file=certificates.ca)
        assert isinstance(await outcome(client), Completed)
        assert [call.http for call in sim.calls] == ["1.1"]


async def test_auto_loses_no_call_of_a_first_burst_and_opens_few_connections(
    clients: Clients, certificates: Certificates
) -> None:
    async with Simulator(tls=tls_context(*certificates.good), max_streams=100) as sim:
        sim.latency({"default": "fixed(0.2)"})
        client = clients.of(sim.url, http="auto", ca_file=certificates.ca)
        answers = await outcomes(client, calls=300, at_once=300)
        assert all(isinstance(answer, Completed) for answer in answers)
        assert sim.stats.connections_total["2"] < 20


async def test_auto_asks_again_after_a_failed_handshake(
    clients: Clients, certificates: Certificates
) -> None:
    async with Simulator(tls=tls_context(*certificates.good)) as sim:
        port = sim.port
    client = clients.of(f"https://127.0.0.1:{port}", http="auto", ca_file=certificates.ca)
    failed = await failure(client)
    assert failed.detail == Break.REFUSED.value
    async with Simulator(port=port, tls=tls_context(*certificates.good)):
        assert isinstance(await outcome(client), Completed)


async def test_a_caller_that_leaves_the_first_handshake_takes_nobody_with_it(
    clients: Clients, certificates: Certificates
) -> None:
    async with Simulator(tls=tls_context(*certificates.good)) as sim:
        client = clients.of(sim.url, http="auto", ca_file=certificates.ca)
        first, second = (asyncio.create_task(outcome(client)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert isinstance(await second, Completed)
        assert first.cancelled()


@pytest.mark.parametrize("http", ["auto", "1.1", "2"])
async def test_proxies_of_the_environment_see_nothing(
    clients: Clients, monkeypatch: pytest.MonkeyPatch, http: Http
) -> None:
    seen: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(100))

    for name in set(os.environ) & {"no_proxy", "NO_PROXY"}:
        monkeypatch.delenv(name)
    async with listening(proxy) as port, Simulator() as sim:
        for name in PROXIES:
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        for url in (sim.url, sim.url.replace("127.0.0.1", "localhost")):
            assert isinstance(await outcome(clients.of(url, http=http)), Completed)
    assert not seen


async def test_what_speaks_no_http_is_a_broken_connection(clients: Clients) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.test ESMTP\r\n")

    async with listening(babble) as port:
        failed = await failure(clients.of(f"http://127.0.0.1:{port}"))
    assert failed.kind is Kind.CONNECTION


async def test_a_closed_client_makes_no_call() -> None:
    async with Simulator() as sim:
        client = Clients().of(sim.url)
        await client.aclose()
        with pytest.raises(RuntimeError, match="closed"):
            await client.attempt(job(), calls_left=1, may_call=always)
        assert not sim.calls


async def test_an_errors_body_that_never_ends_does_not_hold_the_call(clients: Clients) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 No\r\nretry-after: 3\r\ncontent-length: 100\r\n\r\n{")
        await reader.read()  # until the client closes

    async with listening(stall) as port:
        client = clients.of(f"http://127.0.0.1:{port}", read_timeout_s=0.2)
        failed = await failure(client)
    assert (failed.kind, failed.status) == (Kind.OVERLOADED, 503)
    assert failed.retry_after == timedelta(seconds=3)
