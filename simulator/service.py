"""Makes a call of each request: key, storm, limits, plan, latency, reaction, log. Knows no bytes and no sockets."""

import asyncio
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulator import accounts, ask, control
from simulator.ask import Ask
from simulator.behaviour import Behaviour
from simulator.calllog import Call, CallLog
from simulator.clock import wall_s
from simulator.exchange import Exchange
from simulator.faults import OK, Fault, PlanError
from simulator.quota import Refused, Taken
from simulator.reactions import Reaction, react, rejected
from simulator.wire import Connection, How, Request, Responder, Serving

_UNAUTHORIZED: Final = Fault(word="401")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """What becomes of a call: the fault as the log names it, the reaction, and what it was charged."""

    fault: str
    reaction: Reaction
    taken: Taken | None = None


class Service:
    """The application behind every connection of one simulator.

    `require_key` as a path is read at every call, so that a test may rotate the key in its file.
    """

    def __init__(
        self,
        *,
        behaviour: Behaviour,
        log: CallLog,
        loop: asyncio.AbstractEventLoop,
        require_key: str | Path | None = None,
    ) -> None:
        self._behaviour = behaviour
        self._log = log
        self._loop = loop
        self._required = require_key
        self._connections: set[Connection] = set()

    @property
    def _bearer(self) -> bytes | None:
        required = self._required
        if required is None:
            return None
        key = required.read_text().strip() if isinstance(required, Path) else required
        return f"Bearer {key}".encode()

    def opened(self, connection: Connection) -> None:
        """Count the connection, and remember it for the shutdown."""
        self._connections.add(connection)
        self._behaviour.stats.opened(connection.http)

    def lost(self, connection: Connection) -> None:
        """Forget the connection."""
        self._connections.discard(connection)
        self._behaviour.stats.lost(connection.http)

    def shutdown(self) -> None:
        """End every open call as `SHUTDOWN` and drop every connection."""
        for connection in tuple(self._connections):
            connection.shutdown()

    def accept(self, request: Request, responder: Responder) -> Serving:
        """Decide everything about the call and log its start; nothing is sent yet."""
        if request.path.startswith(control.PREFIX):
            reaction = control.respond(request, self._behaviour)
            return Exchange(
                reaction=reaction, responder=responder, loop=self._loop, ended=_not_a_call
            )
        asked = ask.read(request)
        number = self._log.next_number()
        decided = self._decide(request, asked, number)
        call = self._log.start(
            number,
            client_id=request.headers.get("x-client-request-id"),
            client=request.headers.get("x-client-name"),
            sha256=asked.sha256,
            path=asked.path,
            model=asked.model,
            fault=decided.fault,
            http=request.http,
        )
        self._behaviour.stats.call_started(asked.model)

        def ended(how: How, status: int | None) -> None:
            self._settle(request, decided)
            self._end(call, how, status, decided.reaction.tokens)

        return Exchange(
            reaction=decided.reaction, responder=responder, loop=self._loop, ended=ended
        )

    def _decide(self, request: Request, asked: Ask, number: int) -> _Decided:
        if self._unauthorized(request):
            return self._fail(_UNAUTHORIZED, asked, number)  # consumes no plan
        now_ns = self._behaviour.now_ns()
        stormed = self._behaviour.storm.fault(asked.sha256, number, now_ns)
        if stormed is not OK:
            return self._fail(stormed, asked, number)
        taken = self._behaviour.accounts.take(_authorization(request), asked, now_ns)
        if isinstance(taken, Refused):
            reaction = accounts.refusal(taken, asked.model)
            return _Decided(fault=f"limit({taken.what})", reaction=reaction)
        fault, reaction = self._plan(asked, number)
        if taken is not None:
            reaction = reaction.with_headers(accounts.headers(taken.standings))
        return _Decided(fault=str(fault), reaction=reaction, taken=taken)

    def _fail(self, fault: Fault, asked: Ask, number: int) -> _Decided:
        latency_s = self._behaviour.latencies.seconds(asked.model, number)
        reaction = react(fault, asked, call=number, now_s=wall_s(), latency_s=latency_s)
        return _Decided(fault=str(fault), reaction=reaction)

    def _plan(self, asked: Ask, number: int) -> tuple[Fault, Reaction]:
        try:
            fault = self._behaviour.script.take(asked)
        except PlanError as wrong:
            return OK, rejected(str(wrong))
        latency_s = self._behaviour.latencies.seconds(asked.model, number)
        return fault, react(fault, asked, call=number, now_s=wall_s(), latency_s=latency_s)

    def _settle(self, request: Request, decided: _Decided) -> None:
        """Charge what the model really used, also where the answer was spoilt or nobody waited for it."""
        tokens = decided.reaction.tokens
        if decided.taken is not None and tokens is not None:
            behaviour = self._behaviour
            behaviour.accounts.settle(
                _authorization(request), decided.taken, tokens, behaviour.now_ns()
            )

    def _unauthorized(self, request: Request) -> bool:
        given = _authorization(request).encode()
        return self._bearer is not None and not hmac.compare_digest(given, self._bearer)

    def _end(self, call: Call, how: How, status: int | None, tokens: int | None) -> None:
        self._log.end(call, how, status, tokens)
        took_s = (call.ended_mono or call.mono) - call.mono
        self._behaviour.stats.call_ended(how, status, took_s)


def _authorization(request: Request) -> str:
    return request.headers.get("authorization", "")


def _not_a_call(how: How, status: int | None) -> None:
    """Control requests leave no trace."""
