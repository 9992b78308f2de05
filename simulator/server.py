"""The simulator's life: listen, be told what to do, stop."""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from simulator.accounts import Accounts
from simulator.behaviour import Behaviour
from simulator.calllog import Call, CallLog, Condition
from simulator.clock import mono_ns
from simulator.doorway import Doorway
from simulator.latency import Latencies, parse_latencies
from simulator.quota import Limits
from simulator.script import Chaos, Rule, Script, parse_chaos
from simulator.service import Service
from simulator.stats import Stats
from simulator.storm import parse_storm

_BACKLOG = 4096


class Simulator:
    """A stand-in LLM API on a port of this machine: `async with Simulator() as sim: … sim.url`.

    It runs in the event loop that enters it, listens on `host` only, and ends every open call when
    it is left. `keep_calls=False` keeps memory flat in long runs; `calls` then stays empty. `limits` are each
    key's, counted on the clock `now_ns`.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        reuse_port: bool = False,
        log: Path | None = None,
        rules: Sequence[Rule] = (),
        chaos: Chaos | None = None,
        latencies: Latencies | None = None,
        limits: Limits | None = None,
        now_ns: Callable[[], int] = mono_ns,
        require_key: str | Path | None = None,
        goaway_every: int | None = None,
        max_streams: int = 1000,
        tls: ssl.SSLContext | None = None,
        keep_calls: bool = True,
    ) -> None:
        self._host = host
        self._port = port
        self._reuse_port = reuse_port
        self._log_file = log
        self._behaviour = Behaviour(
            script=Script(rules=rules, chaos=chaos),
            latencies=latencies or Latencies(),
            accounts=Accounts(limits),
            now_ns=now_ns,
        )
        self._require_key = require_key
        self._goaway_every = goaway_every
        self._max_streams = max_streams
        self._tls = tls
        self._keep_calls = keep_calls
        self._silent: set[asyncio.Transport] = set()
        self._log: CallLog
        self._service: Service
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen. Raises OSError if the port is taken or the log cannot be opened."""
        loop = asyncio.get_running_loop()
        self._log = CallLog(file=self._log_file, keep=self._keep_calls)
        self._service = Service(
            behaviour=self._behaviour, log=self._log, loop=loop, require_key=self._require_key
        )
        try:
            self._server = await loop.create_server(
                self._doorway,
                self._host,
                self._port,
                ssl=self._tls,
                backlog=_BACKLOG,
                reuse_port=self._reuse_port,
            )
        except OSError:
            self._log.close()
            raise
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Accept nothing more and end every open call as `shutdown`."""
        self._server.close()
        self._service.shutdown()
        for transport in tuple(self._silent):
            transport.abort()
        await self._server.wait_closed()
        self._log.close()

    @property
    def port(self) -> int:
        """The port; after `start` the real one."""
        return self._port

    @property
    def url(self) -> str:
        """Scheme, host and port, without a path."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self._port}"

    @property
    def calls(self) -> Sequence[Call]:
        """Every call so far in the order of arrival; a record changes once more, when it ends."""
        return self._log.calls

    @property
    def stats(self) -> Stats:
        """The running counts, to be read only."""
        return self._behaviour.stats

    def script(self, *rules: Rule) -> None:
        """Put these rules in force instead of the ones before; make them with `rule("503,503")`."""
        self._behaviour.script.set_rules(rules)

    def chaos(self, shares: Mapping[str, float]) -> None:
        """Put random faults in force: `{"503": 0.3, "seed": 7}`. Raise PlanError."""
        self._behaviour.script.set_chaos(parse_chaos(dict(shares)))

    def latency(self, table: Mapping[str, object]) -> None:
        """Put latencies in force: `{"default": "fixed(0.05)", "gpt-": "uniform(0.1,0.4)"}`."""
        self._behaviour.latencies = parse_latencies(table)

    def limit(self, *, requests: int | None = None, tokens: int | None = None) -> None:
        """Put limits a minute for each key in force; None: not limited. Raise LimitError."""
        self._behaviour.accounts.limit(Limits(requests=requests, tokens=tokens))

    def storm(self, shares: Mapping[str, float], *, for_s: float) -> None:
        """Let faults come over every call for so many seconds: `{"503": 1}`. Raise PlanError."""
        document = {**shares, "for_s": for_s}
        self._behaviour.storm = parse_storm(document, now_ns=self._behaviour.now_ns())

    def heal(self) -> None:
        """Make every call `ok` until a new script, new chaos or a new storm; limits stay."""
        self._behaviour.heal()

    def reset(self) -> None:
        """Let plans start again and counts start at zero; `calls` and the log stay."""
        self._behaviour.reset()

    async def wait_for(self, condition: Condition, *, timeout_s: float = 10.0) -> None:
        """Return when the condition holds for `calls`; looked at after every start and end."""
        await self._log.wait_for(condition, timeout_s)

    def _doorway(self) -> Doorway:
        return Doorway(
            self._service,
            self._silent,
            max_streams=self._max_streams,
            goaway_every=self._goaway_every,
        )


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Make a server context that offers `h2` and `http/1.1` by ALPN."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context
