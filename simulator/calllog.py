"""The log of calls: a record in memory, a line in a file, and the wish to be told.

Every start gets exactly one end. Neither prompts nor keys are written, only a hash of the body.
Call numbers start at 1 in each process, so a file that several processes appended to has one series
per process.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.clock import wall_s
from simulator.wire import How


@dataclass(slots=True, kw_only=True)
class Call:
    """One call that reached the simulator; its last five fields are set when it ends."""

    n: int
    id: str | None
    """The client's own id for it: the header `x-client-request-id`."""
    client: str | None = None
    """Who made it, if the client says so: the header `x-client-name`."""
    sha256: str
    path: str
    model: str | None
    fault: str
    http: str
    at: float
    """Start, wall seconds since the epoch."""
    mono: float
    """Start, monotonic seconds."""
    ended_at: float | None = None
    ended_mono: float | None = None
    status: int | None = None
    """None also at the end, if no head was sent."""
    how: How | None = None
    tokens: int | None = None
    """What the model used for it; None: no model worked on it."""

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self.how is not None


Condition = Callable[[Sequence[Call]], bool]


class CallLog:
    """Owns the file and the records. `keep=False` forgets a record once it has ended."""

    def __init__(self, *, file: Path | None = None, keep: bool = True) -> None:
        self.calls: list[Call] = []
        self._keep = keep
        self._count = 0
        self._waiting: list[tuple[Condition, asyncio.Future[None]]] = []
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = None if file is None else os.open(file, flags, 0o600)

    def next_number(self) -> int:
        """Give the number of the call that comes next."""
        self._count += 1
        return self._count

    def start(
        self,
        n: int,
        *,
        client_id: str | None,
        client: str | None = None,
        sha256: str,
        path: str,
        model: str | None,
        fault: str,
        http: str,
    ) -> Call:
        """Record that a call was accepted, before anything is answered."""
        call = Call(
            n=n,
            id=client_id,
            client=client,
            sha256=sha256,
            path=path,
            model=model,
            fault=fault,
            http=http,
            at=wall_s(),
            mono=time.monotonic(),
        )
        if self._keep:
            self.calls.append(call)
        if self._file is not None:
            self._write(
                {
                    "event": "start",
                    "at": call.at,
                    "mono": call.mono,
                    "call": n,
                    "id": client_id,
                    "client": client,
                    "sha256": sha256,
                    "path": path,
                    "model": model,
                    "fault": fault,
                    "http": http,
                }
            )
        self._tell()
        return call

    def end(self, call: Call, how: How, status: int | None, tokens: int | None = None) -> None:
        """Record the end of a call; a second end of one call is a bug and raises."""
        if call.over:
            raise AssertionError(f"call {call.n} ended twice: {call.how}, then {how}")
        call.ended_at, call.ended_mono = wall_s(), time.monotonic()
        call.how, call.status, call.tokens = how, status, tokens
        if self._file is not None:
            self._write(
                {
                    "event": "end",
                    "call": call.n,
                    "at": call.ended_at,
                    "mono": call.ended_mono,
                    "status": status,
                    "how": how,
                    "tokens": tokens,
                }
            )
        self._tell()

    async def wait_for(self, condition: Condition, timeout_s: float) -> None:
        """Return as soon as the condition holds; raise TimeoutError with what was there instead."""
        if condition(self.calls):
            return
        met = asyncio.get_running_loop().create_future()
        entry = (condition, met)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(timeout_s):
                await met
        except TimeoutError:
            seen = [(call.n, call.fault, call.how and call.how.value) for call in self.calls[-20:]]
            raise TimeoutError(
                f"the condition did not hold within {timeout_s} s; last calls: {seen}"
            ) from None
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def close(self) -> None:
        """Close the file; every call must have ended before."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, event: dict[str, object]) -> None:
        # One write of one line to a file opened for appending: lines of two processes never mix.
        if self._file is not None:
            os.write(self._file, json.dumps(event, separators=(",", ":")).encode() + b"\n")

    def _tell(self) -> None:
        for entry in tuple(self._waiting):
            condition, met = entry
            if met.done():
                continue
            try:
                if condition(self.calls):
                    met.set_result(None)
            except Exception as broken:  # noqa: BLE001 - the waiting test's own code, given back to it
                met.set_exception(broken)
